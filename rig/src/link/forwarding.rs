//! A link with both its directions.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::account::{Arrival, LinkAccount, Loss, RuleAccount, What};
use super::icmp::{self, Trouble};
use super::lane::Lane;
use super::masquerade::{Change, Masquerade};
use super::packet::{self, Header};
use super::random::Draws;
use super::rule::{Counted, Rule};
use super::settings::Settings;
use crate::pattern::PatternError;
use crate::units::Timestamp;
use crate::wire::digest;

/// One of the two networks of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The network that is named first.
    First,
    /// The other one.
    Second,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::First, Self::Second];

    /// Its place in lists of two.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.number())
    }

    /// 0 or 1.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::First => 0,
            Self::Second => 1,
        }
    }

    /// The other side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// A network that can be reached, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Route {
    /// The network.
    pub network: Ipv4Net,
    /// The address of the next link on the way; none where the network begins here.
    pub via: Option<Ipv4Addr>,
}

/// What a link is told to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkOrder {
    /// Its address on each side.
    pub addresses: [Ipv4Addr; 2],
    /// What can be reached on each side.
    pub routes: [Vec<Route>; 2],
    /// What it does to packets that come from each side.
    pub settings: [Settings; 2],
    /// Where its random numbers begin.
    pub seed: u64,
    /// Hosts of the first side are hidden behind the link's address on the second.
    pub masquerade: bool,
    /// Packets that it loses.
    pub rules: Vec<Rule>,
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It leaves on the other side at this time, to the host with this address there.
    Sent {
        /// When.
        due: Timestamp,
        /// The next address on its way.
        next: Ipv4Addr,
        /// A copy of it leaves right after it.
        twice: bool,
        /// What it was known by when it arrived.
        digest: u64,
    },
    /// It is lost, and its sender gets this packet, from the side that it came from.
    Answered(Vec<u8>),
    /// It is lost.
    Lost,
}

/// A packet that was translated, and what was changed of it.
type Translated = (Vec<u8>, Change);

/// A link at work.
#[derive(Debug)]
pub struct Link {
    addresses: [Ipv4Addr; 2],
    routes: [Vec<Route>; 2],
    lanes: [Lane; 2],
    masquerade: Option<Masquerade>,
    rules: Vec<Counted>,
    partition: Vec<Vec<Ipv4Addr>>,
    account: LinkAccount,
}

impl Link {
    /// A link that no packet has met.
    ///
    /// # Errors
    /// A rule whose event cannot be read.
    pub fn new(order: LinkOrder) -> Result<Self, PatternError> {
        let [first, second] = order.settings;
        let rules: Result<Vec<Counted>, PatternError> =
            order.rules.into_iter().map(Counted::new).collect();
        let [_, outside] = order.addresses;
        Ok(Self {
            addresses: order.addresses,
            routes: order.routes,
            lanes: [
                Lane::new(first, order.seed, Side::First.number()),
                Lane::new(second, order.seed, Side::Second.number()),
            ],
            masquerade: order.masquerade.then(|| Masquerade::new(outside)),
            rules: rules?,
            partition: Vec::new(),
            account: LinkAccount::default(),
        })
    }

    /// Changes what it does from now on, by the side that packets come from. What is under way
    /// stays so.
    pub fn set(&mut self, settings: [Settings; 2]) {
        for (lane, settings) in self.lanes.iter_mut().zip(settings) {
            lane.settings = settings;
        }
    }

    /// Adds a rule, after those that are there.
    ///
    /// # Errors
    /// A rule whose event cannot be read.
    pub fn lose(&mut self, rule: Rule) -> Result<(), PatternError> {
        self.rules.push(Counted::new(rule)?);
        Ok(())
    }

    /// Lets nothing pass between addresses of different groups; nothing is parted without groups.
    pub fn partition(&mut self, groups: Vec<Vec<Ipv4Addr>>) {
        self.partition = groups;
    }

    /// Takes an IP packet that arrives from a side at a moment, and changes it as it shall be sent.
    pub fn take(&mut self, from: Side, at: Timestamp, packet: &mut Vec<u8>) -> Fate {
        let arrival = Arrival {
            at,
            digest: digest(packet),
            side: from.number(),
        };
        match self.decide(from, arrival, packet) {
            Ok(fate) => fate,
            Err((loss, answer)) => {
                self.account.note(arrival, What::Lost(loss));
                answer.map_or(Fate::Lost, Fate::Answered)
            }
        }
    }

    /// A packet of so many bytes that came from a side has left, or was given up.
    pub fn left(&mut self, from: Side, len_bytes: usize) {
        self.lanes[from.index()].left(len_bytes);
    }

    /// A packet that was to be sent could not be: when it arrived, and what it was known by then.
    pub fn lost(&mut self, from: Side, at: Timestamp, digest: u64, loss: Loss) {
        let arrival = Arrival {
            at,
            digest,
            side: from.number(),
        };
        self.account.note(arrival, What::Lost(loss));
        let forwarded = &mut self.account.forwarded[from.index()];
        *forwarded = forwarded.saturating_sub(1);
    }

    /// What it has done so far.
    #[must_use]
    pub fn account(&self) -> LinkAccount {
        LinkAccount {
            rules: self
                .rules
                .iter()
                .map(|rule| RuleAccount {
                    matched: rule.matched,
                    lost: rule.lost,
                })
                .collect(),
            ..self.account.clone()
        }
    }

    fn decide(
        &mut self,
        from: Side,
        arrival: Arrival,
        packet: &mut Vec<u8>,
    ) -> Result<Fate, (Loss, Option<Vec<u8>>)> {
        // Before anything else, so that the n-th packet has the n-th numbers.
        let draws = self.lanes[from.index()].draw();
        let header = Header::read(packet).ok_or((Loss::Malformed, None))?;
        packet.truncate(header.len_bytes);
        let translated = self
            .chosen(from, &draws, packet, &header)
            .map_err(|loss| (loss, None))?;
        let answer = |trouble| icmp::error(packet, &header, self.addresses[from.index()], trouble);
        if header.ttl <= 1 {
            return Err((Loss::TimeExceeded, answer(Trouble::TimeExceeded)));
        }
        let mtu_bytes = self.lanes[from.index()].settings.mtu_bytes;
        if let Some(mtu) = mtu_bytes.filter(|mtu| header.len_bytes > usize::from(*mtu)) {
            return Err((Loss::TooLong(mtu), answer(Trouble::TooLong(mtu))));
        }
        self.pass(from, arrival, packet, translated, &draws)
            .map_err(|loss| (loss, None))
    }

    /// What the settings and rules let through, translated. Rules see a packet with the addresses
    /// that it has inside, whichever way it goes.
    fn chosen(
        &mut self,
        from: Side,
        draws: &Draws,
        packet: &[u8],
        header: &Header,
    ) -> Result<Option<Translated>, Loss> {
        let lane = &mut self.lanes[from.index()];
        let by_chance = lane.loses(draws);
        if lane.settings.cut {
            return Err(Loss::Cut);
        }
        let comes_in = from == Side::Second;
        let inside = comes_in.then(|| self.translate(from, packet, header));
        let inside = inside.transpose()?.flatten();
        let seen = inside.as_ref().map_or(packet, |(seen, _)| seen);
        let seen_header = Header::read(seen).ok_or(Loss::Malformed)?;
        if self.parts(&seen_header) {
            return Err(Loss::Partition);
        }
        if let Some(loss) = self.ruled_out(&seen_header, seen) {
            return Err(loss);
        }
        if by_chance {
            return Err(Loss::Random(self.lanes[from.index()].settings.loss));
        }
        if comes_in {
            return Ok(inside);
        }
        self.translate(from, packet, header)
    }

    /// Sends a packet on its way.
    fn pass(
        &mut self,
        from: Side,
        arrival: Arrival,
        packet: &mut Vec<u8>,
        translated: Option<Translated>,
        draws: &Draws,
    ) -> Result<Fate, Loss> {
        let change = translated.map(|(changed, change)| {
            *packet = changed;
            change
        });
        let header = Header::read(packet).ok_or(Loss::Malformed)?;
        let next = self.next(from.other(), header.destination);
        let next = next.ok_or(Loss::NoRoute)?;
        packet::hop(packet);
        let passage = self.lanes[from.index()].pass(arrival.at, packet.len(), draws)?;
        let mut note = |what| self.account.note(arrival, what);
        if let Some((was, is)) = change {
            note(What::Translated { from: was, to: is });
        }
        passage.deeds.into_iter().for_each(&mut note);
        if passage.corrupt
            && let Some(bit) = packet::corrupt(packet, &header, draws.bit)
        {
            note(What::Corrupted { bit });
        }
        self.account.forwarded[from.index()] += 1;
        Ok(Fate::Sent {
            due: passage.due,
            next,
            twice: passage.twice,
            digest: arrival.digest,
        })
    }

    /// Whether sender and receiver are in different groups of the partition.
    fn parts(&self, header: &Header) -> bool {
        let group = |address| self.partition.iter().position(|g| g.contains(address));
        match (group(&header.source), group(&header.destination)) {
            (Some(a), Some(b)) => a != b,
            _ => false,
        }
    }

    fn ruled_out(&mut self, header: &Header, packet: &[u8]) -> Option<Loss> {
        for (place, rule) in self.rules.iter_mut().enumerate() {
            if rule.takes(header, packet) {
                return Some(Loss::Rule {
                    rule: place,
                    text: rule.text().to_owned(),
                    nth: rule.lost,
                    of: rule.count(),
                });
            }
        }
        None
    }

    /// A packet with its other addresses; none where nothing is translated.
    fn translate(
        &mut self,
        from: Side,
        packet: &[u8],
        header: &Header,
    ) -> Result<Option<Translated>, Loss> {
        let Some(masquerade) = &mut self.masquerade else {
            return Ok(None);
        };
        let mut changed = packet.to_vec();
        let change = match from {
            Side::First => masquerade.out(&mut changed, header)?,
            Side::Second => masquerade.back(&mut changed, header)?,
        };
        Ok(Some((changed, change)))
    }

    /// The next address on the way to a destination, on one side.
    fn next(&self, to: Side, destination: Ipv4Addr) -> Option<Ipv4Addr> {
        let mut routes = self.routes[to.index()].iter();
        let route = routes.find(|route| route.network.contains(&destination))?;
        Some(route.via.unwrap_or(destination))
    }
}
