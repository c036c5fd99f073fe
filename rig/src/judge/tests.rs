//! Every kind of check, passing, failing and inconclusive.

use super::testing::*;
use std::collections::BTreeMap;

use super::select::select;
use super::*;
use crate::agent::protocol::{DatagramSocket, SocketRow};
use crate::analysis::{ConnState, Proto, Sender};
use crate::pattern::{EventPattern, Pattern};
use crate::plan::{
    CheckKind, Copies, ExitCheck, FlowCheck, FlowEnd, FlowSelector, OutputCheck, Ready,
    SocketCheck, SocketPattern, SocketRows, Stream,
};
use crate::units::{MarkName, Signal, Timestamp};

#[test]
fn a_flow_passes_with_comments_on_its_packets() {
    let check = FlowCheck {
        count: Some(Copies {
            min: 1,
            max: Some(1),
        }),
        fate: vec![ConnState::SF],
        closed_by: Some(Sender::Responder),
        pattern: Some(Pattern::parse("> SYN < SYN-ACK ... < FIN > FIN").unwrap()),
        never: vec![EventPattern::parse("RST").unwrap()],
        ..from("alice")
    };
    let judgement = judge(&plan(vec![CheckKind::Flow(Box::new(check))]), &evidence());
    assert_report(&judgement.checks[0], Verdict::Pass, "");
    assert_eq!(judgement.checks[0].frames, [1, 2, 6, 8, 9]);
    let comments: Vec<_> = judgement
        .annotations
        .iter()
        .map(|note| format!("{} {}", note.frame, note.comment))
        .collect();
    insta::assert_snapshot!(comments.join("\n"), @r"
    1 expected: > SYN
    2 expected: < SYN-ACK
    6 expected: < FIN (server closes first)
    6 expected: server closes first
    8 expected: > FIN
    9 expected: fate SF
    ");
}

#[test]
fn what_any_takes_carries_no_comment() {
    let check = FlowCheck {
        pattern: Some(Pattern::parse("> SYN < SYN-ACK - ANY*").unwrap()),
        ..from("alice")
    };
    let judgement = judge(&plan(vec![CheckKind::Flow(Box::new(check))]), &evidence());
    assert_report(&judgement.checks[0], Verdict::Pass, "");
    assert_eq!(judgement.checks[0].frames, [1, 2]);
}

#[test]
fn a_flow_fails_with_what_was_expected_and_what_came() {
    let mut evidence = evidence();
    evidence.flows[0] = flow(
        "10.0.0.11:40000",
        "10.0.0.10:15102",
        RESET,
        ConnState::RSTO,
        0,
    );
    let check = FlowCheck {
        fate: vec![ConnState::SF, ConnState::S1],
        closed_by: Some(Sender::Responder),
        pattern: Some(Pattern::parse("> SYN < SYN-ACK ... < FIN > FIN").unwrap()),
        never: ["- RST", "< DATA", "> DATA[retransmission]"]
            .map(|event| EventPattern::parse(event).unwrap())
            .into(),
        ..from("alice")
    };
    let report = judge_flow(check, &evidence);
    assert_eq!(report.verdict, Verdict::Fail);
    assert_eq!(report.frames, [6]);
    let ladder = report.ladder.unwrap();
    assert!(ladder.contains("x   0.005000     6  > RST"), "{ladder}");
    insta::assert_snapshot!(report.detail, @"alice 10.0.0.11:40000 -> server 10.0.0.10:15102 (frame 1): `- RST` came in frame 6, expected never; closed first by alice (RST in frame 6), expected server; fate is RSTO (history Sh), expected SF or S1; pattern: expected `< FIN` or `...`, came `> RST` (frame 6): the connection was reset by the initiator; the pattern expects an orderly close");
}

#[test]
fn a_flow_is_shown_whatever_is_wrong() {
    let check = FlowCheck {
        fate: vec![ConnState::RSTO],
        closed_by: Some(Sender::Initiator),
        ..from("alice")
    };
    let ladder = judge_flow(check, &evidence()).ladder.unwrap();
    let marked: Vec<_> = ladder.lines().filter(|row| row.starts_with('x')).collect();
    let ends = |row: &str, note: &str| row.trim_end().ends_with(note);
    assert!(ends(marked[0], "expected alice to close first"), "{ladder}");
    assert!(ends(marked[1], "fate is SF, expected RSTO"), "{ladder}");
    assert_eq!(marked.len(), 2, "{ladder}");
}

#[test]
fn flows_are_counted() {
    let mut evidence = evidence();
    let copies = |min, max| Some(Copies { min, max });
    let counted = |count, nth| {
        let mut check = FlowCheck {
            count,
            ..from("alice")
        };
        check.flows.nth = nth;
        check
    };
    let detail = "connections: expected 2, found 1; alice 10.0.0.11:40000 -> server";
    let report = judge_flow(counted(copies(2, Some(2)), None), &evidence);
    assert_report(&report, Verdict::Fail, detail);
    let report = judge_flow(counted(copies(0, Some(0)), None), &evidence);
    assert_report(&report, Verdict::Fail, "connections: expected 0, found 1");
    let report = judge_flow(counted(None, Some(2)), &evidence);
    assert_report(
        &report,
        Verdict::Fail,
        "connections: expected 2 or more, found 1",
    );
    let report = judge_flow(from("bob"), &evidence);
    assert_report(
        &report,
        Verdict::Fail,
        "found 0; the capture has 10.0.0.11:40000 -> 10.0.0.10:15102",
    );
    evidence.flows.clear();
    let report = judge_flow(from("alice"), &evidence);
    assert_report(&report, Verdict::Fail, "no connection at all");
    let report = judge_flow(counted(copies(0, None), None), &evidence);
    assert_report(&report, Verdict::Pass, "");
}

#[test]
fn nth_takes_one_of_several_visits() {
    let mut evidence = evidence();
    let again = flow(
        "10.0.0.11:40001",
        "10.0.0.10:15102",
        RESET,
        ConnState::RSTO,
        5000,
    );
    let owners = &mut evidence.hosts.get_mut("left").unwrap().owners;
    owners.push(owner(&again, Some("alice")));
    evidence.flows.push(again);
    for (nth, fate) in [(1, ConnState::SF), (2, ConnState::RSTO)] {
        let mut check = FlowCheck {
            fate: vec![fate],
            ..from("alice")
        };
        check.flows.nth = Some(nth);
        assert_report(&judge_flow(check, &evidence), Verdict::Pass, "");
    }
    let check = FlowCheck {
        fate: vec![ConnState::SF],
        ..from("alice")
    };
    assert_report(
        &judge_flow(check, &evidence),
        Verdict::Fail,
        "10.0.0.11:40001",
    );
}

#[test]
fn a_flow_belongs_to_the_node_that_opened_it() {
    let mut evidence = evidence();
    // Both are on the hub: a connection of bob's to the server goes over loopback.
    let local = flow(
        "10.0.0.10:50000",
        "10.0.0.10:15102",
        ORDERLY,
        ConnState::SF,
        3_600_100,
    );
    let loopback = flow(
        "127.0.0.1:50001",
        "127.0.0.1:15102",
        ORDERLY,
        ConnState::SF,
        3_600_200,
    );
    let other_port = flow(
        "10.0.0.10:50002",
        "10.0.0.10:99",
        ORDERLY,
        ConnState::SF,
        3_600_300,
    );
    let owners = &mut evidence.hosts.get_mut("hub").unwrap().owners;
    for flow in [&local, &loopback, &other_port] {
        owners.push(owner(flow, Some("bob")));
    }
    // The same addresses and ports, an hour earlier, by another program.
    let mut earlier = owner(&local, Some("server"));
    earlier.at = Timestamp(0);
    owners.insert(0, earlier);
    evidence.flows.extend([local, loopback, other_port]);
    let count = |n| {
        Some(Copies {
            min: n,
            max: Some(n),
        })
    };
    let report = judge_flow(
        FlowCheck {
            count: count(2),
            ..from("bob")
        },
        &evidence,
    );
    assert_report(&report, Verdict::Pass, "");
    let mut check = FlowCheck {
        count: count(1),
        ..from("bob")
    };
    check.flows.responder.port = Some(99);
    assert_report(&judge_flow(check, &evidence), Verdict::Pass, "");
    let report = judge_flow(
        FlowCheck {
            count: count(1),
            ..from("alice")
        },
        &evidence,
    );
    assert_report(&report, Verdict::Pass, "");
}

#[test]
fn senders_of_datagrams_are_told_apart_by_their_sockets() {
    let datagrams = |orig: &str, resp: &str, first_ms| {
        let events = "> DATA 4; < DATA 4; > DATA 4";
        let mut flow = flow(orig, resp, events, ConnState::SF, first_ms);
        flow.proto = Proto::Udp;
        flow
    };
    let socket = |local: &str, remote: &str, node: &str, at_ms: u64| DatagramSocket {
        local: address(local),
        remote: address(remote),
        node: node_name(node),
        from: Timestamp(at_ms * 1_000_000),
        until: Timestamp(at_ms * 1_000_000),
    };
    let mut evidence = evidence();
    evidence.flows = vec![
        datagrams("10.0.0.11:5000", "10.0.0.10:7000", 0),
        datagrams("10.0.0.11:5001", "10.0.0.10:7001", 10),
        // The port of the first, an hour later.
        datagrams("10.0.0.11:5000", "10.0.0.10:7001", 3_600_000),
    ];
    evidence.hosts.get_mut("left").unwrap().datagrams = vec![
        socket("0.0.0.0:5000", "0.0.0.0:0", "alice", 1),
        socket("10.0.0.11:5001", "10.0.0.10:7001", "carol", 11),
        socket("0.0.0.0:5000", "0.0.0.0:0", "carol", 3_600_001),
    ];
    evidence.hosts.get_mut("hub").unwrap().datagrams = vec![
        socket("0.0.0.0:7000", "0.0.0.0:0", "server", 1),
        socket("0.0.0.0:7001", "0.0.0.0:0", "bob", 11),
        socket("0.0.0.0:7001", "0.0.0.0:0", "bob", 3_600_001),
    ];
    evidence.nodes.insert(
        node_name("carol"),
        NodeEvidence {
            visits: vec![visit(None)],
            ..NodeEvidence::default()
        },
    );
    let count = |from: &str, to: &str, evidence: &Evidence| {
        let mut plan = plan(Vec::new());
        plan.nodes.push(node("carol", "left", None));
        plan.nodes[0].ready = None;
        let node = |name: &str| plan.nodes.iter().find(|node| node.name.as_str() == name);
        let end = |name| FlowEnd {
            node: node_name(name),
            port: None,
        };
        let selector = FlowSelector {
            initiator: end(from),
            responder: end(to),
            nth: None,
        };
        let found = select(
            &selector,
            node(from).unwrap(),
            node(to).unwrap(),
            &plan,
            evidence,
        );
        (found.flows.len(), found.doubtful.len())
    };
    assert_eq!(count("alice", "server", &evidence), (1, 0));
    assert_eq!(count("alice", "bob", &evidence), (0, 0));
    assert_eq!(count("carol", "server", &evidence), (0, 0));
    assert_eq!(count("carol", "bob", &evidence), (2, 0));
    // Both have a socket that could have sent it.
    let left = &mut evidence.hosts.get_mut("left").unwrap().datagrams;
    left.push(socket("0.0.0.0:5000", "0.0.0.0:0", "carol", 2));
    assert_eq!(count("alice", "server", &evidence), (0, 1));
    // Alice ends in the middle of it: somebody else has taken over the port.
    let between = evidence.flows[0].events[1].at;
    let alice = &mut evidence.nodes.get_mut("alice").unwrap().visits;
    alice[0].ended = Some(VisitEnd {
        at: between,
        how: HowEnded::Exited(0),
    });
    assert_eq!(count("alice", "server", &evidence), (0, 1));
    evidence.nodes.get_mut("alice").unwrap().visits[0].ended = None;
    // Whoever starts later, or had ended before, cannot have sent it.
    let carol = &mut evidence.nodes.get_mut("carol").unwrap().visits;
    carol[0].started = Timestamp(60_000_000_000);
    assert_eq!(count("alice", "server", &evidence), (1, 0));
    let carol = &mut evidence.nodes.get_mut("carol").unwrap().visits;
    carol[0] = visit(Some(HowEnded::Exited(0)));
    carol[0].ended.as_mut().unwrap().at = Timestamp(0);
    evidence.flows[0].first = Timestamp(1);
    assert_eq!(count("alice", "server", &evidence), (1, 0));
    // However closely another socket with the port is bound: any may send.
    evidence.nodes.get_mut("carol").unwrap().visits[0] = visit(None);
    let left = &mut evidence.hosts.get_mut("left").unwrap().datagrams;
    left.push(socket("10.0.0.11:5000", "10.0.0.10:7000", "carol", 2));
    assert_eq!(count("alice", "server", &evidence), (0, 1));
    evidence
        .hosts
        .get_mut("left")
        .unwrap()
        .datagrams
        .truncate(3);
    // Two servers share the port: who has answered is not known.
    let hub = &mut evidence.hosts.get_mut("hub").unwrap().datagrams;
    hub.push(socket("0.0.0.0:7000", "0.0.0.0:0", "bob", 1));
    assert_eq!(count("alice", "server", &evidence), (0, 1));
    assert_eq!(count("alice", "bob", &evidence), (0, 1));
    // One that is connected to the sender takes what it sends.
    let hub = &mut evidence.hosts.get_mut("hub").unwrap().datagrams;
    hub.push(socket("10.0.0.10:7000", "10.0.0.11:5000", "server", 1));
    assert_eq!(count("alice", "server", &evidence), (1, 0));
    assert_eq!(count("alice", "bob", &evidence), (0, 0));
}

#[test]
fn look_ups_of_names_are_nobodys_flows() {
    let mut evidence = evidence();
    let mut look_up = flow(
        "127.0.0.1:40000",
        "127.0.0.53:53",
        "> DATA 4; < DATA 4",
        ConnState::SF,
        0,
    );
    look_up.proto = Proto::Udp;
    evidence.flows = vec![look_up];
    let mut plan = plan(vec![CheckKind::Flow(Box::new(from("alice")))]);
    plan.nodes[0].host = host_name("left");
    plan.nodes[0].ready = None;
    let report = judge(&plan, &evidence);
    let detail = "connections: expected 1 or more, found 0; the capture has no connection at all";
    assert_report(&report.checks[0], Verdict::Fail, detail);
    let flow = &evidence.flows[0];
    for side in [Sender::Initiator, Sender::Responder] {
        assert_eq!(node_of(&plan, &evidence, flow, side), None);
    }
    // Unless programs have the port on every host.
    plan.hosts.retain(|host| host.name.as_str() == "left");
    plan.nodes[0].ready = Some(Ready::Bound(53));
    assert_eq!(judge(&plan, &evidence).verdict, Verdict::Pass);
}

#[test]
fn an_unknown_owner_is_found_by_exclusion_or_not_at_all() {
    let mut evidence = evidence();
    evidence.hosts.get_mut("left").unwrap().owners[0].node = None;
    // Only alice is on the host.
    assert_report(&judge_flow(from("alice"), &evidence), Verdict::Pass, "");

    let mut plan = plan(vec![CheckKind::Flow(Box::new(from("alice")))]);
    plan.nodes.push(node("carol", "left", None));
    // Carol was never started, so it was alice still.
    assert_eq!(judge(&plan, &evidence).verdict, Verdict::Pass);
    let carol = NodeEvidence {
        dropped_bytes: 0,
        counts: BTreeMap::new(),
        visits: vec![visit(None)],
        output: Vec::new(),
    };
    evidence.nodes.insert(node_name("carol"), carol);
    let judgement = judge(&plan, &evidence);
    assert_report(
        &judgement.checks[0],
        Verdict::Inconclusive,
        "no owner is known of 10.0.0.11:40000 -> 10.0.0.10:15102 (frame 1): alice may have opened it",
    );
    assert_eq!(judgement.checks[0].frames, [1]);
}

#[test]
fn a_capture_that_is_not_proven_complete_decides_nothing() {
    type Spoil = fn(&mut HostEvidence);
    let cases: [(Spoil, &str); 5] = [
        (
            |host| host.interfaces[0].dropped = 3,
            "left@lan is not proven complete: the kernel dropped 3 of 103",
        ),
        (
            |host| host.interfaces[0].unsure = 1,
            "left@lan is not proven complete: 1 of its packets came while it was being cut off",
        ),
        (
            |host| host.interfaces[0].opened = false,
            "the sentinel at its beginning",
        ),
        (
            |host| host.interfaces[0].closed = false,
            "the sentinel at its end",
        ),
        (
            |host| host.interfaces.clear(),
            "host left is not proven complete",
        ),
    ];
    for (spoil, detail) in cases {
        let mut evidence = evidence();
        spoil(evidence.hosts.get_mut("left").unwrap());
        for fate in [ConnState::SF, ConnState::REJ] {
            let check = FlowCheck {
                fate: vec![fate],
                ..from("alice")
            };
            assert_report(&judge_flow(check, &evidence), Verdict::Inconclusive, detail);
        }
        // A host that takes no part in the flow does not matter.
        let check = FlowCheck {
            count: Some(Copies {
                min: 0,
                max: Some(0),
            }),
            ..from("bob")
        };
        assert_report(&judge_flow(check, &evidence), Verdict::Pass, "");
    }
    let mut evidence = evidence();
    evidence.hosts.clear();
    assert_report(
        &judge_flow(from("alice"), &evidence),
        Verdict::Inconclusive,
        "host left",
    );
}

#[test]
fn exits_are_judged_by_the_last_visit() {
    let check = |codes: &[i64], signal, running| {
        CheckKind::Exit(ExitCheck {
            node: node_name("alice"),
            codes: codes.to_vec(),
            signal,
            running,
        })
    };
    let mut evidence = evidence();
    let mut ended = |how| {
        let before = visit(Some(HowEnded::Exited(1)));
        evidence.nodes.get_mut("alice").unwrap().visits = vec![before, visit(how)];
        evidence.clone()
    };
    let zero = ended(Some(HowEnded::Exited(0)));
    let killed = ended(Some(HowEnded::Killed(9)));
    let as_if_killed = ended(Some(HowEnded::Exited(137)));
    let unseen = ended(Some(HowEnded::Unseen(137)));
    let running = ended(None);
    assert_report(
        &judge_one(check(&[0], None, false), &zero),
        Verdict::Pass,
        "",
    );
    assert_report(
        &judge_one(check(&[], None, false), &zero),
        Verdict::Pass,
        "",
    );
    assert_report(
        &judge_one(check(&[1, 2], None, false), &zero),
        Verdict::Fail,
        "alice exited with code 0, expected code 1 or code 2",
    );
    assert_report(
        &judge_one(check(&[], Some(Signal::KILL), false), &killed),
        Verdict::Pass,
        "",
    );
    assert_report(
        &judge_one(check(&[], Some(Signal::TERM), false), &killed),
        Verdict::Fail,
        "alice was killed by SIGKILL, expected to be killed by SIGTERM",
    );
    // A program may exit with the code that a shell has for a signal.
    assert_report(
        &judge_one(check(&[], Some(Signal::KILL), false), &as_if_killed),
        Verdict::Fail,
        "alice exited with code 137, expected to be killed by SIGKILL",
    );
    assert_report(
        &judge_one(check(&[137], None, false), &as_if_killed),
        Verdict::Pass,
        "",
    );
    assert_report(
        &judge_one(check(&[137], None, false), &killed),
        Verdict::Fail,
        "alice was killed by SIGKILL, expected code 137",
    );
    for unsure in [
        check(&[137], None, false),
        check(&[], Some(Signal::KILL), false),
    ] {
        assert_report(
            &judge_one(unsure, &unseen),
            Verdict::Inconclusive,
            "alice ended with code 137 by the engine's word, which may be an exit code or a signal",
        );
    }
    assert_report(
        &judge_one(check(&[], None, false), &unseen),
        Verdict::Pass,
        "",
    );
    assert_report(
        &judge_one(check(&[], None, true), &running),
        Verdict::Pass,
        "",
    );
    assert_report(
        &judge_one(check(&[], None, true), &zero),
        Verdict::Fail,
        "exited with code 0, expected to be running",
    );
    assert_report(
        &judge_one(check(&[0], None, false), &running),
        Verdict::Fail,
        "alice was still running, expected code 0",
    );
    let mut absent = evidence;
    absent.nodes.remove("alice");
    assert_report(
        &judge_one(check(&[0], None, false), &absent),
        Verdict::Fail,
        "never started",
    );
}

#[test]
fn output_is_counted_by_line_and_shown_harmless() {
    let check = |text: &str, stream, min, max| {
        CheckKind::Output(OutputCheck {
            node: node_name("bob"),
            stream,
            text: text.to_owned(),
            count: Copies { min, max },
        })
    };
    let mut evidence = evidence();
    assert_report(
        &judge_one(check("ciao", None, 1, None), &evidence),
        Verdict::Fail,
        "printed nothing",
    );
    let line = |stream, text: &str| OutputLine {
        at: Timestamp(0),
        stream,
        text: text.to_owned(),
    };
    evidence.nodes.get_mut("bob").unwrap().output = vec![
        line(Stream::Stdout, "alice: ciao"),
        line(Stream::Stderr, "ciao again"),
        line(Stream::Stdout, "\u{1b}[2Jbye"),
    ];
    assert_report(
        &judge_one(check("ciao", None, 2, Some(2)), &evidence),
        Verdict::Pass,
        "",
    );
    assert_report(
        &judge_one(check("ciao", Some(Stream::Stderr), 1, Some(1)), &evidence),
        Verdict::Pass,
        "",
    );
    assert_report(
        &judge_one(check("ciao", Some(Stream::Stdout), 2, None), &evidence),
        Verdict::Fail,
        "lines of bob with \"ciao\" on stdout: expected 2 or more, found 1; \"alice: ciao\"",
    );
    assert_report(
        &judge_one(check("hello", None, 1, None), &evidence),
        Verdict::Fail,
        "\"\\u{1b}[2Jbye\"",
    );
}

fn table_of(sockets: Vec<SocketRow>) -> SocketTable {
    SocketTable {
        sockets,
        ..SocketTable::default()
    }
}

#[test]
fn sockets_are_those_of_the_node_and_those_of_nobody() {
    let row = |state: &str, local: &str, recv_q, node: Option<&str>| SocketRow {
        proto: "tcp".to_owned(),
        state: state.to_owned(),
        recv_q,
        send_q: 0,
        local: address(local),
        remote: address("10.0.0.11:40000"),
        node: node.map(node_name),
        timer: None,
        retransmits: 0,
    };
    let table = vec![
        row("LISTEN", "0.0.0.0:15102", 0, Some("server")),
        row("CLOSE_WAIT", "10.0.0.10:15102", 13, Some("server")),
        row("TIME_WAIT", "10.0.0.10:15102", 0, None),
        row("ESTABLISHED", "10.0.0.10:50000", 0, Some("bob")),
    ];
    let mut evidence = evidence();
    let at = MarkName::new("end").unwrap();
    evidence
        .marks
        .insert(at, BTreeMap::from([(host_name("hub"), table_of(table))]));
    let of = |state: &str, recv_q, count| SocketPattern {
        state: Some(state.to_owned()),
        recv_q,
        count,
        ..SocketPattern::default()
    };
    let check = |mark: &str, has: Vec<SocketPattern>, lacks: Vec<SocketPattern>| {
        CheckKind::Sockets(SocketCheck {
            mark: MarkName::new(mark).unwrap(),
            rows: SocketRows {
                node: node_name("server"),
                has,
                lacks,
            },
        })
    };
    let two = Some(Copies {
        min: 2,
        max: Some(2),
    });
    let has = vec![
        of("CLOSE_WAIT", Some(13), None),
        of("TIME_WAIT", None, None),
    ];
    let passing = check(
        "end",
        has,
        vec![of("ESTABLISHED", None, None), of("LISTEN", None, two)],
    );
    assert_report(&judge_one(passing, &evidence), Verdict::Pass, "");
    let failing = check("end", vec![of("CLOSE_WAIT", Some(12), None)], vec![]);
    assert_report(
        &judge_one(failing, &evidence),
        Verdict::Fail,
        "sockets of server at end: rows `CLOSE_WAIT recv-q 12`: expected 1 or more, found 0; there are tcp LISTEN",
    );
    let failing = check("end", vec![], vec![of("TIME_WAIT", None, None)]);
    assert_report(
        &judge_one(failing, &evidence),
        Verdict::Fail,
        "rows `TIME_WAIT`: expected none, found 1",
    );
    let unread = check("other", vec![of("LISTEN", None, None)], vec![]);
    assert_report(
        &judge_one(unread, &evidence),
        Verdict::Inconclusive,
        "was not read at mark other",
    );
}

#[test]
fn a_cell_is_the_worst_of_its_checks() {
    assert_eq!(judge(&plan(vec![]), &evidence()).verdict, Verdict::Pass);
    let flow = |check: FlowCheck| CheckKind::Flow(Box::new(check));
    let rejected = FlowCheck {
        fate: vec![ConnState::REJ],
        ..from("alice")
    };
    let checks = vec![flow(from("alice")), flow(rejected), flow(from("alice"))];
    let judgement = judge(&plan(checks), &evidence());
    assert_eq!(judgement.verdict, Verdict::Fail);
    let verdicts: Vec<_> = judgement.checks.iter().map(|check| check.verdict).collect();
    assert_eq!(verdicts, [Verdict::Pass, Verdict::Fail, Verdict::Pass]);
    let unknown = judge_flow(from("nobody"), &evidence());
    assert_report(
        &unknown,
        Verdict::Error,
        "nobody or server is not part of the cell",
    );
}

#[test]
fn a_cell_in_which_the_machine_took_a_frame_proves_nothing() {
    let taken = |frame| TakenFrame {
        frame,
        from: "left@lan".to_owned(),
        to: "hub@lan".to_owned(),
    };
    let mut evidence = evidence();
    evidence.taken = vec![taken(3), taken(7)];
    for codes in [vec![], vec![1]] {
        let check = CheckKind::Exit(ExitCheck {
            node: node_name("alice"),
            codes,
            signal: None,
            running: true,
        });
        let judgement = judge(&plan(vec![check]), &evidence);
        assert_eq!(judgement.verdict, Verdict::Inconclusive);
        let doubt = judgement.doubt.unwrap();
        let expected = "frame 3 left left@lan and never reached hub@lan, nor did 1 more:";
        assert!(doubt.starts_with(expected), "{doubt}");
    }
    let wrong = CheckKind::Exit(ExitCheck {
        node: node_name("alice"),
        codes: vec![1],
        signal: None,
        running: false,
    });
    let judgement = judge(&plan(vec![wrong]), &evidence);
    assert_eq!(judgement.checks[0].verdict, Verdict::Fail);
    assert_eq!(judgement.verdict, Verdict::Inconclusive);
}

#[test]
fn a_node_that_calls_itself_may_have_opened_what_nobody_is_known_to_have() {
    let calls = |at_ms: &[u64]| {
        let mut evidence = evidence();
        let flows = at_ms.iter().zip(40_000..).map(|(at_ms, port)| {
            let orig = format!("127.0.0.1:{port}");
            flow(&orig, "127.0.0.1:15102", ORDERLY, ConnState::SF, *at_ms)
        });
        evidence.flows = flows.collect();
        // The server was there first.
        let bob = evidence.nodes.get_mut("bob").unwrap();
        bob.visits[0].started = Timestamp(200_000_000);
        judge_flow(from("bob"), &evidence)
    };
    // Of two programs on its host the one that answers is taken not to call.
    assert_report(&calls(&[500]), Verdict::Pass, "");
    // What was opened before the other ran is its own, and so may be what came later.
    assert_report(
        &calls(&[100]),
        Verdict::Fail,
        "the capture has 127.0.0.1:40000",
    );
    let expected = "no owner is known of 127.0.0.1:40001 -> 127.0.0.1:15102 (frame ";
    assert_report(&calls(&[100, 500]), Verdict::Inconclusive, expected);
}
