//! Programs of classic BPF (Documentation/networking/filter.rst of Linux): what the kernel looks at
//! in a packet before it hands it over, or lets it pass.

/// An instruction, with the places of other instructions to go on at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Instruction {
    /// Code and constant.
    Do(u32, u32),
    /// Code and constant of a test, and where to go on where it holds and where it does not. Both
    /// places come later in the program.
    If(u32, u32, usize, usize),
}

/// Places in an Ethernet frame, in bytes.
pub(super) mod place {
    pub(in crate::agent) const ETHERTYPE: u32 = 12;
    pub(in crate::agent) const IP: u32 = 14;
    pub(in crate::agent) const IPV4_FRAGMENT: u32 = IP + 6;
    pub(in crate::agent) const IPV4_PROTOCOL: u32 = IP + 9;
    pub(in crate::agent) const IPV6_NEXT_HEADER: u32 = IP + 6;
    pub(in crate::agent) const IPV6_PAYLOAD: u32 = IP + 40;
}

/// Places in a TCP header, in bytes.
pub(super) mod tcp {
    pub(in crate::agent) const SEQUENCE: u32 = 4;
    pub(in crate::agent) const FLAGS: u32 = 13;
}

/// The part of an IPv4 header's fragment field that is not zero in later fragments.
pub(super) const OFFSET_OF_FRAGMENT: u32 = 0x1fff;

/// How many instructions [`outgoing`] has: what they lead to stands behind them.
pub(super) const OUTGOING_LEN: usize = 14;

/// The beginning of a program for the packets of a transport protocol that the host sends, over IPv4 and over IPv6
/// without extension headers, of fragments the first. The index register has the length of the IP header then; any
/// other packet goes on at `reject`.
pub(super) fn outgoing(protocol: i32, reject: usize) -> [Instruction; OUTGOING_LEN] {
    use Instruction::{Do, If};
    use libc::{BPF_ABS, BPF_B, BPF_H, BPF_IMM, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K};
    use libc::{BPF_LD, BPF_LDX, BPF_MSH};
    use place::{ETHERTYPE, IP, IPV4_FRAGMENT, IPV4_PROTOCOL, IPV6_NEXT_HEADER};
    const IPV6_HEADER_BYTES: u32 = place::IPV6_PAYLOAD - IP;
    // Values.
    const OUTGOING: u32 = libc::PACKET_OUTGOING as u32;
    const IPV4: u32 = libc::ETH_P_IP.cast_unsigned();
    const IPV6: u32 = libc::ETH_P_IPV6.cast_unsigned();
    // A place in the program.
    const IS_IPV6: usize = 10;

    let protocol = protocol.cast_unsigned();
    let packet_type = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned();
    let equal = BPF_JMP | BPF_JEQ | BPF_K;
    let any_bit = BPF_JMP | BPF_JSET | BPF_K;
    [
        Do(BPF_LD | BPF_B | BPF_ABS, packet_type),
        If(equal, OUTGOING, 2, reject),
        Do(BPF_LD | BPF_H | BPF_ABS, ETHERTYPE),
        If(equal, IPV4, 4, IS_IPV6),
        Do(BPF_LD | BPF_B | BPF_ABS, IPV4_PROTOCOL),
        If(equal, protocol, 6, reject),
        Do(BPF_LD | BPF_H | BPF_ABS, IPV4_FRAGMENT),
        If(any_bit, OFFSET_OF_FRAGMENT, reject, 8),
        Do(BPF_LDX | BPF_B | BPF_MSH, IP),
        If(equal, protocol, OUTGOING_LEN, OUTGOING_LEN),
        If(equal, IPV6, 11, reject),
        Do(BPF_LD | BPF_B | BPF_ABS, IPV6_NEXT_HEADER),
        If(equal, protocol, 13, reject),
        Do(BPF_LDX | BPF_IMM, IPV6_HEADER_BYTES),
    ]
}

/// Translates a program for the kernel.
pub(super) fn assemble(program: &[Instruction]) -> Vec<libc::sock_filter> {
    let relative = |place: usize, to: usize| u8::try_from(to - place - 1).unwrap_or(u8::MAX);
    let encode = |(place, instruction): (usize, &Instruction)| match *instruction {
        Instruction::Do(code, k) => encoded(code, k, 0, 0),
        Instruction::If(code, k, yes, no) => {
            encoded(code, k, relative(place, yes), relative(place, no))
        }
    };
    program.iter().enumerate().map(encode).collect()
}

fn encoded(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    // Every code of classic BPF fits 16 bits.
    let code = u16::try_from(code).unwrap_or(u16::MAX);
    libc::sock_filter { code, jt, jf, k }
}

/// What the kernel would do with a program, for the instructions that the agent uses; zero for a
/// packet that is too short.
#[cfg(test)]
pub(super) fn run(program: &[libc::sock_filter], packet_type: u32, frame: &[u8]) -> u32 {
    let (mut a, mut x, mut at) = (0u32, 0u32, 0);
    let byte = |i: u32| frame.get(i as usize).map(|&b| u32::from(b));
    let half = |i: u32| byte(i).zip(byte(i + 1)).map(|(h, l)| h << 8 | l);
    let word = |i: u32| half(i).zip(half(i + 2)).map(|(h, l)| h << 16 | l);
    loop {
        let i = &program[at];
        at += 1;
        let read = match i.code {
            0x30 if i.k == 0xffff_f004 => Some(packet_type),
            0x30 => byte(i.k),
            0x28 => half(i.k),
            0x20 => word(i.k),
            0x50 => byte(i.k + x),
            0x48 => half(i.k + x),
            0x40 => word(i.k + x),
            0xb1 => byte(i.k).map(|b| (b & 0xf) * 4),
            _ => Some(0),
        };
        let Some(read) = read else {
            return 0;
        };
        match i.code {
            0x30 | 0x28 | 0x20 | 0x50 | 0x48 | 0x40 => a = read,
            0xb1 => x = read,
            0x01 => x = i.k,
            0x54 => a &= i.k,
            0x15 => at += usize::from(if a == i.k { i.jt } else { i.jf }),
            0x45 => at += usize::from(if a & i.k != 0 { i.jt } else { i.jf }),
            0x06 => return i.k,
            code => panic!("{code:#x}"),
        }
    }
}
