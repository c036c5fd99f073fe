//! A program that takes part in the making of an image, in a process group of its own: ctrl-c on a
//! terminal reaches the rig alone, and whoever ends it ends its children too.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// How long a program may take to tidy up after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

/// A running program; dropping it asks it to end, and makes it end when it takes too long.
#[derive(Debug)]
pub(super) struct Job {
    /// `None` once it has ended.
    child: Option<Child>,
    group: Pid,
    undoing: TaskTracker,
}

impl Job {
    /// Starts `command`, whose input is empty and whose outputs are pipes.
    pub(super) fn start(command: &mut Command, undoing: &TaskTracker) -> io::Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let id = id.ok_or_else(|| io::Error::from(Errno::ESRCH))?;
        Ok(Self {
            child: Some(child),
            group: Pid::from_raw(id),
            undoing: undoing.clone(),
        })
    }

    /// What it prints; each can be taken once.
    pub(super) fn outputs(&mut self) -> Option<(ChildStdout, ChildStderr)> {
        let child = self.child.as_mut()?;
        Some((child.stdout.take()?, child.stderr.take()?))
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        let Some(child) = &mut self.child else {
            return Err(Errno::ECHILD.into());
        };
        let status = child.wait().await?;
        self.child = None;
        Ok(status)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let group = self.group;
        // The child was not waited for, so its id is still its own.
        kill(group, Signal::SIGTERM).ok();
        let Ok(runtime) = Handle::try_current() else {
            killpg(group, Signal::SIGKILL).ok();
            return;
        };
        let ending = async move {
            let ended = tokio::time::timeout(GRACE, child.wait()).await;
            // What is left of its group: its children, or all of it.
            killpg(group, Signal::SIGKILL).ok();
            if ended.is_err() {
                child.wait().await.ok();
            }
        };
        self.undoing.spawn_on(ending, &runtime);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt as _, BufReader};

    use super::*;

    #[tokio::test]
    async fn a_program_that_is_given_up_tidies_up_and_takes_its_children_along() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("tidied");
        let script = "trap 'touch \"$1\"; exit 1' TERM; sleep 1000 & echo up; wait";
        let undoing = TaskTracker::new();
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(&mark);
        let mut job = Job::start(&mut command, &undoing).unwrap();
        let (stdout, _stderr) = job.outputs().unwrap();
        let mut lines = BufReader::new(stdout).lines();
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("up"));
        drop(job);
        undoing.close();
        undoing.wait().await;
        assert!(mark.exists());
        // The child has the pipe too: it ends with the last of them.
        assert_eq!(lines.next_line().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_program_that_ends_is_left_alone() {
        let undoing = TaskTracker::new();
        let mut job = Job::start(Command::new("sh").args(["-c", "exit 3"]), &undoing).unwrap();
        assert_eq!(job.ended().await.unwrap().code(), Some(3));
        drop(job);
        assert!(undoing.is_empty());
    }
}
