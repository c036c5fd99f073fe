//! A cell and its evidence, made by hand.
//!
//! `server` on host `hub` (10.0.0.10) listens on port 15102; `alice` is on host `left` (10.0.0.11),
//! `bob` on host `hub` beside the server.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use super::*;
use crate::agent::protocol::{ConnectionOwner, InterfaceProof};
use crate::analysis::{ConnState, EventKind, Flow, Proto, Side, Steps};
use crate::pattern::testing::events;
use crate::plan::{
    CapturePlan, Check, CheckKind, ContainerPlan, FlowCheck, FlowEnd, FlowSelector, HostPlan,
    InterfacePlan, NodePlan, Plan, Ready,
};
use crate::spec::Place;
use crate::units::{HostName, ImageName, NetworkName, NodeName, Timestamp};

pub(super) const HUB: &str = "10.0.0.10";
pub(super) const LEFT: &str = "10.0.0.11";
pub(super) const ORDERLY: &str =
    "> SYN; < SYN-ACK; > ACK; > DATA 4; < ACK; < FIN; > ACK; > FIN; < ACK";
pub(super) const RESET: &str = "> SYN; < SYN-ACK; > ACK; > DATA 4; < ACK; > RST";

pub(super) fn node_name(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

pub(super) fn host_name(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

pub(super) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(super) fn node(name: &str, host: &str, ready: Option<Ready>) -> NodePlan {
    NodePlan {
        container: ContainerPlan::default(),
        name: node_name(name),
        host: host_name(host),
        implementation: name.to_owned(),
        image: ImageName::new("chat").unwrap(),
        command: vec![name.to_owned()],
        command_place: Place::default(),
        env: BTreeMap::new(),
        display: None,
        terminal: None,
        join: None,
        ready,
        names: BTreeMap::new(),
    }
}

pub(super) fn host(name: &str, address: &str) -> HostPlan {
    HostPlan {
        name: host_name(name),
        interfaces: vec![InterfacePlan {
            network: NetworkName::new("lan").unwrap(),
            address: address.parse::<Ipv4Addr>().unwrap(),
        }],
        sysctls: BTreeMap::new(),
        place: Place::default(),
        stealth: false,
        capture: CapturePlan::default(),
    }
}

pub(super) fn plan(checks: Vec<CheckKind>) -> Plan {
    let checks = checks.into_iter().map(|kind| Check {
        kind,
        place: Place::default(),
        text: "a check".to_owned(),
    });
    Plan {
        cell: "cell".to_owned(),
        networks: Vec::new(),
        hosts: vec![host("hub", HUB), host("left", LEFT)],
        links: Vec::new(),
        routes: BTreeMap::new(),
        nodes: vec![
            node("server", "hub", Some(Ready::Listening(15102))),
            node("alice", "left", None),
            node("bob", "hub", None),
        ],
        steps: Vec::new(),
        checks: checks.collect(),
    }
}

pub(super) fn flow(
    orig: &str,
    resp: &str,
    text: &str,
    conn_state: ConnState,
    first_ms: u64,
) -> Flow {
    let mut events = events(text);
    for event in &mut events {
        event.at = Timestamp(event.at.0 + first_ms * 1_000_000);
        event.frame += first_ms;
    }
    let closes = |kind| matches!(kind, EventKind::Fin | EventKind::Rst);
    Flow {
        proto: Proto::Tcp,
        orig: address(orig),
        resp: address(resp),
        first: events[0].at,
        last: events[events.len() - 1].at,
        number: 1,
        first_frame: events[0].frame,
        orig_side: Side::default(),
        resp_side: Side::default(),
        conn_state,
        history: "Sh".to_owned(),
        closed_by: events
            .iter()
            .find(|e| closes(e.kind))
            .map(|e| e.sender.into()),
        opened_by: None,
        fast_open: None,
        reset: None,
        ended: None,
        completeness: 0,
        tunnels: crate::wire::Tunnels::default(),
        multipath: None,
        icmp_errors: Vec::new(),
        events,
        steps: Steps::default(),
        states: Vec::new(),
    }
}

pub(super) fn owner(flow: &Flow, node: Option<&str>) -> ConnectionOwner {
    ConnectionOwner {
        at: flow.first,
        local: flow.orig,
        remote: flow.resp,
        node: node.map(node_name),
    }
}

pub(super) fn visit(how: Option<HowEnded>) -> Visit {
    Visit {
        started: Timestamp(0),
        ended: how.map(|how| VisitEnd {
            at: Timestamp(u64::MAX),
            how,
        }),
    }
}

/// One orderly flow of alice's, every capture complete, every program still running.
pub(super) fn evidence() -> Evidence {
    let alice = flow(
        "10.0.0.11:40000",
        "10.0.0.10:15102",
        ORDERLY,
        ConnState::SF,
        0,
    );
    let complete = |label: &str| InterfaceProof {
        label: label.to_owned(),
        received: 100,
        dropped: 0,
        unsure: 0,
        opened: true,
        closed: true,
    };
    let hosts = [
        ("hub", Vec::new()),
        ("left", vec![owner(&alice, Some("alice"))]),
    ];
    Evidence {
        deeds: Vec::new(),
        flows: vec![alice],
        hosts: hosts
            .into_iter()
            .map(|(name, owners)| {
                let interfaces = vec![complete(&format!("{name}@lan"))];
                (
                    host_name(name),
                    HostEvidence {
                        interfaces,
                        owners,
                        datagrams: Vec::new(),
                        link: None,
                    },
                )
            })
            .collect(),
        nodes: ["server", "alice", "bob"]
            .map(|name| {
                let visits = vec![visit(None)];
                (
                    node_name(name),
                    NodeEvidence {
                        dropped_bytes: 0,
                        counts: BTreeMap::new(),
                        visits,
                        output: Vec::new(),
                    },
                )
            })
            .into(),
        ..Evidence::default()
    }
}

pub(super) fn from(initiator: &str) -> FlowCheck {
    let end = |name: &str| FlowEnd {
        node: node_name(name),
        port: None,
    };
    FlowCheck {
        flows: FlowSelector {
            initiator: end(initiator),
            responder: end("server"),
            nth: None,
        },
        count: None,
        fate: Vec::new(),
        closed_by: None,
        pattern: None,
        never: Vec::new(),
    }
}

pub(super) fn judge_one(kind: CheckKind, evidence: &Evidence) -> CheckReport {
    let judgement = judge(&plan(vec![kind]), evidence);
    // Incomplete captures of hosts that the check is not about count for the cell alone.
    assert!(judgement.verdict >= judgement.checks[0].verdict);
    judgement.checks.into_iter().next().unwrap()
}

pub(super) fn judge_flow(check: FlowCheck, evidence: &Evidence) -> CheckReport {
    judge_one(CheckKind::Flow(Box::new(check)), evidence)
}

pub(super) fn assert_report(report: &CheckReport, verdict: Verdict, detail: &str) {
    assert_eq!(report.verdict, verdict, "{}", report.detail);
    if detail.is_empty() {
        assert_eq!(report.detail, "");
    } else {
        assert!(report.detail.contains(detail), "{}", report.detail);
    }
}
