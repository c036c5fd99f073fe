//! The context of a build: the files that are sent to the engine, in a fixed order and with fixed
//! headers, so that equal contents give equal digests.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::labels;
use super::ignore::{Above, Fate, Ignore};
use crate::backend::{BackendError, Blame};
use crate::spec::ImageBuild;
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
    args: BTreeMap<String, String>,
    target: Option<String>,
}

/// A folder that is added.
#[derive(Debug, Clone, Copy)]
struct Walk<'a> {
    root: &'a Path,
    ignore: &'a Ignore,
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
            args: BTreeMap::new(),
            target: None,
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

    /// Adds every file below a folder that its `.dockerignore`, or that of the Dockerfile, does not leave
    /// out; symbolic links are left out, which may lead out of it.
    pub(super) fn add_folder(
        &mut self,
        folder: &Path,
        dockerfile: &Path,
    ) -> Result<(), BackendError> {
        let ignore = Ignore::of(folder, dockerfile).map_err(|why| {
            let error = BackendError::machine(format!("make image `{}`: {why}", self.image));
            BackendError {
                blame: Blame::Input,
                ..error
            }
        })?;
        let walk = Walk {
            root: folder,
            ignore: &ignore,
        };
        self.add_below(walk, Path::new(""), &Above::default(), 0)
    }

    fn add_below(
        &mut self,
        walk: Walk<'_>,
        below: &Path,
        above: &Above,
        depth: usize,
    ) -> Result<(), BackendError> {
        let here = walk.root.join(below);
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
            let (fate, told) = walk.ignore.fate(&path, above);
            if kind.is_dir() && fate != Fate::LeftWhole {
                self.add_below(walk, &path, &told, depth + 1)?;
            } else if kind.is_file() && fate == Fate::Kept {
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

    /// Takes over what else a build is told: its arguments, and which stage is wanted.
    pub(super) fn build_with(&mut self, build: &ImageBuild) {
        let args = build.args.iter();
        let args = args.map(|(name, value)| (name.clone(), value.value.clone()));
        self.args = args.collect();
        self.target = build.target.as_ref().map(|target| target.value.clone());
    }

    /// Arguments of the build, by name.
    pub(super) fn args(&self) -> HashMap<String, String> {
        self.args.clone().into_iter().collect()
    }

    /// The stage that becomes the image, if it is not the last one.
    pub(super) fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// Digest of every file, of the base that the build starts from, and of what else it is told.
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
        // No file has these for a path: none is told from another by them.
        for (name, value) in &self.args {
            add(b"/arg");
            add(name.as_bytes());
            add(value.as_bytes());
        }
        if let Some(target) = &self.target {
            add(b"/target");
            add(target.as_bytes());
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
    use crate::spec::{Located, Place};

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

    #[test]
    fn the_digest_tells_builds_apart() {
        let build = |args: &[(&str, &str)], target: Option<&str>| {
            let place = Place::default();
            let name = ImageName::new("chat").unwrap();
            let mut context = Context::new(&name, "FROM scratch AS a\nARG x\nARG y\n");
            let located = |text: &str| Located::new(text.to_owned(), place);
            context.build_with(&ImageBuild {
                dockerfile: Located::new(PathBuf::new(), place),
                context: None,
                args: args
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), located(value)))
                    .collect(),
                target: target.map(located),
                cargo: None,
                base: None,
            });
            context.digest(None).0
        };
        let digests = [
            build(&[], None),
            build(&[("x", "")], None),
            build(&[("x", "y")], None),
            build(&[("y", "y")], None),
            build(&[("x", "1"), ("y", "2")], None),
            build(&[("x", "2"), ("y", "1")], None),
            build(&[], Some("a")),
            build(&[("x", "y")], Some("a")),
        ];
        let different: std::collections::BTreeSet<_> = digests.iter().collect();
        assert_eq!(different.len(), digests.len());
        let name = ImageName::new("chat").unwrap();
        let as_before = Context::new(&name, "FROM scratch AS a\nARG x\nARG y\n");
        assert_eq!(digests[0], as_before.digest(None).0);
    }

    #[test]
    fn what_is_ignored_is_neither_packed_nor_read() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for path in ["a.md", "keep.md", "src/a.rs", "src/b.c", "target/x"] {
            write(path, path);
        }
        let added = || {
            let name = ImageName::new("files").unwrap();
            let mut context = Context::new(&name, "");
            let dockerfile = folder.path().join("D");
            context.add_folder(folder.path(), &dockerfile).map(|()| {
                let files = context.files.keys().filter(|name| *name != DOCKERFILE);
                files
                    .map(|name| name.display().to_string())
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(added().unwrap().len(), 5);
        write(".dockerignore", "*.md\n!keep.md\ntarget\n.dockerignore\n");
        assert_eq!(added().unwrap(), ["keep.md", "src/a.rs", "src/b.c"]);
        // That of the Dockerfile goes before it.
        write("D.dockerignore", "**\n!src/*.rs\n");
        assert_eq!(added().unwrap(), ["src/a.rs"]);
        write("D.dockerignore", "ok\n[\n");
        let error = added().unwrap_err();
        assert!(error.message.contains("line 2"), "{error}");
        assert_eq!(error.blame, Blame::Input);
    }
}
