//! The files of a run's folder that sum it up.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::reporter::{ReportError, Reporter};
use super::{MatrixSource, html, json, junit};
use crate::run::{CellReport, Event, RunReport};

/// The most files of one cell that index.html links to.
const MAX_FILES_LINKED: usize = 200;

/// How deep the folder of a cell is searched for files: `hosts/alice.pcapng` is two.
const MAX_DEPTH: usize = 3;

/// Writes `verdict.json` of each cell, and `run.json`, `junit.xml` and `index.html` of the run.
///
/// Each is written under another name first and then renamed, so that a reader never sees half of
/// one.
pub struct Files {
    out: PathBuf,
    source: MatrixSource,
}

impl Files {
    /// Writes into the run's folder `out`.
    #[must_use]
    pub fn new(out: PathBuf, source: MatrixSource) -> Self {
        Self { out, source }
    }

    fn cell(&self, report: &CellReport) -> Result<(), ReportError> {
        let Some(evidence) = &report.evidence else {
            return Ok(());
        };
        let bytes = json::verdict_json(report).map_err(|error| format("verdict.json", &error))?;
        write(&self.out.join(evidence).join("verdict.json"), &bytes)
    }

    /// Writes all three, also when one of them fails; the first failure is told.
    fn run(&self, report: &RunReport) -> Result<(), ReportError> {
        let documents = [
            (
                "run.json",
                json::run_json(report).map_err(|error| format("run.json", &error)),
            ),
            ("junit.xml", junit::junit(report, &self.source)),
            (
                "index.html",
                html::page(report, &self.source, &|cell| self.files_of(cell)),
            ),
        ];
        let mut result = Ok(());
        for (name, bytes) in documents {
            let written = bytes.and_then(|bytes| write(&self.out.join(name), &bytes));
            result = result.and(written);
        }
        result
    }

    /// The files of a cell's evidence, relative to the run's folder, sorted and bounded.
    fn files_of(&self, report: &CellReport) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(evidence) = &report.evidence {
            list(&self.out, evidence, MAX_DEPTH, &mut found);
        }
        found.truncate(MAX_FILES_LINKED);
        found
    }
}

impl Reporter for Files {
    fn on(&mut self, event: &Event) -> Result<(), ReportError> {
        match event {
            Event::CellFinished(report) => self.cell(report),
            Event::Finished(report) => self.run(report),
            _ => Ok(()),
        }
    }
}

fn format(what: &'static str, error: &serde_json::Error) -> ReportError {
    ReportError::Format {
        what,
        cause: error.to_string(),
    }
}

/// Adds the files below `dir`. A folder that cannot be read has none: links are a convenience, and
/// whoever wrote the evidence has told of the failure.
fn list(root: &Path, dir: &Path, depth: usize, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(root.join(dir)) else {
        return;
    };
    let mut paths: Vec<_> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.file_type().ok()?, dir.join(entry.file_name()))))
        .collect();
    paths.sort_by(|(_, a), (_, b)| a.cmp(b));
    for (kind, path) in paths {
        if found.len() >= MAX_FILES_LINKED {
            return;
        }
        if kind.is_dir() && depth > 1 {
            list(root, &path, depth - 1, found);
        } else if kind.is_file() {
            found.push(path.to_string_lossy().into_owned());
        }
    }
}

/// Writes a file so that it is there whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    let partial = path.with_added_extension("partial");
    let result = (|| -> io::Result<()> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let mut file = fs::File::create(&partial)?;
        file.write_all(bytes)?;
        file.flush()?;
        fs::rename(&partial, path)
    })();
    result.map_err(|cause| {
        // The failure itself is what counts; half a file may or may not be there.
        let _gone = fs::remove_file(&partial);
        ReportError::File {
            path: path.to_owned(),
            cause,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn report_into(out: &Path) -> Vec<ReportError> {
        let mut report = sample::run_report();
        report.out = out.to_owned();
        let mut files = Files::new(out.to_owned(), sample::source());
        sample::events(report)
            .iter()
            .filter_map(|event| files.on(event).err())
            .collect()
    }

    #[test]
    fn every_cell_with_evidence_and_the_run_have_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path();
        let cell = Path::new("client=netcat,ending=quit");
        fs::create_dir_all(out.join(cell).join("hosts")).unwrap();
        fs::write(out.join(cell).join("hosts/left.pcapng"), "").unwrap();
        assert!(report_into(out).is_empty());
        let mut found = Vec::new();
        list(out, Path::new(""), 4, &mut found);
        insta::assert_debug_snapshot!(found, @r#"
        [
            "client=netcat,ending=quit/hosts/left.pcapng",
            "client=netcat,ending=quit/verdict.json",
            "client=socat,ending=quit/verdict.json",
            "client=telnet,ending=quit/verdict.json",
            "client=terminal,ending=quit/verdict.json",
            "index.html",
            "junit.xml",
            "run.json",
        ]
        "#);
        let page = fs::read_to_string(out.join("index.html")).unwrap();
        assert!(page.contains("client%3Dnetcat%2Cending%3Dquit&#x2f;hosts&#x2f;left.pcapng"));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named_and_the_others_are_written() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("run.json")).unwrap();
        let errors = report_into(dir.path());
        assert_eq!(errors.len(), 1);
        let message = errors[0].to_string();
        assert!(message.contains("run.json: "), "{message}");
        assert!(dir.path().join("junit.xml").is_file() && dir.path().join("index.html").is_file());
        assert!(!dir.path().join("run.json.partial").exists());
    }
}
