//! Packets that links lose by rules and partitions, by the names that a file gives their ends.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::cell::Placement;
use super::links::range_of;
use crate::link::{Protocol, Rule};
use crate::spec::{Field, LoseSpec, Place, Problem, Times, hint_for};
use crate::units::{HostName, NetworkName, NodeName};

/// A rule in a cell; none where what it names is not part of it.
pub(super) fn rule(
    placement: &Placement<'_>,
    index: usize,
    spec: &LoseSpec,
) -> Result<Option<Rule>, Problem> {
    let mut ends = [Vec::new(), Vec::new()];
    for (end, field) in ends.iter_mut().zip([&spec.from, &spec.to]) {
        if let Some(field) = field {
            *end = placement.addresses_named(field)?;
            if end.is_empty() {
                return Ok(None);
            }
        }
    }
    let [from, to] = ends;
    if !passes(placement, index, &from, &to) {
        let name = placement.topology.links[index].name;
        let message = format!("no packet that this rule is about passes link `{name}`");
        let place = spec.from.as_ref().or(spec.to.as_ref());
        return Err(Problem::at(place.map_or(spec.place, Field::place), message)
            .hint("name a node, a host or a network whose way leads over the link"));
    }
    let event = spec.event.as_ref();
    let event = event.map(|f| placement.resolve(f, None)).transpose()?;
    let event = event.map(|event| event.0.to_string());
    let protocol = spec.protocol.as_ref();
    let protocol = protocol.map(|f| placement.resolve(f, None)).transpose()?;
    refuse_idle(spec, event.as_deref(), protocol)?;
    let port = spec.port.as_ref();
    let port = port.map(|f| placement.resolve(f, None)).transpose()?;
    let times = |field: &Option<Field<Times>>| {
        let times = field.as_ref().map(|f| placement.resolve(f, None));
        Ok::<_, Problem>(times.transpose()?.map(|times| times.0))
    };
    let (nth, count, every) = (times(&spec.nth)?, times(&spec.count)?, times(&spec.every)?);
    let text = describe(placement, spec, event.as_deref())?;
    Ok(Some(Rule {
        text,
        from,
        to,
        event,
        protocol,
        port,
        first: nth.or(every).unwrap_or(1),
        every: every.unwrap_or(1),
        // The third alone, unless more are asked for.
        count: count.or_else(|| (nth.is_some() && every.is_none()).then_some(1)),
    }))
}

/// An error where a rule contradicts itself.
fn refuse_idle(
    spec: &LoseSpec,
    event: Option<&str>,
    protocol: Option<Protocol>,
) -> Result<(), Problem> {
    let place = spec.protocol.as_ref().map_or(spec.place, Field::place);
    let told = |message: String| Err(Problem::at(place, message));
    let word = event.map(|event| event.split(['[', ' ']).next().unwrap_or(event));
    match (protocol, word) {
        (Some(Protocol::Udp), Some(word)) if !matches!(word, "DATA" | "ANY") => {
            told(format!("no datagram is ever a {word}"))
        }
        (Some(Protocol::Icmp), Some(word)) => told(format!("no ICMP message is ever a {word}")),
        (Some(Protocol::Icmp), None) if spec.port.is_some() => {
            told("ICMP messages have no ports".to_owned())
        }
        _ => Ok(()),
    }
}

/// How comments name a rule: `RST from server`.
fn describe(
    placement: &Placement<'_>,
    spec: &LoseSpec,
    event: Option<&str>,
) -> Result<String, Problem> {
    let mut words = vec![event.unwrap_or("any packet").to_owned()];
    for (word, field) in [("from", &spec.from), ("to", &spec.to)] {
        if let Some(field) = field {
            words.push(format!("{word} {}", placement.resolve(field, None)?));
        }
    }
    Ok(words.join(" "))
}

/// Whether a packet between any of these addresses goes over a link; no addresses are all.
fn passes(placement: &Placement<'_>, index: usize, from: &[Ipv4Net], to: &[Ipv4Net]) -> bool {
    let within = |nets: &[Ipv4Net], address: &Ipv4Addr| {
        nets.is_empty() || nets.iter().any(|net| net.contains(address))
    };
    let hosts = || placement.hosts.iter();
    hosts().any(|(_, addresses)| {
        let networks: Vec<&NetworkName> = addresses.iter().map(|(network, _)| *network).collect();
        let crossed: Vec<&NetworkName> = placement
            .topology
            .ways(&networks, None)
            .into_iter()
            .filter(|(_, way)| way.iter().any(|(link, _)| *link == index))
            .map(|(network, _)| network)
            .collect();
        let beyond = hosts().flat_map(|(_, theirs)| theirs);
        beyond
            .filter(|(network, _)| crossed.contains(network))
            .any(|(_, there)| {
                addresses.iter().any(|(_, here)| {
                    // The ways of answers are those of what they answer.
                    within(from, here) && within(to, there)
                        || within(from, there) && within(to, here)
                })
            })
    })
}

/// The groups of a partition by their addresses; those of absent nodes are left out.
pub(super) fn groups(
    placement: &Placement<'_>,
    named: &[Vec<Field<String>>],
) -> Result<Vec<Vec<Ipv4Addr>>, Problem> {
    let mut groups: Vec<Vec<Ipv4Addr>> = Vec::new();
    for names in named {
        let mut group = Vec::new();
        for name in names {
            let nets = placement.addresses_named(name)?;
            let members = placement.hosts.iter().filter(|(_, addresses)| {
                addresses
                    .iter()
                    .any(|(_, a)| nets.iter().any(|net| net.contains(a)))
            });
            for (host, addresses) in members {
                refuse_neighbours(placement, host, &groups, name.place())?;
                group.extend(addresses.iter().map(|(_, address)| *address));
            }
        }
        groups.push(group);
    }
    Ok(groups)
}

/// An error where a host of a group shares a network with one of another: no link is between them.
fn refuse_neighbours(
    placement: &Placement<'_>,
    host: &HostName,
    groups: &[Vec<Ipv4Addr>],
    place: Place,
) -> Result<(), Problem> {
    let addresses = &placement.hosts[host];
    let parted = |address: &Ipv4Addr| groups.iter().any(|group| group.contains(address));
    for (other, theirs) in &placement.hosts {
        let is_parted = theirs.iter().any(|(_, address)| parted(address));
        if !is_parted {
            continue;
        }
        if *other == host {
            let message = format!("host `{host}` is in two groups");
            return Err(Problem::at(place, message));
        }
        let shared = addresses
            .iter()
            .find(|(network, _)| theirs.iter().any(|(n, _)| n == network));
        if let Some((network, _)) = shared {
            let message =
                format!("host `{host}` and host `{other}` are both on network `{network}`");
            return Err(Problem::at(place, message)
                .hint("a partition is made by links: put them on networks that links join"));
        }
    }
    Ok(())
}

impl Placement<'_> {
    /// The addresses that a node, a host or a network stands for; none where it is not part of the
    /// cell.
    pub(super) fn addresses_named(&self, field: &Field<String>) -> Result<Vec<Ipv4Net>, Problem> {
        let name = self.resolve(field, None)?;
        let known = |name: &str| {
            let spec = self.spec;
            spec.nodes.contains_key(name)
                || spec.hosts.contains_key(name)
                || spec.networks.contains_key(name)
        };
        if !known(&name) {
            let spec = self.spec;
            let nodes = spec.nodes.keys().map(NodeName::as_str);
            let hosts = spec.hosts.keys().map(HostName::as_str);
            let networks = spec.networks.keys().map(NetworkName::as_str);
            let all: Vec<&str> = nodes.chain(hosts).chain(networks).collect();
            let hint = hint_for(&name, "nodes, hosts and networks", &all);
            let message = format!("there is no node, host or network `{name}`");
            return Err(Problem::at(field.place(), message).maybe_hint(hint));
        }
        let node = self.nodes.iter().find(|(node, _)| node.as_str() == name);
        let host = node.map_or(name.as_str(), |(_, placed)| placed.host.as_str());
        let host = self.hosts.iter().find(|(known, _)| known.as_str() == host);
        if let Some((_, addresses)) = host {
            let alone = |(_, address): &(&NetworkName, Ipv4Addr)| Ipv4Net::from(*address);
            return Ok(addresses.iter().map(alone).collect());
        }
        let mut networks = self.networks.iter();
        let network = networks.find(|(known, _)| known.as_str() == name);
        let subnet = network.and_then(|(_, subnet)| range_of(*subnet));
        Ok(subnet.into_iter().collect())
    }
}
