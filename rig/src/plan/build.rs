//! From a cell to its plan.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::cell::{Placed, Placement};
use super::{
    CapturePlan, HostPlan, InterfacePlan, LinkPlan, NetworkNeeds, NetworkPlan, NodePlan, Plan,
    Ready, Subnet,
};
use super::{captures, containers, links, windows};
use crate::matrix::Cell;
use crate::spec::{DISPLAY, Diagnostics, Located, Place, Problem, ReadySpec, Spec};
use crate::units::{HostName, NetworkName, NodeName};

/// The networks that a cell needs: one for each that a host of its nodes is on, and those that links
/// need between them.
#[must_use]
pub fn networks_needed(spec: &Spec, cell: &Cell) -> NetworkNeeds {
    let (placement, _) = Placement::new(spec, cell);
    NetworkNeeds {
        count: placement.networks_in_use().len(),
        joined: !placement.topology.links.is_empty(),
    }
}

/// Resolves every name of a cell. `subnets` are as many as [`networks_needed`] tells, and go to
/// the networks in the order of the file. Pure: the same arguments give the same plan.
///
/// # Errors
/// What the file says and cannot be meant in this cell.
pub fn plan(spec: &Spec, cell: &Cell, subnets: &[Subnet]) -> Result<Plan, Diagnostics> {
    let (mut placement, mut problems) = Placement::new(spec, cell);
    let needed = placement.networks_in_use().len();
    if subnets.len() < needed {
        problems.push(Problem::of_file(format!(
            "cell {} needs {needed} subnets, {} were given",
            cell.name,
            subnets.len()
        )));
    }
    placement.give_addresses(subnets);
    let mut nodes = Vec::new();
    for (name, placed) in &placement.nodes {
        match node(&placement, name, *placed) {
            Ok(node) => nodes.push(node),
            Err(problem) => problems.push(problem),
        }
    }
    let links = links::links(&placement, &mut problems);
    let hosts = hosts(&placement, &links, &mut problems);
    let steps = super::steps::steps(&placement, &links, &mut problems);
    let mut checks = super::checks::checks(&placement, &steps, &mut problems);
    checks.extend(super::checks::losses(&steps, &links));
    if !problems.is_empty() {
        return Err(Diagnostics::new(spec.source.clone(), problems));
    }
    Ok(Plan {
        cell: cell.name.clone(),
        networks: networks(&placement),
        hosts,
        routes: links::routes_of_hosts(&placement),
        links,
        nodes,
        steps,
        checks,
    })
}

fn networks(placement: &Placement<'_>) -> Vec<NetworkPlan> {
    let networks = placement.networks.iter();
    networks
        .map(|(&name, &subnet)| NetworkPlan {
            name: name.clone(),
            subnet,
        })
        .collect()
}

/// The host that forwards the packets of a link.
fn link_host(link: &LinkPlan, capture: CapturePlan) -> HostPlan {
    let interfaces = link.joins.iter().zip(link.order.addresses);
    HostPlan {
        name: link.name.clone(),
        interfaces: interfaces
            .map(|(network, address)| InterfacePlan {
                network: network.clone(),
                address,
            })
            .collect(),
        // Its agent forwards, and nobody else: an engine may let the kernel do it by default.
        sysctls: BTreeMap::from([(
            "net.ipv4.ip_forward".to_owned(),
            Located::new("0".to_owned(), Place::default()),
        )]),
        stealth: false,
        place: Place::default(),
        capture,
    }
}

fn hosts(
    placement: &Placement<'_>,
    links: &[LinkPlan],
    problems: &mut Vec<Problem>,
) -> Vec<HostPlan> {
    let mut capture_of = |host| {
        captures::of(placement, host).unwrap_or_else(|problem| {
            problems.push(problem);
            CapturePlan::default()
        })
    };
    let hosts: Vec<_> = placement
        .hosts
        .iter()
        .map(|(&name, addresses)| host(placement, name, addresses, capture_of(Some(name))))
        .collect();
    let of_links = links.iter().map(|link| link_host(link, capture_of(None)));
    hosts.into_iter().chain(of_links).collect()
}

fn host(
    placement: &Placement<'_>,
    name: &HostName,
    addresses: &[(&NetworkName, Ipv4Addr)],
    capture: CapturePlan,
) -> HostPlan {
    {
        let host = placement.spec.hosts.get(name);
        let sysctls = host.into_iter().flat_map(|host| &host.sysctls);
        HostPlan {
            name: name.clone(),
            interfaces: addresses
                .iter()
                .map(|&(network, address)| InterfacePlan {
                    network: network.clone(),
                    address,
                })
                .collect(),
            sysctls: sysctls
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            place: host.map_or_else(Place::default, |host| host.place),
            stealth: host.is_some_and(|host| host.stealth),
            capture,
        }
    }
}

fn node(
    placement: &Placement<'_>,
    name: &NodeName,
    placed: Placed<'_>,
) -> Result<NodePlan, Problem> {
    let Placed {
        host,
        implementation,
    } = placed;
    let program = &placement.spec.implementations[implementation];
    let command: Result<Vec<String>, Problem> = program
        .run
        .iter()
        .map(|word| placement.render(word, name))
        .collect();
    let command = command?;
    if command[0].is_empty() {
        return Err(Problem::at(
            program.run_place,
            "the program's name is empty",
        ));
    }
    let own = placement.spec.nodes.get(name).map(|node| &node.env);
    let env = program.env.iter().chain(own.into_iter().flatten());
    let env = env.map(|(key, value)| Ok((key.clone(), placement.render(value, name)?)));
    let env: Result<_, Problem> = env.collect();
    let mut env: BTreeMap<String, String> = env?;
    let display = windows::display(placement, name)?;
    if let Some(display) = &display {
        env.insert(DISPLAY.to_owned(), display.name());
    }
    let join = program.join.as_ref();
    let join = join.map(|join| windows::typed(join, |text| placement.render(text, name)));
    let ready = program.ready.as_ref();
    let ready = ready.map(|ready| self::ready(placement, name, ready));
    Ok(NodePlan {
        name: name.clone(),
        host: host.clone(),
        implementation: implementation.to_owned(),
        image: program.image.value.clone(),
        command,
        command_place: program.run_place,
        env,
        terminal: program.terminal,
        display,
        join: join.transpose()?,
        ready: ready.transpose()?,
        names: placement.names_seen_from(host),
        container: containers::container(placement, name, &program.container)?,
    })
}

fn ready(placement: &Placement<'_>, node: &NodeName, ready: &ReadySpec) -> Result<Ready, Problem> {
    Ok(match ready {
        ReadySpec::Listening(port) => Ready::Listening(placement.resolve(port, Some(node))?),
        ReadySpec::Connected(port) => Ready::Connected(placement.resolve(port, Some(node))?),
        ReadySpec::Bound(port) => Ready::Bound(placement.resolve(port, Some(node))?),
        ReadySpec::Output(text) => Ready::Output(placement.render(text, node)?),
        ReadySpec::Window(title) => Ready::Window(placement.render(title, node)?),
    })
}
