//! The options of Multipath TCP: RFC 8684 section 3, and those of version 0 (RFC 6824).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ring::digest;

use super::options;

/// Kind of every option of Multipath TCP (IANA).
pub const MPTCP_KIND: u8 = 30;

/// An option of Multipath TCP, `tcp.options.mptcp` in Wireshark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MptcpOption {
    /// `MP_CAPABLE`: the first subflow of a connection begins.
    Capable(Capable),
    /// `MP_JOIN`: a further subflow begins.
    Join(Join),
    /// DSS: where payload stands in the data of the connection, and what of the peer's has arrived.
    Dss(Dss),
    /// `ADD_ADDR`: an address at which the sender may be reached as well.
    AddAddress {
        /// The number that the sender has for it.
        id: u8,
        /// The address.
        address: IpAddr,
        /// Its port, where it is not that of the subflow.
        port: Option<u16>,
        /// It tells that the peer's option has arrived, version 1.
        echo: bool,
    },
    /// `REMOVE_ADDR`: addresses at which the sender is no longer reached.
    RemoveAddress {
        /// The first of them.
        id: u8,
        /// How many there are.
        count: u8,
    },
    /// `MP_PRIO`: whether a subflow is for backup only.
    Priority {
        /// It is.
        backup: bool,
    },
    /// `MP_FAIL`: a checksum was wrong.
    Fail,
    /// `MP_FASTCLOSE`: the whole connection is aborted.
    FastClose,
    /// `MP_TCPRST`: why a subflow is reset, version 1.
    Reset(ResetReason),
    /// A subtype that is not known, or an option of a length that its subtype cannot have.
    Other(u8),
}

/// What `MP_CAPABLE` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capable {
    /// Version of the protocol, 0 or 1.
    pub version: u8,
    /// Key of the sender; version 1 leaves it out of the SYN.
    pub sender_key: Option<Key>,
    /// Key of the receiver; in the third segment of the handshake, and with the first data.
    pub receiver_key: Option<Key>,
    /// The segment carries the first data of the connection, of this length in bytes; version 1.
    pub data_len_bytes: Option<u16>,
}

/// What `MP_JOIN` tells; which of it depends on the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// Of a SYN: the connection, by the token that its receiver has for it, and the sender's number for its
    /// own address.
    Syn {
        /// The receiver's token.
        token: Token,
        /// The sender's number for the address that it has here.
        address_id: u8,
        /// The subflow is for backup only.
        backup: bool,
    },
    /// Of a SYN-ACK.
    SynAck {
        /// The sender's number for the address that it has here.
        address_id: u8,
        /// The subflow is for backup only.
        backup: bool,
    },
    /// Of the third segment.
    Ack,
}

/// What DSS tells. Numbers have 32 bits or 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dss {
    /// `DATA_ACK`: all data before this number has arrived.
    pub ack: Option<DataNumber>,
    /// Where the payload stands.
    pub mapping: Option<Mapping>,
    /// `DATA_FIN`: no more data from the sender, on any subflow. It takes up the last number of the mapping.
    pub fin: bool,
}

/// A mapping of payload to the data of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// Data sequence number of its first byte.
    pub number: DataNumber,
    /// Sequence number of the same byte relative to the subflow's initial one; zero for a `DATA_FIN` alone.
    pub subflow_seq: u32,
    /// Length in bytes, with one for a `DATA_FIN`; zero says that the mapping has no end, since Multipath TCP is
    /// given up (RFC 8684 section 3.7).
    pub len_bytes: u16,
}

/// A data sequence number, or the lower half of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataNumber {
    /// The whole number.
    Whole(u64),
    /// Its lower 32 bits.
    Low(u32),
}

/// Why a subflow is reset: reason and flags of `MP_TCPRST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResetReason(pub u8);

impl ResetReason {
    /// What the reason means, RFC 8684 section 3.6.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            0 => "unspecified error",
            1 => "MPTCP-specific error",
            2 => "lack of resources",
            3 => "administratively prohibited",
            4 => "too much outstanding data",
            5 => "unacceptable performance",
            6 => "middlebox interference",
            _ => "unassigned",
        }
    }
}

/// The key by which a host proves that a further subflow is of the connection, RFC 8684 section 3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(pub u64);

/// A host's name for a connection, made from its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub u32);

impl Key {
    /// The token and the initial data sequence number that a key stands for: the first 32 and the last 64 bits of
    /// its digest, which is SHA-256, and SHA-1 in version 0.
    #[must_use]
    pub fn derive(self, version: u8) -> (Token, u64) {
        let algorithm = if version == 0 {
            &digest::SHA1_FOR_LEGACY_USE_ONLY
        } else {
            &digest::SHA256
        };
        let digest = digest::digest(algorithm, &self.0.to_be_bytes());
        let first = digest.as_ref().first_chunk().copied().unwrap_or_default();
        let last = digest.as_ref().last_chunk().copied().unwrap_or_default();
        (Token(u32::from_be_bytes(first)), u64::from_be_bytes(last))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The options of Multipath TCP among those of a segment, up to the first option that does not fit.
pub(super) fn options(bytes: &[u8]) -> impl Iterator<Item = MptcpOption> {
    let own = options::each(bytes).filter(|(kind, _)| *kind == MPTCP_KIND);
    own.filter_map(|(_, value)| {
        let subtype = value.first()? >> 4;
        let read = read(subtype, value);
        Some(read.unwrap_or(MptcpOption::Other(subtype)))
    })
}

/// Whether a byte is the kind of these options, four bytes at a time: options fill whole words.
#[inline]
pub(super) fn may_be_in(bytes: &[u8]) -> bool {
    const ONES: u32 = 0x0101_0101;
    let (words, rest) = bytes.as_chunks::<4>();
    // Taking one from all bytes at once sets a highest bit that was clear only where some byte is zero.
    let has = |word: &[u8; 4]| {
        let zero_where_kind = u32::from_ne_bytes(*word) ^ (ONES * u32::from(MPTCP_KIND));
        zero_where_kind.wrapping_sub(ONES) & !zero_where_kind & (ONES << 7) != 0
    };
    words.iter().any(has) || rest.contains(&MPTCP_KIND)
}

fn read(subtype: u8, value: &[u8]) -> Option<MptcpOption> {
    let mut fields = Fields(value);
    // The lengths of RFC 8684 count kind and length, too.
    let len = value.len() + 2;
    let head = fields.u8()?;
    Some(match subtype {
        0 => MptcpOption::Capable(capable(head & 0x0f, len, fields)?),
        1 => MptcpOption::Join(join(head & 1 != 0, len, fields)?),
        2 => MptcpOption::Dss(dss(fields)?),
        3 => add_address(head & 0x0f, len, fields)?,
        4 => MptcpOption::RemoveAddress {
            id: fields.u8()?,
            count: u8::try_from(len - 3).ok()?,
        },
        5 => MptcpOption::Priority {
            backup: head & 1 != 0,
        },
        6 => MptcpOption::Fail,
        7 => MptcpOption::FastClose,
        8 => MptcpOption::Reset(ResetReason(fields.u8()?)),
        other => MptcpOption::Other(other),
    })
}

fn capable(version: u8, len: usize, mut fields: Fields<'_>) -> Option<Capable> {
    // Which algorithms there are, and whether checksums are used.
    fields.u8()?;
    let (sender, receiver, data) = match len {
        4 => (false, false, false),
        12 => (true, false, false),
        20 => (true, true, false),
        22 | 24 => (true, true, true),
        _ => return None,
    };
    let mut key = |present: bool| if present { fields.u64() } else { None };
    let [sender_key, receiver_key] = [key(sender), key(receiver)].map(|key| key.map(Key));
    Some(Capable {
        version,
        sender_key,
        receiver_key,
        data_len_bytes: if data { fields.u16() } else { None },
    })
}

fn join(backup: bool, len: usize, mut fields: Fields<'_>) -> Option<Join> {
    let address_id = fields.u8()?;
    match len {
        12 => Some(Join::Syn {
            token: Token(fields.u32()?),
            address_id,
            backup,
        }),
        16 => Some(Join::SynAck { address_id, backup }),
        24 => Some(Join::Ack),
        _ => None,
    }
}

fn dss(mut fields: Fields<'_>) -> Option<Dss> {
    const ACK: u8 = 0x01;
    const WHOLE_ACK: u8 = 0x02;
    const MAPPING: u8 = 0x04;
    const WHOLE_NUMBER: u8 = 0x08;
    const FIN: u8 = 0x10;
    let flags = fields.u8()?;
    let has = |flag: u8| flags & flag != 0;
    let ack = if has(ACK) {
        Some(fields.number(has(WHOLE_ACK))?)
    } else {
        None
    };
    let mapping = if has(MAPPING) {
        Some(Mapping {
            number: fields.number(has(WHOLE_NUMBER))?,
            subflow_seq: fields.u32()?,
            len_bytes: fields.u16()?,
        })
    } else {
        None
    };
    let fin = has(FIN);
    Some(Dss { ack, mapping, fin })
}

fn add_address(low: u8, len: usize, mut fields: Fields<'_>) -> Option<MptcpOption> {
    let id = fields.u8()?;
    // Version 0 writes the version of IP where version 1 has its flag, and has no digest of 8 bytes.
    let is_v6 = len >= 20;
    let address = if is_v6 {
        IpAddr::V6(Ipv6Addr::from(fields.take::<16>()?))
    } else {
        IpAddr::V4(Ipv4Addr::from(fields.take::<4>()?))
    };
    let after = fields.0.len();
    Some(MptcpOption::AddAddress {
        id,
        address,
        port: if matches!(after, 2 | 10) {
            fields.u16()
        } else {
            None
        },
        echo: low == 1,
    })
}

/// What is left of an option.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn number(&mut self, whole: bool) -> Option<DataNumber> {
        if whole {
            self.u64().map(DataNumber::Whole)
        } else {
            self.u32().map(DataNumber::Low)
        }
    }
}

impl fmt::Display for MptcpOption {
    /// As the RFC names it, with what it tells.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let backup = |backup: bool| if backup { ", backup" } else { "" };
        match *self {
            Self::Capable(Capable {
                version,
                data_len_bytes,
                ..
            }) => {
                write!(f, "MP_CAPABLE version {version}")?;
                data_len_bytes.map_or(Ok(()), |len| write!(f, ", data {len}"))
            }
            Self::Join(Join::Syn {
                token,
                address_id,
                backup: flag,
            }) => {
                let backup = backup(flag);
                write!(f, "MP_JOIN {token}, address {address_id}{backup}")
            }
            Self::Join(Join::SynAck {
                address_id,
                backup: flag,
            }) => write!(f, "MP_JOIN address {address_id}{}", backup(flag)),
            Self::Join(Join::Ack) => f.write_str("MP_JOIN"),
            Self::Dss(Dss { fin: true, .. }) => f.write_str("DATA_FIN"),
            Self::Dss(_) => f.write_str("DSS"),
            Self::AddAddress {
                id,
                address,
                port,
                echo,
            } => {
                write!(f, "ADD_ADDR {id} {address}")?;
                port.map_or(Ok(()), |port| write!(f, " port {port}"))?;
                f.write_str(if echo { ", echo" } else { "" })
            }
            Self::RemoveAddress { id, count: 1 } => write!(f, "REMOVE_ADDR {id}"),
            Self::RemoveAddress { id, count } => {
                write!(f, "REMOVE_ADDR {id} and {} more", count.saturating_sub(1))
            }
            Self::Priority { backup: true } => f.write_str("MP_PRIO backup"),
            Self::Priority { backup: false } => f.write_str("MP_PRIO"),
            Self::Fail => f.write_str("MP_FAIL"),
            Self::FastClose => f.write_str("MP_FASTCLOSE"),
            Self::Reset(reason) => write!(f, "MP_TCPRST {} ({})", reason.0, reason.name()),
            Self::Other(subtype) => write!(f, "MPTCP subtype {subtype}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(bytes: &[u8]) -> Vec<MptcpOption> {
        options(bytes).collect()
    }

    fn shown(bytes: &[u8]) -> Vec<String> {
        options(bytes).map(|option| option.to_string()).collect()
    }

    #[test]
    fn a_key_stands_for_a_token_and_a_first_number() {
        // As Linux 6.18 had them: the DATA_FIN after ten bytes is the eleventh number.
        let (token, first) = Key(15_363_905_885_423_266_671).derive(1);
        assert_eq!(token, Token(3_442_694_850));
        assert_eq!(first + 11, 17_785_533_263_881_259_385);
        // SHA-1 of eight zero bytes is 05fe405753166f125559e7c9ac558654f107c7e9.
        let (token, number) = Key(0).derive(0);
        assert_eq!(token, Token(0x05fe_4057));
        assert_eq!(number, 0xac55_8654_f107_c7e9);
    }

    #[test]
    fn the_handshake_is_read() {
        let key = [1, 2, 3, 4, 5, 6, 7, 8];
        let one = Some(Key(u64::from_be_bytes(key)));
        let capable = |option: &[u8]| match read_all(option)[..] {
            [MptcpOption::Capable(capable)] => capable,
            ref other => panic!("{other:?}"),
        };
        let syn = capable(&[2, 4, 5, 0xb4, 30, 4, 0x01, 0x01]);
        assert_eq!((syn.version, syn.sender_key), (1, None));
        let answer = capable(&[&[30, 12, 0x01, 0x01], &key[..]].concat());
        assert_eq!((answer.sender_key, answer.receiver_key), (one, None));
        let third = capable(&[&[30, 20, 0x00, 0x81], &key[..], &key[..]].concat());
        assert_eq!((third.version, third.receiver_key), (0, one));
        let data = capable(&[&[30, 22, 0x01, 0x01], &key[..], &key[..], &[0, 10]].concat());
        assert_eq!(data.data_len_bytes, Some(10));
        let sum = capable(&[&[30, 24, 0x01, 0x81], &key[..], &key[..], &[0, 10, 7, 7]].concat());
        assert_eq!(sum.data_len_bytes, Some(10));
        let join = [30, 12, 0x11, 3, 0xab, 0xcd, 0, 1, 9, 9, 9, 9];
        assert_eq!(shown(&join), ["MP_JOIN abcd0001, address 3, backup"]);
        let answer = [&[30, 16, 0x10, 4][..], &[0; 12]].concat();
        assert_eq!(shown(&answer), ["MP_JOIN address 4"]);
        let third = [&[30, 24, 0x10, 0][..], &[0; 20]].concat();
        assert_eq!(shown(&third), ["MP_JOIN"]);
    }

    #[test]
    fn numbers_have_either_length() {
        let short = [30, 16, 0x20, 0x05, 0, 0, 0, 9, 0, 0, 0, 7, 0, 0, 0, 1];
        // Cut before the length of the mapping.
        assert_eq!(read_all(&short), [MptcpOption::Other(2)]);
        let short = [30, 18, 0x20, 0x05, 0, 0, 0, 9, 0, 0, 0, 7, 0, 0, 0, 1, 0, 5];
        let dss = Dss {
            ack: Some(DataNumber::Low(9)),
            mapping: Some(Mapping {
                number: DataNumber::Low(7),
                subflow_seq: 1,
                len_bytes: 5,
            }),
            fin: false,
        };
        assert_eq!(read_all(&short), [MptcpOption::Dss(dss)]);
        let long = [
            &[30, 26, 0x20, 0x1f][..],
            &9_u64.to_be_bytes(),
            &7_u64.to_be_bytes(),
            &[0, 0, 0, 0, 0, 1],
        ];
        let dss = Dss {
            ack: Some(DataNumber::Whole(9)),
            mapping: Some(Mapping {
                number: DataNumber::Whole(7),
                subflow_seq: 0,
                len_bytes: 1,
            }),
            fin: true,
        };
        assert_eq!(read_all(&long.concat()), [MptcpOption::Dss(dss)]);
    }

    #[test]
    fn the_others_are_read() {
        let v4 = [30, 8, 0x31, 2, 10, 0, 0, 9];
        assert_eq!(shown(&v4), ["ADD_ADDR 2 10.0.0.9, echo"]);
        let v4 = [&[30, 18, 0x30, 2, 10, 0, 0, 9, 0x1f, 0x90][..], &[7; 8]].concat();
        assert_eq!(shown(&v4), ["ADD_ADDR 2 10.0.0.9 port 8080"]);
        let old = [30, 10, 0x34, 2, 10, 0, 0, 9, 0x1f, 0x90];
        assert_eq!(shown(&old), ["ADD_ADDR 2 10.0.0.9 port 8080"]);
        let v6 = [&[30, 28, 0x30, 2][..], &[0; 15], &[1], &[7; 8]].concat();
        assert_eq!(shown(&v6), ["ADD_ADDR 2 ::1"]);
        let many = [30, 5, 0x40, 2, 3, 30, 4, 0x51, 1, 1, 1, 30, 4, 0x80, 6];
        assert_eq!(
            shown(&many),
            [
                "REMOVE_ADDR 2 and 1 more",
                "MP_PRIO backup",
                "MP_TCPRST 6 (middlebox interference)"
            ]
        );
        let ends = [&[30, 12, 0x60, 0][..], &[0; 8], &[30, 12, 0x70, 0], &[0; 8]];
        assert_eq!(shown(&ends.concat()), ["MP_FAIL", "MP_FASTCLOSE"]);
        assert_eq!(shown(&[30, 3, 0xf0]), ["MPTCP subtype 15"]);
    }

    #[test]
    fn what_does_not_fit_ends_the_options() {
        for bytes in [
            &[30][..],
            &[30, 0, 0, 0],
            &[30, 1, 0, 0],
            &[30, 4, 0],
            &[0, 30, 4, 0x80, 0],
            &[2, 40, 30, 4, 0x80, 0],
        ] {
            assert!(read_all(bytes).is_empty(), "{bytes:?}");
        }
        // An option of two bytes has no subtype.
        assert_eq!(shown(&[30, 2, 1, 30, 4, 0x80, 0]).len(), 1);
    }

    proptest! {
        #[test]
        fn hostile_options_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let read = read_all(&bytes);
            prop_assert!(read.len() <= bytes.len() / 3);
            prop_assert_eq!(may_be_in(&bytes), bytes.contains(&MPTCP_KIND));
            for option in read {
                prop_assert!(!option.to_string().is_empty());
            }
        }

        #[test]
        fn hostile_lengths_never_panic(subtype in 0..16_u8, len in 0..45_u8, fill: u8, cut in 0..45_usize) {
            let mut bytes = vec![fill; 44];
            bytes[..3].copy_from_slice(&[MPTCP_KIND, len, subtype << 4 | fill & 0x0f]);
            bytes.truncate(cut);
            let read = read_all(&bytes);
            prop_assert!(len < 3 || cut < usize::from(len) || !read.is_empty());
        }
    }
}
