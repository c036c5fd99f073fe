//! ICMP messages about packets that went wrong, and the packets that they quote.

use std::fmt;
use std::net::SocketAddr;

use super::ip;

/// Type and code of an ICMP error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IcmpKind {
    /// Of `ICMPv6` and not of ICMP, which number their messages differently.
    pub v6: bool,
    /// Type field.
    pub icmp_type: u8,
    /// Code field.
    pub code: u8,
}

/// An ICMP error about a TCP segment or UDP datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpError {
    /// What went wrong.
    pub kind: IcmpKind,
    /// The packet it is about was a TCP segment, and otherwise a UDP datagram.
    pub about_tcp: bool,
    /// Who sent the packet that it is about.
    pub sender: SocketAddr,
    /// Where that packet was to go.
    pub receiver: SocketAddr,
}

const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;

/// Reads an ICMP error; none for other messages, and for those that quote neither TCP nor UDP.
#[cold]
pub(super) fn error(protocol: u8, bytes: &[u8]) -> Option<IcmpError> {
    const HEADER_BYTES: usize = 8;
    let kind = IcmpKind {
        v6: match protocol {
            ICMP => false,
            ICMP_V6 => true,
            _ => return None,
        },
        icmp_type: *bytes.first()?,
        code: *bytes.get(1)?,
    };
    if !kind.is_error() {
        return None;
    }
    let quoted = ip::read(bytes.get(HEADER_BYTES..)?, 0)?;
    let about_tcp = match quoted.protocol {
        _ if quoted.cut || quoted.is_later_piece() => return None,
        6 => true,
        17 => false,
        _ => return None,
    };
    let port = |at: usize| {
        let pair = quoted.payload.get(at..)?.first_chunk()?;
        Some(u16::from_be_bytes(*pair))
    };
    Some(IcmpError {
        kind,
        about_tcp,
        sender: SocketAddr::new(quoted.source, port(0)?),
        receiver: SocketAddr::new(quoted.destination, port(2)?),
    })
}

impl IcmpKind {
    /// Whether messages of this type quote the packet that they are about.
    fn is_error(self) -> bool {
        if self.v6 {
            matches!(self.icmp_type, 1..=4)
        } else {
            matches!(self.icmp_type, 3 | 4 | 5 | 11 | 12)
        }
    }

    /// What went wrong, in the words of RFC 792, RFC 1122, RFC 1812 and RFC 4443.
    #[must_use]
    pub fn name(self) -> &'static str {
        match (self.v6, self.icmp_type, self.code) {
            (false, 3, 0) => "network unreachable",
            (false, 3, 1) => "host unreachable",
            (false, 3, 2) => "protocol unreachable",
            (false, 3, 3) | (true, 1, 4) => "port unreachable",
            (false, 3, 4) => "fragmentation needed",
            (false, 3, 5) => "source route failed",
            (false, 3, 6) => "network unknown",
            (false, 3, 7) => "host unknown",
            (false, 3, 9 | 10 | 13) | (true, 1, 1) => "administratively prohibited",
            (false, 4, _) => "source quench",
            (false, 5, _) => "redirect",
            (false, 11, 0) => "TTL exceeded",
            (false, 12, _) | (true, 4, _) => "parameter problem",
            (true, 1, 0) => "no route",
            (true, 1, 2) => "beyond scope",
            (true, 1, 3) => "address unreachable",
            (true, 1, 5) => "source policy failed",
            (true, 1, 6) => "route rejected",
            (true, 2, _) => "packet too big",
            (true, 3, 0) => "hop limit exceeded",
            (false, 11, _) | (true, 3, _) => "reassembly time exceeded",
            _ => "destination unreachable",
        }
    }
}

impl fmt::Display for IcmpKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
