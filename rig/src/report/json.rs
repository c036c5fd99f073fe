//! `verdict.json` and `run.json`: the shape that docs/evidence.md describes.
//!
//! The types here are that shape and nothing else, so that the runner's types can change without
//! changing what tools read.

use std::io;
use std::path::Path;

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, PrettyFormatter};

use super::text::{MAX_FILE_BYTES, bounded, rfc3339};
use crate::judge::{CheckReport, Verdict};
use crate::run::{CellReport, RunReport, StepReport, Trouble};
use crate::spec::Place;
use crate::units::acts_on_terminal;

/// Version of the shape of both files.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct RunJson<'a> {
    version: u32,
    run: &'a str,
    matrix: &'a str,
    file: String,
    started: String,
    duration_s: f64,
    interrupted: bool,
    counts: CountsJson,
    left_behind: &'a [String],
    cells: Vec<CellJson<'a>>,
}

#[derive(Serialize)]
struct CountsJson {
    pass: usize,
    xfail: usize,
    fail: usize,
    error: usize,
    inconclusive: usize,
    skipped: usize,
}

#[derive(Serialize)]
struct VerdictJson<'a> {
    version: u32,
    #[serde(flatten)]
    cell: CellJson<'a>,
}

#[derive(Serialize)]
struct CellJson<'a> {
    cell: &'a str,
    verdict: Verdict,
    expected_failure: Option<&'a str>,
    started: String,
    duration_s: f64,
    evidence: Option<String>,
    screens: Vec<String>,
    kept: &'a [String],
    trouble: Option<TroubleJson>,
    steps: Vec<StepJson<'a>>,
    checks: Vec<CheckJson<'a>>,
}

#[derive(Serialize)]
struct TroubleJson {
    message: String,
    hint: Option<String>,
    place: Option<PlaceJson>,
}

#[derive(Serialize)]
struct StepJson<'a> {
    step: &'a str,
    verdict: Verdict,
    started: String,
    duration_s: f64,
}

#[derive(Serialize)]
struct CheckJson<'a> {
    check: &'a str,
    verdict: Verdict,
    place: PlaceJson,
    detail: String,
    ladder: Option<String>,
    frames: &'a [u64],
}

#[derive(Serialize)]
struct PlaceJson {
    line: u32,
    column: u32,
}

/// `verdict.json` of a cell.
pub(super) fn verdict_json(report: &CellReport) -> serde_json::Result<Vec<u8>> {
    written(&VerdictJson {
        version: VERSION,
        cell: cell(report),
    })
}

/// `run.json` of a run.
pub(super) fn run_json(report: &RunReport) -> serde_json::Result<Vec<u8>> {
    written(&RunJson {
        version: VERSION,
        run: &report.run,
        matrix: &report.matrix,
        file: shown(&report.file),
        started: rfc3339(report.started),
        duration_s: report.took.as_secs_f64(),
        interrupted: report.interrupted,
        counts: CountsJson {
            pass: report.count(Verdict::Pass),
            xfail: report.count(Verdict::ExpectedFailure),
            fail: report.count(Verdict::Fail),
            error: report.count(Verdict::Error),
            inconclusive: report.count(Verdict::Inconclusive),
            skipped: report.count(Verdict::Skipped),
        },
        left_behind: &report.left_behind,
        cells: report.cells.iter().map(cell).collect(),
    })
}

fn cell(report: &CellReport) -> CellJson<'_> {
    CellJson {
        cell: &report.cell,
        verdict: report.verdict,
        expected_failure: report.expected.as_deref(),
        started: rfc3339(report.started),
        duration_s: report.took.as_secs_f64(),
        evidence: report.evidence.as_deref().map(shown),
        screens: report.screens.iter().map(|file| shown(file)).collect(),
        kept: &report.kept,
        trouble: report.trouble.as_ref().map(trouble),
        steps: report.steps.iter().map(step).collect(),
        checks: report.checks.iter().map(check).collect(),
    }
}

fn trouble(trouble: &Trouble) -> TroubleJson {
    TroubleJson {
        message: bounded(&trouble.message, MAX_FILE_BYTES).into_owned(),
        hint: trouble.hint.clone(),
        place: trouble.place.map(place),
    }
}

fn step(report: &StepReport) -> StepJson<'_> {
    StepJson {
        step: &report.step,
        verdict: report.verdict,
        started: rfc3339(report.started),
        duration_s: report.took.as_secs_f64(),
    }
}

fn check(report: &CheckReport) -> CheckJson<'_> {
    CheckJson {
        check: &report.check,
        verdict: report.verdict,
        place: place(report.place),
        detail: bounded(&report.detail, MAX_FILE_BYTES).into_owned(),
        ladder: report
            .ladder
            .as_ref()
            .map(|ladder| bounded(ladder, MAX_FILE_BYTES).into_owned()),
        frames: &report.frames,
    }
}

fn place(place: Place) -> PlaceJson {
    PlaceJson {
        line: place.line,
        column: place.column,
    }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn written(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::new();
    let formatter = Harmless(PrettyFormatter::new());
    value.serialize(&mut serde_json::Serializer::with_formatter(
        &mut out, formatter,
    ))?;
    out.push(b'\n');
    Ok(out)
}

/// Pretty JSON in which every character that a terminal would act upon is a `\u` escape, so that
/// the file can be printed and still holds the very text.
struct Harmless(PrettyFormatter<'static>);

impl Formatter for Harmless {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|&(_, c)| acts_on_terminal(c)) {
            out.write_all(&rest.as_bytes()[..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        out.write_all(rest.as_bytes())
    }

    fn write_char_escape<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        self.0.write_char_escape(out, escape)
    }

    fn begin_array<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_array(out)
    }

    fn end_array<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array(out)
    }

    fn begin_array_value<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_array_value(out, first)
    }

    fn end_array_value<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array_value(out)
    }

    fn begin_object<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object(out)
    }

    fn end_object<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object(out)
    }

    fn begin_object_key<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_object_key(out, first)
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object_value(out)
    }

    fn end_object_value<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object_value(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{self, HOSTILE};

    #[test]
    fn the_shape_of_both_files() {
        let report = sample::run_report();
        insta::assert_snapshot!(
            "verdict",
            String::from_utf8(verdict_json(&report.cells[1]).unwrap()).unwrap()
        );
        insta::assert_snapshot!(
            "run",
            String::from_utf8(run_json(&report).unwrap()).unwrap()
        );
    }

    #[test]
    fn hostile_text_is_escaped_and_comes_back_the_same() {
        let report = sample::hostile_report();
        let written = run_json(&report).unwrap();
        let text = std::str::from_utf8(&written).unwrap();
        assert!(!text.chars().any(|c| c != '\n' && acts_on_terminal(c)));
        let read: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(read["matrix"], HOSTILE);
        assert_eq!(read["cells"][0]["steps"][0]["step"], HOSTILE);
        let detail = read["cells"][0]["checks"][0]["detail"].as_str().unwrap();
        assert!(detail.len() < MAX_FILE_BYTES + 40 && detail.contains("more bytes"));
    }
}
