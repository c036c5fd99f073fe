//! The agent on a real engine: what it captures, whom it names, when it ends.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, too"
)]

mod sandbox;

use libtest_mimic::Trial;
use std::net::SocketAddr;
use std::time::Duration;

use rig::agent::protocol::{
    AgentError, AgentErrorKind, ConnectionOwner, InterfaceProof, Names, Request, Response,
    SocketRow,
};
use rig::pcapng::{Direction, Frame, Reader, SENTINEL_ETHERTYPE, Statistics};
use rig::plan::CapturePlan;
use rig::units::{NodeName, Signal, Timestamp};
use rig::wire::{Transport, decode};

use sandbox::{Agent, Sandbox};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial!(async fn connections_are_captured_from_their_syn_to_the_end_by_kill),
        trial!(async fn hosts_see_segments_as_on_a_wire_and_no_sentinels_of_others),
        trial!(async fn waiting_ends_for_a_reason_while_others_are_answered),
        trial!(async fn a_host_is_cut_off_and_comes_back_and_its_capture_stays_whole),
        trial!(async fn the_first_process_reaps_orphans_and_takes_every_program_along),
    ]
}

/// Longest wait for a program.
const WITHIN: Duration = Duration::from_secs(10);

const SYN: u8 = 0x02;
const FIN: u8 = 0x01;
const RST: u8 = 0x04;

fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

async fn open(agent: &mut Agent, host: &str) -> Vec<rig::agent::protocol::HostInterface> {
    let request = Request::Open {
        host: host.to_owned(),
        networks: Vec::new(),
        linger: Duration::ZERO,
        stealth: false,
        names: Names::Machine,
        path_key: None,
        capture: CapturePlan::default(),
        routes: Vec::new(),
        link: None,
    };
    match agent.ask(request).await {
        Ok(Response::Opened { interfaces }) => interfaces,
        other => panic!("{other:?}"),
    }
}

async fn close(agent: &mut Agent) -> (Vec<InterfaceProof>, Vec<ConnectionOwner>) {
    match agent.ask(Request::Close).await {
        Ok(Response::Closed {
            interfaces, owners, ..
        }) => (interfaces, owners),
        other => panic!("{other:?}"),
    }
}

async fn listening(agent: &mut Agent, of: &str, port: u16) {
    let request = Request::AwaitListening {
        node: node(of),
        port,
        within: WITHIN,
    };
    let reply = agent.ask(request).await;
    assert!(matches!(reply, Ok(Response::Listening { .. })), "{reply:?}");
}

async fn connected(agent: &mut Agent, of: &str, port: u16) {
    let request = Request::AwaitConnected {
        node: node(of),
        port,
        within: WITHIN,
    };
    let reply = agent.ask(request).await;
    assert!(matches!(reply, Ok(Response::Connected { .. })), "{reply:?}");
}

async fn kill(agent: &mut Agent, of: &str) -> Timestamp {
    let request = Request::Signal {
        node: node(of),
        signal: Signal::KILL,
    };
    match agent.ask(request).await {
        Ok(Response::Signalled { at, pid, .. }) => {
            assert!(pid > 1);
            at
        }
        other => panic!("{other:?}"),
    }
}

/// A TCP segment of a capture.
#[derive(Debug)]
struct Segment {
    at: Timestamp,
    outgoing: bool,
    from: SocketAddr,
    to: SocketAddr,
    flags: u8,
    payload_bytes: u32,
    frame_bytes: u32,
}

/// A capture, read.
struct Read {
    segments: Vec<Segment>,
    /// Interface, direction and comment of each sentinel.
    sentinels: Vec<(String, Option<Direction>, Vec<String>)>,
    statistics: Vec<Statistics>,
}

fn read(capture: &[u8]) -> Read {
    let mut reader = Reader::new(capture).unwrap();
    let (mut segments, mut sentinels) = (Vec::new(), Vec::new());
    while let Some(Frame { record, .. }) = reader.next_frame() {
        let record = record.into_owned();
        if record.data[12..14] == SENTINEL_ETHERTYPE.to_be_bytes() {
            let name = reader.interface(record.interface).unwrap().name.clone();
            sentinels.push((name, record.direction, record.comments.into_owned()));
            continue;
        }
        let link = reader.interface(record.interface).unwrap().link;
        let Ok(packet) = decode(link, &record.data, record.orig_len_bytes) else {
            continue;
        };
        let (Transport::Tcp(tcp), Some((from, to))) = (packet.transport, packet.endpoints()) else {
            continue;
        };
        segments.push(Segment {
            at: record.at,
            outgoing: record.direction == Some(Direction::Outbound),
            from,
            to,
            flags: tcp.flags,
            payload_bytes: tcp.payload_len_bytes,
            frame_bytes: record.orig_len_bytes,
        });
    }
    assert_eq!(reader.stop(), None);
    Read {
        segments,
        sentinels,
        statistics: reader.statistics().iter().map(|one| one.2).collect(),
    }
}

/// The sentinels that a complete capture of an interface has.
fn sentinels_of(label: &str) -> Vec<(String, Option<Direction>, Vec<String>)> {
    let mut expected = Vec::new();
    for comment in [
        "sentinel: the capture records from here",
        "sentinel: complete up to here",
    ] {
        expected.push((
            label.to_owned(),
            Some(Direction::Outbound),
            vec![comment.to_owned()],
        ));
        if label.ends_with("@lo") {
            expected.push((
                label.to_owned(),
                Some(Direction::Inbound),
                vec![comment.to_owned()],
            ));
        }
    }
    expected
}

async fn connections_are_captured_from_their_syn_to_the_end_by_kill() {
    let sandbox = Sandbox::new().await;
    let mut agent = sandbox.host(&[]).await;
    let interfaces = open(&mut agent, "hub").await;
    assert_eq!(interfaces.len(), 1);
    assert_eq!(
        (&*interfaces[0].name, &*interfaces[0].label),
        ("lo", "hub@lo")
    );

    let _server = sandbox.node(&agent, "server", &["listen", "5000"]).await;
    listening(&mut agent, "server", 5000).await;
    let alice = sandbox
        .node(&agent, "alice", &["connect", "127.0.0.1", "5000", "7"])
        .await;
    connected(&mut agent, "alice", 5000).await;
    let _bob = sandbox
        .node(&agent, "bob", &["deaf", "127.0.0.1", "5000", "5"])
        .await;

    // Bob has his echo and does not read it; Alice has read hers.
    let sockets = agent
        .sockets_until("bob has unread data, alice has none", |sockets| {
            let queue = |of: &str| {
                let mut own = sockets.iter().filter(|s| s.node == Some(node(of)));
                own.find(|s| s.state == "ESTABLISHED").map(|s| s.recv_q)
            };
            queue("bob") == Some(5) && queue("alice") == Some(0)
        })
        .await;
    assert_eq!(
        (&*sockets[0].state, sockets[0].local.port()),
        ("LISTEN", 5000)
    );
    assert_eq!(sockets[0].node, Some(node("server")));
    let port_of = |of: &str| {
        let mut own = sockets.iter().filter(|s| s.node == Some(node(of)));
        own.find(|s| s.remote.port() == 5000).unwrap().local
    };
    let (alice_at, bob_at) = (port_of("alice"), port_of("bob"));

    let alice_killed = kill(&mut agent, "alice").await;
    assert_eq!(alice.ended().await, 137);
    let bob_killed = kill(&mut agent, "bob").await;
    agent
        .sockets_until("no connection is left", |sockets| {
            sockets
                .iter()
                .all(|s| s.state == "LISTEN" || s.state == "TIME_WAIT")
        })
        .await;
    let (proofs, owners) = close(&mut agent).await;
    assert!(proofs.len() == 1 && proofs[0].is_complete(), "{proofs:?}");

    let capture = read(&agent.capture().await);
    assert_eq!(capture.sentinels, sentinels_of("hub@lo"));
    let counted = Statistics {
        received: proofs[0].received,
        dropped: 0,
    };
    assert_eq!(capture.statistics, [counted]);
    // Every packet of a loopback interface is seen twice.
    let sent = capture.segments.iter().filter(|s| s.outgoing);
    assert_eq!(sent.count() * 2, capture.segments.len());
    for (client, killed, end) in [(alice_at, alice_killed, FIN), (bob_at, bob_killed, RST)] {
        let of_client = |s: &&Segment| s.outgoing && (s.from == client || s.to == client);
        let segments: Vec<_> = capture.segments.iter().filter(of_client).collect();
        assert_eq!((segments[0].from, segments[0].flags), (client, SYN));
        let last = segments
            .iter()
            .find(|s| s.from == client && s.flags & (FIN | RST) != 0)
            .unwrap();
        assert_ne!(last.flags & end, 0, "{segments:#?}");
        assert!(last.at >= killed, "the end came before its cause");
        let owner = owners.iter().find(|owner| owner.local == client).unwrap();
        assert_eq!(owner.at, segments[0].at);
    }
    let named: Vec<_> = owners.iter().map(|o| (o.local, o.node.clone())).collect();
    assert_eq!(
        named,
        [(alice_at, Some(node("alice"))), (bob_at, Some(node("bob")))]
    );
}

async fn hosts_see_segments_as_on_a_wire_and_no_sentinels_of_others() {
    const BYTES: u32 = 13_000;
    let sandbox = Sandbox::new().await;
    let lan = sandbox.network("lan").await;
    let networks = [lan.as_str()];
    let (mut left, mut right) = tokio::join!(sandbox.host(&networks), sandbox.host(&networks));
    let interfaces = open(&mut left, "left").await;
    let ethernet = interfaces.iter().find(|i| i.name == "eth0").unwrap();
    assert_eq!(ethernet.label, "left@eth0");
    assert!(ethernet.offloads_left.is_empty(), "{ethernet:?}");
    let address = ethernet.addresses[0].to_string();
    open(&mut right, "right").await;
    let _server = sandbox.node(&left, "server", &["listen", "5000"]).await;
    listening(&mut left, "server", 5000).await;
    let count = BYTES.to_string();
    let alice = sandbox
        .node(&right, "alice", &["connect", &address, "5000", &count])
        .await;
    connected(&mut right, "alice", 5000).await;
    alice.printed("echoed").await;
    kill(&mut right, "alice").await;
    left.sockets_until("the connection is over", |sockets| {
        sockets
            .iter()
            .all(|s| s.state == "LISTEN" || s.proto == "udp")
    })
    .await;
    for (mut agent, host) in [(left, "left"), (right, "right")] {
        let (proofs, owners) = close(&mut agent).await;
        assert!(
            proofs.len() == 2 && proofs.iter().all(InterfaceProof::is_complete),
            "{proofs:?}"
        );
        assert_eq!(owners.len(), usize::from(host == "right"));
        let mut capture = read(&agent.capture().await);
        let mut expected = sentinels_of(&format!("{host}@lo"));
        expected.extend(sentinels_of(&format!("{host}@eth0")));
        let by_interface = |one: &(String, Option<Direction>, Vec<String>)| format!("{one:?}");
        expected.sort_by_key(by_interface);
        capture.sentinels.sort_by_key(by_interface);
        assert_eq!(capture.sentinels, expected);
        let longest = ethernet.mtu_bytes + 14;
        assert!(capture.segments.iter().all(|s| s.frame_bytes <= longest));
        let there = capture.segments.iter().filter(|s| s.to.port() == 5000);
        // More where the kernel sent some of it again.
        assert!(
            there.map(|s| s.payload_bytes).sum::<u32>() >= BYTES,
            "{host}"
        );
    }
}

async fn waiting_ends_for_a_reason_while_others_are_answered() {
    let sandbox = Sandbox::new().await;
    let mut agent = sandbox.host(&[]).await;
    open(&mut agent, "hub").await;
    let _first = sandbox.node(&agent, "first", &["listen", "5000"]).await;
    listening(&mut agent, "first", 5000).await;
    let second = sandbox.node(&agent, "second", &["listen", "5000"]).await;
    assert_eq!(second.ended().await, 1);
    for (of, port, within, kind, words) in [
        (
            "second",
            5000,
            WITHIN,
            AgentErrorKind::PortInUse,
            "node first listens on it",
        ),
        (
            "second",
            5001,
            WITHIN,
            AgentErrorKind::NoProcess,
            "has ended",
        ),
        (
            "nobody",
            5001,
            WITHIN,
            AgentErrorKind::NoProcess,
            "has ended",
        ),
        (
            "first",
            5001,
            Duration::from_millis(50),
            AgentErrorKind::TimedOut,
            "not in time",
        ),
    ] {
        let request = Request::AwaitListening {
            node: node(of),
            port,
            within,
        };
        let error = agent.ask(request).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(words), "{error}");
    }
    let signal = Request::Signal {
        node: node("second"),
        signal: Signal::KILL,
    };
    let error = agent.ask(signal).await.unwrap_err();
    assert_eq!(error.kind, AgentErrorKind::NoProcess, "{error}");

    // A long wait does not keep the agent from anything else, nor does a line that is no request.
    let long = agent
        .send(Request::AwaitConnected {
            node: node("first"),
            port: 5000,
            within: Duration::from_secs(1),
        })
        .await;
    agent.send_line("this is no request").await;
    let short = agent.send(Request::Sockets).await;
    assert_eq!(agent.reply().await.id, short);
    let reply = agent.reply().await;
    assert_eq!(reply.id, long);
    assert_eq!(reply.result.unwrap_err().kind, AgentErrorKind::TimedOut);
}

async fn a_host_is_cut_off_and_comes_back_and_its_capture_stays_whole() {
    let sandbox = Sandbox::new().await;
    let lan = sandbox.network("lan").await;
    let mut agent = sandbox.host(&[lan.as_str()]).await;
    let interfaces = open(&mut agent, "hub").await;
    let ethernet = interfaces.iter().find(|i| i.name == "eth0").unwrap();
    let addresses = ethernet.addresses.clone();
    let plug = || Request::Plug {
        addresses: addresses.clone(),
    };
    let unplug = || Request::Unplug {
        addresses: addresses.clone(),
    };
    let refused = |reply: Result<Response, AgentError>, words: &str| {
        let error = reply.unwrap_err();
        assert!(error.message.contains(words), "{error}");
    };
    refused(agent.ask(plug()).await, "hub@eth0 is not cut off");
    refused(agent.ask(Request::Boot).await, "is not cut off");
    let stranger = Request::Unplug {
        addresses: vec!["192.0.2.1".parse().unwrap()],
    };
    refused(agent.ask(stranger).await, "no interface has the address");

    let reply = agent.ask(unplug()).await.unwrap();
    assert!(matches!(reply, Response::Cut { .. }), "{reply:?}");
    refused(agent.ask(unplug()).await, "hub@eth0 is cut off already");
    let reply = agent.ask(plug()).await.unwrap();
    assert!(matches!(reply, Response::Mended { .. }), "{reply:?}");

    let server = sandbox.node(&agent, "server", &["listen", "5000"]).await;
    listening(&mut agent, "server", 5000).await;
    let alice = ["connect", "127.0.0.1", "5000", "7"];
    let alice = sandbox.node(&agent, "alice", &alice).await;
    connected(&mut agent, "alice", 5000).await;
    let reply = agent.ask(Request::Crash).await.unwrap();
    let Response::Cut { at, interfaces } = reply else {
        panic!("{reply:?}");
    };
    let names: Vec<&str> = interfaces.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["eth0"]);
    assert_eq!((server.ended().await, alice.ended().await), (137, 137));
    let tcp = |sockets: &[SocketRow]| sockets.iter().all(|socket| socket.proto != "tcp");
    agent.sockets_until("no memory", tcp).await;
    assert!(agent.ask(Request::Boot).await.is_ok());

    let (proofs, _) = close(&mut agent).await;
    assert!(proofs.iter().all(InterfaceProof::is_complete), "{proofs:?}");
    let capture = read(&agent.capture().await);
    assert!(capture.segments.iter().all(|segment| segment.at < at));
    let ends = |segment: &Segment| segment.flags & (FIN | RST) != 0;
    assert!(
        !capture.segments.iter().any(ends),
        "{:#?}",
        capture.segments
    );
}

async fn the_first_process_reaps_orphans_and_takes_every_program_along() {
    let sandbox = Sandbox::new().await;
    let mut agent = sandbox.host(&[]).await;
    open(&mut agent, "hub").await;
    let orphan = sandbox.node(&agent, "orphan", &["orphan"]).await;
    assert_eq!(orphan.ended().await, 0);
    // It waits until nothing else is in the host, zombies included.
    let alone = sandbox.node(&agent, "alone", &["alone"]).await;
    assert_eq!(alone.ended().await, 0);
    let server = sandbox.node(&agent, "server", &["listen", "5000"]).await;
    listening(&mut agent, "server", 5000).await;
    assert_eq!(agent.release().await, 0);
    assert_eq!(server.ended().await, 137);
}
