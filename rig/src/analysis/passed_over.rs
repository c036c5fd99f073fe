//! Packets of a capture that are in no flow, and why.

use std::fmt;

use etherparse::{IpNumber, ip_number};

use crate::wire::{LinkType, Transport, Undecoded, arp_operation};

/// The most kinds of packets of which a message tells the numbers.
const MAX_KINDS: usize = 4;

/// Packets of a capture that belong to no flow, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PassedOver {
    /// Other protocols than IP.
    pub not_ip: u64,
    /// Of these, requests and replies of ARP.
    pub arp_requests: u64,
    /// See there.
    pub arp_replies: u64,
    /// Of `EtherType`s that are not read and may carry IP.
    pub ether_types: Kinds,
    /// With more tags or encapsulations than are passed over.
    pub too_deep: u64,
    /// ICMP, errors included.
    pub icmp: u64,
    /// Tunnels over IP that are not read, by their IP protocol number.
    pub tunnels: Kinds,
    /// Other IP packets that are neither TCP nor UDP, by their IP protocol number.
    pub other_transport: Kinds,
    /// Fragments of packets that cannot be put together.
    pub fragments: u64,
    /// Cut off by the capture before the ports are known.
    pub cut: u64,
    /// With headers that contradict themselves or the packet's length, before the ports are known.
    pub malformed: u64,
    /// With a wrong checksum in the IP header, so that the addresses are not sure.
    pub ip_checksum: u64,
    /// Of a link type that is not read.
    pub link_type: u64,
    /// The first such link type.
    pub unread_link_type: Option<LinkType>,
}

/// How many packets there were, and the first few numbers that tell their kinds apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kinds {
    /// All of them.
    pub total: u64,
    first: [Option<u16>; MAX_KINDS],
    more: bool,
}

impl Kinds {
    #[cold]
    fn add(&mut self, kind: u16) {
        self.total += 1;
        if self.first.contains(&Some(kind)) {
            return;
        }
        match self.first.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(kind),
            None => self.more = true,
        }
    }

    fn list(&self, shown: impl Fn(u16) -> String) -> String {
        let mut kinds: Vec<_> = self.first.iter().flatten().copied().map(shown).collect();
        if self.more {
            kinds.push("others".to_owned());
        }
        kinds.join(", ")
    }
}

impl PassedOver {
    /// Whether packets are missing from the flows that a better capture, or a program that reads
    /// more, would have shown there.
    #[must_use]
    pub fn is_worth_telling(&self) -> bool {
        self.told().iter().any(|(count, _)| *count > 0)
    }

    /// What a capture without a single connection holds instead, in words.
    #[must_use]
    pub fn instead_of_flows(&self) -> String {
        let mut parts = Vec::new();
        let arp = self.arp_requests + self.arp_replies;
        if arp > 0 && self.arp_replies == 0 {
            let requests = if arp == 1 { "request" } else { "requests" };
            parts.push(format!("{arp} ARP {requests} without an answer"));
        } else if arp > 0 {
            parts.push(format!("{arp} of ARP"));
        }
        let others = self.not_ip.saturating_sub(arp);
        if others > 0 {
            parts.push(format!("{others} of other protocols than IP"));
        }
        if self.icmp > 0 {
            parts.push(format!("{} of ICMP", self.icmp));
        }
        let others = &self.other_transport;
        if others.total > 0 {
            let protocols = others.list(ip_protocol);
            parts.push(format!(
                "{} of other protocols over IP ({protocols})",
                others.total
            ));
        }
        if self.is_worth_telling() {
            parts.push(self.to_string());
        }
        if parts.is_empty() {
            parts.push("none".to_owned());
        }
        let packets = parts.join(", ");
        format!("no connection is in this capture; its packets: {packets}")
    }

    /// Counts a packet that could not be read. `cut` tells that the capture holds a part of it only.
    #[cold]
    pub(super) fn count(&mut self, reason: Undecoded, link: LinkType, data: &[u8], cut: bool) {
        match reason {
            Undecoded::NotIp => {
                self.not_ip += 1;
                self.count_arp(link, data);
            }
            Undecoded::EtherType(ether_type) => self.ether_types.add(ether_type),
            Undecoded::TooDeep => self.too_deep += 1,
            Undecoded::Malformed => self.count_malformed(cut),
            Undecoded::LinkType(link) => {
                self.link_type += 1;
                self.unread_link_type.get_or_insert(link);
            }
        }
    }

    /// Counts an IP packet by what it carries. `cut` tells that the capture holds a part of it only.
    #[inline]
    pub(super) fn count_transport(
        &mut self,
        transport: &Transport<'_>,
        cut: impl FnOnce() -> bool,
    ) {
        match transport {
            // Fragments that wait for others are no loss yet.
            Transport::Tcp(_) | Transport::Udp(_) | Transport::Fragment => {}
            Transport::IcmpError(_) => self.icmp += 1,
            Transport::Other(protocol) => self.count_other(*protocol),
            Transport::Malformed => self.count_malformed(cut()),
        }
    }

    #[cold]
    fn count_malformed(&mut self, cut: bool) {
        if cut {
            self.cut += 1;
        } else {
            self.malformed += 1;
        }
    }

    #[cold]
    fn count_other(&mut self, protocol: u8) {
        match IpNumber(protocol) {
            ip_number::ICMP | ip_number::IPV6_ICMP => self.icmp += 1,
            ip_number::IPV4
            | ip_number::IPV6
            | ip_number::GRE
            | ip_number::ENCAPSULATING_SECURITY_PAYLOAD
            | ip_number::MOBILE
            | ip_number::IPIP
            | ip_number::ETHER_IP
            | ip_number::IP_COMP
            | ip_number::LAYER2_TUNNELING_PROTOCOL
            | ip_number::MPLS_IN_IP => self.tunnels.add(protocol.into()),
            _ => self.other_transport.add(protocol.into()),
        }
    }

    /// Counts a message of ARP, RFC 826.
    fn count_arp(&mut self, link: LinkType, data: &[u8]) {
        match arp_operation(link, data) {
            Some(1) => self.arp_requests += 1,
            Some(2) => self.arp_replies += 1,
            _ => {}
        }
    }

    /// What is worth telling, where there was any of it.
    fn told(&self) -> [(u64, &'static str); 8] {
        [
            (self.link_type, "of a link type that is not read"),
            (self.ether_types.total, "of EtherTypes that are not read"),
            (self.tunnels.total, "of tunnels that are not read"),
            (
                self.too_deep,
                "with more tags or encapsulations than are read",
            ),
            (self.cut, "cut off by the capture before their ports"),
            (self.malformed, "malformed"),
            (self.ip_checksum, "with a wrong checksum in the IP header"),
            (self.fragments, "fragments of packets that are not complete"),
        ]
    }
}

impl fmt::Display for PassedOver {
    /// What is worth telling, as a fragment: `2 malformed, 3 of EtherTypes that are not read (0x88e5)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let link = self
            .unread_link_type
            .map_or_else(String::new, |link| link.to_string());
        let kinds = [
            link,
            self.ether_types.list(|number| format!("{number:#06x}")),
            self.tunnels.list(ip_protocol),
        ];
        let kinds = kinds.iter().map(Some).chain(std::iter::repeat(None));
        let mut separator = "";
        for ((count, what), kinds) in self.told().iter().zip(kinds) {
            if *count == 0 {
                continue;
            }
            write!(f, "{separator}{count} {what}")?;
            if let Some(kinds) = kinds {
                write!(f, " ({kinds})")?;
            }
            separator = ", ";
        }
        Ok(())
    }
}

/// `SCTP`, or `protocol 253` where it has no usual name.
fn ip_protocol(number: u16) -> String {
    let known = u8::try_from(number).ok();
    known
        .and_then(|number| IpNumber(number).keyword_str())
        .map_or_else(|| format!("protocol {number}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_packet_is_told() {
        let mut passed_over = PassedOver::default();
        assert!(!passed_over.is_worth_telling());
        assert!(
            passed_over
                .instead_of_flows()
                .ends_with("its packets: none")
        );
        let arp = |operation: u8| {
            let mut frame = [0; 42];
            frame[12..14].copy_from_slice(&[8, 6]);
            frame[21] = operation;
            frame
        };
        let mut count = |reason, data: &[u8]| {
            passed_over.count(reason, LinkType::Ethernet, data, false);
        };
        count(Undecoded::NotIp, &arp(1));
        count(Undecoded::NotIp, &[]);
        for ether_type in [0x88e5, 0x88e5, 0x894f, 1, 2, 3] {
            count(Undecoded::EtherType(ether_type), &[]);
        }
        count(Undecoded::LinkType(LinkType::Other(105)), &[]);
        count(Undecoded::TooDeep, &[]);
        for transport in [
            Transport::Other(1),
            Transport::Other(50),
            Transport::Other(132),
            Transport::Other(253),
            Transport::Malformed,
        ] {
            passed_over.count_transport(&transport, || true);
        }
        assert_eq!(
            passed_over.instead_of_flows(),
            "no connection is in this capture; its packets: 1 ARP request without an answer, 1 of other protocols \
             than IP, 1 of ICMP, 2 of other protocols over IP (SCTP, protocol 253), 1 of a link type that is not read \
             (link type 105), 6 of EtherTypes that are not read (0x88e5, 0x894f, 0x0001, 0x0002, others), 1 of \
             tunnels that are not read (ESP), 1 with more tags or encapsulations than are read, 1 cut off by the \
             capture before their ports"
        );
        let answered = arp(2);
        passed_over.count(Undecoded::NotIp, LinkType::Ethernet, &answered, false);
        assert!(passed_over.instead_of_flows().contains("2 of ARP"));
    }
}
