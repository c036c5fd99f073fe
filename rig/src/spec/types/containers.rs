//! What a program has beside its image.

use crate::spec::{Field, Located, Place};

/// What the container of a program has beside its image.
#[derive(Debug, Clone, Default)]
pub struct ContainerSpec {
    /// Capabilities beyond those of the engine, by the names of `capabilities(7)` without `CAP_`.
    pub capabilities: Vec<&'static str>,
    /// Who runs it; the image's user without it.
    pub user: Option<Field<User>>,
    /// Files and folders that are copied into it, parents first.
    pub files: Vec<FileSpec>,
    /// Folders in memory.
    pub tmpfs: Vec<TmpfsSpec>,
    /// Limits of `getrlimit(2)`.
    pub ulimits: Vec<UlimitSpec>,
}

/// A file or folder that is copied into a container.
#[derive(Debug, Clone)]
pub struct FileSpec {
    /// Where it is put.
    pub at: Located<ContainerPath>,
    /// What is copied.
    pub source: Field<SourcePath>,
}

/// A folder in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TmpfsSpec {
    /// Where it is.
    pub at: Located<ContainerPath>,
    /// What it may hold, in bytes.
    pub size_bytes: u64,
}

/// A limit of a process.
#[derive(Debug, Clone)]
pub struct UlimitSpec {
    /// Which, as engines call it: `nofile`.
    pub name: &'static str,
    /// Where it stands.
    pub place: Place,
    /// How much.
    pub limit: Field<Ulimit>,
}

/// A user, and perhaps a group, by name or number: `nobody`, `1000:1000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User(pub String);

/// An absolute path inside a container, without `.`, `..` and empty parts; not the root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerPath(String);

/// A path below the folder of the matrix file, which has no part `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePath(pub String);

/// A limit of `getrlimit(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ulimit {
    /// What the process has at first; `None` is no limit.
    pub soft: Option<u64>,
    /// Up to what it may raise that, not below it.
    pub hard: Option<u64>,
}

impl ContainerPath {
    /// A path of these parts.
    pub(in crate::spec) fn new(parts: &[&str]) -> Self {
        Self(format!("/{}", parts.join("/")))
    }

    /// The path, with its leading `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `other`, or below it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        let rest = self.0.strip_prefix(&other.0);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}
