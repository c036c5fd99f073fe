//! Which flows a check is about: those whose ends are the sockets of the nodes it names.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::agent::protocol::{DatagramSocket, NAME_SERVER};
use crate::analysis::{Flow, Proto, Sender};
use crate::plan::{FlowSelector, NAME_SERVER_PORT, NodePlan, Plan, Ready};
use crate::units::{HostName, NodeName, Timestamp};

use super::types::{Evidence, Visit};

/// How far outside a flow's time its owner may have been seen; the same addresses and ports may be
/// used again later, by another program.
const MAX_OWNER_DISTANCE: Duration = Duration::from_secs(1);

/// The flows between two nodes.
#[derive(Debug, Default)]
pub(super) struct Selection<'a> {
    /// In order of their first packet.
    pub(super) flows: Vec<&'a Flow>,
    /// Flows that would be among them if the right program opened them, which cannot be told.
    pub(super) doubtful: Vec<&'a Flow>,
}

/// Finds the flows from `initiator` to `responder`.
pub(super) fn select<'a>(
    selector: &FlowSelector,
    initiator: &NodePlan,
    responder: &NodePlan,
    plan: &Plan,
    evidence: &'a Evidence,
) -> Selection<'a> {
    let mut selection = Selection::default();
    for flow in &evidence.flows {
        let from = flow.orig;
        let to = flow.resp;
        let fits = !is_look_up(flow, plan)
            && on_host_of(initiator, initiator, from.ip(), plan)
            && on_host_of(responder, initiator, to.ip(), plan)
            && selector
                .initiator
                .port
                .is_none_or(|port| port == from.port());
        if !fits {
            continue;
        }
        let served = serves(responder, selector.responder.port, flow, plan, evidence);
        if served == Known::No {
            continue;
        }
        let opened = match opener(flow, responder, plan, evidence) {
            Opener::Node(node) if *node == initiator.name => Known::Yes,
            Opener::Unknown(candidates)
                if candidates.is_empty() || candidates.contains(&&initiator.name) =>
            {
                Known::Unclear
            }
            Opener::Node(_) | Opener::Unknown(_) => Known::No,
        };
        match (opened, served) {
            (Known::No, _) => {}
            (Known::Yes, Known::Yes) => selection.flows.push(flow),
            _ => selection.doubtful.push(flow),
        }
    }
    selection
}

/// Whether something is so, where it may not be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Yes,
    No,
    Unclear,
}

/// Whether a flow is a look-up of a name: its responder is the agent then. Loopback addresses are every host's, and where a
/// program has the port the host's programs are not sent there.
fn is_look_up(flow: &Flow, plan: &Plan) -> bool {
    let mut hosts = plan.hosts.iter();
    goes_to_name_server(flow) && hosts.any(|host| !plan.has_name_server(&host.name))
}

/// Whether a flow goes where agents serve names, unless a program of the host does.
pub(super) fn goes_to_name_server(flow: &Flow) -> bool {
    flow.resp == SocketAddr::from((NAME_SERVER, NAME_SERVER_PORT))
}

/// The node whose socket is at one end of a flow, as far as it is known.
#[must_use]
pub fn node_of<'a>(
    plan: &'a Plan,
    evidence: &'a Evidence,
    flow: &Flow,
    side: Sender,
) -> Option<&'a NodeName> {
    if is_look_up(flow, plan) {
        return None;
    }
    let responder = plan.nodes.iter().find(|node| {
        on_host_of(node, node, flow.resp.ip(), plan)
            && serves(node, None, flow, plan, evidence) == Known::Yes
    })?;
    match side {
        Sender::Responder => Some(&responder.name),
        Sender::Initiator => match opener(flow, responder, plan, evidence) {
            Opener::Node(node) => Some(node),
            Opener::Unknown(_) => None,
        },
    }
}

/// Whether `address` is the host's of `node`, in a flow opened on the host of `initiator`.
fn on_host_of(node: &NodePlan, initiator: &NodePlan, address: IpAddr, plan: &Plan) -> bool {
    if address.is_loopback() {
        return node.host == initiator.host;
    }
    plan.host(&node.host).is_some_and(|host| {
        let mut interfaces = host.interfaces.iter();
        interfaces.any(|interface| IpAddr::V4(interface.address) == address)
    })
}

/// Whether `responder` is who answers in a flow: by the port that the check gives, by the port that the node is known
/// to have, because its socket was seen to send from that port, or because no other node of its host has it.
fn serves(
    responder: &NodePlan,
    wanted: Option<u16>,
    flow: &Flow,
    plan: &Plan,
    evidence: &Evidence,
) -> Known {
    let port = flow.resp.port();
    let own = wanted.or_else(|| ready_port(responder, flow.proto));
    if own.is_some_and(|own| own != port) {
        return Known::No;
    }
    // Of several sockets with the port the closest takes what arrives (udp(7)).
    let sockets = datagram_sockets(flow, Sender::Responder, &responder.host, evidence);
    let closest = sockets.iter().map(|(closeness, _)| *closeness).max();
    let takers: BTreeSet<_> = sockets
        .into_iter()
        .filter(|(closeness, _)| Some(*closeness) == closest)
        .map(|(_, node)| node)
        .collect();
    if !takers.is_empty() {
        return match takers.contains(&responder.name) {
            true if takers.len() == 1
                && lived(&responder.name, flow, Sender::Responder, evidence) =>
            {
                Known::Yes
            }
            true => Known::Unclear,
            false => Known::No,
        };
    }
    let mut nodes = plan.nodes.iter();
    let is_anothers =
        nodes.any(|node| node.host == responder.host && ready_port(node, flow.proto) == Some(port));
    if own.is_some() || !is_anothers {
        Known::Yes
    } else {
        Known::No
    }
}

/// The port that a node is ready on.
fn ready_port(node: &NodePlan, proto: Proto) -> Option<u16> {
    match (node.ready.as_ref()?, proto) {
        (Ready::Listening(port), _) | (Ready::Bound(port), Proto::Udp) => Some(*port),
        _ => None,
    }
}

/// The sockets of a host that may be at one end of a flow of datagrams, by what was seen of them: how closely each is
/// tied to the two ends, and whose it is.
fn datagram_sockets<'a>(
    flow: &Flow,
    side: Sender,
    host: &HostName,
    evidence: &'a Evidence,
) -> Vec<(u8, &'a NodeName)> {
    if flow.proto != Proto::Udp {
        return Vec::new();
    }
    let (local, remote) = match side {
        Sender::Initiator => (flow.orig, flow.resp),
        Sender::Responder => (flow.resp, flow.orig),
    };
    let seen_then = |socket: &&DatagramSocket| {
        socket.from.since(flow.last) <= MAX_OWNER_DISTANCE
            && flow.first.since(socket.until) <= MAX_OWNER_DISTANCE
            && ran_during(&socket.node, flow, evidence)
    };
    let sockets = evidence.hosts.get(host).map(|host| &host.datagrams);
    sockets
        .into_iter()
        .flatten()
        .filter(seen_then)
        .filter_map(|socket| Some((socket.fits(local, remote)?, &socket.node)))
        .collect()
}

/// Who opened a connection.
enum Opener<'a> {
    Node(&'a NodeName),
    /// One of these, or nobody that is known.
    Unknown(Vec<&'a NodeName>),
}

/// Who opened `flow`: the owner that the agent saw, or the only node that could have. A node may call itself, but one that
/// was not seen to do so in this cell is taken not to.
fn opener<'a>(
    flow: &Flow,
    responder: &NodePlan,
    plan: &'a Plan,
    evidence: &'a Evidence,
) -> Opener<'a> {
    let from = flow.orig.ip();
    let could_send = |node: &&NodePlan| on_host_of(node, node, from, plan);
    let distance = |at: Timestamp| at.since(flow.first).max(flow.first.since(at));
    let hosts: BTreeSet<_> = plan
        .nodes
        .iter()
        .filter(could_send)
        .map(|node| &node.host)
        .collect();
    // Any socket with the port may have sent it, however it is bound.
    let senders: BTreeSet<_> = hosts
        .iter()
        .filter(|host| !from.is_loopback() || ***host == responder.host)
        .flat_map(|host| datagram_sockets(flow, Sender::Initiator, host, evidence))
        .map(|(_, node)| node)
        .collect();
    match Vec::from_iter(senders)[..] {
        [] => {}
        [only] if lived(only, flow, Sender::Initiator, evidence) => return Opener::Node(only),
        // Another program has taken over the port, and its socket was not seen.
        [_] => {
            let senders = plan.nodes.iter().filter(could_send).map(|node| &node.name);
            let possible = senders.filter(|name| ran_during(name, flow, evidence));
            return Opener::Unknown(possible.collect());
        }
        ref several => return Opener::Unknown(several.to_vec()),
    }
    // Loopback addresses are every host's: the owner seen nearest in time decides.
    let owner = hosts
        .into_iter()
        .filter_map(|host| evidence.hosts.get(host))
        .flat_map(|host| &host.owners)
        .filter(|owner| owner.local == flow.orig && owner.remote == flow.resp)
        .filter(|owner| {
            flow.first.since(owner.at) <= MAX_OWNER_DISTANCE
                && owner.at.since(flow.last) <= MAX_OWNER_DISTANCE
        })
        .filter_map(|owner| Some((distance(owner.at), owner.node.as_ref()?)))
        .min_by_key(|(distance, _)| *distance);
    if let Some((_, node)) = owner {
        return Opener::Node(node);
    }
    let self_called = could_send(&responder) && calls_itself(responder, plan, evidence);
    let candidates: Vec<_> = plan
        .nodes
        .iter()
        .filter(could_send)
        .filter(|node| !from.is_loopback() || node.host == responder.host)
        .filter(|node| self_called || node.name != responder.name)
        .map(|node| &node.name)
        .filter(|name| ran(name, flow.first, evidence))
        .collect();
    match candidates[..] {
        [only] => Opener::Node(only),
        _ => Opener::Unknown(candidates),
    }
}

/// Whether a node was seen to open a connection to its own host, or one was opened there that no other node can have.
fn calls_itself(node: &NodePlan, plan: &Plan, evidence: &Evidence) -> bool {
    let is_own = |address| on_host_of(node, node, address, plan);
    let owners = evidence
        .hosts
        .get(&node.host)
        .into_iter()
        .flat_map(|host| &host.owners);
    let mut of_node = owners.filter(|owner| owner.node.as_ref() == Some(&node.name));
    let others: Vec<_> = plan
        .nodes
        .iter()
        .filter(|other| other.host == node.host && other.name != node.name)
        .collect();
    let alone = |at| {
        ran(&node.name, at, evidence) && !others.iter().any(|other| ran(&other.name, at, evidence))
    };
    of_node.any(|owner| is_own(owner.remote.ip()))
        || evidence
            .flows
            .iter()
            .filter(|flow| !is_look_up(flow, plan))
            .any(|flow| is_own(flow.orig.ip()) && is_own(flow.resp.ip()) && alone(flow.first))
}

/// Whether a program of a node may have been running at that moment.
fn ran(node: &NodeName, at: Timestamp, evidence: &Evidence) -> bool {
    let visits = evidence.nodes.get(node).map(|node| node.visits.as_slice());
    visits
        .unwrap_or_default()
        .iter()
        .any(|visit| alive(visit, at))
}

/// Whether a program of a node may have been running at some time of a flow.
fn ran_during(node: &NodeName, flow: &Flow, evidence: &Evidence) -> bool {
    let visits = evidence.nodes.get(node).map(|node| node.visits.as_slice());
    visits.unwrap_or_default().iter().any(|visit| {
        visit.started <= flow.last && visit.ended.is_none_or(|end| end.at >= flow.first)
    })
}

/// Whether a program of a node may have been running whenever one side of a flow sent something.
fn lived(node: &NodeName, flow: &Flow, side: Sender, evidence: &Evidence) -> bool {
    let mut sent = flow.events.iter().filter(|event| event.sender == side);
    sent.all(|event| ran(node, event.at, evidence))
}

/// A program is started after the time that its visit began at, by the clock of its own host.
fn alive(visit: &Visit, at: Timestamp) -> bool {
    visit.started <= at && visit.ended.is_none_or(|end| end.at >= at)
}
