//! Whether the files that a matrix names are there.

use std::path::Path;

use super::{
    BaseImage, Dockerfile, Image, ImageBuild, ImageOrigin, Located, Place, Problem, Spec,
    read_dockerfile,
};
use crate::units::plain_path;

/// The files and folders that the images of a matrix are made from and that are not there. A run needs
/// those of its cells alone, and finds out by itself.
pub(crate) fn missing_files(spec: &Spec) -> Vec<Problem> {
    spec.images.values().flat_map(missing).collect()
}

fn missing(image: &Image) -> Vec<Problem> {
    let maker = |base: &BaseImage| base.make.as_ref().and_then(|make| file(&make.value, make));
    match &image.origin {
        ImageOrigin::Reference(base) => maker(base).into_iter().collect(),
        ImageOrigin::Build(build) => {
            let dockerfile = match file(&build.dockerfile.value, &build.dockerfile) {
                Some(absent) => vec![absent],
                None => lacking(build),
            };
            let context = build.context.as_ref();
            let context = context
                .filter(|folder| !folder.value.is_dir())
                .map(|folder| absent("folder", &folder.value, folder));
            let maker = build.base.as_ref().and_then(maker);
            dockerfile.into_iter().chain(context).chain(maker).collect()
        }
    }
}

/// What the Dockerfile of a build does not have. One that cannot be read is told when it is built.
fn lacking(build: &ImageBuild) -> Vec<Problem> {
    let text = read_dockerfile(&build.dockerfile.value);
    text.map_or_else(|_| Vec::new(), |text| Dockerfile::parse(&text).lacks(build))
}

fn file<T>(path: &Path, named: &Located<T>) -> Option<Problem> {
    (!path.is_file()).then(|| absent("file", path, named))
}

fn absent<T>(kind: &str, path: &Path, named: &Located<T>) -> Problem {
    missing_file(kind, path, named.place)
}

/// A file or folder that is named at a place is not there.
pub(crate) fn missing_file(kind: &str, path: &Path, place: Place) -> Problem {
    let message = format!("there is no {kind} `{}`", plain_path(path).display());
    Problem::at(place, message).hint("paths begin at the folder of the matrix file")
}
