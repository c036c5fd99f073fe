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
use crate::plan::{HostPlan, Plan, Subnet};
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
    prove_hops(&hops(plan), agents).await
}

/// Agents, as the proof needs them.
trait Probing {
    /// Asks the agent of a host to send probes or to wait for them; gives the numbers of those that have not arrived.
    fn ask(
        &self,
        host: &HostName,
        request: Request,
    ) -> impl Future<Output = Result<Vec<u32>, BackendError>> + Send;
}

impl Probing for BTreeMap<HostName, Arc<AgentLink>> {
    async fn ask(&self, host: &HostName, request: Request) -> Result<Vec<u32>, BackendError> {
        let refused =
            |why| BackendError::machine(format!("prove the paths of host `{host}`: {why}"));
        let agent = self.get(host).ok_or_else(|| refused("it is not there"))?;
        match agent.ask(request).await? {
            Response::Probed { missing } => Ok(missing),
            _ => Err(refused("its agent gave an answer to another question")),
        }
    }
}

/// Proves each hop.
async fn prove_hops(hops: &[Hop], agents: &impl Probing) -> Result<(), BackendError> {
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
                agents.ask(host, Request::Probe { probes })
            });
        try_join_all(sent).await?;
        let awaited = by(&left, |hop| &hop.receiver)
            .into_iter()
            .map(|(host, hops)| {
                let numbers = hops.iter().map(|hop| hop.probe.number).collect();
                let within = PROBE_WITHIN;
                agents.ask(host, Request::AwaitProbes { numbers, within })
            });
        missing = try_join_all(awaited).await?.into_iter().flatten().collect();
    }
    let lost = hops.iter().find(|hop| missing.contains(&hop.probe.number));
    lost.map_or(Ok(()), |hop| Err(taken(hop)))
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

/// Every way that a link's packets take: from each host to the link with the address of each host beyond, and back from it,
/// and between links.
fn hops(plan: &Plan) -> Vec<Hop> {
    let mut hops = Vec::new();
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
    for link in &plan.links {
        for address in link.order.addresses {
            for host in hosts_beside(plan, address) {
                let routes = plan.routes.get(&host.name).into_iter().flatten();
                let through = routes.filter(|route| route.via == Some(address));
                for beyond in through.flat_map(|route| addresses_on(plan, route.network.network()))
                {
                    for own in addresses_of(host, address) {
                        add(own, own, beyond, &host.name, &link.name);
                        add(address, beyond, own, &link.name, &host.name);
                    }
                }
            }
        }
        let sides = link.order.addresses.into_iter().zip(&link.order.routes);
        for (side, (address, routes)) in sides.enumerate() {
            let hidden = link.order.masquerade && side == 1;
            let sources = if hidden {
                vec![address]
            } else {
                let behind = link.order.routes[1 - side].iter();
                behind
                    .flat_map(|route| addresses_on(plan, route.network.network()))
                    .collect()
            };
            for route in routes {
                let next = plan.links.iter().find(|next| {
                    route
                        .via
                        .is_some_and(|via| next.order.addresses.contains(&via))
                });
                let Some(next) = next else { continue };
                for to in addresses_on(plan, route.network.network()) {
                    for &from in &sources {
                        add(address, from, to, &link.name, &next.name);
                    }
                }
            }
        }
    }
    hops
}

/// The hosts, of links none, that are on the network of an address.
fn hosts_beside(plan: &Plan, address: Ipv4Addr) -> impl Iterator<Item = &HostPlan> {
    let hosts = plan.hosts.iter();
    let hosts = hosts.filter(|host| plan.link(&host.name).is_none());
    hosts.filter(move |host| addresses_of(host, address).next().is_some())
}

/// The addresses of a host on the network of another address.
fn addresses_of(host: &HostPlan, beside: Ipv4Addr) -> impl Iterator<Item = Ipv4Addr> {
    let addresses = host.interfaces.iter().map(|one| one.address);
    addresses.filter(move |own| Subnet::containing(*own) == Subnet::containing(beside))
}

/// The addresses that programs may have on a network.
fn addresses_on(plan: &Plan, network: Ipv4Addr) -> Vec<Ipv4Addr> {
    let hosts = hosts_beside(plan, network);
    hosts.flat_map(|host| addresses_of(host, network)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::matrix::expand;
    use crate::plan::sketch;
    use crate::spec::{self, Spec};

    /// The hops of a cell of a matrix.
    fn hops_of(matrix: &str, cell: &str) -> Vec<Hop> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("matrices")
            .join(matrix);
        let spec = spec::load(&file).unwrap();
        hops_in(&spec, cell)
    }

    fn hops_in(spec: &Spec, cell: &str) -> Vec<Hop> {
        let cells = expand(spec).unwrap().cells;
        let cell = cells.iter().find(|one| one.name == cell).unwrap();
        let plan = sketch(spec, cell).unwrap();
        assert_eq!(key(&plan).is_some(), !plan.links.is_empty());
        let hops = hops(&plan);
        for (number, hop) in (0..).zip(&hops) {
            assert_eq!(hop.probe.number, number);
            let networks = [hop.probe.from, hop.probe.to].map(Subnet::containing);
            assert_ne!(networks[0], networks[1], "{hop:?}");
        }
        hops
    }

    /// Who sends to whom, and from which address of its subnet to which.
    fn told(hops: &[Hop]) -> Vec<String> {
        let number = |address: Ipv4Addr| address.octets()[3];
        let told = hops.iter().map(|hop| {
            let Hop {
                probe,
                sender,
                receiver,
            } = hop;
            let (from, to) = (number(probe.from), number(probe.to));
            format!("{sender} -> {receiver} from {from} to {to}")
        });
        told.collect()
    }

    #[test]
    fn each_way_to_and_from_a_link_is_probed() {
        let out = [
            "left -> uplink from 11 to 10",
            "uplink -> left from 10 to 11",
            "right -> uplink from 12 to 10",
            "uplink -> right from 10 to 12",
        ];
        let back = [
            "hub -> uplink from 10 to 11",
            "uplink -> hub from 11 to 10",
            "hub -> uplink from 10 to 12",
            "uplink -> hub from 12 to 10",
        ];
        let plain = hops_of("links.yaml", "path=plain,fault=none");
        assert_eq!(told(&plain), [out, back].concat());
        // Nobody beyond the link knows the hosts that are hidden behind it.
        let hidden = hops_of("links.yaml", "path=hidden,fault=none");
        assert_eq!(told(&hidden), out);
        assert_eq!(hops_of("smoke.yaml", "ending=quit"), []);
    }

    #[test]
    fn links_probe_the_way_to_each_other() {
        let text = "version: 1
name: chain
images: { peers: { dockerfile: d.Dockerfile } }
implementations: { idle: { image: peers, run: [sleep, '9'] } }
networks: { a: {}, b: {}, c: {} }
hosts: { left: [a], right: [c] }
links: { first: { joins: [a, b] }, second: { joins: [b, c] } }
nodes: { one: { on: left, is: idle }, two: { on: right, is: idle } }
steps: [{ start: [one, two] }]
checks: []
";
        let spec = spec::parse("chain.yaml", Path::new("."), text.to_owned()).unwrap();
        let hops = hops_in(&spec, "chain");
        let between: Vec<_> = told(&hops)
            .into_iter()
            .filter(|hop| hop.contains("first -> second") || hop.contains("second -> first"))
            .collect();
        assert_eq!(
            between,
            [
                "first -> second from 10 to 11",
                "second -> first from 11 to 10"
            ]
        );
    }

    /// A network that takes the probes with these numbers.
    struct Firewall(Vec<u32>);

    impl Probing for Firewall {
        async fn ask(&self, _: &HostName, request: Request) -> Result<Vec<u32>, BackendError> {
            match request {
                Request::AwaitProbes { numbers, .. } => {
                    let taken = numbers.into_iter().filter(|number| self.0.contains(number));
                    Ok(taken.collect())
                }
                _ => Ok(Vec::new()),
            }
        }
    }

    #[tokio::test]
    async fn a_path_that_is_not_there_is_told_with_its_ends() {
        let hops = hops_of("links.yaml", "path=plain,fault=none");
        prove_hops(&hops, &Firewall(Vec::new())).await.unwrap();
        let error = prove_hops(&hops, &Firewall(vec![5])).await.unwrap_err();
        let told = error.to_string();
        let expected = "prove the path from host `uplink` to host `hub`: nothing that comes from";
        assert!(told.starts_with(expected), "{told}");
    }
}
