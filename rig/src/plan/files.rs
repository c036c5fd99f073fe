//! Whether the files that a matrix names are there.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use super::{FilePlan, sketch};
use crate::matrix::Matrix;
use crate::spec::{Diagnostics, Problem, Spec, missing_file, missing_files};

/// Looks for every file and folder that the images of a matrix are made from, and that its nodes have
/// copies of.
///
/// # Errors
/// Every one that is not there.
pub fn check_files(spec: &Spec, matrix: &Matrix) -> Result<(), Diagnostics> {
    let mut problems = missing_files(spec);
    let mut seen = HashSet::new();
    let mut programs = spec.implementations.values();
    let cells = if programs.any(|program| !program.container.files.is_empty()) {
        matrix.cells.as_slice()
    } else {
        &[]
    };
    // Which they are depends on the cell. One that cannot be planned is told of elsewhere.
    for plan in cells.iter().filter_map(|cell| sketch(spec, cell).ok()) {
        for node in plan.nodes {
            let files = node.container.files.into_iter();
            let new = files.filter(|file| seen.insert((file.place, file.source.clone())));
            problems.extend(new.filter_map(|file| missing(&spec.dir, &file)));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Diagnostics::new(spec.source.clone(), problems))
}

fn missing(folder: &Path, file: &FilePlan) -> Option<Problem> {
    let metadata = file.metadata(folder);
    match metadata {
        Ok(metadata) if metadata.is_file() || metadata.is_dir() => None,
        // A link that leads out of the folder among others.
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let message = format!("cannot read `{}`: {error}", file.source.display());
            Some(Problem::at(file.place, message))
        }
        _ => {
            let path = folder.join(&file.source);
            Some(missing_file("file or folder", &path, file.place))
        }
    }
}
