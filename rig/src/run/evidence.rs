//! What was observed of a cell becomes its evidence on disk and its verdict.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::driver::{Fault, Observed};
use super::transcript::Transcript;
use crate::agent::protocol::SocketRow;
use crate::analysis::{Analyzer, Feed, Flow, Options};
use crate::backend::BackendError;
use crate::judge::{
    Account, Annotation, CheckReport, Evidence, HostEvidence, Judgement, Verdict, judge, node_of,
};
use crate::pcapng::{HostCapture, MergeNotes, Merged};
use crate::plan::Plan;
use crate::units::{HostName, MarkName, Timestamp};

/// Everything that was gathered of a cell.
pub(super) struct Gathered {
    pub(super) plan: Arc<Plan>,
    pub(super) transcript: Arc<Transcript>,
    pub(super) observed: Observed,
    pub(super) hosts: BTreeMap<HostName, HostEvidence>,
    pub(super) captures: Vec<HostCapture>,
    /// Folder of the cell's evidence.
    pub(super) folder: PathBuf,
    /// Whether the steps were done, so that the checks can be judged.
    pub(super) judged: bool,
}

/// Writes the evidence and judges the checks.
///
/// # Errors
/// A file that cannot be written, or a capture that cannot be read.
pub(super) fn settle(gathered: Gathered) -> Result<Judgement, BackendError> {
    let Gathered {
        plan,
        transcript,
        observed,
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
    let merged = Merged::from_hosts(captures)
        .map_err(|error| BackendError::machine(format!("merge the captures: {error}")))?;
    for (host, stop) in merged.stops() {
        tracing::warn!(%host, %stop, "a capture ends early");
        if let Some(evidence) = hosts.get_mut(host.as_str()) {
            evidence.interfaces.clear();
        }
    }
    let evidence = Evidence {
        flows: flows_of(&merged),
        hosts,
        nodes: observed.nodes,
        marks: observed.marks,
    };
    write_account(
        &folder.join(Account::FILE),
        &Account::of(&plan.cell, judged, &evidence),
    )?;
    let judgement = if judged {
        judge(&plan, &evidence)
    } else {
        not_judged(&plan)
    };
    let mut comments = judgement.annotations.clone();
    comments.extend(fault_marks(&plan, &evidence, &observed.faults, &merged));
    write_wire(&folder.join("wire.pcapng"), &merged, &plan, comments)?;
    Ok(judgement)
}

fn flows_of(merged: &Merged) -> Vec<Flow> {
    let mut analyzer = Analyzer::new(Options {
        keep_events: true,
        keep_payload: true,
    });
    let mut feed = Feed::default();
    for (frame, record) in (1..).zip(merged.records()) {
        let Some(interface) = merged.interface(record.interface) else {
            continue;
        };
        feed.push(&mut analyzer, frame, interface.link, record);
    }
    let passed_over = feed.finish(&mut analyzer);
    if passed_over.is_worth_telling() {
        tracing::warn!(%passed_over, "packets that are in no flow");
    }
    analyzer.finish()
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
            node_of(plan, evidence, flow, event.sender).is_some_and(|node| *node == fault.node)
        })
        .map(|(_, event)| event.frame)
        .min();
    if let Some(frame) = caused {
        return Some(Annotation {
            frame,
            comment: fault.what.clone(),
        });
    }
    let times: Vec<Timestamp> = merged.records().iter().map(|record| record.at).collect();
    let next = times.partition_point(|at| *at < fault.at);
    let count = u64::try_from(times.len()).ok()?;
    let next = u64::try_from(next).ok()? + 1;
    if next <= count {
        Some(Annotation {
            frame: next,
            comment: format!("before this packet: {}", fault.what),
        })
    } else if count > 0 {
        Some(Annotation {
            frame: count,
            comment: format!("after this packet: {}", fault.what),
        })
    } else {
        None
    }
}

fn write_wire(
    path: &Path,
    merged: &Merged,
    plan: &Plan,
    mut comments: Vec<Annotation>,
) -> Result<(), BackendError> {
    comments.sort();
    comments.dedup();
    let names: Vec<(IpAddr, String)> = plan
        .hosts
        .iter()
        .flat_map(|host| {
            host.interfaces
                .iter()
                .map(|one| (IpAddr::V4(one.address), host.name.to_string()))
        })
        .collect();
    let notes = MergeNotes {
        names,
        comments: comments
            .into_iter()
            .map(|one| (one.frame, one.comment))
            .collect(),
        section_comment: format!("cell {}", plan.cell),
    };
    let file = File::create(path).map_err(|error| unwritable(path, &error))?;
    merged
        .write(file, &notes)
        .map(drop)
        .map_err(|error| BackendError::machine(format!("write {}: {error}", path.display())))
}

fn write_sockets(
    path: &Path,
    marks: &BTreeMap<MarkName, BTreeMap<HostName, Vec<SocketRow>>>,
) -> Result<(), BackendError> {
    let json = serde_json::to_vec_pretty(marks)
        .map_err(|error| BackendError::machine(format!("write {}: {error}", path.display())))?;
    write(path, &json)
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
