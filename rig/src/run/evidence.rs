//! What was observed of a cell becomes its evidence on disk and its verdict.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::driver::Observed;
use super::faults::Fault;
use super::transcript::Transcript;
use super::windows::Screen;
use crate::analysis::{Analyzer, Feed, Flow, Options, Sender};
use crate::backend::BackendError;
use crate::judge::{
    Account, Annotation, CheckReport, Evidence, HostEvidence, HostOutage, Judgement, LinkDeed,
    Marks, TakenFrame, Verdict, judge, node_of, taken_doubt,
};
use crate::pcapng::{Delivery, HostCapture, MergeNotes, Merged};
use crate::plan::Plan;
use crate::reconcile::Fate;
use crate::units::{HostName, Timestamp};
use crate::wire::decode;

/// Everything that was gathered of a cell.
pub(super) struct Gathered {
    pub(super) plan: Arc<Plan>,
    pub(super) transcript: Arc<Transcript>,
    pub(super) observed: Observed,
    /// Pictures of the displays as the steps left them, for a cell that does not pass.
    pub(super) last_screens: Vec<Screen>,
    pub(super) hosts: BTreeMap<HostName, HostEvidence>,
    pub(super) captures: Vec<HostCapture>,
    /// Folder of the cell's evidence.
    pub(super) folder: PathBuf,
    /// Whether the steps were done, so that the checks can be judged.
    pub(super) judged: bool,
}

/// How long before and after a host was off its network a frame may have been lost for it, in nanoseconds.
const OUTAGE_MARGIN_NS: u64 = 1_000_000_000;

/// What came of a cell.
pub(super) struct Settled {
    pub(super) judgement: Judgement,
    /// Files of pictures, relative to the cell's folder.
    pub(super) screens: Vec<PathBuf>,
}

/// Writes the evidence and judges the checks.
///
/// # Errors
/// A file that cannot be written, or a capture that cannot be read.
pub(super) fn settle(gathered: Gathered) -> Result<Settled, BackendError> {
    let Gathered {
        plan,
        transcript,
        observed,
        last_screens,
        mut hosts,
        mut captures,
        folder,
        judged,
    } = gathered;
    let hosts_folder = folder.join("hosts");
    fs::create_dir_all(&hosts_folder).map_err(|error| unwritable(&hosts_folder, &error))?;
    for capture in &captures {
        write(
            &hosts_folder.join(format!("{}.pcapng", capture.host)),
            &capture.bytes,
        )?;
    }
    write(
        &folder.join("transcript.log"),
        transcript.render(&plan.cell).as_bytes(),
    )?;
    write_sockets(&folder.join("sockets.json"), &observed.marks)?;

    // A host whose capture could not be fetched has no proof of completeness either.
    captures.retain(|capture| !capture.bytes.is_empty());
    let views = if observed.marks.is_empty() {
        BTreeMap::new()
    } else {
        views_of(&plan, &captures)
    };
    let links: Vec<&str> = plan.links.iter().map(|link| link.name.as_str()).collect();
    let merged = Merged::with_links(captures, &links)
        .map_err(|error| BackendError::machine(format!("merge the captures: {error}")))?;
    for (host, stop) in merged.stops() {
        tracing::warn!(%host, %stop, "a capture ends early");
        if let Some(evidence) = hosts.get_mut(host.as_str()) {
            evidence.interfaces.clear();
        }
    }
    let deeds = link_deeds(&plan, &hosts, &merged);
    let mut unarrived = lost_to_outages(&observed.outages, &deeds, &merged);
    let taken = taken_frames(&observed.outages, &merged);
    unarrived.extend(taken.iter().map(|one| Annotation {
        frame: one.frame,
        comment: format!("never arrives: taken between {} and {}", one.from, one.to),
    }));
    let deliveries = deliveries_of(&deeds, &unarrived);
    let evidence = Evidence {
        flows: flows_of(&merged, &deliveries),
        deeds,
        hosts,
        nodes: observed.nodes,
        marks: observed.marks,
        views,
        outages: observed.outages,
        taken,
    };
    write_account(
        &folder.join(Account::FILE),
        &Account::of(&plan.cell, judged, &evidence),
    )?;
    let judgement = if judged {
        judge(&plan, &evidence)
    } else {
        Judgement {
            doubt: taken_doubt(&evidence),
            ..not_judged(&plan)
        }
    };
    let mut comments = judgement.annotations.clone();
    comments.extend(fault_marks(&plan, &evidence, &observed.faults, &merged));
    comments.extend(unarrived);
    comments.extend(link_marks(&evidence, &observed.link_changes, &merged));
    let wire = folder.join("wire.pcapng");
    let notes = notes(&plan, &evidence.hosts, comments, deliveries);
    write_wire(&wire, &merged, &notes)?;
    let mut screens = observed.screens;
    if judgement.verdict != Verdict::Pass {
        screens.extend(last_screens);
    }
    let screens = write_screens(&folder, &screens)?;
    Ok(Settled { judgement, screens })
}

/// Writes pictures, and gives their files, relative to the cell's folder.
fn write_screens(folder: &Path, screens: &[Screen]) -> Result<Vec<PathBuf>, BackendError> {
    let below = Path::new("screens");
    if !screens.is_empty() {
        let folder = folder.join(below);
        fs::create_dir_all(&folder).map_err(|error| unwritable(&folder, &error))?;
    }
    let files = screens.iter().map(|screen| {
        let file = below.join(format!("{}.png", screen.name));
        write(&folder.join(&file), &screen.png)?;
        Ok(file)
    });
    files.collect()
}

/// What became of frames that never arrived as they were sent.
fn deliveries_of(deeds: &[LinkDeed], unarrived: &[Annotation]) -> HashMap<u64, Delivery> {
    let unarrived = unarrived.iter().map(|note| (note.frame, Delivery::Lost));
    let on_links = deeds
        .iter()
        .filter_map(|deed| Some((deed.frame, deed.what.delivery()?)));
    unarrived.chain(on_links).collect()
}

fn flows_of(merged: &Merged, deliveries: &HashMap<u64, Delivery>) -> Vec<Flow> {
    let lost = deliveries.keys().copied().collect();
    let analyzer = Analyzer::new(Options {
        keep_events: true,
        keep_payload: true,
    });
    analyzed(analyzer, merged, &lost)
}

/// Frames that links have lost or damaged.
fn lost_on_links(deeds: &[LinkDeed]) -> impl Iterator<Item = u64> {
    let losses = deeds.iter().filter(|deed| deed.what.delivery().is_some());
    losses.map(|deed| deed.frame)
}

/// What each host saw of its connections: what it sent, and what arrived.
fn views_of(plan: &Plan, captures: &[HostCapture]) -> BTreeMap<HostName, Vec<Flow>> {
    let mut views = BTreeMap::new();
    for host in &plan.hosts {
        let own = captures
            .iter()
            .find(|capture| *capture.host == *host.name.as_str());
        // One that cannot be read is told where they are merged.
        let view = own.and_then(|own| Merged::from_hosts(vec![own.clone()]).ok());
        if let Some(view) = view {
            let analyzer = Analyzer::new(Options::default()).keeping_states();
            views.insert(
                host.name.clone(),
                analyzed(analyzer, &view, &HashSet::new()),
            );
        }
    }
    views
}

fn analyzed(mut analyzer: Analyzer, merged: &Merged, lost: &HashSet<u64>) -> Vec<Flow> {
    let mut feed = Feed::default();
    for (frame, record) in (1..).zip(merged.records()) {
        let Some(interface) = merged.interface(record.interface) else {
            continue;
        };
        let fate = if lost.contains(&frame) {
            Fate::Lost
        } else {
            Fate::Unwatched
        };
        feed.push_with_fate(&mut analyzer, frame, interface.link, record, fate);
    }
    let passed_over = feed.finish(&mut analyzer);
    if passed_over.is_worth_telling() {
        tracing::warn!(%passed_over, "packets that are in no flow");
    }
    analyzer.finish()
}

/// What links did to packets that are in the capture. Those that were still under way when it was
/// closed are not.
fn link_deeds(
    plan: &Plan,
    hosts: &BTreeMap<HostName, HostEvidence>,
    merged: &Merged,
) -> Vec<LinkDeed> {
    let mut found = Vec::new();
    for link in &plan.links {
        let account = hosts.get(&link.name).and_then(|host| host.link.as_ref());
        for deed in account.map_or(&[][..], |account| &account.deeds) {
            // The agent is another process: its numbers are not taken on trust.
            let Some(network) = link.joins.get(usize::from(deed.side)) else {
                continue;
            };
            let interface = format!("{}@{network}", link.name);
            if let Some(frame) = merged.frame_that_arrived(&interface, deed.at, deed.digest) {
                found.push(LinkDeed {
                    link: link.name.clone(),
                    frame,
                    what: deed.what.clone(),
                });
            }
        }
    }
    found
}

/// Comments on what links did to packets, and beside the packets before which they were changed.
fn link_marks(
    evidence: &Evidence,
    changes: &[(Timestamp, String)],
    merged: &Merged,
) -> Vec<Annotation> {
    let deeds = evidence.deeds.iter().map(|deed| Annotation {
        frame: deed.frame,
        comment: deed.what.comment(deed.link.as_str()),
    });
    let copies = merged.copies().iter().map(|frame| Annotation {
        frame: *frame,
        comment: "a copy, made by the link that sent it".to_owned(),
    });
    let changes = changes.iter();
    let changes = changes.filter_map(|(at, what)| beside(*at, what, merged));
    deeds.chain(copies).chain(changes).collect()
}

/// The checks of a cell whose steps were cut short: nothing is known of them.
fn not_judged(plan: &Plan) -> Judgement {
    let checks = plan
        .checks
        .iter()
        .map(|check| CheckReport {
            check: check.text.clone(),
            place: check.place,
            verdict: Verdict::Skipped,
            detail: "not judged: a step before it failed".to_owned(),
            ladder: None,
            frames: Vec::new(),
        })
        .collect();
    Judgement {
        verdict: Verdict::Skipped,
        checks,
        annotations: Vec::new(),
        doubt: None,
    }
}

/// Puts each fault beside the packet that it caused: the next one that the node's side of a
/// connection sent; where there is none, beside the next packet, or the last one before it.
fn fault_marks(
    plan: &Plan,
    evidence: &Evidence,
    faults: &[Fault],
    merged: &Merged,
) -> Vec<Annotation> {
    faults
        .iter()
        .filter_map(|fault| fault_mark(plan, evidence, fault, merged))
        .collect()
}

fn fault_mark(
    plan: &Plan,
    evidence: &Evidence,
    fault: &Fault,
    merged: &Merged,
) -> Option<Annotation> {
    let caused = evidence
        .flows
        .iter()
        .flat_map(|flow| flow.events.iter().map(move |event| (flow, event)))
        .filter(|(_, event)| fault.sends && event.at >= fault.at)
        .filter(|(flow, event)| {
            node_of(plan, evidence, flow, event.sender).is_some_and(|node| fault.on.is(node))
        })
        .filter(|(flow, event)| {
            let ends = match event.sender {
                Sender::Initiator => (flow.orig, flow.resp),
                Sender::Responder => (flow.resp, flow.orig),
            };
            fault
                .alone_in
                .as_ref()
                .is_none_or(|connections| connections.contains(&ends))
        })
        .map(|(_, event)| event.frame)
        .min();
    if let Some(frame) = caused {
        return Some(Annotation {
            frame,
            comment: fault.what.clone(),
        });
    }
    beside(fault.at, &fault.what, merged)
}

/// A comment beside the next packet after a moment; where there is none, beside the last one.
fn beside(at: Timestamp, what: &str, merged: &Merged) -> Option<Annotation> {
    let records = merged.records();
    let next = records.partition_point(|record| record.at < at);
    let count = u64::try_from(records.len()).ok()?;
    let next = u64::try_from(next).ok()? + 1;
    if next <= count {
        Some(Annotation {
            frame: next,
            comment: format!("before this packet: {what}"),
        })
    } else if count > 0 {
        Some(Annotation {
            frame: count,
            comment: format!("after this packet: {what}"),
        })
    } else {
        None
    }
}

/// Marks the packets that set out for a host while it was off the network.
fn lost_to_outages(outages: &[HostOutage], deeds: &[LinkDeed], merged: &Merged) -> Vec<Annotation> {
    if outages.is_empty() {
        return Vec::new();
    }
    let on_the_way: HashSet<u64> = lost_on_links(deeds).collect();
    let mut marks = Vec::new();
    for (frame, record) in (1..).zip(merged.records()) {
        // Links delay packets: one that was sent before may come when nobody is there.
        let at = merged.last_sent(frame).unwrap_or(record.at);
        let during =
            |outage: &&HostOutage| at >= outage.from && outage.until.is_none_or(|until| at < until);
        if on_the_way.contains(&frame) {
            continue;
        }
        let mut possible = outages.iter().filter(during).peekable();
        if possible.peek().is_none() {
            continue;
        }
        let link = merged.interface(record.interface).map(|one| one.link);
        let packet = link.and_then(|link| decode(link, &record.data, record.orig_len_bytes).ok());
        let Some((_, to)) = packet.and_then(|packet| packet.endpoints()) else {
            continue;
        };
        if let Some(outage) = possible.find(|outage| outage.address == to.ip()) {
            marks.push(Annotation {
                frame,
                comment: format!("never arrives: {} {}", outage.host, outage.why),
            });
        }
    }
    marks
}

/// Frames that the machine took between two hosts, and not a host's own outage.
fn taken_frames(outages: &[HostOutage], merged: &Merged) -> Vec<TakenFrame> {
    let label = |id| {
        merged
            .interface(id)
            .map_or_else(String::new, |one| one.name.clone())
    };
    let found = merged.unreached().iter().filter_map(|&(frame, to)| {
        let place = usize::try_from(frame).ok()?.checked_sub(1)?;
        let record = merged.records().get(place)?;
        let to = label(to);
        let host = to.split_once('@').map_or(to.as_str(), |(host, _)| host);
        let is_off = |outage: &HostOutage| {
            // It may have been under way when the cable was pulled.
            let from = Timestamp(outage.from.0.saturating_sub(OUTAGE_MARGIN_NS));
            let until = outage
                .until
                .map(|until| Timestamp(until.0 + OUTAGE_MARGIN_NS));
            outage.host.as_str() == host
                && record.at >= from
                && until.is_none_or(|until| record.at <= until)
        };
        let from = label(record.interface);
        (!outages.iter().any(is_off)).then_some(TakenFrame { frame, from, to })
    });
    found.collect()
}

/// What is written beside the packets of `wire.pcapng`.
fn notes(
    plan: &Plan,
    hosts: &BTreeMap<HostName, HostEvidence>,
    mut comments: Vec<Annotation>,
    deliveries: HashMap<u64, Delivery>,
) -> MergeNotes {
    comments.sort();
    comments.dedup();
    let names = plan
        .hosts
        .iter()
        .flat_map(|host| {
            host.interfaces
                .iter()
                .map(|one| (IpAddr::V4(one.address), host.name.to_string()))
        })
        .collect();
    MergeNotes {
        names,
        comments: comments
            .into_iter()
            .map(|one| (one.frame, one.comment))
            .collect(),
        deliveries,
        section_comment: section_comment(plan, hosts),
    }
}

fn write_wire(path: &Path, merged: &Merged, notes: &MergeNotes) -> Result<(), BackendError> {
    let file = File::create(path).map_err(|error| unwritable(path, &error))?;
    merged
        .write(file, notes)
        .map(drop)
        .map_err(|error| BackendError::machine(format!("write {}: {error}", path.display())))
}

/// Names the cell, and the links that did more than they told.
fn section_comment(plan: &Plan, hosts: &BTreeMap<HostName, HostEvidence>) -> String {
    let more = plan.links.iter().filter_map(|link| {
        let account = hosts.get(&link.name)?.link.as_ref()?;
        let (name, unrecorded) = (&link.name, account.unrecorded);
        let told = format!("; link {name} did {unrecorded} more things than its packets tell");
        (unrecorded > 0).then_some(told)
    });
    let more: String = more.collect();
    format!("cell {}{more}", plan.cell)
}

/// Writes JSON with a socket a line: a table may have tens of thousands.
fn write_sockets(path: &Path, marks: &Marks) -> Result<(), BackendError> {
    let write = || -> std::io::Result<()> {
        let mut out = BufWriter::new(File::create(path)?);
        out.write_all(b"{")?;
        let mut before = "\n";
        for (mark, hosts) in marks {
            write!(out, "{before}{}: {{", serde_json::to_string(mark)?)?;
            let mut before_host = "\n";
            for (host, table) in hosts {
                let (host, from) = (serde_json::to_string(host)?, table.from.0);
                let until = table.until.0;
                write!(
                    out,
                    "{before_host}  {host}: {{ \"from\": {from}, \"until\": {until}, \"sockets\": ["
                )?;
                let mut before_socket = "\n    ";
                for socket in &table.sockets {
                    out.write_all(before_socket.as_bytes())?;
                    serde_json::to_writer(&mut out, socket)?;
                    before_socket = ",\n    ";
                }
                out.write_all(b"\n  ] }")?;
                before_host = ",\n";
            }
            out.write_all(b"\n}")?;
            before = ",\n";
        }
        out.write_all(b"\n}\n")?;
        out.flush()
    };
    write().map_err(|error| unwritable(path, &error))
}

fn write_account(path: &Path, account: &Account) -> Result<(), BackendError> {
    let json = serde_json::to_vec(account)
        .map_err(|error| BackendError::machine(format!("write {}: {error}", path.display())))?;
    write(path, &json)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), BackendError> {
    fs::write(path, bytes).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &std::io::Error) -> BackendError {
    BackendError::machine(format!("write {}: {error}", path.display()))
}
