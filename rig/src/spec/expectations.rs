//! Checks for captures: those of a matrix file, or a file of flow checks alone.

use std::path::Path;
use std::sync::Arc;

use super::load::{self, Opened};
use super::read::Reader;
use super::tree::Node as Tree;
use super::words::Fault;
use super::{
    ClosedBy, Copies, Diagnostics, FromText, Located, MAX_STEPS, Place, Problem, Source, Spec,
};
use crate::analysis::{ConnState, Sender};
use crate::pattern::{EventPattern, Pattern};

/// Keys that only matrix files have: any of them makes a file one.
const MATRIX_KEYS: [&str; 7] = [
    "images",
    "implementations",
    "networks",
    "hosts",
    "matrix",
    "nodes",
    "steps",
];
/// The keys of a file of checks.
const KEYS: [&str; 4] = ["version", "name", "patterns", "checks"];
/// The keys of a check in it.
const CHECK_KEYS: [&str; 7] = [
    "flow",
    "nth",
    "count",
    "fate",
    "closed-by",
    "pattern",
    "never",
];

/// What a file expects of captures.
#[derive(Debug)]
pub enum Expectations {
    /// A matrix file, whose checks name nodes of a cell.
    Matrix(Box<Spec>),
    /// Checks alone, whose ends are addresses, ports and names of the capture.
    Checks {
        /// The file.
        source: Arc<Source>,
        /// In the order of the file.
        checks: Vec<FlowExpectation>,
    },
}

/// A flow check without a matrix.
#[derive(Debug)]
pub struct FlowExpectation {
    /// Where it stands.
    pub place: Place,
    /// Which flows, as written.
    pub flow: Located<String>,
    /// Only the n-th of them, counted from 1.
    pub nth: Option<usize>,
    /// How many there must be.
    pub count: Option<Copies>,
    /// Allowed fates; empty allows any.
    pub fate: Vec<ConnState>,
    /// Who must have closed first.
    pub closed_by: Option<Sender>,
    /// What the whole flow must be.
    pub pattern: Option<Pattern>,
    /// Events that must not occur.
    pub never: Vec<EventPattern>,
}

/// Reads a matrix file, or a file of checks alone.
///
/// # Errors
/// Every mistake in the file, or why it cannot be read.
pub fn load_expectations(path: &Path) -> Result<Expectations, Diagnostics> {
    let opened = Opened::open(path)?;
    if has_matrix_key(&opened.root) {
        let spec = load::parse_tree(opened)?;
        return Ok(Expectations::Matrix(Box::new(spec)));
    }
    let source = Arc::clone(&opened.source);
    let mut reader = opened.reader();
    let checks = reader.expectations(&opened.root);
    let problems = reader.problems;
    match checks {
        Some(checks) if problems.is_empty() => Ok(Expectations::Checks { source, checks }),
        _ => Err(Diagnostics::new(source, problems)),
    }
}

/// Whether a file is a matrix file, as opposed to one of checks alone.
pub(super) fn has_matrix_key(root: &Tree) -> bool {
    MATRIX_KEYS.iter().any(|key| root.get(key).is_some())
}

impl Reader<'_> {
    fn expectations(&mut self, root: &Tree) -> Option<Vec<FlowExpectation>> {
        let fields = self.fields(root, "a file of checks", root.place, &KEYS)?;
        if fields.get("version").is_some() {
            self.version(fields);
        }
        if let Some(node) = fields.get("patterns") {
            self.patterns(node);
        }
        let checks = self.required(fields, "checks")?;
        let items = self.list(checks, "checks");
        if items.is_empty() {
            self.problem(Problem::at(checks.place, "`checks` has no check"));
        }
        if let Some(first) = items.get(MAX_STEPS) {
            let message = format!("more than {MAX_STEPS} checks");
            self.problem(Problem::at(first.place, message));
            return None;
        }
        Some(
            items
                .iter()
                .filter_map(|item| self.expectation(item))
                .collect(),
        )
    }

    fn expectation(&mut self, node: &Tree) -> Option<FlowExpectation> {
        let what = "a check of a capture";
        let fields = self.fields(node, what, node.place, &CHECK_KEYS)?;
        let flow = self.required(fields, "flow");
        let flow = flow.and_then(|node| self.text(node, "a flow such as \"* -> :15102\""));
        let nth = self.optional(fields, "nth", |r, node| r.word::<usize>(node, "a position"));
        let count = self.optional(fields, "count", |r, node| r.word::<Copies>(node, "a count"));
        let fate = fields.get("fate").map(|node| self.words(node, "a fate"));
        let closed_by = self.optional(fields, "closed-by", Self::closing_end);
        let pattern = self.optional(fields, "pattern", |r, node| {
            r.read_text(node, "a pattern", |reader, text| {
                Pattern::parse_with(text, &reader.patterns).map_err(Fault::from)
            })
        });
        let never = fields.get("never").map(|node| self.words(node, "an event"));
        Some(FlowExpectation {
            place: node.place,
            flow: flow?,
            nth: nth?.map(|nth| nth.value),
            count: count?.map(|count| count.value),
            fate: fate.unwrap_or_default(),
            closed_by: closed_by?,
            pattern: pattern?,
            never: never.unwrap_or_default(),
        })
    }

    /// One or more values without holes.
    fn words<T: FromText>(&mut self, node: &Tree, wanted: &str) -> Vec<T> {
        let items = node.one_or_more().iter();
        items
            .filter_map(|item| self.read_text(item, wanted, |_, text| T::from_text(text)))
            .collect()
    }

    /// `initiator` or `responder`: a capture knows no nodes.
    fn closing_end(&mut self, node: &Tree) -> Option<Sender> {
        let by = self.word::<ClosedBy>(node, "`initiator` or `responder`")?;
        match by.value {
            ClosedBy::Side(side) => Some(side),
            ClosedBy::Node(name) => {
                let message = format!("`{name}` is not a side of a connection");
                let hint = "write `initiator` or `responder`";
                self.problem(Problem::at(by.place, message).hint(hint));
                None
            }
        }
    }
}
