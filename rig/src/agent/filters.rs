//! Packet filters at a host's interfaces: what it may neither send nor receive.
//!
//! They are classic BPF programs of the kernel's traffic control (tc-bpf(8), `clsact`). What a
//! filter takes on the way out is taken before a capture sees it, as if it had never been sent; on
//! the way in it is taken after.

use std::io;
use std::os::fd::AsFd as _;

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcHeader, TcMessage,
    TcOption,
};

use super::bpf::{Instruction, OFFSET_OF_FRAGMENT, assemble, place, tcp};
use super::interfaces::Interface;
use super::{route, sentinel, sys};
use crate::pcapng::SENTINEL_ETHERTYPE;

/// A filter of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    /// Takes nothing, see [`make_ready`].
    Nothing,
    /// Takes everything but the agent's sentinels.
    Cut,
    /// Takes what a kernel answers to packets for closed ports.
    Stealth,
}

/// On which way of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// What the host receives.
    In,
    /// What the host sends.
    Out,
}

/// Kind of the queueing discipline that filters of both ways are attached to.
const CLSACT: &str = "clsact";
/// Attributes of a classic program (`TCA_BPF_OPS_LEN` and `TCA_BPF_OPS` of `linux/pkt_cls.h`).
const OPS_LEN: u16 = 4;
const OPS: u16 = 5;
/// `ETH_P_ALL`: a filter of packets of every protocol.
const EVERY_PROTOCOL: u16 = 3;
/// The second of the types for local experiments (IEEE Std 802, 9.2.4); sentinels have the first.
const NOBODYS_ETHERTYPE: u16 = 0x88b6;
/// What a program gives for a packet that others may look at (`TC_ACT_UNSPEC`).
const LET_PASS: u32 = u32::MAX;
/// What it gives for one that goes no further (`TC_ACT_SHOT`).
const TAKE: u32 = 2;

impl Filter {
    /// Its place among the filters of a way: the first is asked first.
    fn priority(self) -> u16 {
        match self {
            Self::Nothing => 1,
            Self::Cut => 2,
            Self::Stealth => 3,
        }
    }

    /// A frame that it takes, if it takes any, from the interface with this link address.
    fn example(self, mac: [u8; 6]) -> Vec<u8> {
        let mut frame = [&sentinel::DESTINATION[..], &mac].concat();
        match self {
            Self::Nothing | Self::Cut => {
                frame.extend(NOBODYS_ETHERTYPE.to_be_bytes());
                frame.resize(sentinel::FRAME_BYTES, 0);
            }
            Self::Stealth => {
                frame.extend([0x08, 0x00]);
                // An IPv4 header without options; from nobody to nobody.
                frame.extend([0x45, 0, 0, 40, 0, 0, 0, 0, 1, 6, 0, 0]);
                frame.extend([0; 8]);
                // A RST with ACK and the sequence number zero.
                frame.extend([0; 12]);
                frame.extend([0x50, 0x14, 0, 0, 0, 0, 0, 0]);
            }
        }
        frame
    }

    fn program(self) -> Vec<libc::sock_filter> {
        match self {
            Self::Nothing => nothing_program(),
            Self::Cut => cut_program(),
            Self::Stealth => stealth_program(),
        }
    }
}

/// Puts a filter into force, and makes sure that the kernel has it.
pub(super) fn install(interface: i32, way: Way, filter: Filter) -> io::Result<()> {
    add_clsact(interface)?;
    add(interface, way, filter).map_err(explained)?;
    verify(interface, way, filter)
}

/// Makes an interface ready for filters that come into force at once: before the first filter of a way does,
/// the kernel waits until every processor has passed a quiet moment.
pub(super) fn make_ready(interface: i32) -> io::Result<()> {
    add_clsact(interface)?;
    [Way::In, Way::Out]
        .into_iter()
        .try_for_each(|way| match add(interface, way, Filter::Nothing) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            answer => answer.map_err(explained),
        })
}

/// Puts a filter into force.
pub(super) fn add(interface: i32, way: Way, filter: Filter) -> io::Result<()> {
    let message = RouteNetlinkMessage::NewTrafficFilter(filter_message(interface, way, filter));
    route::request(message, NLM_F_CREATE | NLM_F_EXCL)
}

/// Makes sure that the kernel has a filter.
pub(super) fn verify(interface: i32, way: Way, filter: Filter) -> io::Result<()> {
    if is_installed(interface, way, filter)? {
        return Ok(());
    }
    let message = "the kernel accepted the filter and does not list it";
    Err(io::Error::other(message))
}

/// Takes a filter out of force.
pub(super) fn remove(interface: i32, way: Way, filter: Filter) -> io::Result<()> {
    let mut message = TcMessage::with_index(interface);
    message.header.parent = parent(way);
    message.header.info = info(filter);
    message.attributes = vec![TcAttribute::Kind(TcFilterBpf::KIND.to_owned())];
    route::request(RouteNetlinkMessage::DelTrafficFilter(message), 0)
}

/// Whether a filter is in force.
pub(super) fn is_installed(interface: i32, way: Way, filter: Filter) -> io::Result<bool> {
    let mut message = TcMessage::with_index(interface);
    message.header.parent = parent(way);
    let listed = route::dump(RouteNetlinkMessage::GetTrafficFilter(message))?;
    let program = operations(&filter.program());
    Ok(listed.iter().any(|message| match message {
        RouteNetlinkMessage::NewTrafficFilter(found) => {
            found.attributes.iter().any(|attribute| match attribute {
                TcAttribute::Options(options) => options.contains(&program),
                _ => false,
            })
        }
        _ => false,
    }))
}

/// Proves that a filter of the way out takes what it should: the kernel refuses such a frame of the
/// agent's own. One that it did not refuse would go no further than the next bridge.
pub(super) fn prove(interface: &Interface, filter: Filter) -> io::Result<()> {
    let socket = sys::packet_socket()?;
    let frame = filter.example(interface.public.mac);
    match sys::send_frame(socket.as_fd(), interface.index, &frame) {
        Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(()),
        Err(error) => Err(error),
        Ok(()) => {
            let message = format!("{} still sends", interface.public.label);
            Err(io::Error::other(message))
        }
    }
}

/// Makes room for filters at an interface.
fn add_clsact(interface: i32) -> io::Result<()> {
    let mut message = TcMessage::with_index(interface);
    message.header.handle = TcHandle {
        major: u16::MAX,
        minor: 0,
    };
    message.header.parent = TcHandle::CLSACT;
    message.attributes = vec![TcAttribute::Kind(CLSACT.to_owned())];
    let message = RouteNetlinkMessage::NewQueueDiscipline(message);
    match route::request(message, NLM_F_CREATE | NLM_F_EXCL) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        answer => answer.map_err(explained),
    }
}

/// What a refusal means to whoever has to do something about it.
fn explained(error: io::Error) -> io::Error {
    let why = match error.raw_os_error() {
        Some(libc::ENOENT | libc::EOPNOTSUPP) => {
            "the kernel has no traffic filters (CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF)"
        }
        Some(libc::EPERM) => "the agent lacks the capability CAP_NET_ADMIN",
        _ => return error,
    };
    io::Error::other(format!("{why}: {error}"))
}

fn parent(way: Way) -> TcHandle {
    TcHandle {
        major: u16::MAX,
        minor: match way {
            Way::In => TcHandle::MIN_INGRESS,
            Way::Out => TcHandle::MIN_EGRESS,
        },
    }
}

/// Priority and protocol, as `tcm_info` holds them.
fn info(filter: Filter) -> u32 {
    u32::from(filter.priority()) << 16 | u32::from(EVERY_PROTOCOL.to_be())
}

fn filter_message(interface: i32, way: Way, filter: Filter) -> TcMessage {
    let program = filter.program();
    let len = u16::try_from(program.len()).unwrap_or(u16::MAX);
    let len = DefaultNla::new(OPS_LEN, len.to_ne_bytes().to_vec());
    let options = vec![
        TcOption::Bpf(TcFilterBpfOption::Other(len)),
        operations(&program),
        TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
    ];
    let header = TcHeader {
        index: interface,
        parent: parent(way),
        info: info(filter),
        ..TcHeader::default()
    };
    TcMessage::from_parts(
        header,
        vec![
            TcAttribute::Kind(TcFilterBpf::KIND.to_owned()),
            TcAttribute::Options(options),
        ],
    )
}

/// A program as the kernel reads and lists it (`struct sock_filter`).
fn operations(program: &[libc::sock_filter]) -> TcOption {
    let instructions = program.iter().flat_map(|i| {
        let [c0, c1] = i.code.to_ne_bytes();
        let [k0, k1, k2, k3] = i.k.to_ne_bytes();
        [c0, c1, i.jt, i.jf, k0, k1, k2, k3]
    });
    let operations = DefaultNla::new(OPS, instructions.collect());
    TcOption::Bpf(TcFilterBpfOption::Other(operations))
}

fn nothing_program() -> Vec<libc::sock_filter> {
    assemble(&[Instruction::Do(libc::BPF_RET | libc::BPF_K, LET_PASS)])
}

fn cut_program() -> Vec<libc::sock_filter> {
    use Instruction::{Do, If};
    use libc::{BPF_ABS, BPF_H, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET};
    const SENTINEL: u32 = SENTINEL_ETHERTYPE as u32;
    assemble(&[
        Do(BPF_LD | BPF_H | BPF_ABS, place::ETHERTYPE),
        If(BPF_JMP | BPF_JEQ | BPF_K, SENTINEL, 2, 3),
        Do(BPF_RET | BPF_K, LET_PASS),
        Do(BPF_RET | BPF_K, TAKE),
    ])
}

/// Takes the RST that answers a segment without ACK for a closed port, which alone has the sequence
/// number zero (RFC 9293, section 3.10.7.1), and 'port unreachable' (RFC 792; RFC 4443, section 3.1).
fn stealth_program() -> Vec<libc::sock_filter> {
    use Instruction::{Do, If};
    use libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IMM, BPF_IND, BPF_JEQ, BPF_JMP};
    use libc::{BPF_JSET, BPF_K, BPF_LD, BPF_LDX, BPF_MSH, BPF_RET, BPF_W};
    use place::{ETHERTYPE, IP, IPV4_FRAGMENT, IPV4_PROTOCOL, IPV6_NEXT_HEADER, IPV6_PAYLOAD};
    // Values.
    const IPV4: u32 = libc::ETH_P_IP.cast_unsigned();
    const IPV6: u32 = libc::ETH_P_IPV6.cast_unsigned();
    const TCP: u32 = libc::IPPROTO_TCP.cast_unsigned();
    const ICMP: u32 = libc::IPPROTO_ICMP.cast_unsigned();
    const ICMPV6: u32 = libc::IPPROTO_ICMPV6.cast_unsigned();
    const FIN_SYN_RST_ACK: u32 = 0x17;
    const RST_ACK: u32 = 0x14;
    const PORT_UNREACHABLE: u32 = 0x0303;
    const PORT_UNREACHABLE_V6: u32 = 0x0104;
    // Places in the program.
    const V4_IS_ICMP: usize = 8;
    const IS_IPV6: usize = 11;
    const V6_IS_ICMP: usize = 15;
    const LOOK_AT_TCP: usize = 18;
    const PASS: usize = 23;
    const SHOT: usize = 24;

    let equal = BPF_JMP | BPF_JEQ | BPF_K;
    let half = BPF_LD | BPF_H | BPF_ABS;
    assemble(&[
        Do(half, ETHERTYPE),
        If(equal, IPV4, 2, IS_IPV6),
        Do(half, IPV4_FRAGMENT),
        If(BPF_JMP | BPF_JSET | BPF_K, OFFSET_OF_FRAGMENT, PASS, 4),
        // The length of the IPv4 header goes to the index register.
        Do(BPF_LDX | BPF_B | BPF_MSH, IP),
        Do(BPF_LD | BPF_B | BPF_ABS, IPV4_PROTOCOL),
        If(equal, TCP, LOOK_AT_TCP, 7),
        If(equal, ICMP, V4_IS_ICMP, PASS),
        Do(BPF_LD | BPF_H | BPF_IND, IP),
        If(equal, PORT_UNREACHABLE, SHOT, PASS),
        Do(BPF_RET | BPF_K, LET_PASS),
        If(equal, IPV6, 12, PASS),
        Do(BPF_LD | BPF_B | BPF_ABS, IPV6_NEXT_HEADER),
        If(equal, TCP, 17, 14),
        If(equal, ICMPV6, V6_IS_ICMP, PASS),
        Do(half, IPV6_PAYLOAD),
        If(equal, PORT_UNREACHABLE_V6, SHOT, PASS),
        Do(BPF_LDX | BPF_IMM, IPV6_PAYLOAD - IP),
        Do(BPF_LD | BPF_B | BPF_IND, IP + tcp::FLAGS),
        Do(BPF_ALU | BPF_AND | BPF_K, FIN_SYN_RST_ACK),
        If(equal, RST_ACK, 21, PASS),
        Do(BPF_LD | BPF_W | BPF_IND, IP + tcp::SEQUENCE),
        If(equal, 0, SHOT, PASS),
        Do(BPF_RET | BPF_K, LET_PASS),
        Do(BPF_RET | BPF_K, TAKE),
    ])
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;
    use crate::agent::bpf;

    fn takes(filter: Filter, frame: &[u8]) -> bool {
        match bpf::run(&filter.program(), 0, frame) {
            TAKE => true,
            LET_PASS => false,
            other => panic!("{other}"),
        }
    }

    fn segment(v6: bool, rst: bool, ack: bool, sequence: u32) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2([1; 6], [2; 6]);
        let ip = if v6 {
            ethernet.ipv6([1; 16], [2; 16], 64)
        } else {
            ethernet.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        };
        let mut tcp = ip.tcp(15_102, 40_000, sequence, 0);
        if rst {
            tcp = tcp.rst();
        }
        if ack {
            tcp = tcp.ack(78);
        }
        let mut bytes = Vec::new();
        tcp.write(&mut bytes, &[]).unwrap();
        bytes
    }

    #[test]
    fn a_stealth_host_keeps_its_answers_to_closed_ports_to_itself() {
        for v6 in [false, true] {
            for (rst, ack, sequence, taken) in [
                (true, true, 0, true),
                (true, true, 1, false),
                (true, false, 0, false),
                (true, false, 77, false),
                (false, true, 0, false),
            ] {
                let frame = segment(v6, rst, ack, sequence);
                assert_eq!(
                    takes(Filter::Stealth, &frame),
                    taken,
                    "{v6} {rst} {ack} {sequence}"
                );
            }
        }
        let mut fragment = segment(false, true, true, 0);
        fragment[21] = 7;
        assert!(!takes(Filter::Stealth, &fragment));
    }

    #[test]
    fn a_stealth_host_does_not_tell_that_a_port_is_unreachable() {
        use etherparse::{Icmpv4Type, Icmpv6Type, icmpv4, icmpv6};
        let ethernet = || PacketBuilder::ethernet2([1; 6], [2; 6]);
        let v4 = |code| {
            let ip = ethernet().ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
            let mut bytes = Vec::new();
            let icmp = ip.icmpv4(Icmpv4Type::DestinationUnreachable(code));
            icmp.write(&mut bytes, &[0; 28]).unwrap();
            bytes
        };
        let v6 = |code| {
            let ip = ethernet().ipv6([1; 16], [2; 16], 64);
            let mut bytes = Vec::new();
            let icmp = ip.icmpv6(Icmpv6Type::DestinationUnreachable(code));
            icmp.write(&mut bytes, &[0; 48]).unwrap();
            bytes
        };
        assert!(takes(
            Filter::Stealth,
            &v4(icmpv4::DestUnreachableHeader::Port)
        ));
        assert!(!takes(
            Filter::Stealth,
            &v4(icmpv4::DestUnreachableHeader::Host)
        ));
        assert!(takes(
            Filter::Stealth,
            &v6(icmpv6::DestUnreachableCode::Port)
        ));
        assert!(!takes(
            Filter::Stealth,
            &v6(icmpv6::DestUnreachableCode::Address)
        ));
    }

    #[test]
    fn examples_are_taken() {
        for filter in [Filter::Cut, Filter::Stealth] {
            let example = filter.example([2; 6]);
            assert!(takes(filter, &example), "{filter:?}");
            assert!(!takes(Filter::Nothing, &example));
        }
    }

    #[test]
    fn a_cut_lets_sentinels_alone_pass() {
        assert!(takes(Filter::Cut, &segment(false, true, true, 0)));
        let mut frame = vec![0; 60];
        assert!(takes(Filter::Cut, &frame));
        frame[12..14].copy_from_slice(&SENTINEL_ETHERTYPE.to_be_bytes());
        assert!(!takes(Filter::Cut, &frame));
    }
}
