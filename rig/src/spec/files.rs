//! Whether the files that a matrix names are there.

use std::path::Path;

use super::{BaseImage, Diagnostics, Image, ImageOrigin, Located, Problem, Spec};
use crate::units::plain_path;

/// Looks for every file and folder that the images of a matrix are made from. A run needs those of
/// its cells alone, and finds out by itself.
///
/// # Errors
/// Every one that is not there.
pub fn check_files(spec: &Spec) -> Result<(), Diagnostics> {
    let problems: Vec<Problem> = spec.images.values().flat_map(missing).collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(Diagnostics::new(spec.source.clone(), problems))
}

fn missing(image: &Image) -> Vec<Problem> {
    let maker = |base: &BaseImage| base.make.as_ref().and_then(|make| file(&make.value, make));
    match &image.origin {
        ImageOrigin::Reference(base) => maker(base).into_iter().collect(),
        ImageOrigin::Build(build) => {
            let dockerfile = file(&build.dockerfile.value, &build.dockerfile);
            let context = build.context.as_ref();
            let context = context
                .filter(|folder| !folder.value.is_dir())
                .map(|folder| absent("folder", &folder.value, folder));
            let maker = build.base.as_ref().and_then(maker);
            dockerfile.into_iter().chain(context).chain(maker).collect()
        }
    }
}

fn file<T>(path: &Path, named: &Located<T>) -> Option<Problem> {
    (!path.is_file()).then(|| absent("file", path, named))
}

fn absent<T>(kind: &str, path: &Path, named: &Located<T>) -> Problem {
    let message = format!("there is no {kind} `{}`", plain_path(path).display());
    Problem::at(named.place, message).hint("paths begin at the folder of the matrix file")
}
