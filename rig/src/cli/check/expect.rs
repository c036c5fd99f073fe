//! `rig check --expect`: the flow checks of a file on a capture, without a run.
//!
//! A matrix file's checks name nodes. Which addresses those have is told by the capture, which
//! program opened a connection by the account that a run leaves beside it. Without an account a
//! capture is taken as it is, as everywhere in `rig check`; where two programs of a host may have
//! opened a connection, the check is then inconclusive.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::super::args::CheckArgs;
use super::super::exit::Exit;
use super::super::input::show_error;
use super::capture::Capture;
use super::ends::Selector;
use super::outcome::{Outcome, check};
use super::request::Request;
use super::{read, told};
use crate::cli::captures::capture_file;
use crate::judge::{self, Account, CheckReport, Verdict};
use crate::matrix::{Cell, Matrix};
use crate::plan::{self, Check, CheckKind, InterfacePlan, Plan};
use crate::spec::{
    self, Copies, Diagnostics, Expectations, FlowExpectation, Problem, Source, Spec, hint_for,
};
use crate::units::printable;

/// The largest account that is read, in bytes; a connection takes some 150.
const MAX_ACCOUNT_BYTES: u64 = 64 * 1024 * 1024;
/// How many names of cells or hosts a message lists.
const MAX_NAMES_SHOWN: usize = 8;

/// Judges the capture by the checks of `file`. Errors are already told when it fails.
pub(super) fn judge(args: &CheckArgs, file: &Path) -> Result<(Capture, Outcome), Exit> {
    let expectations = spec::load_expectations(file).map_err(|diagnostics| told(&diagnostics))?;
    match expectations {
        Expectations::Checks { source, checks } => {
            if args.cell.is_some() {
                let file = file.display();
                return Err(wrong(&format!(
                    "{file} has no cells, so `--cell` names none"
                )));
            }
            let capture = read(args, true)?;
            let outcome =
                by_checks(&source, checks, &capture).map_err(|diagnostics| told(&diagnostics))?;
            Ok((capture, outcome))
        }
        Expectations::Matrix(spec) => {
            let matrix = plan::validate(&spec).map_err(|diagnostics| told(&diagnostics))?;
            let capture = read(args, true)?;
            by_matrix(args, &spec, &matrix, capture)
        }
    }
}

fn wrong(message: &str) -> Exit {
    show_error(&message);
    Exit::Input
}

/// Judges by checks whose ends are those of the capture.
fn by_checks(
    source: &Arc<Source>,
    checks: Vec<FlowExpectation>,
    capture: &Capture,
) -> Result<Outcome, Diagnostics> {
    let mut problems = Vec::new();
    let mut outcome = Outcome::default();
    for expectation in checks {
        let flow = &expectation.flow;
        match Selector::read(&flow.value, &capture.names) {
            Ok(selector) => {
                let request = request(expectation);
                outcome.extend(check(&request, &[selector], capture));
            }
            Err(fault) => {
                let problem = Problem::at(flow.place, fault.message);
                problems.push(problem.maybe_hint(fault.hint));
            }
        }
    }
    if problems.is_empty() {
        Ok(outcome)
    } else {
        Err(Diagnostics::new(Arc::clone(source), problems))
    }
}

fn request(expectation: FlowExpectation) -> Request {
    let FlowExpectation {
        place,
        flow: _,
        nth,
        count,
        fate,
        closed_by,
        pattern,
        never,
    } = expectation;
    let least = nth.map_or(1, |nth| nth as u64);
    Request {
        flows: Vec::new(),
        pattern,
        fate,
        count: count.unwrap_or(Copies {
            min: least,
            max: None,
        }),
        closed_by,
        never,
        nth,
        line: Some(place.line),
    }
}

/// Judges by the checks of a matrix in one of its cells.
fn by_matrix(
    args: &CheckArgs,
    spec: &Spec,
    matrix: &Matrix,
    mut capture: Capture,
) -> Result<(Capture, Outcome), Exit> {
    let folder = capture_file(&args.capture);
    let account = folder.parent().map(read_account).transpose();
    let account = account.map_err(|message| wrong(&message))?.flatten();
    let cell = cell(args, matrix, account.as_ref(), &capture).map_err(|message| wrong(&message))?;
    let mut plan = plan::sketch(spec, cell).map_err(|diagnostics| told(&diagnostics))?;
    let checks = std::mem::take(&mut plan.checks);
    let is_flow = |check: &&Check| matches!(check.kind, CheckKind::Flow(_));
    plan.checks = checks.iter().filter(is_flow).cloned().collect();
    give_addresses(&mut plan, &capture.names).map_err(|message| wrong(&message))?;
    if account.as_ref().is_some_and(|account| !account.judged) {
        let why = "the checks were not judged in the run: a step before them failed";
        let skipped = checks.iter().map(|check| skipped(check, why));
        let outcome = Outcome::of_reports(skipped.collect(), &capture);
        return Ok((capture, outcome));
    }
    let account = account.unwrap_or_else(|| Account::on_trust(&plan));
    let evidence = account.with_flows(std::mem::take(&mut capture.flows));
    let judgement = judge::judge(&plan, &evidence);
    capture.flows = evidence.flows;
    let mut judged = judgement.checks.into_iter();
    let reports = checks.iter().map(|check| match &check.kind {
        CheckKind::Flow(_) => judged
            .next()
            .unwrap_or_else(|| skipped(check, "not judged")),
        CheckKind::Exit(_) => skipped(check, "a capture does not tell how a program ended"),
        CheckKind::Output(_) => skipped(check, "a capture does not tell what a program printed"),
        CheckKind::Loss(_) => skipped(check, "a capture does not tell what a link's rules met"),
        CheckKind::Sockets(_) => skipped(check, "a capture holds no socket tables"),
    });
    let mut outcome = Outcome::of_reports(reports.collect(), &capture);
    if let Some(doubt) = judgement.doubt {
        outcome.doubt(&doubt);
    }
    Ok((capture, outcome))
}

fn skipped(check: &Check, why: &str) -> CheckReport {
    CheckReport {
        check: check.text.clone(),
        place: check.place,
        verdict: Verdict::Skipped,
        detail: why.to_owned(),
        ladder: None,
        frames: Vec::new(),
    }
}

/// What a run left beside the capture, if it did.
fn read_account(folder: &Path) -> Result<Option<Account>, String> {
    let path = folder.join(Account::FILE);
    let shown = path.display();
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("open {shown}: {error}")),
    };
    let mut bytes = Vec::new();
    file.take(MAX_ACCOUNT_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("read {shown}: {error}"))?;
    if bytes.len() as u64 > MAX_ACCOUNT_BYTES {
        return Err(format!("{shown} is larger than {MAX_ACCOUNT_BYTES} bytes"));
    }
    let account: Account =
        serde_json::from_slice(&bytes).map_err(|error| format!("read {shown}: {error}"))?;
    if account.version != Account::VERSION {
        let version = account.version;
        return Err(format!(
            "{shown} is of version {version}: this program reads {}",
            Account::VERSION
        ));
    }
    Ok(Some(account))
}

/// The cell that is meant: the one that is named, the one whose evidence this is, or the only one.
fn cell<'m>(
    args: &CheckArgs,
    matrix: &'m Matrix,
    account: Option<&Account>,
    capture: &Capture,
) -> Result<&'m Cell, String> {
    let of_evidence = account.map(|account| account.cell.as_str());
    let of_evidence = of_evidence.or(capture.cell.as_deref());
    if let (Some(asked), Some(found)) = (&args.cell, of_evidence)
        && asked != found
    {
        return Err(format!(
            "the capture is the evidence of cell `{}`, not of `{}`",
            printable(found),
            printable(asked)
        ));
    }
    let names: Vec<&str> = matrix.cells.iter().map(|cell| cell.name.as_str()).collect();
    let Some(name) = args.cell.as_deref().or(of_evidence) else {
        return match &matrix.cells[..] {
            [only] => Ok(only),
            cells => Err(format!(
                "the capture does not tell which of the {} cells it is of: give `--cell NAME`, \
                 one of {}",
                cells.len(),
                listed(&names)
            )),
        };
    };
    let mut cells = matrix.cells.iter();
    cells.find(|cell| cell.name == name).ok_or_else(|| {
        let hint = hint_for(name, "cells", &names);
        let hint = hint.map_or_else(String::new, |hint| format!(": {hint}"));
        format!("the matrix has no cell `{}`{hint}", printable(name))
    })
}

/// Gives the hosts the addresses that the capture has under their names.
fn give_addresses(plan: &mut Plan, names: &[(IpAddr, String)]) -> Result<(), String> {
    for host in &mut plan.hosts {
        let of_host = names.iter().filter(|(_, name)| name == host.name.as_str());
        let addresses: Vec<_> = of_host
            .filter_map(|(address, _)| match address {
                IpAddr::V4(address) => Some(*address),
                IpAddr::V6(_) => None,
            })
            .collect();
        let Some(last) = host.interfaces.last().cloned() else {
            continue;
        };
        if addresses.is_empty() {
            let mut known: Vec<&str> = names.iter().map(|(_, name)| name.as_str()).collect();
            known.dedup();
            let known = match &known[..] {
                [] => "it names none".to_owned(),
                known => format!("it names {}", listed(known)),
            };
            return Err(format!(
                "the capture has no address with the name of host `{}`; {known}",
                host.name
            ));
        }
        // There may be more addresses than networks: which is on which does not matter here.
        let networks: Vec<_> = host
            .interfaces
            .iter()
            .map(|one| one.network.clone())
            .collect();
        let networks = networks.into_iter().chain(std::iter::repeat(last.network));
        host.interfaces = addresses
            .into_iter()
            .zip(networks)
            .map(|(address, network)| InterfacePlan { network, address })
            .collect();
    }
    Ok(())
}

fn listed(names: &[&str]) -> String {
    let shown: Vec<String> = names
        .iter()
        .take(MAX_NAMES_SHOWN)
        .map(|name| printable(name))
        .collect();
    let more = names.len().saturating_sub(MAX_NAMES_SHOWN);
    match more {
        0 => shown.join(", "),
        _ => format!("{} and {more} more", shown.join(", ")),
    }
}
