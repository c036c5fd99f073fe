//! Links of a cell: their addresses, settings and rules, and the routes through them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::cell::Placement;
use super::topology::Joined;
use super::{LinkPlan, Subnet, losses};
use crate::link::{LinkOrder, Route, Setting, Settings, Side};
use crate::spec::{Field, Nat, Place, Problem, Seed, SettingSpec, hint_for};
use crate::units::{HostName, NetworkName};

/// The host number of the first link of a file; hosts have those below.
const FIRST_LINK: u8 = 210;

/// Every link of a cell with what it does at first.
pub(super) fn links(placement: &Placement<'_>, problems: &mut Vec<Problem>) -> Vec<LinkPlan> {
    let links = placement.topology.links.iter().enumerate();
    let planned = links.map(|(index, link)| plan(placement, index, link));
    planned
        .filter_map(|plan| plan.map_err(|problem| problems.push(problem)).ok())
        .collect()
}

fn plan(placement: &Placement<'_>, index: usize, link: &Joined<'_>) -> Result<LinkPlan, Problem> {
    let mut settings = [Settings::default(), Settings::default()];
    change(placement, &mut settings, &Side::BOTH, &link.spec.settings)?;
    for (network, of_side) in &link.spec.from {
        let side = link.side_of(&network.value);
        change(placement, &mut settings, side.as_slice(), of_side)?;
    }
    // What no single list contradicts, both together may.
    refuse_clash(link, &settings, &link.spec.settings, link.spec.place)?;
    let seed = link.spec.seed.as_ref();
    let seed = seed.map(|seed| placement.resolve(seed, None)).transpose()?;
    let mut rules = Vec::new();
    let mut rule_places = Vec::new();
    for spec in &link.spec.lose {
        if let Some(rule) = losses::rule(placement, index, spec)? {
            rules.push(rule);
            rule_places.push(spec.place);
        }
    }
    let order = LinkOrder {
        addresses: placement.link_addresses(link),
        routes: Side::BOTH.map(|side| routes_of_link(placement, index, side)),
        settings,
        seed: seed.unwrap_or(Seed(0)).0,
        masquerade: link.masquerade,
        rules,
    };
    Ok(LinkPlan {
        name: link.name.clone(),
        joins: link.networks().map(Clone::clone),
        order,
        rule_places,
    })
}

/// Whether a link translates addresses in this cell.
pub(super) fn is_masquerade(
    placement: &Placement<'_>,
    nat: Option<&Field<Nat>>,
) -> Result<bool, Problem> {
    let nat = nat.map(|nat| placement.resolve(nat, None)).transpose()?;
    Ok(nat == Some(Nat::Masquerade))
}

/// Applies settings to some sides.
fn change(
    placement: &Placement<'_>,
    settings: &mut [Settings; 2],
    sides: &[Side],
    changes: &[SettingSpec],
) -> Result<(), Problem> {
    for setting in placement.resolve_settings(changes)? {
        for side in sides {
            settings[side.index()].apply(setting);
        }
    }
    Ok(())
}

/// An error where settings of a link contradict each other; it is at the one of `changes` that does, or
/// at `place`.
pub(super) fn refuse_clash(
    link: &Joined<'_>,
    settings: &[Settings; 2],
    changes: &[SettingSpec],
    place: Place,
) -> Result<(), Problem> {
    let clashes = [settings[0].clash(), settings[1].clash()];
    let everywhere = clashes.iter().all(Option::is_some);
    let mut found = link.networks().into_iter().zip(clashes);
    match found.find_map(|(network, clash)| Some((network, clash?))) {
        Some((network, clash)) => {
            let change = changes.iter().find(|change| change.key == clash.key);
            let place = change.map_or(place, |change| change.value.place());
            let message = if everywhere {
                clash.message
            } else {
                format!("of packets from `{network}`: {}", clash.message)
            };
            Err(Problem::at(place, message).hint(clash.hint))
        }
        None => Ok(()),
    }
}

impl Placement<'_> {
    /// The addresses of a link.
    pub(super) fn link_addresses(&self, link: &Joined<'_>) -> [Ipv4Addr; 2] {
        // A file has at most MAX_LINKS links, whose numbers stay below the broadcast address.
        let position = u8::try_from(link.position).unwrap_or(u8::MAX);
        let number = FIRST_LINK.saturating_add(position);
        link.networks().map(|network| {
            let subnet = self.networks.get(network);
            subnet.map_or(Ipv4Addr::UNSPECIFIED, |subnet| subnet.address(number))
        })
    }

    /// The values of settings.
    pub(super) fn resolve_settings(
        &self,
        changes: &[SettingSpec],
    ) -> Result<Vec<Setting>, Problem> {
        let read = changes
            .iter()
            .map(|spec| self.resolve_with(&spec.value, |text| Ok(Setting::read(spec.key, text)?)));
        read.collect()
    }
}

/// A subnet as a range of addresses.
pub(super) fn range_of(subnet: Subnet) -> Option<Ipv4Net> {
    Ipv4Net::new(subnet.address(0), Subnet::PREFIX_BITS).ok()
}

/// What a link reaches on one side.
fn routes_of_link(placement: &Placement<'_>, index: usize, side: Side) -> Vec<Route> {
    let networks = placement.topology.links[index].networks();
    routes(placement, &[networks[side.index()]], Some(index))
}

/// The routes of a host to the networks that it is not on.
pub(super) fn routes_of_hosts(placement: &Placement<'_>) -> BTreeMap<HostName, Vec<Route>> {
    let hosts = placement.hosts.iter().map(|(&name, addresses)| {
        let networks: Vec<&NetworkName> = addresses.iter().map(|(network, _)| *network).collect();
        let mut routes = routes(placement, &networks, None);
        routes.retain(|route| route.via.is_some());
        (name.clone(), routes)
    });
    hosts.filter(|(_, routes)| !routes.is_empty()).collect()
}

fn routes<'a>(
    placement: &Placement<'a>,
    from: &[&'a NetworkName],
    without: Option<usize>,
) -> Vec<Route> {
    let ways = placement.topology.ways(from, without);
    let routes = ways.into_iter().filter_map(|(network, way)| {
        let via = way.first().map(|(index, side)| {
            let link = &placement.topology.links[*index];
            placement.link_addresses(link)[side.index()]
        });
        let network = range_of(*placement.networks.get(network)?)?;
        Some(Route { network, via })
    });
    routes.collect()
}

/// How reports name a change of a link: `cut uplink from lan`, `link uplink set delay 100ms`.
pub(super) fn describe_change(
    link: &HostName,
    from: Option<&NetworkName>,
    changes: &[Setting],
) -> String {
    let from = from.map_or(String::new(), |network| format!(" from {network}"));
    match changes {
        [Setting::Cut(true)] => format!("cut {link}{from}"),
        [Setting::Cut(false)] => format!("mend {link}{from}"),
        changes => {
            let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
            format!("link {link}{from} set {}", changes.join(", "))
        }
    }
}

/// A name that a `from` of a link has, which must be one of its networks.
pub(super) fn side_named(
    link: &Joined<'_>,
    network: &NetworkName,
    place: Place,
) -> Result<Side, Problem> {
    link.side_of(network).ok_or_else(|| {
        let [a, b] = link.networks();
        let message = format!("link `{}` does not join network `{network}`", link.name);
        Problem::at(place, message).hint(format!("write `{a}` or `{b}`"))
    })
}

/// A link that a step names; none where it is not part of the cell.
pub(super) fn link_named(
    placement: &Placement<'_>,
    field: &Field<HostName>,
) -> Result<Option<usize>, Problem> {
    let name = placement.resolve(field, None)?;
    let known = placement.spec.links.contains_key(&name);
    if !known {
        let names: Vec<&str> = placement.spec.links.keys().map(HostName::as_str).collect();
        let hint = hint_for(name.as_str(), "links", &names);
        let message = format!("there is no link `{name}`");
        return Err(Problem::at(field.place(), message).maybe_hint(hint));
    }
    let mut links = placement.topology.links.iter();
    Ok(links.position(|link| *link.name == name))
}
