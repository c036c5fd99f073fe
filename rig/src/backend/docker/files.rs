//! Files that a node has of the matrix's folder: copied into its container, since an engine on another
//! machine sees no folder of this one.
//!
//! Nobody may write to the copies but who may write to everything, and what is written there goes with the
//! container. Their modes are fixed: those of the originals differ with the way in which a person got them.

use std::io::{self, Read as _};
use std::path::Path;

use bollard::body_full;
use bollard::query_parameters::UploadToContainerOptionsBuilder;
use cap_std::fs::{Dir, Metadata, MetadataExt as _, PermissionsExt as _};
use tar::{Builder, EntryType, Header};

use super::engine::{Shared, answered, cause};
use crate::backend::BackendError;
use crate::plan::{ContainerPlan, FilePlan, NodePlan, open_folder};
use crate::units::printable;

/// The most that the files of a node may have, in bytes: they are held in memory while they are sent.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The most files and folders of a node.
const MAX_ENTRIES: usize = 10_000;

/// Deepest folder that is copied.
const MAX_DEPTH: usize = 32;

/// Modes of what is copied: files, programs, and folders.
const FILE_MODE: u32 = 0o444;
const PROGRAM_MODE: u32 = 0o555;

/// Copies what a node has of the matrix's folder into its container, which was not started yet.
pub(super) async fn copy(
    shared: &Shared,
    node: &NodePlan,
    container: &str,
) -> Result<(), BackendError> {
    if node.container.files.is_empty() {
        return Ok(());
    }
    let operation = format!("give node `{}` its files", node.name);
    let plan = node.container.clone();
    let packed = tokio::task::spawn_blocking(move || pack(&plan)).await;
    let packed = packed.map_err(|error| BackendError::machine(format!("{operation}: {error}")))?;
    let packed = packed.map_err(|(file, error)| {
        let source = printable(&file.source.display().to_string());
        let message = format!("{operation}: read `{source}`: {error}");
        BackendError::input(message, file.place)
            .with_hint("what is copied is in the folder of the matrix file, or below")
    })?;
    let options = UploadToContainerOptionsBuilder::new()
        .path("/")
        .no_overwrite_dir_non_dir("true")
        .build();
    let body = body_full(packed.into());
    let upload = shared
        .client
        .upload_to_container(container, Some(options), body);
    let sent = answered(&operation, upload).await?;
    sent.map_err(|error| refused(&operation, &node.container, &cause(&error)))
}

/// Tells what the image has no room for, the file's fault, from a failure of the engine.
fn refused(operation: &str, plan: &ContainerPlan, why: &str) -> BackendError {
    let machine = || BackendError::machine(format!("{operation}: {}", printable(why)));
    // `cannot overwrite directory "/bin" with non-directory "/"`
    let Some((_, what)) = why.split_once("cannot overwrite ") else {
        return machine();
    };
    let mut parts = what.split('"');
    let (Some(kind), Some(path)) = (parts.next(), parts.next()) else {
        return machine();
    };
    let within = |file: &&FilePlan| Path::new(path).starts_with(&file.at);
    let Some(file) = plan.files.iter().rfind(within).or(plan.files.first()) else {
        return machine();
    };
    let (has, wanted) = match kind.trim() {
        "directory" => ("a folder", "a file"),
        _ => ("a file", "a folder"),
    };
    let path = printable(path);
    let message = format!("{operation}: the image has {has} at `{path}`, not {wanted}");
    BackendError::input(message, file.place)
}

/// An archive for the root of a container, or what could not be read.
fn pack(plan: &ContainerPlan) -> Result<Vec<u8>, (FilePlan, io::Error)> {
    let mut packing = Packing {
        archive: Builder::new(Vec::new()),
        bytes: 0,
        entries: 0,
    };
    for file in &plan.files {
        let packed = packing.add_source(&plan.folder, file);
        packed.map_err(|error| (file.clone(), error))?;
    }
    let last = plan.files.last().cloned();
    packing
        .archive
        .into_inner()
        .map_err(|error| (last.unwrap_or_default(), error))
}

struct Packing {
    archive: Builder<Vec<u8>>,
    bytes: u64,
    entries: usize,
}

impl Packing {
    fn add_source(&mut self, folder: &Path, file: &FilePlan) -> io::Result<()> {
        // Links may lead elsewhere, but not out of this folder.
        let dir = open_folder(folder)?;
        let at = Path::new(file.at.trim_start_matches('/'));
        let metadata = dir.metadata(&file.source)?;
        if metadata.is_dir() {
            self.add_folder(&dir.open_dir(&file.source)?, at, &metadata, 0)
        } else {
            self.add_file(&dir, &file.source, at, &metadata)
        }
    }

    fn add_folder(&mut self, dir: &Dir, at: &Path, own: &Metadata, depth: usize) -> io::Result<()> {
        if depth > MAX_DEPTH {
            return Err(io::Error::other("its folders are nested too deep"));
        }
        self.count()?;
        let mut header = header_of(EntryType::Directory, PROGRAM_MODE, own);
        self.archive.append_data(&mut header, at, io::empty())?;
        let mut names = Vec::new();
        for entry in dir.entries()? {
            names.push(entry?.file_name());
        }
        names.sort();
        for name in names {
            let inside = at.join(&name);
            let metadata = dir.symlink_metadata(&name)?;
            if metadata.is_dir() {
                self.add_folder(&dir.open_dir(&name)?, &inside, &metadata, depth + 1)?;
            } else if metadata.is_symlink() {
                // It means inside the container what it says.
                self.count()?;
                let target = dir.read_link_contents(&name)?;
                let mut header = header_of(EntryType::Symlink, 0o777, &metadata);
                self.archive.append_link(&mut header, &inside, target)?;
            } else {
                self.add_file(dir, Path::new(&name), &inside, &metadata)?;
            }
        }
        Ok(())
    }

    fn add_file(&mut self, dir: &Dir, name: &Path, at: &Path, own: &Metadata) -> io::Result<()> {
        if !own.is_file() {
            return Err(io::Error::other("it is neither a file nor a folder"));
        }
        self.count()?;
        let mut bytes = Vec::new();
        let left = MAX_BYTES - self.bytes;
        dir.open(name)?.take(left + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > left {
            let message = format!("a node's files have more than {} MiB", MAX_BYTES >> 20);
            return Err(io::Error::other(message));
        }
        self.bytes += bytes.len() as u64;
        let is_program = own.permissions().mode() & 0o111 != 0;
        let mode = if is_program { PROGRAM_MODE } else { FILE_MODE };
        let mut header = header_of(EntryType::Regular, mode, own);
        header.set_size(bytes.len() as u64);
        self.archive.append_data(&mut header, at, bytes.as_slice())
    }

    fn count(&mut self) -> io::Result<()> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            let message = format!("a node has more than {MAX_ENTRIES} files and folders");
            return Err(io::Error::other(message));
        }
        Ok(())
    }
}

/// A header whose entry belongs to root.
fn header_of(kind: EntryType, mode: u32, own: &Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header.set_mtime(u64::try_from(own.mtime()).unwrap_or_default());
    header
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::PathBuf;

    use super::*;
    use crate::spec::Place;

    fn packed(folder: &Path, files: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let files = files.iter().map(|(at, source)| FilePlan {
            at: (*at).to_owned(),
            source: PathBuf::from(source),
            place: Place::default(),
        });
        let plan = ContainerPlan {
            folder: folder.to_owned(),
            files: files.collect(),
            ..ContainerPlan::default()
        };
        let bytes =
            pack(&plan).map_err(|(file, error)| format!("{}: {error}", file.source.display()))?;
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            let path = entry.path().unwrap().display().to_string();
            let link = entry.link_name().unwrap();
            let link = link.map_or_else(String::new, |to| format!(" -> {}", to.display()));
            format!("{:o} {path}{link}", header.mode().unwrap())
        });
        Ok(entries.collect())
    }

    #[test]
    fn files_and_folders_are_packed_with_fixed_modes() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("site/deep")).unwrap();
        for name in ["b.conf", "site/index.html", "site/deep/run"] {
            fs::write(path(name), name).unwrap();
        }
        fs::set_permissions(path("b.conf"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(path("site/deep/run"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("b.conf", path("current.conf")).unwrap();
        symlink("/etc/passwd", path("site/users")).unwrap();
        let files = [
            ("/etc/server.conf", "current.conf"),
            ("/srv/site", "./site"),
        ];
        assert_eq!(
            packed(folder.path(), &files).unwrap(),
            [
                "444 etc/server.conf",
                "555 srv/site",
                "555 srv/site/deep",
                "555 srv/site/deep/run",
                "444 srv/site/index.html",
                "777 srv/site/users -> /etc/passwd",
            ]
        );
    }

    #[test]
    fn nothing_outside_of_the_folder_is_read() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "x").unwrap();
        let folder = outside.path().join("matrix");
        fs::create_dir(&folder).unwrap();
        symlink("../secret", folder.join("link")).unwrap();
        symlink(outside.path(), folder.join("up")).unwrap();
        nix::unistd::mkfifo(&folder.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for source in ["link", "up/secret", "up", "missing", "pipe"] {
            let error = packed(&folder, &[("/a", source)]).unwrap_err();
            assert!(error.starts_with(source), "{error}");
        }
    }

    #[test]
    fn what_is_too_large_is_not_packed() {
        let folder = tempfile::tempdir().unwrap();
        let file = fs::File::create(folder.path().join("large")).unwrap();
        file.set_len(MAX_BYTES).unwrap();
        assert!(packed(folder.path(), &[("/a", "large")]).is_ok());
        let error = packed(folder.path(), &[("/a", "large"), ("/b", "large")]).unwrap_err();
        assert!(error.contains("64 MiB"), "{error}");
    }
}
