//! Two witnesses of one connection: the states that a host's capture implies, and the states that its
//! kernel reports at a mark. Where they contradict each other, one of them is wrong, and neither can be
//! relied on.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::agent::protocol::SocketRow;
use crate::analysis::{Flow, Proto, RfcState, Sender};
use crate::units::{HostName, MarkName, Timestamp};

use super::finding::listed;
use super::types::{Evidence, SocketTable};

/// How far the kernel may lag behind the capture: a segment is captured before the kernel takes it in,
/// which waits for a program that is busy with the socket, which may wait for a processor.
const KERNEL_LAGS: Duration = Duration::from_millis(500);
/// How far the capture may lag behind the kernel: a segment is captured as it leaves, which it may
/// wait for.
const CAPTURE_LAGS: Duration = Duration::from_millis(500);
/// How many contradictions are told.
const MAX_SHOWN: usize = 4;

/// How a capture and a kernel contradict each other, if they do.
pub(super) fn doubt(evidence: &Evidence) -> Option<String> {
    let mut found = Vec::new();
    for (mark, hosts) in &evidence.marks {
        for (host, table) in hosts {
            let Some(flows) = evidence.views.get(host) else {
                continue;
            };
            let flows = by_ends(flows);
            let rows = table.sockets.iter().filter(|row| is_connection(row));
            let told = rows.filter_map(|row| contradiction(row, table, &flows, host, evidence));
            found.extend(told.map(|told| (mark, host, told)));
        }
    }
    if found.is_empty() {
        return None;
    }
    let told = found
        .iter()
        .map(|(mark, host, told)| shown(mark, host, told));
    Some(format!(
        "capture and kernel contradict each other: {}",
        listed(told, MAX_SHOWN)
    ))
}

/// What each of the two says of a connection.
struct Contradiction {
    local: SocketAddr,
    remote: SocketAddr,
    kernel: String,
    capture: Vec<Implied>,
}

/// What a capture implies of a connection: the state of the side whose kernel was asked, and of its
/// peer as far as its segments have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Implied {
    here: RfcState,
    peer: Option<RfcState>,
}

fn shown(mark: &MarkName, host: &HostName, told: &Contradiction) -> String {
    let Contradiction {
        local,
        remote,
        kernel,
        capture,
    } = told;
    let capture = match &capture[..] {
        [] => "shows no such connection".to_owned(),
        states => {
            let mut names: Vec<_> = states.iter().map(|state| state.here.name()).collect();
            names.dedup();
            format!("implies {}", names.join(" or "))
        }
    };
    format!(
        "at mark {mark} the kernel of host {host} has {local} - {remote} in {kernel}, its capture {capture}"
    )
}

/// Whether a row is one end of a TCP connection.
fn is_connection(row: &SocketRow) -> bool {
    row.proto == "tcp" && row.remote.port() != 0
}

/// TCP flows by their ends, the lesser one first: a table may have as many rows as there are flows.
type ByEnds<'a> = HashMap<[SocketAddr; 2], Vec<&'a Flow>>;

fn by_ends(flows: &[Flow]) -> ByEnds<'_> {
    let mut found = ByEnds::new();
    for flow in flows.iter().filter(|flow| flow.proto == Proto::Tcp) {
        let both = ends(flow.orig, flow.resp);
        found.entry(both).or_default().push(flow);
    }
    found
}

fn ends(one: SocketAddr, other: SocketAddr) -> [SocketAddr; 2] {
    // Scopes and labels of IPv6 are not in every source.
    let [one, other] = [one, other].map(|end| SocketAddr::new(end.ip(), end.port()));
    [one.min(other), one.max(other)]
}

fn contradiction(
    row: &SocketRow,
    table: &SocketTable,
    flows: &ByEnds<'_>,
    host: &HostName,
    evidence: &Evidence,
) -> Option<Contradiction> {
    let found = flows.get(&ends(row.local, row.remote));
    let ends = found
        .into_iter()
        .flatten()
        .filter_map(|&flow| Some((flow, side_of(flow, row)?)));
    // The same addresses and ports may have been used before.
    let latest = ends
        .filter(|(flow, _)| flow.first <= later(table.until, CAPTURE_LAGS))
        .max_by_key(|(flow, _)| flow.first);
    let since = latest.map_or(table.from, |(flow, _)| flow.first);
    if hidden_by_outage(evidence, host, since, table) {
        return None;
    }
    let capture = latest.map_or_else(Vec::new, |(flow, side)| states_around(flow, side, table));
    let known = RfcState::of_kernel(&row.state)?;
    let agrees = match &capture[..] {
        // A SYN may still wait for the link address of where it goes.
        [] => latest.is_some() || known == RfcState::SynSent,
        states => states.iter().any(|&implied| agree(known, implied, row)),
    };
    (!agrees).then(|| Contradiction {
        local: row.local,
        remote: row.remote,
        kernel: row.state.clone(),
        capture,
    })
}

fn side_of(flow: &Flow, row: &SocketRow) -> Option<Sender> {
    let is = |end: crate::analysis::Endpoint, address: SocketAddr| {
        end.ip() == address.ip() && end.port() == address.port()
    };
    if flow.proto != Proto::Tcp {
        None
    } else if is(flow.orig, row.local) && is(flow.resp, row.remote) {
        Some(Sender::Initiator)
    } else if is(flow.resp, row.local) && is(flow.orig, row.remote) {
        Some(Sender::Responder)
    } else {
        None
    }
}

/// Whether the host was off a network at some time since the connection began: what its kernel sends
/// then is in no capture.
fn hidden_by_outage(
    evidence: &Evidence,
    host: &HostName,
    since: Timestamp,
    table: &SocketTable,
) -> bool {
    let mut outages = evidence
        .outages
        .iter()
        .filter(|outage| outage.host == *host);
    outages.any(|outage| {
        outage.from <= later(table.until, CAPTURE_LAGS)
            && outage.until.is_none_or(|until| until >= since)
    })
}

/// The states that a side had, by the capture, about when the table was read. Empty where the capture
/// does not tell.
fn states_around(flow: &Flow, side: Sender, table: &SocketTable) -> Vec<Implied> {
    let from = earlier(table.from, KERNEL_LAGS);
    let until = later(table.until, CAPTURE_LAGS);
    let before = flow.states.iter().rfind(|change| change.at <= from);
    let during = flow.states.iter().filter(|c| c.at > from && c.at <= until);
    let mut states = Vec::new();
    for change in before.into_iter().chain(during) {
        let [initiator, responder] = change.states;
        let (here, peer) = match side {
            Sender::Initiator => (initiator, responder),
            Sender::Responder => (responder, initiator),
        };
        states.extend(here.map(|here| Implied { here, peer }));
    }
    states
}

/// Whether a kernel's state is what a capture implies, or differs by what no capture can show.
fn agree(kernel: RfcState, implied: Implied, row: &SocketRow) -> bool {
    use RfcState::{
        CloseWait, Closed, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynReceived,
        SynSent, TimeWait,
    };
    let peer_is = |states: &[RfcState]| implied.peer.is_some_and(|peer| states.contains(&peer));
    match (kernel, implied.here) {
        (kernel, here) if kernel == here => true,
        // The peer's SYN-ACK or FIN has come, and its acknowledgement is put off (by up to 200 ms,
        // `TCP_DELACK_MAX` of Linux), which is when the capture believes that it came.
        (Established, SynSent) => peer_is(&[SynReceived]),
        (CloseWait, Established) => peer_is(&[FinWait1]),
        (Closing | TimeWait, FinWait1) | (TimeWait, FinWait2) => peer_is(&[FinWait1, LastAck]),
        // Its program has closed it, and the FIN waits behind data that the peer has no room for.
        (FinWait1, Established) | (LastAck | Closing, CloseWait) => row.send_q > 0,
        // The handshake is done, and the queue of those to be accepted is full, or the kernel waits for
        // data before it accepts (`TCP_DEFER_ACCEPT`).
        (SynReceived, Established) => row.node.is_none(),
        // The answer to the SYN is on its way; a connection that is over is kept until its program
        // has closed it.
        (SynReceived, Listen) | (Closed, _) => true,
        _ => false,
    }
}

fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp(at.0.saturating_sub(nanos(by)))
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp(at.0.saturating_add(nanos(by)))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::analysis::{Analyzer, Options};
    use crate::judge::testing::{address, evidence, host_name};
    use crate::judge::{HostOutage, Judgement, Verdict};
    use crate::units::MarkName;
    use crate::wire::synth::Segment;
    use crate::wire::{LinkType, decode};

    const ALICE: &str = "10.0.0.11:40000";
    const SERVER: &str = "10.0.0.10:15102";
    const SECOND: u64 = 1_000_000_000;

    /// What host `left` saw of the connection of `alice`: who sent, flags, sequence and acknowledgement
    /// numbers, each segment a millisecond after the one before; times as they were given.
    fn view(segments: &[(&str, u8, u32, u32)], pauses: &[u64]) -> Vec<Flow> {
        let mut analyzer = Analyzer::new(Options::default()).keeping_states();
        let mut at = 10 * SECOND;
        for (frame, &(from, flags, seq, ack)) in (1u64..).zip(segments) {
            let place = usize::try_from(frame - 1).unwrap();
            at += pauses.get(place).copied().unwrap_or(1_000_000);
            let to = if from == ALICE { SERVER } else { ALICE };
            let segment = Segment {
                seq,
                ack,
                flags,
                ..Segment::new(address(from), address(to))
            };
            let bytes = segment.bytes();
            let length = u32::try_from(bytes.len()).unwrap();
            let packet = decode(LinkType::Ethernet, &bytes, length).unwrap();
            analyzer.push(frame, Timestamp(at), &packet);
        }
        analyzer.finish()
    }

    const OPEN: [(&str, u8, u32, u32); 3] = [
        (ALICE, 0x02, 100, 0),
        (SERVER, 0x12, 500, 101),
        (ALICE, 0x10, 101, 501),
    ];

    fn row(state: &str, send_q: u32) -> SocketRow {
        SocketRow {
            proto: "tcp".to_owned(),
            state: state.to_owned(),
            recv_q: 0,
            send_q,
            local: address(ALICE),
            remote: address(SERVER),
            node: None,
            timer: None,
            retransmits: 0,
        }
    }

    /// The evidence of a cell whose host `left` saw these flows and has this row, read at that moment.
    fn with(flows: Vec<Flow>, row: SocketRow, at: u64) -> Evidence {
        let table = SocketTable {
            from: Timestamp(at),
            until: Timestamp(at + 1_000_000),
            sockets: vec![row],
        };
        let host = host_name("left");
        let tables = BTreeMap::from([(host.clone(), table)]);
        Evidence {
            marks: BTreeMap::from([(MarkName::new("end").unwrap(), tables)]),
            views: BTreeMap::from([(host, flows)]),
            ..evidence()
        }
    }

    fn told(flows: &[Flow], state: &str, send_q: u32, at: u64) -> Option<String> {
        doubt(&with(flows.to_vec(), row(state, send_q), at))
    }

    #[test]
    fn what_the_capture_implies_is_what_the_kernel_has() {
        let flows = view(&OPEN, &[]);
        let later = 20 * SECOND;
        assert_eq!(told(&flows, "ESTABLISHED", 0, later), None);
        let why = told(&flows, "FIN_WAIT_2", 0, later).unwrap();
        assert_eq!(
            why,
            "capture and kernel contradict each other: at mark end the kernel of host left has \
             10.0.0.11:40000 - 10.0.0.10:15102 in FIN_WAIT_2, its capture implies ESTABLISHED"
        );
        // The FIN of its program waits behind data.
        assert_eq!(told(&flows, "FIN_WAIT_1", 14, later), None);
        assert!(told(&flows, "FIN_WAIT_1", 0, later).is_some());
        // A full queue of those to be accepted, or a kernel that waits for data.
        assert_eq!(told(&flows, "SYN_RECEIVED", 0, later), None);
    }

    #[test]
    fn a_state_counts_for_half_a_second_on_either_side() {
        let fin = (ALICE, 0x11, 101, 501);
        let flows = view(&[&OPEN[..], &[fin]].concat(), &[0, 0, 0, 5 * SECOND]);
        let moment = 15 * SECOND;
        for (state, at, agrees) in [
            ("ESTABLISHED", moment - SECOND, true),
            ("FIN_WAIT_1", moment - SECOND, false),
            ("FIN_WAIT_1", moment - SECOND / 4, true),
            ("ESTABLISHED", moment + SECOND / 4, true),
            ("ESTABLISHED", moment + SECOND, false),
            ("FIN_WAIT_1", moment + SECOND, true),
        ] {
            let told = told(&flows, state, 0, at);
            assert_eq!(told.is_none(), agrees, "{state} {at}: {told:?}");
        }
    }

    #[test]
    fn a_fin_that_came_and_is_not_acknowledged_may_have_been_taken() {
        let fin = (SERVER, 0x11, 501, 101);
        let flows = view(&[&OPEN[..], &[fin]].concat(), &[]);
        assert_eq!(told(&flows, "CLOSE_WAIT", 0, 20 * SECOND), None);
        assert_eq!(told(&flows, "ESTABLISHED", 0, 20 * SECOND), None);
        assert!(told(&flows, "TIME_WAIT", 0, 20 * SECOND).is_some());
    }

    #[test]
    fn a_connection_that_was_not_captured_is_a_contradiction_but_a_syn_may_wait() {
        let why = told(&[], "ESTABLISHED", 0, SECOND).unwrap();
        assert!(
            why.ends_with("its capture shows no such connection"),
            "{why}"
        );
        assert_eq!(told(&[], "SYN_SENT", 0, SECOND), None);
        // One that begins later is another one.
        let flows = view(&OPEN, &[]);
        assert!(told(&flows, "ESTABLISHED", 0, SECOND).is_some());
    }

    #[test]
    fn an_outage_hides_what_the_kernel_sends() {
        let mut evidence = with(view(&OPEN, &[]), row("FIN_WAIT_1", 0), 20 * SECOND);
        assert!(doubt(&evidence).is_some());
        let outage = |from, until: u64| HostOutage {
            host: host_name("left"),
            why: "is unplugged",
            address: address(ALICE).ip(),
            from: Timestamp(from),
            until: Some(Timestamp(until)),
        };
        evidence.outages = vec![outage(SECOND, 2 * SECOND)];
        assert!(doubt(&evidence).is_some());
        evidence.outages.push(outage(12 * SECOND, 13 * SECOND));
        assert_eq!(doubt(&evidence), None);
    }

    #[test]
    fn a_contradiction_makes_the_cell_inconclusive() {
        let plan = crate::judge::testing::plan(Vec::new());
        let evidence = with(view(&OPEN, &[]), row("TIME_WAIT", 0), 20 * SECOND);
        let Judgement { verdict, doubt, .. } = crate::judge::judge(&plan, &evidence);
        assert_eq!(verdict, Verdict::Inconclusive);
        assert!(doubt.unwrap().contains("TIME_WAIT"));
    }
}
