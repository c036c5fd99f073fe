//! What is where in a cell, and what holes stand for there.

use std::collections::{BTreeMap, HashSet};
use std::net::Ipv4Addr;

use indexmap::IndexMap;

use super::Subnet;
use super::links;
use super::topology::{Joined, Topology};
use crate::matrix::Cell;
use crate::pattern::Pattern;
use crate::spec::{
    AxisValue, Fault, Field, FromText, Hole, Located, Place, Problem, Spec, Template, When,
    hint_for,
};
use crate::units::{HostName, NetworkName, NodeName};

/// A cell whose nodes are placed and whose hosts have addresses.
pub(super) struct Placement<'a> {
    pub(super) spec: &'a Spec,
    pub(super) cell: &'a Cell,
    /// Nodes of the cell, in the order of the file.
    pub(super) nodes: IndexMap<&'a NodeName, Placed<'a>>,
    /// Networks in use, in the order of the file.
    pub(super) networks: IndexMap<&'a NetworkName, Subnet>,
    /// Hosts in use, in the order of the file, each with its addresses.
    pub(super) hosts: IndexMap<&'a HostName, Vec<(&'a NetworkName, Ipv4Addr)>>,
    /// Links between the networks of its hosts.
    pub(super) topology: Topology<'a>,
}

/// Where a node is and what it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed<'a> {
    pub(super) host: &'a HostName,
    pub(super) implementation: &'a str,
}

/// A node that a step or check names.
pub(super) enum Named<'a> {
    Present(&'a NodeName),
    /// Its `when` does not hold in the cell.
    Absent,
}

impl<'a> Placement<'a> {
    /// Places the nodes of a cell; hosts have no addresses yet.
    pub(super) fn new(spec: &'a Spec, cell: &'a Cell) -> (Self, Vec<Problem>) {
        let mut placement = Self {
            spec,
            cell,
            nodes: IndexMap::new(),
            networks: IndexMap::new(),
            hosts: IndexMap::new(),
            topology: Topology::default(),
        };
        let mut problems = Vec::new();
        for (name, node) in &spec.nodes {
            if !placement.holds(&node.when) {
                continue;
            }
            let host = placement.host_named(&node.on, name);
            let implementation = placement.implementation_named(&node.is, name);
            match (host, implementation) {
                (Ok(host), Ok(implementation)) => {
                    let placed = Placed {
                        host,
                        implementation,
                    };
                    placement.nodes.insert(name, placed);
                }
                (host, implementation) => {
                    problems.extend(host.err().into_iter().chain(implementation.err()));
                }
            }
        }
        problems.extend(placement.find_links());
        (placement, problems)
    }

    /// Finds the links that the cell needs.
    fn find_links(&mut self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut found = Vec::new();
        for (position, (name, link)) in self.spec.links.iter().enumerate() {
            if !self.holds(&link.when) {
                continue;
            }
            match links::is_masquerade(self, link.nat.as_ref()) {
                Ok(masquerade) => found.push(Joined {
                    name,
                    spec: link,
                    position,
                    masquerade,
                }),
                Err(problem) => problems.push(problem),
            }
        }
        let of_hosts: HashSet<&NetworkName> = self.networks_of_hosts().collect();
        self.topology.links = found;
        if let Some((first, second)) = self.topology.parallel() {
            let (name, first) = (first.name, first.spec.place);
            let message = format!("link `{name}` joins the same networks already");
            problems.push(Problem::at(second.spec.place, message).other(first, "it is here"));
        }
        self.topology.prune(&of_hosts);
        problems
    }

    /// The networks that hosts of the cell's nodes are on.
    fn networks_of_hosts(&self) -> impl Iterator<Item = &'a NetworkName> {
        let spec = self.spec;
        let hosts = self
            .nodes
            .values()
            .filter_map(|node| spec.hosts.get(node.host));
        let hosts: Vec<_> = hosts.collect();
        hosts
            .into_iter()
            .flat_map(|host| host.networks.iter().map(|network| &network.value))
    }

    /// The networks that hosts of the cell's nodes are on and those between them, in the order of
    /// the file.
    pub(super) fn networks_in_use(&self) -> Vec<&'a NetworkName> {
        let mut in_use: HashSet<&NetworkName> = self.networks_of_hosts().collect();
        in_use.extend(self.topology.links.iter().flat_map(Joined::networks));
        let networks = self.spec.networks.keys();
        networks
            .filter(|network| in_use.contains(network))
            .collect()
    }

    /// Gives every host in use an address on each of its networks. A host's number is its
    /// position in the file, the same in every cell.
    pub(super) fn give_addresses(&mut self, subnets: &[Subnet]) {
        let in_use = self.networks_in_use();
        self.networks = in_use.into_iter().zip(subnets.iter().copied()).collect();
        for (position, (name, host)) in self.spec.hosts.iter().enumerate() {
            if !self.nodes.values().any(|node| node.host == name) {
                continue;
            }
            // A file has at most MAX_HOSTS hosts, whose numbers stay below the broadcast address.
            let position = u8::try_from(position).unwrap_or(u8::MAX);
            let number = Subnet::FIRST_HOST.saturating_add(position);
            let addresses = host.networks.iter().filter_map(|network| {
                let (name, subnet) = self.networks.get_key_value(&network.value)?;
                Some((*name, subnet.address(number)))
            });
            let addresses = addresses.collect();
            self.hosts.insert(name, addresses);
        }
    }

    /// Whether something holds in this cell.
    pub(super) fn holds(&self, when: &When) -> bool {
        when.holds(|axis| self.cell.value(axis))
    }

    fn host_named(
        &self,
        field: &Field<HostName>,
        node: &NodeName,
    ) -> Result<&'a HostName, Problem> {
        let name = self.resolve(field, Some(node))?;
        let found = self.spec.hosts.get_key_value(&name);
        found.map(|(name, _)| name).ok_or_else(|| {
            let message = format!("there is no host `{name}` for node `{node}`");
            let known: Vec<&str> = self.spec.hosts.keys().map(HostName::as_str).collect();
            let hint = hint_for(name.as_str(), "hosts", &known);
            Problem::at(self.origin(field), message).maybe_hint(hint)
        })
    }

    fn implementation_named(
        &self,
        field: &Field<String>,
        node: &NodeName,
    ) -> Result<&'a str, Problem> {
        let name = self.resolve(field, Some(node))?;
        let found = self.spec.implementations.get_key_value(&name);
        found.map(|(name, _)| name.as_str()).ok_or_else(|| {
            let message = format!("there is no implementation `{name}` for node `{node}`");
            let known = self.spec.implementations.keys().map(String::as_str);
            let hint = hint_for(&name, "implementations", &known.collect::<Vec<_>>());
            Problem::at(self.origin(field), message).maybe_hint(hint)
        })
    }

    /// Where the text of a field comes from: its axis value or setting, if it is nothing else.
    fn origin<T>(&self, field: &Field<T>) -> Place {
        let hole = match field {
            Field::Template(template) => template.only_hole(),
            Field::Fixed(_) => None,
        };
        let place = match hole {
            Some(Hole::Axis(axis)) => self.chosen(axis).map(|(_, value)| value.place),
            Some(Hole::Setting { axis, key }) => self
                .chosen(axis)
                .and_then(|(_, value)| Some(value.settings.get(key)?.place)),
            _ => None,
        };
        place.unwrap_or(field.place())
    }

    /// A node that a step or check names.
    pub(super) fn node_named(&self, field: &Field<NodeName>) -> Result<Named<'a>, Problem> {
        let name = self.resolve(field, None)?;
        self.find(&name, self.origin(field))
    }

    /// The node of this name.
    pub(super) fn find(&self, name: &NodeName, place: Place) -> Result<Named<'a>, Problem> {
        if let Some((name, _)) = self.nodes.get_key_value(name) {
            return Ok(Named::Present(name));
        }
        match self.spec.nodes.get(name) {
            Some(node) if !self.holds(&node.when) => Ok(Named::Absent),
            // It could not be placed, which is told elsewhere.
            Some(_) => Ok(Named::Absent),
            None => Err(Problem::at(place, format!("there is no node `{name}`"))),
        }
    }

    /// The value of a field.
    pub(super) fn resolve<T: FromText + Clone>(
        &self,
        field: &Field<T>,
        viewer: Option<&NodeName>,
    ) -> Result<T, Problem> {
        field.resolve(|hole| self.fill(hole, viewer, None))
    }

    /// The value of a field that takes more than its text to read.
    pub(super) fn resolve_with<T: Clone>(
        &self,
        field: &Field<T>,
        read: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Result<T, Problem> {
        field.resolve_with(|hole| self.fill(hole, None, None), read)
    }

    /// A pattern, in which the names of the file may stand.
    pub(super) fn resolve_pattern(&self, field: &Field<Pattern>) -> Result<Pattern, Problem> {
        let fill = |hole: &Located<Hole>| self.fill(hole, None, None);
        field.resolve_with(fill, |text| {
            Ok(Pattern::parse_with(text, &self.spec.patterns)?)
        })
    }

    /// A text with its holes filled, as `viewer` sees it.
    pub(super) fn render(&self, template: &Template, viewer: &NodeName) -> Result<String, Problem> {
        template.render(|hole| self.fill(hole, Some(viewer), None))
    }

    /// What a node is told when `text` is said to it.
    pub(super) fn render_said(
        &self,
        template: &Template,
        viewer: &NodeName,
        text: &str,
    ) -> Result<String, Problem> {
        template.render(|hole| self.fill(hole, Some(viewer), Some(text)))
    }

    fn fill(
        &self,
        hole: &Located<Hole>,
        viewer: Option<&NodeName>,
        text: Option<&str>,
    ) -> Result<String, Problem> {
        let place = hole.place;
        match &hole.value {
            Hole::Node => viewer
                .map(ToString::to_string)
                .ok_or_else(|| Problem::at(place, "no node is meant here")),
            Hole::Text => text
                .map(str::to_owned)
                .ok_or_else(|| Problem::at(place, "nothing is said here")),
            Hole::Axis(axis) => self
                .cell
                .value(axis)
                .map(str::to_owned)
                .ok_or_else(|| self.lacks(axis, place)),
            Hole::Setting { axis, key } => self.setting(axis, key, place),
            Hole::Address(name) => {
                let viewer = viewer.and_then(|viewer| self.nodes.get(viewer));
                let from = viewer.ok_or_else(|| Problem::at(place, "no node is meant here"))?;
                let address = self.address_of(name, from.host, place)?;
                Ok(address.to_string())
            }
        }
    }

    fn setting(&self, axis: &str, key: &str, place: Place) -> Result<String, Problem> {
        let (value, chosen) = self.chosen(axis).ok_or_else(|| self.lacks(axis, place))?;
        let setting = chosen.settings.get(key);
        setting.map(|text| text.value.clone()).ok_or_else(|| {
            Problem::at(place, format!("`{axis}={value}` has no setting `{key}`"))
                .other(chosen.place, "this value lacks it")
        })
    }

    /// The cell's value on an axis, with what the file says of it.
    pub(super) fn chosen(&self, axis: &str) -> Option<(&'a str, &'a AxisValue)> {
        let value = self.cell.value(axis)?;
        Some((value, self.spec.axes.get(axis)?.values.get(value)?))
    }

    /// Something asks for the value on an axis that the cell has none of.
    pub(super) fn lacks(&self, axis: &str, place: Place) -> Problem {
        let message = format!("the cell has no value of axis `{axis}`");
        let hint = format!(
            "list the cell with one, or say of what asks for it `when: {{ {axis}: \"*\" }}`"
        );
        let problem = Problem::at(place, message).hint(hint);
        match self.cell.listed {
            Some(listed) => problem.other(listed, "the cell is listed here"),
            None => problem,
        }
    }

    /// The address of a node's host, or of a host, as seen from another host.
    fn address_of(&self, name: &str, from: &HostName, place: Place) -> Result<Ipv4Addr, Problem> {
        let node = self.nodes.iter().find(|(node, _)| node.as_str() == name);
        let host = match node {
            Some((_, node)) => Some(node.host),
            None => self.hosts.keys().copied().find(|h| h.as_str() == name),
        };
        let Some(host) = host else {
            let message = format!("`{name}` is not part of the cell, so it has no address");
            return Err(Problem::at(place, message));
        };
        self.seen_from(host, from).ok_or_else(|| {
            let message = if self.topology.links.is_empty() {
                format!("host `{from}` shares no network with `{host}`")
            } else {
                format!("no network and no link leads from host `{from}` to `{host}`")
            };
            let hint = if self.topology.links.iter().any(|link| link.masquerade) {
                "`nat: masquerade` hides the first network of its link from the second"
            } else {
                "put both on one network under `hosts`, or join theirs under `links`"
            };
            Problem::at(place, message).hint(hint)
        })
    }

    /// The address of `host` on the first network, in the order of the file, that `from` is on
    /// too; where they share none, on the nearest that links lead to.
    fn seen_from(&self, host: &HostName, from: &HostName) -> Option<Ipv4Addr> {
        let addresses = self.hosts.get(host)?;
        if host == from {
            return addresses.first().map(|(_, address)| *address);
        }
        let theirs = self.hosts.get(from)?;
        let near: Vec<&NetworkName> = self
            .networks
            .keys()
            .copied()
            .filter(|network| theirs.iter().any(|(n, _)| n == network))
            .collect();
        let on = |network: &NetworkName| addresses.iter().find(|(n, _)| *n == network);
        let mut ways = self.topology.ways(&near, None).into_iter();
        ways.find_map(|(network, _)| on(network))
            .map(|(_, address)| *address)
    }

    /// Names of hosts and nodes with their addresses as a host sees them; a node's name goes
    /// before that of a host.
    pub(super) fn names_seen_from(&self, from: &HostName) -> BTreeMap<String, Ipv4Addr> {
        let hosts = self.hosts.keys().map(|&host| (host.to_string(), host));
        let nodes = self
            .nodes
            .iter()
            .map(|(name, node)| (name.to_string(), node.host));
        hosts
            .chain(nodes)
            .filter_map(|(name, host)| Some((name, self.seen_from(host, from)?)))
            .collect()
    }
}
