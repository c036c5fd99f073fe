//! How everything on the engine tells which run it belongs to, and whether that run still lives.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::units::Timestamp;

/// Label with the id of the run; on every container and network.
pub(super) const RUN: &str = "rig.run";
/// Label with the process that owns the run.
pub(super) const OWNER: &str = "rig.owner";
/// Label with the name of the cell.
pub(super) const CELL: &str = "rig.cell";
/// Label with the name of the host that a container holds.
pub(super) const HOST: &str = "rig.host";
/// Label with the name of the node that a container runs.
pub(super) const NODE: &str = "rig.node";
/// Label with the name of the node that a container is the display of.
pub(super) const DISPLAY: &str = "rig.display";
/// Label with the name of an image; on every image and on every layer of its making.
pub(super) const IMAGE: &str = "rig.image";

/// The id of a run: a name for containers and networks, unique on an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunId(String);

impl RunId {
    /// An id from the clock and the process, eleven characters of base 36.
    #[must_use]
    pub fn new() -> Self {
        let mixed = (Timestamp::now().0 / 1000) ^ (u64::from(std::process::id()) << 40);
        Self(base36(mixed))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A number made from the id, to begin a search for something free at a place of its own.
    pub(super) fn seed(&self) -> usize {
        self.0.bytes().fold(0, |seed: usize, byte| {
            seed.wrapping_mul(31).wrapping_add(usize::from(byte))
        })
    }
}

impl Default for RunId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    while number > 0 {
        let digit = u32::try_from(number % 36).unwrap_or_default();
        digits.push(char::from_digit(digit, 36).unwrap_or('0'));
        number /= 36;
    }
    digits.iter().rev().collect()
}

/// The process that owns a run: machine, boot, process id and its start time, so that a reused
/// process id on a rebooted machine is not taken for it. The id counts in one PID namespace
/// (`pid_namespaces(7)`) only, which is told by its inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    machine: String,
    boot: String,
    pid_namespace: u64,
    pid: u32,
    start_ticks: u64,
}

/// Whether the owner of something still lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// Its process runs on this machine.
    Alive,
    /// Its process ended, or this machine was restarted since.
    Ended,
    /// It is a process of another machine or PID namespace, which cannot be seen from here.
    Elsewhere,
}

impl Owner {
    /// This process.
    #[must_use]
    pub fn this_process() -> Self {
        let pid = std::process::id();
        Self {
            machine: read_line("/etc/machine-id")
                .or_else(|| read_line("/proc/sys/kernel/hostname"))
                .unwrap_or_default(),
            boot: read_line("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
            pid_namespace: fs::metadata("/proc/self/ns/pid")
                .map(|namespace| namespace.ino())
                .unwrap_or_default(),
            pid,
            start_ticks: start_ticks(pid).unwrap_or_default(),
        }
    }

    /// Reads what [`fmt::Display`] wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let owner = Self {
            machine: parts.next()?.to_owned(),
            boot: parts.next()?.to_owned(),
            pid_namespace: parts.next()?.parse().ok()?,
            pid: parts.next()?.parse().ok()?,
            start_ticks: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(owner)
    }

    /// Whether this owner still lives, as seen by `observer`.
    pub(super) fn life(&self, observer: &Self) -> Life {
        if self.machine != observer.machine {
            Life::Elsewhere
        } else if self.boot != observer.boot {
            // No namespace outlives its machine's restart.
            Life::Ended
        } else if self.pid_namespace != observer.pid_namespace {
            Life::Elsewhere
        } else if start_ticks(self.pid) == Some(self.start_ticks) {
            Life::Alive
        } else {
            Life::Ended
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}/{}/{}/{}",
            self.machine, self.boot, self.pid_namespace, self.pid, self.start_ticks
        )
    }
}

/// The labels of everything in a run, with `extra` ones.
pub(super) fn labels(
    run: &RunId,
    owner: &Owner,
    extra: &[(&str, &str)],
) -> HashMap<String, String> {
    [(RUN, run.as_str()), (OWNER, &owner.to_string())]
        .iter()
        .chain(extra)
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn read_line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.trim();
    (!line.is_empty()).then(|| line.replace('/', "-"))
}

/// Start time of a process in clock ticks since boot: field 22 of `/proc/PID/stat` (proc(5)).
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may contain anything.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_survives_its_text() {
        let owner = Owner::this_process();
        assert_eq!(Owner::parse(&owner.to_string()), Some(owner));
        assert_eq!(Owner::parse("a/b/c/d/e"), None);
        assert_eq!(Owner::parse("a/b/1/2"), None);
        assert_eq!(Owner::parse("a/b/1/2/3/4"), None);
        assert_eq!(Owner::parse(""), None);
    }

    #[test]
    fn a_process_id_counts_in_its_own_namespace() {
        let here = Owner::this_process();
        assert_ne!(here.pid_namespace, 0);
        let ended_if_here = Owner {
            start_ticks: here.start_ticks + 1,
            pid_namespace: here.pid_namespace + 1,
            ..here.clone()
        };
        assert_eq!(ended_if_here.life(&here), Life::Elsewhere);
        let rebooted = Owner {
            boot: "other".to_owned(),
            ..ended_if_here
        };
        assert_eq!(rebooted.life(&here), Life::Ended);
    }

    #[test]
    fn a_reused_process_id_is_not_its_owner() {
        let here = Owner::this_process();
        assert_eq!(here.life(&here), Life::Alive);
        let earlier = Owner {
            start_ticks: here.start_ticks + 1,
            ..here.clone()
        };
        assert_eq!(earlier.life(&here), Life::Ended);
        let rebooted = Owner {
            boot: "other".to_owned(),
            ..here.clone()
        };
        assert_eq!(rebooted.life(&here), Life::Ended);
        let remote = Owner {
            machine: "other".to_owned(),
            ..here.clone()
        };
        assert_eq!(remote.life(&here), Life::Elsewhere);
    }

    #[test]
    fn run_ids_are_names() {
        assert!(crate::units::check_name(RunId::new().as_str()).is_ok());
    }
}
