//! Cells in memory, as the runner uses them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use etherparse::{SlicedPacket, TransportSlice};

use super::{FakeBackend, FakeCell, Faults};
use crate::agent::protocol::{HostFile, Request, Response};
use crate::backend::{Backend, BackendError, Blame, LiveCell, LiveNode};
use crate::judge::HowEnded;
use crate::pcapng::{Direction, Frame, Reader};
use crate::plan::{
    CapturePlan, ContainerPlan, HostPlan, InterfacePlan, NetworkNeeds, NetworkPlan, NodePlan, Plan,
};
use crate::spec::Place;
use crate::units::{HostName, ImageName, NetworkName, NodeName, Signal, Timestamp};

/// Long enough for anything that happens at all.
const SOON: Duration = Duration::from_secs(10);

fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

fn node_name(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

fn apart(count: usize) -> NetworkNeeds {
    NetworkNeeds {
        count,
        joined: false,
    }
}

/// Three hosts on one network, in a cell that is up.
async fn cell_of(backend: &FakeBackend) -> Result<FakeCell, BackendError> {
    let lan = NetworkName::new("lan").unwrap();
    let lease = backend.lease(apart(1)).await?;
    let subnet = lease.subnets()[0];
    let hosts = ["hub", "left", "right"]
        .iter()
        .zip(10..)
        .map(|(name, number)| HostPlan {
            name: host(name),
            interfaces: vec![InterfacePlan {
                network: lan.clone(),
                address: subnet.address(number),
            }],
            sysctls: BTreeMap::new(),
            place: Place::default(),
            stealth: false,
            capture: CapturePlan::default(),
        });
    let plan = Plan {
        cell: "placement=cross-host".into(),
        networks: vec![NetworkPlan {
            name: lan.clone(),
            subnet,
        }],
        hosts: hosts.collect(),
        links: vec![],
        routes: BTreeMap::new(),
        nodes: vec![],
        steps: vec![],
        checks: vec![],
    };
    backend.open(Arc::new(plan), lease).await
}

fn node(name: &str, on: &str, command: &str) -> NodePlan {
    NodePlan {
        container: ContainerPlan::default(),
        name: node_name(name),
        host: host(on),
        implementation: "fake".into(),
        image: ImageName::new("fake").unwrap(),
        command: command.split(' ').map(str::to_owned).collect(),
        command_place: Place {
            line: 7,
            ..Place::default()
        },
        env: BTreeMap::new(),
        display: None,
        terminal: None,
        join: None,
        ready: None,
        names: BTreeMap::from([("server".to_owned(), Ipv4Addr::new(10, 99, 0, 10))]),
    }
}

/// A cell with a server and two members, driven by name.
struct Room {
    cell: FakeCell,
    nodes: BTreeMap<&'static str, (&'static str, LiveNode)>,
}

impl Room {
    async fn with(server: &str, members: &[(&'static str, &'static str)]) -> Self {
        let mut room = Self {
            cell: cell_of(&FakeBackend::default()).await.unwrap(),
            nodes: BTreeMap::new(),
        };
        room.start("server", "hub", server).await;
        for (name, on) in members {
            let command = format!("fake-client server 15102 {name}");
            room.start(name, on, &command).await;
        }
        room
    }

    async fn start(&mut self, name: &'static str, on: &'static str, command: &str) {
        let live = self.cell.start(&node(name, on, command)).await.unwrap();
        self.nodes.insert(name, (on, live));
    }

    async fn say(&self, name: &str, text: &str) {
        let said = format!("{text}\n").into_bytes();
        self.nodes[name].1.input.send(said).await.unwrap();
    }

    /// Waits for a line of a node's output.
    async fn hear(&mut self, name: &str, line: &str) {
        let output = &mut self.nodes.get_mut(name).unwrap().1.output;
        let mut heard = Vec::new();
        let wait = async {
            while let Some(chunk) = output.recv().await {
                heard.push(String::from_utf8(chunk.bytes).unwrap());
                if heard.last().map(|l| l.trim_end()) == Some(line) {
                    return true;
                }
            }
            false
        };
        let found = tokio::time::timeout(SOON, wait).await;
        assert_eq!(found, Ok(true), "{name} heard {heard:?}, not `{line}`");
    }

    async fn signal(&self, name: &str, signal: Signal) {
        let on = host(self.nodes[name].0);
        let request = Request::Signal {
            node: node_name(name),
            signal,
        };
        self.cell.ask(&on, request).await.unwrap();
    }

    async fn end(&mut self, name: &str) -> HowEnded {
        let ended = &mut self.nodes.get_mut(name).unwrap().1.ended;
        let end = tokio::time::timeout(SOON, ended.wait_for(Option::is_some)).await;
        end.unwrap().unwrap().unwrap().how
    }

    async fn sockets(&self, on: &str) -> String {
        let reply = self.cell.ask(&host(on), Request::Sockets).await.unwrap();
        let Response::Sockets { sockets, .. } = reply else {
            panic!("{reply:?}");
        };
        let rows = sockets.iter().map(|row| {
            let owner = row.node.as_ref().map_or("-", NodeName::as_str);
            let (local, remote) = (row.local.port(), row.remote.port());
            format!(
                "{} recv-q {} {local} {remote} {owner}\n",
                row.state, row.recv_q
            )
        });
        rows.collect::<Vec<_>>().concat()
    }

    /// The socket table of a host once it is as wanted.
    async fn sockets_when(&self, on: &str, wanted: impl Fn(&str) -> bool) -> String {
        let wait = async {
            loop {
                let table = self.sockets(on).await;
                if wanted(&table) {
                    return table;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, wait).await.unwrap()
    }

    async fn wire(&self, on: &str) -> String {
        self.cell.ask(&host(on), Request::Close).await.unwrap();
        shown(&self.cell.fetch(&host(on), HostFile::Capture).await.unwrap())
    }
}

/// A capture in lines: interface, direction, ports, flags, payload.
fn shown(capture: &[u8]) -> String {
    let mut reader = Reader::new(capture).unwrap();
    let mut out = String::new();
    let mut last = Timestamp(0);
    while let Some(Frame { record, .. }) = reader.next_frame() {
        assert!(record.at > last, "time goes on");
        last = record.at;
        let record = record.into_owned();
        let packet = SlicedPacket::from_ethernet(&record.data).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = packet.transport else {
            panic!("only TCP is spoken here");
        };
        let flags = [
            (tcp.syn(), "SYN"),
            (tcp.fin(), "FIN"),
            (tcp.rst(), "RST"),
            (tcp.ack(), "ACK"),
        ];
        let set = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name);
        let arrow = match record.direction {
            Some(Direction::Outbound) => "sends",
            Some(Direction::Inbound) => "gets",
            None => "?",
        };
        let name = &reader.interface(record.interface).unwrap().name;
        let said = String::from_utf8_lossy(tcp.payload())
            .escape_debug()
            .to_string();
        let set = set.collect::<Vec<_>>().join(",");
        let line = format!(
            "{name} {arrow} {}>{} {set} {said}",
            tcp.source_port(),
            tcp.destination_port()
        );
        out.push_str(line.trim_end());
        out.push('\n');
    }
    assert!(reader.stop().is_none());
    out
}

#[tokio::test]
async fn a_room_in_which_the_server_closes_first_after_quit() {
    let members = [("alice", "left"), ("bob", "right")];
    let mut room = Room::with("fake-server 15102", &members).await;
    room.say("alice", "ciao").await;
    room.hear("bob", "alice: ciao").await;
    room.say("alice", "quit").await;
    room.hear("alice", "server closed").await;
    assert_eq!(room.end("alice").await, HowEnded::Exited(0));
    insta::assert_snapshot!(room.sockets("hub").await, @"
    LISTEN recv-q 0 15102 0 server
    TIME_WAIT recv-q 0 15102 32768 -
    ESTABLISHED recv-q 0 15102 32769 server
    ");
    insta::assert_snapshot!(room.wire("left").await, @r"
    left@lan sends 32768>15102 SYN
    left@lan gets 15102>32768 SYN,ACK
    left@lan sends 32768>15102 ACK
    left@lan sends 32768>15102 ACK alice\n
    left@lan gets 15102>32768 ACK
    left@lan sends 32768>15102 ACK ciao\n
    left@lan gets 15102>32768 ACK
    left@lan sends 32768>15102 ACK quit\n
    left@lan gets 15102>32768 ACK
    left@lan gets 15102>32768 ACK bye\n
    left@lan sends 32768>15102 ACK
    left@lan gets 15102>32768 FIN,ACK
    left@lan sends 32768>15102 ACK
    left@lan sends 32768>15102 FIN,ACK
    left@lan gets 15102>32768 ACK
    ");
}

#[tokio::test]
async fn on_one_host_every_packet_shows_twice_on_the_loopback() {
    let mut room = Room::with("fake-server 15102", &[("alice", "hub")]).await;
    room.hear("server", "alice joined").await;
    insta::assert_snapshot!(room.wire("hub").await, @r"
    hub@lo sends 32768>15102 SYN
    hub@lo gets 32768>15102 SYN
    hub@lo sends 15102>32768 SYN,ACK
    hub@lo gets 15102>32768 SYN,ACK
    hub@lo sends 32768>15102 ACK
    hub@lo gets 32768>15102 ACK
    hub@lo sends 32768>15102 ACK alice\n
    hub@lo gets 32768>15102 ACK alice\n
    hub@lo sends 15102>32768 ACK
    hub@lo gets 15102>32768 ACK
    ");
}

#[tokio::test]
async fn a_killed_client_leaves_with_a_fin_and_one_with_unread_data_with_a_rst() {
    let members = [("alice", "left"), ("bob", "right")];
    let mut room = Room::with("fake-server 15102", &members).await;
    room.cell.freeze(&node_name("bob"), true).await.unwrap();
    room.say("alice", "ciao").await;
    room.hear("server", "bob joined").await;
    room.sockets_when("right", |t| t.contains("ESTABLISHED recv-q 12"))
        .await;
    room.signal("bob", Signal::KILL).await;
    assert_eq!(room.end("bob").await, HowEnded::Killed(9));
    room.signal("alice", Signal::KILL).await;
    room.hear("server", "alice left").await;
    let (left, right) = (room.wire("left").await, room.wire("right").await);
    assert!(
        left.contains("left@lan sends 32768>15102 FIN,ACK"),
        "{left}"
    );
    assert!(!left.contains("RST"), "{left}");
    assert!(
        right.ends_with("right@lan sends 32769>15102 RST,ACK\n"),
        "{right}"
    );
}

#[tokio::test]
async fn a_thawed_program_goes_on_with_what_happened_meanwhile() {
    let members = [("alice", "left"), ("bob", "right")];
    let mut room = Room::with("fake-server 15102", &members).await;
    room.signal("bob", Signal::new("STOP").unwrap()).await;
    room.say("alice", "ciao").await;
    room.sockets_when("right", |t| t.contains("recv-q 12"))
        .await;
    room.signal("bob", Signal::new("CONT").unwrap()).await;
    room.hear("bob", "alice: ciao").await;
    assert!(room.sockets("right").await.contains("recv-q 0"));
}

#[tokio::test]
async fn the_servers_end_is_told_by_how_it_ends() {
    for (signal, line, how) in [
        (Signal::TERM, "the server ends", HowEnded::Exited(0)),
        (Signal::KILL, "server closed", HowEnded::Killed(9)),
    ] {
        let mut room = Room::with("fake-server 15102", &[("alice", "left")]).await;
        room.signal("server", signal).await;
        assert_eq!(room.end("server").await, how);
        room.hear("alice", line).await;
        assert_eq!(room.end("alice").await, HowEnded::Exited(0));
        room.start("late", "right", "fake-client server 15102 late")
            .await;
        room.hear("late", "connection refused").await;
        assert_eq!(room.end("late").await, HowEnded::Exited(2));
        let wire = room.wire("right").await;
        assert!(
            wire.ends_with("right@lan gets 15102>32769 RST,ACK\n"),
            "{wire}"
        );
    }
}

#[tokio::test]
async fn after_stop_the_room_goes_on_and_nobody_new_comes_in() {
    let mut room = Room::with("fake-server 15102", &[("alice", "left")]).await;
    room.say("server", "stop").await;
    let gone = room.sockets_when("hub", |t| !t.contains("LISTEN")).await;
    assert!(gone.contains("ESTABLISHED"), "{gone}");
    room.start("late", "right", "fake-client server 15102 late")
        .await;
    room.hear("late", "connection refused").await;
    room.say("server", "hello").await;
    room.hear("alice", "server: hello").await;
    room.say("server", "close").await;
    assert_eq!(room.end("server").await, HowEnded::Exited(0));
    assert_eq!(room.end("alice").await, HowEnded::Exited(0));
}

#[tokio::test]
async fn end_of_input_makes_the_client_close_first() {
    let mut room = Room::with("fake-server 15102", &[("alice", "left")]).await;
    let (_, alice) = room.nodes.get_mut("alice").unwrap();
    drop(std::mem::replace(
        &mut alice.input,
        tokio::sync::mpsc::channel(1).0,
    ));
    assert_eq!(room.end("alice").await, HowEnded::Exited(0));
    let wire = room.wire("left").await;
    let fins: Vec<_> = wire.lines().filter(|line| line.contains("FIN")).collect();
    assert_eq!(
        fins,
        [
            "left@lan sends 32768>15102 FIN,ACK",
            "left@lan gets 15102>32768 FIN,ACK"
        ]
    );
}

#[tokio::test]
async fn a_server_that_refuses_resets_and_one_that_never_listens_is_waited_for_in_vain() {
    let mut room = Room::with("fake-server 15102 --refuse", &[("alice", "left")]).await;
    room.hear("alice", "reset by peer").await;
    assert_eq!(room.end("alice").await, HowEnded::Exited(4));

    let room = Room::with("fake-server 15102 --never-ready", &[]).await;
    let hub = host("hub");
    let ask = |node: &str, within| {
        let request = Request::AwaitListening {
            node: node_name(node),
            port: 15102,
            within,
        };
        room.cell.ask(&hub, request)
    };
    let error = ask("server", Duration::from_millis(20)).await.unwrap_err();
    assert_eq!(
        error.message,
        "wait until server listens on port 15102: not in time"
    );
    let error = ask("nobody", SOON).await.unwrap_err();
    assert_eq!(error.message, "find the process of nobody: it has none");
}

#[tokio::test]
async fn a_command_that_the_image_lacks_points_into_the_file() {
    let cell = cell_of(&FakeBackend::default()).await.unwrap();
    let error = cell
        .start(&node("a", "hub", "fake-sever 1"))
        .await
        .unwrap_err();
    assert_eq!(
        error.message,
        "start a: no program `fake-sever` in the image"
    );
    assert_eq!(error.blame, Blame::Input);
    assert_eq!(error.place.unwrap().line, 7);
    let error = cell
        .start(&node("a", "hub", "fake-server"))
        .await
        .unwrap_err();
    assert!(error.message.contains("wrong arguments"), "{error}");
}

#[tokio::test]
async fn a_program_that_ends_at_once_has_printed_and_exited() {
    let mut room = Room::with("fake-server 1 --exit 3", &[]).await;
    room.hear("server", "leaving").await;
    assert_eq!(room.end("server").await, HowEnded::Exited(3));
    let chunk = room.nodes.get_mut("server").unwrap().1.output.recv().await;
    assert!(chunk.is_none(), "its output has ended");
}

#[tokio::test]
async fn faults_fire_where_they_are_asked_for() {
    let refusing = FakeBackend::new(Faults {
        open_fails: Some("no space left on device".into()),
        ..Faults::default()
    });
    let error = cell_of(&refusing).await.err().unwrap();
    assert_eq!(
        error.message,
        "start the hosts of placement=cross-host: no space left on device"
    );

    let backend = FakeBackend::new(Faults {
        drops: BTreeMap::from([(host("left"), 3)]),
        sentinel_missing: vec![host("right")],
        agent_lost_after: BTreeMap::from([(host("hub"), 1)]),
        left_behind: Some("network rig-1-lan".into()),
        ..Faults::default()
    });
    let cell = cell_of(&backend).await.unwrap();
    assert_eq!(backend.live_cells(), 1);
    assert!(cell.ask(&host("hub"), Request::Sockets).await.is_ok());
    let error = cell.ask(&host("hub"), Request::Sockets).await.unwrap_err();
    assert_eq!(error.message, "ask the agent of hub: it has ended");
    for (name, dropped, closed) in [("left", 3, true), ("right", 0, false)] {
        let reply = cell.ask(&host(name), Request::Close).await.unwrap();
        let Response::Closed { interfaces, .. } = reply else {
            panic!("{reply:?}");
        };
        assert!(
            interfaces
                .iter()
                .all(|i| i.dropped == dropped && i.closed == closed)
        );
        assert!(interfaces.iter().all(|i| !i.is_complete()));
    }
    assert!(cell.keep().await.unwrap().contains(&"hub".to_owned()));
    assert_eq!((backend.live_cells(), backend.kept_cells()), (0, 1));
    let error = backend.close().await.unwrap_err();
    assert_eq!(error.message, "remove network rig-1-lan");
}

#[tokio::test]
async fn subnets_are_given_back_with_their_cell() {
    let backend = FakeBackend::default();
    let all = backend.lease(apart(200)).await.unwrap();
    let error = backend.lease(apart(1)).await.err().unwrap();
    assert_eq!(error.message, "take 1 subnets: only 0 of 200 are free");
    drop(all);
    assert!(backend.lease(apart(1)).await.is_ok());
}

#[tokio::test]
async fn the_opener_of_a_connection_is_known() {
    let mut room = Room::with("fake-server 15102", &[("alice", "left")]).await;
    room.hear("server", "alice joined").await;
    let reply = room.cell.ask(&host("left"), Request::Close).await.unwrap();
    let Response::Closed {
        owners, interfaces, ..
    } = reply
    else {
        panic!("{reply:?}");
    };
    assert_eq!(owners.len(), 1);
    assert_eq!(owners[0].node, Some(node_name("alice")));
    assert_eq!(owners[0].remote.port(), 15102);
    assert!(
        interfaces
            .iter()
            .all(crate::agent::protocol::InterfaceProof::is_complete)
    );
    let error = room
        .cell
        .fetch(&host("hub"), HostFile::Capture)
        .await
        .unwrap_err();
    assert_eq!(
        error.message,
        "fetch the capture of hub: its agent still writes it"
    );
}
