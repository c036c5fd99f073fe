//! What a node has beside its image.

use std::io;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata};

use super::cell::Placement;
use crate::spec::{ContainerSpec, Located, Place, Problem, TmpfsSpec, Ulimit};
use crate::units::NodeName;

/// What the container of a node has beside its image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerPlan {
    /// Capabilities beyond those of the engine, without `CAP_`.
    pub capabilities: Vec<&'static str>,
    /// Who runs the program; the image's user without it.
    pub user: Option<Located<String>>,
    /// The folder of the matrix file, where the files are.
    pub folder: PathBuf,
    /// What is copied into it, parents first.
    pub files: Vec<FilePlan>,
    /// Folders in memory.
    pub tmpfs: Vec<TmpfsSpec>,
    /// Limits of the process.
    pub ulimits: Vec<UlimitPlan>,
}

/// A file or folder that is copied into a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FilePlan {
    /// Where it is put, an absolute path.
    pub at: String,
    /// What is copied, below the folder of the matrix file.
    pub source: PathBuf,
    /// Where the matrix file names it.
    pub place: Place,
}

impl FilePlan {
    /// What is known of the source, which is nowhere but in the folder: links may lead elsewhere in it, and
    /// not out of it.
    ///
    /// # Errors
    /// It is not there, or cannot be looked at.
    pub(super) fn metadata(&self, folder: &Path) -> io::Result<Metadata> {
        open_folder(folder)?.metadata(&self.source)
    }
}

/// Opens the folder of a matrix file, below which files are found.
pub(crate) fn open_folder(folder: &Path) -> io::Result<Dir> {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    Dir::open_ambient_dir(folder, ambient_authority())
}

/// A limit of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UlimitPlan {
    /// Which, as engines call it.
    pub name: &'static str,
    /// How much.
    pub limit: Ulimit,
    /// Where it stands.
    pub place: Place,
}

/// What the container of a node has, with every hole filled.
pub(super) fn container(
    placement: &Placement<'_>,
    node: &NodeName,
    spec: &ContainerSpec,
) -> Result<ContainerPlan, Problem> {
    let viewer = Some(node);
    let user = spec.user.as_ref().map(|field| {
        let user = placement.resolve(field, viewer)?;
        Ok(Located::new(user.0, field.place()))
    });
    let files = spec.files.iter().map(|file| {
        Ok(FilePlan {
            at: file.at.value.as_str().to_owned(),
            source: placement.resolve(&file.source, viewer)?.0.into(),
            place: file.source.place(),
        })
    });
    let ulimits = spec.ulimits.iter().map(|ulimit| {
        Ok(UlimitPlan {
            name: ulimit.name,
            limit: placement.resolve(&ulimit.limit, viewer)?,
            place: ulimit.place,
        })
    });
    Ok(ContainerPlan {
        capabilities: spec.capabilities.clone(),
        user: user.transpose()?,
        folder: placement.spec.dir.clone(),
        files: files.collect::<Result<_, _>>()?,
        tmpfs: spec.tmpfs.clone(),
        ulimits: ulimits.collect::<Result<_, _>>()?,
    })
}
