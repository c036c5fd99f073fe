//! Reads what a program has beside its image: user, capabilities, files, memory, limits.

use super::read::{Fields, Reader, Scope};
use super::tree::{Node as Tree, Value};
use super::words::Fault;
use super::{
    ContainerPath, ContainerSpec, FileSpec, FromText, Located, Place, Problem, SourcePath,
    TmpfsSpec, Ulimit, UlimitSpec, User,
};

/// The keys of an implementation that are read here.
pub(super) const CONTAINER_KEYS: [&str; 5] = ["user", "capabilities", "files", "tmpfs", "ulimits"];

/// What a program may be given: what reaches beyond its own host, or lets it out of its container, is not
/// among these.
const CAPABILITIES: [&str; 7] = [
    "IPC_LOCK",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SYS_NICE",
    "SYS_PTRACE",
    "SYS_RESOURCE",
];

/// The limits that engines know.
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// The most entries of `files`, and of `tmpfs`.
const MAX_ENTRIES: usize = 100;
/// The longest path, in bytes (`PATH_MAX` of Linux).
const MAX_PATH_BYTES: usize = 4096;
/// The longest name of a user with that of a group, in bytes.
const MAX_USER_BYTES: usize = 100;
/// What a folder in memory holds whose entry does not say.
const DEFAULT_TMPFS_BYTES: u64 = 64 << 20;
/// The most that it may hold.
const MAX_TMPFS_BYTES: u64 = 1 << 30;

/// Files that engines make, and where nothing else can be.
const ENGINES_FILES: [&str; 3] = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];
/// File systems of the kernel.
const KERNELS_FOLDERS: [&str; 3] = ["/dev", "/proc", "/sys"];
/// What of them is memory that programs share.
const SHARED_MEMORY: &str = "/dev/shm";

impl Reader<'_> {
    /// What an implementation says of its container.
    pub(super) fn container(&mut self, fields: Fields<'_>) -> Option<ContainerSpec> {
        let user = self.optional(fields, "user", |reader, node| {
            reader.field(node, "a user such as `nobody` or `1000:1000`")
        });
        let capabilities = self.optional(fields, "capabilities", Self::capabilities);
        let files = self.optional(fields, "files", Self::files);
        let tmpfs = self.optional(fields, "tmpfs", Self::tmpfs);
        let ulimits = self.optional(fields, "ulimits", Self::ulimits);
        let container = ContainerSpec {
            user: user?,
            capabilities: capabilities?.unwrap_or_default(),
            files: files?.unwrap_or_default(),
            tmpfs: tmpfs?.unwrap_or_default(),
            ulimits: ulimits?.unwrap_or_default(),
        };
        self.do_not_hide(&container)?;
        Some(container)
    }

    fn capabilities(&mut self, node: &Tree) -> Option<Vec<&'static str>> {
        let what = "a capability that a program may be given";
        let items = node.one_or_more().iter();
        let read: Vec<_> = items
            .map(|item| self.choice(item, what, &CAPABILITIES))
            .collect();
        let mut capabilities: Vec<_> = read.into_iter().collect::<Option<_>>()?;
        capabilities.sort_unstable();
        capabilities.dedup();
        Some(capabilities)
    }

    /// `{ /path/inside: path/of/the/file }`.
    fn files(&mut self, node: &Tree) -> Option<Vec<FileSpec>> {
        let Value::Map(entries) = &node.value else {
            self.expected(
                node,
                "files: a map of paths in the container, and what is copied there",
            );
            return None;
        };
        let entries = self.at_most(MAX_ENTRIES, entries, "files");
        let read: Vec<_> = entries
            .iter()
            .map(|(key, value)| {
                let at = self.container_path(&key.value, key.place);
                let source = self.field_in(Scope::Node, value, "a path", |_, text| {
                    SourcePath::from_text(text)
                });
                Some(FileSpec {
                    at: at?,
                    source: source?,
                })
            })
            .collect();
        let mut files: Vec<_> = read.into_iter().collect::<Option<_>>()?;
        // What is put into a folder comes after the folder.
        files.sort_by(|a: &FileSpec, b| a.at.value.cmp(&b.at.value));
        Some(files)
    }

    /// A path, a list of them, or a map with sizes.
    fn tmpfs(&mut self, node: &Tree) -> Option<Vec<TmpfsSpec>> {
        let what = "entries of `tmpfs`";
        let mut read = Vec::new();
        if let Value::Map(entries) = &node.value {
            for (key, value) in self.at_most(MAX_ENTRIES, entries, what) {
                let at = self.container_path(&key.value, key.place);
                let size_bytes = match value.value {
                    Value::Null => Some(DEFAULT_TMPFS_BYTES),
                    _ => self.word::<Size>(value, "a size").map(|size| size.value.0),
                };
                read.push(tmpfs(at, size_bytes));
            }
            return read.into_iter().collect();
        }
        let items = node.one_or_more();
        if let Some(item) = items.get(MAX_ENTRIES) {
            let message = format!("more than {MAX_ENTRIES} {what}");
            self.problem(Problem::at(item.place, message));
        }
        for item in items.iter().take(MAX_ENTRIES) {
            let text = self.text(item, "a path in the container");
            let at = text.and_then(|text| self.container_path(&text.value, text.place));
            read.push(tmpfs(at, Some(DEFAULT_TMPFS_BYTES)));
        }
        read.into_iter().collect()
    }

    fn ulimits(&mut self, node: &Tree) -> Option<Vec<UlimitSpec>> {
        let Value::Map(entries) = &node.value else {
            self.expected(node, "limits: a map such as `{ nofile: 64 }`");
            return None;
        };
        let read: Vec<_> = entries
            .iter()
            .map(|(key, value)| {
                let limit = self.field(value, "a limit such as `64`, `64:1024` or `unlimited`");
                let Some(name) = ULIMITS.into_iter().find(|name| *name == key.value) else {
                    let message = format!("`{}` is not a limit", key.value);
                    let hint = self.hint(&key.value, "limits", &ULIMITS);
                    self.problem(Problem::at(key.place, message).maybe_hint(hint));
                    return None;
                };
                Some(UlimitSpec {
                    name,
                    place: key.place,
                    limit: limit?,
                })
            })
            .collect();
        read.into_iter().collect()
    }

    fn container_path(&mut self, text: &str, place: Place) -> Option<Located<ContainerPath>> {
        match ContainerPath::from_text(text) {
            Ok(path) => Some(Located::new(path, place)),
            Err(fault) => {
                self.problem(Problem::at(place, fault.message).maybe_hint(fault.hint));
                None
            }
        }
    }

    /// Whether everything that is put into a container is seen there; notes what is not.
    fn do_not_hide(&mut self, container: &ContainerSpec) -> Option<()> {
        let tmpfs: Vec<_> = container.tmpfs.iter().map(|tmpfs| &tmpfs.at).collect();
        let files = container.files.iter().map(|file| &file.at);
        let all: Vec<_> = tmpfs.iter().copied().chain(files).collect();
        let before = self.problems.len();
        for (index, at) in all.iter().enumerate() {
            let (path, is_file) = (at.value.as_str(), index >= tmpfs.len());
            let twin = all[..index].iter().find(|other| other.value == at.value);
            let above = tmpfs.iter().find(|other| at.value.is_within(&other.value));
            let (message, other) = match (twin, above) {
                (Some(twin), _) => (format!("`{path}` is given twice"), twin),
                (None, Some(above)) if is_file => {
                    let memory = above.value.as_str();
                    (
                        format!("`{path}` would be hidden by the memory at `{memory}`"),
                        above,
                    )
                }
                _ => continue,
            };
            self.problem(Problem::at(at.place, message).other(other.place, "it is here"));
        }
        (self.problems.len() == before).then_some(())
    }
}

fn tmpfs(at: Option<Located<ContainerPath>>, size_bytes: Option<u64>) -> Option<TmpfsSpec> {
    Some(TmpfsSpec {
        at: at?,
        size_bytes: size_bytes?,
    })
}

impl FromText for User {
    fn from_text(text: &str) -> Result<Self, Fault> {
        let is_name = |name: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
                && name.chars().all(allowed)
        };
        let mut parts = text.splitn(2, ':');
        if text.len() <= MAX_USER_BYTES && parts.all(is_name) {
            return Ok(Self(text.to_owned()));
        }
        Err(Fault {
            hint: Some("write a name or a number, and perhaps a group: `1000:1000`".to_owned()),
            ..Fault::new(format!("`{text}` is not a user"))
        })
    }
}

impl FromText for ContainerPath {
    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = |why: &str, hint: &str| Fault {
            hint: Some(hint.to_owned()),
            ..Fault::new(format!("`{text}` {why}"))
        };
        let hint = "write it from the root, such as `/etc/server.conf`";
        let Some(inside) = text.strip_prefix('/') else {
            return Err(fault("is not a path in the container", hint));
        };
        let parts: Vec<&str> = inside
            .strip_suffix('/')
            .unwrap_or(inside)
            .split('/')
            .collect();
        let is_part = |part: &&str| !matches!(*part, "" | "." | "..") && !part.contains('\0');
        if text.len() > MAX_PATH_BYTES || !parts.iter().all(is_part) {
            return Err(fault("is not a path in the container", hint));
        }
        let path = Self::new(&parts);
        let within = |other: &&str| {
            let rest = path.as_str().strip_prefix(*other);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if ENGINES_FILES.iter().any(within) {
            return Err(fault("is the engine's", "it holds the names of the cell"));
        }
        if KERNELS_FOLDERS.iter().any(within) && !within(&SHARED_MEMORY) {
            return Err(fault("is the kernel's", "choose another place for it"));
        }
        Ok(path)
    }
}

impl FromText for SourcePath {
    fn from_text(text: &str) -> Result<Self, Fault> {
        let leaves = text.starts_with('/') || text.split('/').any(|part| part == "..");
        if leaves {
            return Err(Fault {
                hint: Some(
                    "what is copied is in the folder of the matrix file, or below".to_owned(),
                ),
                ..Fault::new(format!(
                    "`{text}` leads out of the folder of the matrix file"
                ))
            });
        }
        if text.is_empty() {
            return Err(Fault::new("the path is empty"));
        }
        if text.contains('\0') || text.len() > MAX_PATH_BYTES {
            return Err(Fault::new(format!("`{text}` is not a path")));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromText for Ulimit {
    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = || Fault {
            hint: Some("write `64`, `64:1024` (at first, and at most) or `unlimited`".to_owned()),
            ..Fault::new(format!("`{text}` is not a limit"))
        };
        let one = |text: &str| match text {
            "unlimited" => Ok(None),
            // Engines count with a sign.
            number => match number.parse() {
                Ok(number) if number <= i64::MAX.unsigned_abs() => Ok(Some(number)),
                _ => Err(fault()),
            },
        };
        let (soft, hard) = match text.split_once(':') {
            Some((soft, hard)) => (one(soft)?, one(hard)?),
            None => (one(text)?, one(text)?),
        };
        if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
            return Err(Fault::new(format!(
                "in `{text}` what is at first is more than the most"
            )));
        }
        Ok(Self { soft, hard })
    }
}

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size(u64);

impl FromText for Size {
    fn from_text(text: &str) -> Result<Self, Fault> {
        let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
        let read = units.into_iter().find_map(|(unit, bits)| {
            let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
            number.checked_mul(1 << bits)
        });
        let size = read.filter(|size| (1..=MAX_TMPFS_BYTES).contains(size));
        size.map(Self).ok_or_else(|| Fault {
            hint: Some("write a size such as `512KiB` or `64MiB`, at most `1GiB`".to_owned()),
            ..Fault::new(format!("`{text}` is not a size"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let limit = |soft, hard| Ok(Ulimit { soft, hard });
        assert_eq!(Ulimit::from_text("64"), limit(Some(64), Some(64)));
        assert_eq!(Ulimit::from_text("64:1024"), limit(Some(64), Some(1024)));
        assert_eq!(Ulimit::from_text("0:unlimited"), limit(Some(0), None));
        assert_eq!(Ulimit::from_text("unlimited"), limit(None, None));
        for wrong in [
            "",
            "-1",
            "2:1",
            "unlimited:1",
            "1:",
            "1:2:3",
            "9223372036854775808",
            "1k",
        ] {
            assert!(Ulimit::from_text(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn users() {
        for right in ["nobody", "0", "1000:1000", "www-data:adm", "_apt"] {
            assert!(User::from_text(right).is_ok(), "{right}");
        }
        for wrong in [
            "",
            ":",
            "a:",
            ":b",
            "a:b:c",
            "-a",
            "a b",
            "a\n",
            &"a".repeat(101),
        ] {
            assert!(User::from_text(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn paths() {
        let inside = |text| ContainerPath::from_text(text).map(|path| path.as_str().to_owned());
        assert_eq!(inside("/srv/site/"), Ok("/srv/site".to_owned()));
        assert_eq!(inside("/dev/shm"), Ok("/dev/shm".to_owned()));
        assert!(inside("/device").is_ok() && inside("/etc/hosts.allow").is_ok());
        for wrong in [
            "",
            "/",
            "//",
            "a",
            "/a//b",
            "/a/../b",
            "/./a",
            "/proc/1",
            "/dev",
            "/sys",
            "/etc/hosts",
        ] {
            assert!(inside(wrong).is_err(), "{wrong}");
        }
        for right in ["a", ".", "a/b.conf", "..a", "./a"] {
            assert!(SourcePath::from_text(right).is_ok(), "{right}");
        }
        for wrong in ["", "/a", "..", "a/../b", "a/.."] {
            assert!(SourcePath::from_text(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(Size::from_text("512KiB"), Ok(Size(524_288)));
        assert_eq!(Size::from_text("1GiB"), Ok(Size(1 << 30)));
        for wrong in [
            "0KiB",
            "64",
            "1MB",
            "2GiB",
            "-1KiB",
            "99999999999999GiB",
            "KiB",
        ] {
            assert!(Size::from_text(wrong).is_err(), "{wrong}");
        }
    }
}
