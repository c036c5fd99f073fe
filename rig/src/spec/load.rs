//! From a file to a [`Spec`].

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::expectations::has_matrix_key;
use super::names::Names;
use super::read::{Fields, Reader};
use super::tree::{self, Node};
use super::{Diagnostics, Problem, Source, Spec};
use crate::pattern::Library;

/// The largest matrix file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;
/// The version of the format.
const VERSION: &str = "1";

/// Reads a matrix file. Relative paths in it are joined to its folder.
///
/// # Errors
/// Every mistake in the file, or why it cannot be read.
pub fn load(path: &Path) -> Result<Spec, Diagnostics> {
    parse_tree(Opened::open(path)?)
}

/// Reads the text of a matrix file that errors call `name`. Relative paths in it are joined to
/// `dir`.
///
/// # Errors
/// Every mistake in the text.
pub fn parse(name: &str, dir: &Path, text: String) -> Result<Spec, Diagnostics> {
    parse_tree(Opened::parse(name, dir, text)?)
}

/// A file whose text is a tree.
pub(super) struct Opened {
    pub(super) source: Arc<Source>,
    dir: PathBuf,
    pub(super) root: Node,
}

impl Opened {
    /// Reads a file; `dir` is then its folder.
    pub(super) fn open(path: &Path) -> Result<Self, Diagnostics> {
        let name = path.display().to_string();
        let text = read(path).map_err(|problem| {
            let source = Arc::new(Source::new(&name, String::new()));
            Diagnostics::new(source, vec![problem])
        })?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        Self::parse(&name, dir.unwrap_or(Path::new(".")), text)
    }

    fn parse(name: &str, dir: &Path, text: String) -> Result<Self, Diagnostics> {
        let source = Arc::new(Source::new(name, text));
        let root = tree::parse(&source)
            .map_err(|problems| Diagnostics::new(Arc::clone(&source), problems))?;
        Ok(Self {
            source,
            dir: dir.to_owned(),
            root,
        })
    }

    /// A reader of the tree.
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader {
            source: &self.source,
            dir: &self.dir,
            names: Names::collect(&self.root),
            patterns: Library::builtin().clone(),
            compared: 0,
            problems: Vec::new(),
        }
    }
}

/// Reads the tree of a matrix file.
pub(super) fn parse_tree(opened: Opened) -> Result<Spec, Diagnostics> {
    let mut reader = opened.reader();
    let spec = reader.spec(&opened.root, &opened.source);
    let problems = reader.problems;
    match spec {
        Some(spec) if problems.is_empty() => Ok(spec),
        _ => Err(Diagnostics::new(opened.source, problems)),
    }
}

/// The keys of a matrix file.
const KEYS: [&str; 18] = [
    "version",
    "name",
    "timeouts",
    "capture",
    "patterns",
    "images",
    "implementations",
    "networks",
    "hosts",
    "links",
    "matrix",
    "cells",
    "exclude",
    "include",
    "expected-failures",
    "nodes",
    "steps",
    "checks",
];

impl Reader<'_> {
    fn spec(&mut self, root: &Node, source: &Arc<Source>) -> Option<Spec> {
        if root.get("checks").is_some() && !has_matrix_key(root) {
            let message = "this is a file of checks alone, not a matrix file";
            let hint = "`rig check CAPTURE --expect FILE` holds captures against it";
            self.problem(Problem::at(root.place, message).hint(hint));
            return None;
        }
        let fields = self.fields(root, "a matrix file", root.place, &KEYS)?;
        self.version(fields);
        if let Some(node) = fields.get("patterns") {
            self.patterns(node);
        }
        let name = self.required(fields, "name");
        let name = name.and_then(|node| self.word::<String>(node, "a name"));
        let images = self.required(fields, "images");
        let implementations = self.required(fields, "implementations");
        let networks = self.required(fields, "networks");
        let hosts = self.required(fields, "hosts");
        let nodes = self.required(fields, "nodes");
        let steps = self.required(fields, "steps");
        self.resolvable(hosts, nodes);
        let part = |key| fields.get(key);
        Some(Spec {
            source: Arc::clone(source),
            dir: self.dir.to_owned(),
            patterns: self.patterns.clone(),
            timeouts: part("timeouts")
                .map(|n| self.timeouts(n))
                .unwrap_or_default(),
            capture: part("capture")
                .and_then(|n| self.capture(n))
                .unwrap_or_default(),
            images: images.map(|n| self.images(n)).unwrap_or_default(),
            implementations: implementations
                .map(|n| self.implementations(n))
                .unwrap_or_default(),
            networks: networks.map(|n| self.networks(n)).unwrap_or_default(),
            hosts: hosts.map(|n| self.hosts(n)).unwrap_or_default(),
            links: part("links").map(|n| self.links(n)).unwrap_or_default(),
            axes: part("matrix").map(|n| self.axes(n)).unwrap_or_default(),
            cells: part("cells")
                .map(|n| self.listed_cells(n))
                .unwrap_or_default(),
            exclude: part("exclude")
                .map(|n| self.cell_rules(n, "`exclude`"))
                .unwrap_or_default(),
            include: part("include")
                .map(|n| self.cell_rules(n, "`include`"))
                .unwrap_or_default(),
            expected_failures: part("expected-failures")
                .map(|n| self.expected_failures(n))
                .unwrap_or_default(),
            nodes: nodes.map(|n| self.nodes(n)).unwrap_or_default(),
            steps: steps.map(|n| self.steps(n)).unwrap_or_default(),
            checks: part("checks").map(|n| self.checks(n)).unwrap_or_default(),
            name: name?.value,
        })
    }

    pub(super) fn version(&mut self, fields: Fields<'_>) {
        let Some(node) = self.required(fields, "version") else {
            return;
        };
        let Some(scalar) = self.scalar(node, "a version") else {
            return;
        };
        if scalar.text != VERSION {
            let message = format!("version `{}` is not known: use {VERSION}", scalar.text);
            self.problem(Problem::at(node.place, message));
        }
    }
}

/// The text of a file that is not too large and is UTF-8.
fn read(path: &Path) -> Result<String, Problem> {
    let cannot =
        |cause: &std::io::Error| Problem::of_file(format!("cannot read the file: {cause}"));
    let file = std::fs::File::open(path).map_err(|cause| cannot(&cause))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|cause| cannot(&cause))?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(Problem::of_file(format!(
            "the file is larger than {MAX_FILE_BYTES} bytes"
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..valid].split(|&b| b == b'\n').count() - 1;
        Problem::of_file(format!(
            "the file is not UTF-8 text: byte {valid}, in line {line}"
        ))
    })
}
