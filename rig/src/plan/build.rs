//! From a cell to its plan.

use super::cell::{Placed, Placement};
use super::{HostPlan, InterfacePlan, NetworkPlan, NodePlan, Plan, Ready, Subnet};
use crate::matrix::Cell;
use crate::spec::{Diagnostics, Problem, ReadySpec, Spec};
use crate::units::NodeName;

/// How many subnets a cell needs: one for each network that a host of its nodes is on.
#[must_use]
pub fn networks_needed(spec: &Spec, cell: &Cell) -> usize {
    Placement::new(spec, cell).0.networks_in_use().len()
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
    let steps = super::steps::steps(&placement, &mut problems);
    let checks = super::checks::checks(&placement, &steps, &mut problems);
    if !problems.is_empty() {
        return Err(Diagnostics::new(spec.source.clone(), problems));
    }
    Ok(Plan {
        cell: cell.name.clone(),
        networks: networks(&placement),
        hosts: hosts(&placement),
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

fn hosts(placement: &Placement<'_>) -> Vec<HostPlan> {
    let hosts = placement.hosts.iter().map(|(&name, addresses)| {
        let sysctls = placement.spec.hosts.get(name).map(|host| &host.sysctls);
        let sysctls = sysctls.into_iter().flatten();
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
                .map(|(key, value)| (key.clone(), value.value.clone()))
                .collect(),
        }
    });
    hosts.collect()
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
    let join = program.join.as_ref();
    let join = join.map(|text| placement.render(text, name));
    let ready = program.ready.as_ref();
    let ready = ready.map(|ready| self::ready(placement, name, ready));
    Ok(NodePlan {
        name: name.clone(),
        host: host.clone(),
        implementation: implementation.to_owned(),
        image: program.image.value.clone(),
        command,
        command_place: program.run_place,
        env: env?,
        join: join.transpose()?,
        ready: ready.transpose()?,
        names: placement.names_seen_from(host),
    })
}

fn ready(placement: &Placement<'_>, node: &NodeName, ready: &ReadySpec) -> Result<Ready, Problem> {
    Ok(match ready {
        ReadySpec::Listening(port) => Ready::Listening(placement.resolve(port, Some(node))?),
        ReadySpec::Connected(port) => Ready::Connected(placement.resolve(port, Some(node))?),
        ReadySpec::Output(text) => Ready::Output(placement.render(text, node)?),
    })
}
