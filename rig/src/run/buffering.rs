//! Output that a program keeps back because it is a pipe: a hint where that may be why a text was not heard, and a
//! look at what comes when the program is told to end.

use std::time::Duration;

use tokio::time::timeout;

use super::driver::Driver;
use super::transcript::Heard;
use crate::agent::protocol::Request;
use crate::backend::LiveCell;
use crate::plan::NodePlan;
use crate::units::{NodeName, Signal, Timestamp, printable};

/// What C libraries gather for a pipe before they write it (`st_blksize` of one), in bytes; Python gathers twice as
/// much.
const PIPE_BUFFER_BYTES: u64 = 4096;

/// How long a program may take to print what it has kept, once it was told to end.
const TOLD_TAKES: Duration = Duration::from_millis(500);

/// What a program has printed on its standard output since it was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stdout {
    /// How much.
    pub(super) len_bytes: u64,
    /// It ends within a line.
    pub(super) unended: bool,
}

impl Stdout {
    /// Whether there may be more that the program has printed and not written: nothing came, or whole buffers that end
    /// wherever they were full.
    fn may_be_kept_back(self) -> bool {
        self.len_bytes == 0 || (self.unended && self.len_bytes.is_multiple_of(PIPE_BUFFER_BYTES))
    }
}

/// A text that was waited for in vain, of a program that may have kept it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeptBack {
    node: NodeName,
    text: String,
}

impl<C: LiveCell> Driver<'_, C> {
    /// Whether a text that was not heard may be one that the node's program keeps back; no more than may be is told.
    pub(super) fn suspect(&self, node: &NodeName, text: &str) {
        let Some(plan) = self.plan.node(node) else {
            return;
        };
        let stdout = self.transcript.stdout(node);
        if self.running(node) && keeps_back(plan) && stdout.may_be_kept_back() {
            self.state().kept_back = Some(KeptBack {
                node: node.clone(),
                text: text.to_owned(),
            });
        }
    }

    /// What may mend that a text was not heard. A program that may have kept it back is told to end where `may_end`,
    /// to see whether it comes then; nothing else is asked of it any more.
    pub(super) async fn hint_of_kept_back(&self, may_end: bool) -> Option<String> {
        let kept = self.state().kept_back.take()?;
        let plan = self.plan.node(&kept.node)?;
        let told = if may_end {
            self.printed_when_told_to_end(&kept).await
        } else {
            None
        };
        Some(hint(plan, &kept, told))
    }

    /// What a program was told when the text came; none where it did not.
    async fn printed_when_told_to_end(&self, kept: &KeptBack) -> Option<&'static str> {
        let KeptBack { node, text } = kept;
        let host = self.host_of(node).ok()?;
        let what = "the captures are closed: is told to end, since it may have kept output back";
        self.transcript.done(Timestamp::now(), node, what);
        drop(self.last_visit(node, |visit| visit.input.take()));
        if self.comes(node, text).await {
            return Some("its input ended");
        }
        for (signal, told) in [(Signal::INT, "SIGINT came"), (Signal::TERM, "SIGTERM came")] {
            let node = node.clone();
            // One that has ended since cannot be told anything.
            let request = Request::Signal { node, signal };
            self.cell.ask(&host, request).await.ok()?;
            if self.comes(&kept.node, text).await {
                return Some(told);
            }
        }
        None
    }

    async fn comes(&self, node: &NodeName, text: &str) -> bool {
        let mut news = self.transcript.news();
        let heard = async {
            loop {
                news.mark_unchanged();
                match self.transcript.listen(node, text) {
                    Heard::Yes => return true,
                    Heard::Never => return false,
                    Heard::NotYet => news.changed().await.unwrap_or_default(),
                }
            }
        };
        timeout(TOLD_TAKES, heard).await.unwrap_or(false)
    }
}

/// Whether a program may keep its output back: not on a terminal, nor where the file has seen to it.
fn keeps_back(node: &NodePlan) -> bool {
    if node.terminal.is_some() {
        return false;
    }
    let runs_stdbuf = || node.command.iter().any(|word| program(word) == "stdbuf");
    if is_python(node) {
        let set = node.env.get("PYTHONUNBUFFERED").map(String::as_str);
        let unbuffered = set.is_some_and(|value| !value.is_empty());
        // Options of a script come after its name, and may have the same letter.
        let options = node
            .command
            .iter()
            .skip_while(|word| !names_python(word))
            .skip(1);
        let mut options = options.take_while(|word| word.starts_with('-'));
        !unbuffered && !options.any(|word| !word.starts_with("--") && word.contains('u'))
    } else {
        !runs_stdbuf()
    }
}

fn is_python(node: &NodePlan) -> bool {
    node.command.iter().any(|word| names_python(word))
}

fn names_python(word: &str) -> bool {
    let rest = program(word).strip_prefix("python");
    rest.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

/// The file name of a path.
fn program(word: &str) -> &str {
    word.rsplit_once('/').map_or(word, |(_, name)| name)
}

fn hint(node: &NodePlan, kept: &KeptBack, told: Option<&str>) -> String {
    let name = &node.name;
    let (text, implementation) = (printable(&kept.text), &node.implementation);
    let why = match told {
        Some(told) => {
            format!("{name} printed \"{text}\" only when {told}, after the captures were closed")
        }
        None => format!("{name}'s output is a pipe"),
    };
    let unbuffered = if is_python(node) {
        "set `PYTHONUNBUFFERED: 1` in its `env`, or run `python3 -u`".to_owned()
    } else {
        "run it by `stdbuf -oL`, or set `PYTHONUNBUFFERED: 1` in its `env` if it is written in Python".to_owned()
    };
    format!(
        "{why}, and many programs keep what they print back until they have more for a pipe, or end: give \
         `{implementation}` a `terminal: {{}}`; or {unbuffered}"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::plan::ContainerPlan;
    use crate::spec::Place;
    use crate::units::{HostName, ImageName};

    #[test]
    fn nothing_and_whole_buffers_within_a_line_may_be_kept_back() {
        let stdout = |len_bytes, unended| Stdout { len_bytes, unended };
        for (printed, may) in [
            (stdout(0, false), true),
            (stdout(4096, true), true),
            (stdout(16384, true), true),
            (stdout(4096, false), false),
            (stdout(4000, true), false),
            (stdout(12, false), false),
        ] {
            assert_eq!(printed.may_be_kept_back(), may, "{printed:?}");
        }
    }

    #[test]
    fn a_file_that_has_seen_to_it_needs_no_hint() {
        let node = |command: &[&str], env: &[(&str, &str)]| {
            let owned = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
            NodePlan {
                name: NodeName::new("server").unwrap(),
                host: HostName::new("hub").unwrap(),
                implementation: "server".to_owned(),
                image: ImageName::new("programs").unwrap(),
                command: command.iter().map(|&word| word.to_owned()).collect(),
                command_place: Place::default(),
                env: env.iter().map(owned).collect(),
                terminal: None,
                display: None,
                join: None,
                ready: None,
                names: BTreeMap::new(),
                container: ContainerPlan::default(),
            }
        };
        let unbuffered = ("PYTHONUNBUFFERED", "1");
        for (node, keeps) in [
            (node(&["server"], &[]), true),
            (node(&["stdbuf", "-oL", "server"], &[]), false),
            (node(&["/usr/bin/python3.11", "server.py", "-u"], &[]), true),
            (node(&["python3", "-u", "server.py"], &[]), false),
            (node(&["env", "python3", "-Bu", "server.py"], &[]), false),
            (node(&["python3", "server.py"], &[unbuffered]), false),
            (node(&["stdbuf", "-oL", "python3", "server.py"], &[]), true),
            (node(&["pythonic"], &[unbuffered]), true),
        ] {
            assert_eq!(keeps_back(&node), keeps, "{:?}", node.command);
        }
        let mut drawn = node(&["server"], &[]);
        drawn.terminal = Some(crate::units::TerminalSize::USUAL);
        assert!(!keeps_back(&drawn));
    }
}
