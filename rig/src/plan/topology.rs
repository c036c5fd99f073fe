//! Which networks of a cell are joined by which links, and the ways through them.

use std::collections::{HashSet, VecDeque};

use crate::link::Side;
use crate::spec::LinkSpec;
use crate::units::{HostName, NetworkName};

/// A link of a cell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Joined<'a> {
    pub(super) name: &'a HostName,
    pub(super) spec: &'a LinkSpec,
    /// Its position in the file.
    pub(super) position: usize,
    /// Hosts of its first network are hidden from the second.
    pub(super) masquerade: bool,
}

impl<'a> Joined<'a> {
    /// Its networks.
    pub(super) fn networks(&self) -> [&'a NetworkName; 2] {
        self.spec.joins.each_ref().map(|network| &network.value)
    }

    /// The side that is a network of its own.
    pub(super) fn side_of(&self, network: &NetworkName) -> Option<Side> {
        let networks = self.networks();
        Side::BOTH
            .into_iter()
            .find(|side| networks[side.index()] == network)
    }
}

/// A step of a way: a link, and the side on which it is entered.
pub(super) type Crossing = (usize, Side);

/// The links of a cell, in the order of the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Topology<'a> {
    pub(super) links: Vec<Joined<'a>>,
}

impl<'a> Topology<'a> {
    /// Keeps only links that are on a way between networks of hosts.
    pub(super) fn prune(&mut self, of_hosts: &HashSet<&'a NetworkName>) {
        let mut used = HashSet::new();
        for network in of_hosts {
            let ways = self.ways(&[*network], None);
            let ways = ways.iter().filter(|(to, _)| of_hosts.contains(to));
            used.extend(ways.flat_map(|(_, way)| way.iter().map(|(link, _)| *link)));
        }
        let links = std::mem::take(&mut self.links).into_iter().enumerate();
        let used = links.filter(|(index, _)| used.contains(index));
        self.links = used.map(|(_, link)| link).collect();
    }

    /// Two links that join the same networks.
    pub(super) fn parallel(&self) -> Option<(&Joined<'a>, &Joined<'a>)> {
        self.links.iter().enumerate().find_map(|(index, link)| {
            let [a, b] = link.networks();
            let twin = self.links[index + 1..].iter().find(|other| {
                let networks = other.networks();
                networks == [a, b] || networks == [b, a]
            })?;
            Some((link, twin))
        })
    }

    /// The shortest way to every network that can be reached from some, in the order in which they
    /// are reached; of ways of one length it is that of the links that come first in the file.
    /// `without` is a link that is not taken.
    pub(super) fn ways(
        &self,
        from: &[&'a NetworkName],
        without: Option<usize>,
    ) -> Vec<(&'a NetworkName, Vec<Crossing>)> {
        let mut found: Vec<(&NetworkName, Vec<Crossing>)> = Vec::new();
        let mut next: VecDeque<(&'a NetworkName, Vec<Crossing>)> =
            from.iter().map(|network| (*network, Vec::new())).collect();
        // Each network is found once, so this ends.
        while let Some((network, way)) = next.pop_front() {
            if found.iter().any(|(known, _)| *known == network) {
                continue;
            }
            for (index, link) in self.links.iter().enumerate() {
                let Some(side) = link.side_of(network) else {
                    continue;
                };
                // Nobody outside a masquerade opens a way into it.
                if Some(index) == without || link.masquerade && side == Side::Second {
                    continue;
                }
                let beyond = link.networks()[side.other().index()];
                next.push_back((beyond, [&way[..], &[(index, side)]].concat()));
            }
            found.push((network, way));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Located, Place, When};

    fn spec(a: &str, b: &str) -> LinkSpec {
        let network = |name| Located::new(NetworkName::new(name).unwrap(), Place::default());
        LinkSpec {
            place: Place::default(),
            joins: [network(a), network(b)],
            when: When::default(),
            settings: Vec::new(),
            from: Vec::new(),
            seed: None,
            nat: None,
            lose: Vec::new(),
        }
    }

    fn shown(topology: &Topology<'_>, from: &str) -> Vec<String> {
        let from = NetworkName::new(from).unwrap();
        let links = topology.links.iter().flat_map(Joined::networks);
        let Some(from) = links.into_iter().find(|network| **network == from) else {
            return Vec::new();
        };
        let ways = topology.ways(&[from], None).into_iter();
        let shown = ways.map(|(network, way)| {
            let links = way.iter().map(|(link, _)| link.to_string());
            format!("{network}:{}", links.collect::<String>())
        });
        shown.collect()
    }

    #[test]
    fn ways_are_short_and_links_that_end_nowhere_are_left_out() {
        let specs = [
            spec("lan", "mid"),
            spec("mid", "wan"),
            spec("wan", "lan"),
            spec("mid", "spare"),
            spec("spare", "attic"),
        ];
        let name = HostName::new("link").unwrap();
        let joined = specs.iter().enumerate().map(|(position, spec)| Joined {
            name: &name,
            spec,
            position,
            masquerade: position == 1,
        });
        let mut topology = Topology {
            links: joined.collect(),
        };
        let [lan, mid, wan] = ["lan", "mid", "wan"].map(|name| NetworkName::new(name).unwrap());
        for (hosts, links) in [
            (vec![&lan, &wan], &[2][..]),
            (vec![&lan, &mid, &wan], &[0, 1, 2]),
            (vec![&wan], &[]),
        ] {
            let mut pruned = topology.clone();
            pruned.prune(&hosts.into_iter().collect());
            let left: Vec<usize> = pruned.links.iter().map(|link| link.position).collect();
            assert_eq!(left, links);
        }
        topology.links.truncate(3);
        assert_eq!(shown(&topology, "lan"), ["lan:", "mid:0", "wan:2"]);
        // What a masquerade hides is reached another way, or not at all.
        assert_eq!(shown(&topology, "wan"), ["wan:", "lan:2", "mid:20"]);
        topology.links.truncate(2);
        assert_eq!(shown(&topology, "wan"), ["wan:"]);
        assert!(topology.parallel().is_none());
        topology.links.push(topology.links[0]);
        assert!(topology.parallel().is_some());
    }
}
