//! The proof, before the first program starts, that networks let through what their links forward.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;

use super::agent_link::AgentLink;
use crate::agent::protocol::{PathProbe, Request, Response};
use crate::backend::BackendError;
use crate::plan::{Plan, Subnet};
use crate::units::HostName;

/// How long probes may be under way before they are sent again: a bridge may not have learnt of its newest port.
const PROBE_WITHIN: Duration = Duration::from_millis(200);

/// How often they are sent.
const PROBE_ATTEMPTS: u32 = 25;

/// A packet from one host to another on the same network.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hop {
    probe: PathProbe,
    sender: HostName,
    receiver: HostName,
}

/// The number by which the probes of a cell are told from those of others; none where no links are.
pub(super) fn key(plan: &Plan) -> Option<u64> {
    let any = !plan.links.is_empty();
    any.then(|| RandomState::new().hash_one(&plan.cell))
}

/// Proves that packets with other networks' addresses get from hosts to links and back.
pub(super) async fn prove(
    plan: &Plan,
    agents: &BTreeMap<HostName, Arc<AgentLink>>,
) -> Result<(), BackendError> {
    let hops = hops(plan);
    let mut missing: BTreeSet<u32> = hops.iter().map(|hop| hop.probe.number).collect();
    for _ in 0..PROBE_ATTEMPTS {
        if missing.is_empty() {
            return Ok(());
        }
        let left: Vec<_> = hops
            .iter()
            .filter(|hop| missing.contains(&hop.probe.number))
            .collect();
        let sent = by(&left, |hop| &hop.sender)
            .into_iter()
            .map(|(host, hops)| {
                let probes = hops.iter().map(|hop| hop.probe.clone()).collect();
                ask(agents, host, Request::Probe { probes })
            });
        try_join_all(sent).await?;
        let awaited = by(&left, |hop| &hop.receiver)
            .into_iter()
            .map(|(host, hops)| {
                let numbers = hops.iter().map(|hop| hop.probe.number).collect();
                let within = PROBE_WITHIN;
                ask(agents, host, Request::AwaitProbes { numbers, within })
            });
        missing = try_join_all(awaited).await?.into_iter().flatten().collect();
    }
    let lost = hops.iter().find(|hop| missing.contains(&hop.probe.number));
    lost.map_or(Ok(()), |hop| Err(taken(hop)))
}

async fn ask(
    agents: &BTreeMap<HostName, Arc<AgentLink>>,
    host: &HostName,
    request: Request,
) -> Result<Vec<u32>, BackendError> {
    let operation = || format!("prove the paths of host `{host}`");
    let agent = agents
        .get(host)
        .ok_or_else(|| BackendError::machine(format!("{}: it is not there", operation())))?;
    match agent.ask(request).await? {
        Response::Probed { missing } => Ok(missing),
        _ => Err(BackendError::machine(format!(
            "{}: its agent gave an answer to another question",
            operation()
        ))),
    }
}

fn taken(hop: &Hop) -> BackendError {
    let Hop {
        probe,
        sender,
        receiver,
    } = hop;
    BackendError::machine(format!(
        "prove the path from host `{sender}` to host `{receiver}`: nothing that comes from {} and goes to {} arrives \
         there; the engine or a firewall of its machine takes what has another network's addresses, as links forward \
         it: see docs/engines.md, and `iptables -S`, `iptables -t raw -S` and `nft list ruleset` there",
        probe.from, probe.to
    ))
}

fn by<'a>(
    hops: &[&'a Hop],
    host: impl Fn(&'a Hop) -> &'a HostName,
) -> HashMap<&'a HostName, Vec<&'a Hop>> {
    let mut found: HashMap<_, Vec<_>> = HashMap::new();
    for &hop in hops {
        found.entry(host(hop)).or_default().push(hop);
    }
    found
}

/// For each host that a link is the way out for: to the link with the address of a network beyond, and back from it.
fn hops(plan: &Plan) -> Vec<Hop> {
    let mut hops = Vec::new();
    for link in &plan.links {
        for address in link.order.addresses {
            let network = Subnet::containing(address);
            for host in plan.hosts.iter().filter(|host| host.name != link.name) {
                let mut interfaces = host.interfaces.iter();
                let own = interfaces.find(|one| Subnet::containing(one.address) == network);
                let mut routes = plan.routes.get(&host.name).into_iter().flatten();
                let route = routes.find(|route| route.via == Some(address));
                let (Some(own), Some(route)) = (own, route) else {
                    continue;
                };
                let beyond = Subnet::containing(route.network.network());
                let beyond = beyond.address(Subnet::FIRST_HOST);
                let mut add = |on, from, to, sender: &HostName, receiver: &HostName| {
                    let number = u32::try_from(hops.len()).unwrap_or(u32::MAX);
                    hops.push(Hop {
                        probe: PathProbe {
                            number,
                            on,
                            from,
                            to,
                        },
                        sender: sender.clone(),
                        receiver: receiver.clone(),
                    });
                };
                let own: Ipv4Addr = own.address;
                add(own, own, beyond, &host.name, &link.name);
                add(address, beyond, own, &link.name, &host.name);
            }
        }
    }
    hops
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::matrix::expand;
    use crate::plan::sketch;
    use crate::spec;

    /// The hops of a cell of a matrix: who sends to whom.
    fn told(matrix: &str, cell: &str) -> Vec<String> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("matrices")
            .join(matrix);
        let spec = spec::load(&file).unwrap();
        let cells = expand(&spec).unwrap().cells;
        let cell = cells.iter().find(|one| one.name == cell).unwrap();
        let plan = sketch(&spec, cell).unwrap();
        assert_eq!(key(&plan).is_some(), !plan.links.is_empty());
        let hops = hops(&plan);
        for (number, hop) in (0..).zip(&hops) {
            assert_eq!(hop.probe.number, number);
            let networks = [hop.probe.from, hop.probe.to].map(Subnet::containing);
            assert_ne!(networks[0], networks[1], "{hop:?}");
            assert!(networks.contains(&Subnet::containing(hop.probe.on)));
        }
        let hop = |hop: &Hop| format!("{} -> {}", hop.sender, hop.receiver);
        hops.iter().map(hop).collect()
    }

    #[test]
    fn each_way_to_and_from_a_link_is_probed() {
        let way = [
            "left -> uplink",
            "uplink -> left",
            "right -> uplink",
            "uplink -> right",
        ];
        let back = ["hub -> uplink", "uplink -> hub"];
        let both = [&way[..], &back].concat();
        assert_eq!(told("links.yaml", "path=plain,fault=none"), both);
        // Nobody beyond the link knows the hosts that are hidden behind it.
        assert_eq!(told("links.yaml", "path=hidden,fault=none"), way);
        assert_eq!(told("smoke.yaml", "ending=quit"), [""; 0]);
    }
}
