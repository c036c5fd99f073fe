//! The context of a build: the files that are sent to the engine, in a fixed order and with fixed
//! headers, so that equal contents give equal digests.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::labels;
use crate::backend::BackendError;
use crate::units::{ImageName, plain_path};

/// The largest context, in bytes: it is held in memory.
const MAX_CONTEXT_BYTES: usize = 1024 * 1024 * 1024;

/// Deepest folder of a context: no loop of links is followed.
const MAX_DEPTH: usize = 32;

/// Name of the Dockerfile inside the context; no file of a folder can have it.
pub(super) const DOCKERFILE: &str = ".rig.Dockerfile";

/// Digest of a context, sixteen hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digest(pub(super) String);

/// Files for a build.
#[derive(Debug)]
pub(super) struct Context {
    image: ImageName,
    files: BTreeMap<PathBuf, File>,
    len_bytes: usize,
}

#[derive(Debug)]
struct File {
    bytes: Vec<u8>,
    executable: bool,
}

impl Context {
    /// A context with a Dockerfile alone. Each of its stages gets a label, so that layers of a
    /// making that was cut short can be told from those of others.
    pub(super) fn new(image: &ImageName, dockerfile: &str) -> Self {
        let mut labelled = String::new();
        for line in dockerfile.lines() {
            labelled.push_str(line);
            labelled.push('\n');
            let begins_stage = line
                .split_whitespace()
                .next()
                .is_some_and(|word| word.eq_ignore_ascii_case("FROM"));
            if begins_stage && !line.trim_end().ends_with('\\') {
                let label = format!("LABEL {}={image}\n", labels::IMAGE);
                labelled.push_str(&label);
            }
        }
        let mut context = Self {
            image: image.clone(),
            files: BTreeMap::new(),
            len_bytes: 0,
        };
        context.insert(PathBuf::from(DOCKERFILE), labelled.into_bytes(), false);
        context
    }

    /// Adds an executable file as `bin/NAME`.
    pub(super) fn add_program(&mut self, path: &Path) -> Result<(), BackendError> {
        let bytes = fs::read(path).map_err(|error| self.unreadable(path, &error))?;
        let name = path.file_name().unwrap_or(path.as_os_str());
        self.insert(Path::new("bin").join(name), bytes, true);
        self.check_size()
    }

    /// Adds bytes as an executable file.
    pub(super) fn add_executable(&mut self, name: &str, bytes: Vec<u8>) {
        self.insert(PathBuf::from(name), bytes, true);
    }

    /// Adds every file below a folder; symbolic links are left out, which may lead out of it.
    pub(super) fn add_folder(&mut self, folder: &Path) -> Result<(), BackendError> {
        self.add_below(folder, Path::new(""), 0)
    }

    fn add_below(&mut self, root: &Path, below: &Path, depth: usize) -> Result<(), BackendError> {
        let here = root.join(below);
        if depth > MAX_DEPTH {
            return Err(self.unreadable(&here, &io::Error::other("too deep")));
        }
        let entries = fs::read_dir(&here).map_err(|error| self.unreadable(&here, &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| self.unreadable(&here, &error))?;
            let path = below.join(entry.file_name());
            let kind = entry
                .file_type()
                .map_err(|error| self.unreadable(&path, &error))?;
            if kind.is_dir() {
                self.add_below(root, &path, depth + 1)?;
            } else if kind.is_file() {
                let bytes =
                    fs::read(entry.path()).map_err(|error| self.unreadable(&path, &error))?;
                let executable = is_executable(&entry.path());
                self.insert(path, bytes, executable);
                self.check_size()?;
            }
        }
        Ok(())
    }

    fn insert(&mut self, path: PathBuf, bytes: Vec<u8>, executable: bool) {
        self.len_bytes += bytes.len();
        self.files.insert(path, File { bytes, executable });
    }

    fn check_size(&self) -> Result<(), BackendError> {
        if self.len_bytes <= MAX_CONTEXT_BYTES {
            return Ok(());
        }
        Err(BackendError::machine(format!(
            "make image `{}`: its context has more than {} MiB",
            self.image,
            MAX_CONTEXT_BYTES >> 20
        ))
        .with_hint("name a folder that has only what the Dockerfile copies"))
    }

    fn unreadable(&self, path: &Path, error: &io::Error) -> BackendError {
        BackendError::machine(format!(
            "make image `{}`: read {}: {error}",
            self.image,
            plain_path(path).display()
        ))
    }

    /// Digest of every file and of the base that the build starts from.
    pub(super) fn digest(&self, base_id: Option<&str>) -> Digest {
        let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
        let mut add = |bytes: &[u8]| {
            hash.update(&bytes.len().to_le_bytes());
            hash.update(bytes);
        };
        add(base_id.unwrap_or_default().as_bytes());
        for (path, file) in &self.files {
            add(path.as_os_str().as_encoded_bytes());
            add(&[u8::from(file.executable)]);
            add(&file.bytes);
        }
        let digest = hash.finish();
        let first: [u8; 8] = std::array::from_fn(|index| digest.as_ref()[index]);
        Digest(format!("{:016x}", u64::from_be_bytes(first)))
    }

    /// The context as the engine takes it.
    pub(super) fn tar(&self) -> Result<Vec<u8>, BackendError> {
        let write = || {
            let mut archive = tar::Builder::new(Vec::with_capacity(self.len_bytes + 4096));
            for (path, file) in &self.files {
                let mut header = tar::Header::new_gnu();
                header.set_size(file.bytes.len() as u64);
                header.set_mode(if file.executable { 0o755 } else { 0o644 });
                archive.append_data(&mut header, path, file.bytes.as_slice())?;
            }
            archive.into_inner()
        };
        write().map_err(|error: io::Error| {
            BackendError::machine(format!(
                "make image `{}`: pack its context: {error}",
                self.image
            ))
        })
    }
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_is_labelled() {
        let name = ImageName::new("peers").unwrap();
        let context = Context::new(
            &name,
            "FROM a AS x\nRUN y\nfrom scratch\nCOPY --from=x / /\n",
        );
        let file = &context.files[Path::new(DOCKERFILE)];
        let text = String::from_utf8(file.bytes.clone()).unwrap();
        assert_eq!(text.matches("LABEL rig.image=peers").count(), 2);
    }

    #[test]
    fn the_digest_tells_contents_and_base_apart() {
        let name = ImageName::new("chat").unwrap();
        let mut context = Context::new(&name, "FROM scratch\n");
        let bare = context.digest(None);
        assert_eq!(bare, context.digest(None));
        assert_ne!(bare, context.digest(Some("sha256:1")));
        context.add_executable("rig", b"x".to_vec());
        assert_ne!(bare, context.digest(None));
    }
}
