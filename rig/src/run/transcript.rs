//! What every node printed and was told, on one clock.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};

use crate::backend::OutputChunk;
use crate::judge::{OutputLine, VisitEnd};
use crate::plan::Stream;
use crate::units::{HostName, NodeName, Timestamp, printable};

/// How much of one node's output is kept, in bytes; the rest is read and dropped.
const MAX_OUTPUT_BYTES: usize = 8 * 1024 * 1024;

/// How many of one node's lines are kept: an empty line costs more than its byte.
const MAX_OUTPUT_LINES: usize = 100_000;

/// Marks of printed lines.
const STDOUT_MARK: &str = "->";
const STDERR_MARK: &str = "=>";

/// How much of a line the transcript shows, in characters.
const MAX_SHOWN_CHARS: usize = 2000;

/// Output and input of the nodes of one cell.
#[derive(Debug)]
pub(super) struct Transcript {
    started: Timestamp,
    log: Mutex<Log>,
    /// Counts what was noted, so that a listener can wait for more.
    news: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Log {
    entries: Vec<Entry>,
    outputs: BTreeMap<NodeName, Output>,
}

#[derive(Debug)]
struct Entry {
    at: Timestamp,
    /// The node, or nothing for a host or the rig itself.
    node: Option<NodeName>,
    /// The host, where it is about a whole one.
    host: Option<HostName>,
    mark: &'static str,
    text: String,
}

/// What one node has printed so far.
#[derive(Debug, Default)]
struct Output {
    stdout: Printed,
    stderr: Printed,
    kept_bytes: usize,
    kept_lines: usize,
    dropped_bytes: usize,
    /// Visits whose output has not ended.
    open: usize,
}

/// What came on one stream; apart, so that one does not cut the other's texts.
#[derive(Debug, Default)]
struct Printed {
    bytes: Vec<u8>,
    /// How far it was already listened to.
    heard_bytes: usize,
    /// Where the line that has not ended begins.
    line_start: usize,
}

impl Output {
    fn of(&mut self, stream: Stream) -> &mut Printed {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

/// What listening for a text came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// The text was printed.
    Yes,
    /// Not yet.
    NotYet,
    /// Its output has ended without the text.
    Never,
}

impl Transcript {
    pub(super) fn new(started: Timestamp) -> Self {
        Self {
            started,
            log: Mutex::default(),
            news: watch::Sender::new(0),
        }
    }

    /// Notes something that the rig did.
    pub(super) fn rig(&self, at: Timestamp, text: &str) {
        self.note(at, None, "--", text);
    }

    /// Notes what a node was told.
    pub(super) fn told(&self, node: &NodeName, text: &str) {
        self.note(Timestamp::now(), Some(node), "<-", text);
    }

    /// Notes what was done to a node.
    pub(super) fn done(&self, at: Timestamp, node: &NodeName, what: &str) {
        self.note(at, Some(node), "!!", what);
    }

    /// Notes what was done to a whole host.
    pub(super) fn done_to_host(&self, at: Timestamp, host: &HostName, what: &str) {
        self.log().entries.push(Entry {
            at,
            node: None,
            host: Some(host.clone()),
            mark: "!!",
            text: what.to_owned(),
        });
    }

    /// Notes how a node ended.
    pub(super) fn ended(&self, node: &NodeName, end: VisitEnd) {
        self.note(
            end.at,
            Some(node),
            "==",
            &format!("ended with code {}", end.code),
        );
        self.news.send_modify(|count| *count += 1);
    }

    fn note(&self, at: Timestamp, node: Option<&NodeName>, mark: &'static str, text: &str) {
        let entry = Entry {
            at,
            node: node.cloned(),
            host: None,
            mark,
            text: text.to_owned(),
        };
        self.log().entries.push(entry);
    }

    /// Says that output of a visit of `node` will come.
    pub(super) fn expect(&self, node: &NodeName) {
        self.log().outputs.entry(node.clone()).or_default().open += 1;
    }

    /// Takes in the output of a visit until it ends.
    pub(super) async fn record(&self, node: NodeName, mut output: mpsc::Receiver<OutputChunk>) {
        while let Some(chunk) = output.recv().await {
            self.log().take(&node, &chunk);
            self.news.send_modify(|count| *count += 1);
        }
        {
            let mut log = self.log();
            log.end_lines(&node, Timestamp::now());
            let output = log.outputs.entry(node).or_default();
            output.open = output.open.saturating_sub(1);
        }
        self.news.send_modify(|count| *count += 1);
    }

    /// Looks for `text` in what a node printed since it was last listened to with success.
    pub(super) fn listen(&self, node: &NodeName, text: &str) -> Heard {
        let mut log = self.log();
        let Some(output) = log.outputs.get_mut(node) else {
            return Heard::Never;
        };
        for stream in [Stream::Stdout, Stream::Stderr] {
            let printed = output.of(stream);
            let unheard = &printed.bytes[printed.heard_bytes..];
            if let Some(at) = find(unheard, text.as_bytes()) {
                printed.heard_bytes += at + text.len();
                return Heard::Yes;
            }
        }
        if output.open == 0 {
            Heard::Never
        } else {
            Heard::NotYet
        }
    }

    /// Whether the output of every visit of a node has ended.
    pub(super) fn is_silent(&self, node: &NodeName) -> bool {
        self.log()
            .outputs
            .get(node)
            .is_none_or(|output| output.open == 0)
    }

    /// A receiver that learns of everything noted from now on.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Bytes of a node's output that were not kept.
    pub(super) fn dropped_bytes(&self, node: &NodeName) -> usize {
        let log = self.log();
        log.outputs
            .get(node)
            .map_or(0, |output| output.dropped_bytes)
    }

    /// The last lines a node printed, for an error.
    pub(super) fn last_lines(&self, node: &NodeName, count: usize) -> Vec<String> {
        let log = self.log();
        let Some(output) = log.outputs.get(node) else {
            return Vec::new();
        };
        let unended = [&output.stdout, &output.stderr]
            .into_iter()
            .map(|printed| String::from_utf8_lossy(&printed.bytes[printed.line_start..]))
            .filter(|text| !text.is_empty())
            .map(|text| printable(&text));
        let ended = log
            .entries
            .iter()
            .rev()
            .filter(|entry| entry.is_output_of(node));
        let mut lines: Vec<String> = ended
            .take(count)
            .map(|entry| printable(&entry.text))
            .collect();
        lines.reverse();
        lines.extend(unended);
        lines.split_off(lines.len().saturating_sub(count))
    }

    /// Every line that the nodes printed; unended lines count as lines.
    pub(super) fn lines(&self) -> BTreeMap<NodeName, Vec<OutputLine>> {
        let mut log = self.log();
        let now = Timestamp::now();
        let nodes: Vec<_> = log.outputs.keys().cloned().collect();
        for node in &nodes {
            log.end_lines(node, now);
        }
        let mut lines: BTreeMap<NodeName, Vec<OutputLine>> = BTreeMap::new();
        for entry in &log.entries {
            if let (Some(node), Some(stream)) = (&entry.node, entry.stream()) {
                lines.entry(node.clone()).or_default().push(OutputLine {
                    at: entry.at,
                    stream,
                    text: entry.text.clone(),
                });
            }
        }
        lines
    }

    /// The transcript as text, in order of time.
    pub(super) fn render(&self, cell: &str) -> String {
        let mut log = self.log();
        log.entries.sort_by_key(|entry| entry.at);
        let mut text = format!(
            "# {}\n# seconds after {:.9} (UNIX time); <- told, -> stdout, => stderr, !! done to, == ended\n",
            printable(cell),
            self.started.as_secs_f64()
        );
        for entry in &log.entries {
            let seconds = entry.at.since(self.started).as_secs_f64();
            let host = entry.host.as_ref().map_or("rig", HostName::as_str);
            let node = entry.node.as_ref().map_or(host, NodeName::as_str);
            let shown: String = entry.text.chars().take(MAX_SHOWN_CHARS).collect();
            writeln!(
                text,
                "{seconds:>11.6} {node:<12} {} {}",
                entry.mark,
                printable(&shown)
            )
            .ok();
        }
        for (node, output) in &log.outputs {
            if output.dropped_bytes > 0 {
                writeln!(
                    text,
                    "# {node}: {} more bytes were not kept",
                    output.dropped_bytes
                )
                .ok();
            }
        }
        text
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// The stream that printed it; none for what was told or done.
    fn stream(&self) -> Option<Stream> {
        match self.mark {
            STDOUT_MARK => Some(Stream::Stdout),
            STDERR_MARK => Some(Stream::Stderr),
            _ => None,
        }
    }

    fn is_output_of(&self, node: &NodeName) -> bool {
        self.node.as_ref() == Some(node) && self.stream().is_some()
    }
}

impl Log {
    fn take(&mut self, node: &NodeName, chunk: &OutputChunk) {
        let output = self.outputs.entry(node.clone()).or_default();
        let room = if output.kept_lines < MAX_OUTPUT_LINES {
            MAX_OUTPUT_BYTES.saturating_sub(output.kept_bytes)
        } else {
            0
        };
        let (kept, dropped) = chunk.bytes.split_at(room.min(chunk.bytes.len()));
        output.dropped_bytes += dropped.len();
        output.kept_bytes += kept.len();
        let printed = output.of(chunk.stream);
        let mut search_from = printed.bytes.len();
        printed.bytes.extend_from_slice(kept);
        let mut ended = Vec::new();
        while let Some(length) = printed.bytes[search_from..]
            .iter()
            .position(|&b| b == b'\n')
        {
            let end = search_from + length;
            ended.push(line_text(&printed.bytes[printed.line_start..end]));
            printed.line_start = end + 1;
            search_from = end + 1;
        }
        let lines_left = MAX_OUTPUT_LINES.saturating_sub(output.kept_lines);
        output.kept_lines += ended.len().min(lines_left);
        output.dropped_bytes += ended
            .iter()
            .skip(lines_left)
            .map(|line| line.len() + 1)
            .sum::<usize>();
        for text in ended.into_iter().take(lines_left) {
            self.add_line(node, chunk.at, chunk.stream, text);
        }
    }

    /// Takes unended lines as lines.
    fn end_lines(&mut self, node: &NodeName, at: Timestamp) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let Some(output) = self.outputs.get_mut(node) else {
                return;
            };
            let printed = output.of(stream);
            let text = line_text(&printed.bytes[printed.line_start..]);
            printed.line_start = printed.bytes.len();
            if !text.is_empty() {
                self.add_line(node, at, stream, text);
            }
        }
    }

    fn add_line(&mut self, node: &NodeName, at: Timestamp, stream: Stream, text: String) {
        let mark = match stream {
            Stream::Stdout => STDOUT_MARK,
            Stream::Stderr => STDERR_MARK,
        };
        let node = Some(node.clone());
        self.entries.push(Entry {
            at,
            node,
            host: None,
            mark,
            text,
        });
    }
}

fn line_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .trim_end_matches(['\r', '\n'])
        .to_owned()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() {
        return Some(0);
    }
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(stream: Stream, text: &str) -> OutputChunk {
        OutputChunk {
            at: Timestamp(1),
            stream,
            bytes: text.as_bytes().to_vec(),
        }
    }

    #[tokio::test]
    async fn a_text_is_heard_once_and_across_pieces() {
        let transcript = Transcript::new(Timestamp(0));
        let alice = NodeName::new("alice").unwrap();
        assert_eq!(transcript.listen(&alice, "ciao"), Heard::Never);
        transcript.expect(&alice);
        let (sender, receiver) = mpsc::channel(4);
        sender.send(chunk(Stream::Stdout, "bob: ci")).await.unwrap();
        // The other stream does not cut a text.
        sender.send(chunk(Stream::Stderr, "oh")).await.unwrap();
        sender
            .send(chunk(Stream::Stdout, "ao\nbob: c"))
            .await
            .unwrap();
        drop(sender);
        assert_eq!(transcript.listen(&alice, "ciao"), Heard::NotYet);
        transcript.record(alice.clone(), receiver).await;
        assert_eq!(transcript.listen(&alice, "ciao"), Heard::Yes);
        assert_eq!(transcript.listen(&alice, "ciao"), Heard::Never);
        let texts: Vec<_> = transcript.lines()[&alice]
            .iter()
            .map(|line| line.text.clone())
            .collect();
        assert_eq!(texts, ["bob: ciao", "bob: c", "oh"]);
    }

    #[tokio::test]
    async fn lines_are_bounded_too() {
        let transcript = Transcript::new(Timestamp(0));
        let alice = NodeName::new("alice").unwrap();
        transcript.expect(&alice);
        let (sender, receiver) = mpsc::channel(4);
        sender
            .send(chunk(Stream::Stdout, &"\n".repeat(MAX_OUTPUT_LINES + 10)))
            .await
            .unwrap();
        sender.send(chunk(Stream::Stdout, "more\n")).await.unwrap();
        drop(sender);
        transcript.record(alice.clone(), receiver).await;
        assert_eq!(transcript.lines()[&alice].len(), MAX_OUTPUT_LINES);
        assert_eq!(transcript.dropped_bytes(&alice), 10 + "more\n".len());
    }

    #[tokio::test]
    async fn output_is_bounded_and_harmless() {
        let transcript = Transcript::new(Timestamp(0));
        let alice = NodeName::new("alice").unwrap();
        transcript.expect(&alice);
        let (sender, receiver) = mpsc::channel(4);
        let recording = transcript.record(alice.clone(), receiver);
        let sending = async move {
            sender
                .send(chunk(Stream::Stdout, "\u{1b}[2J\n"))
                .await
                .unwrap();
            for _ in 0..10 {
                sender
                    .send(chunk(Stream::Stdout, &"x".repeat(1024 * 1024)))
                    .await
                    .unwrap();
            }
        };
        tokio::join!(recording, sending);
        let text = transcript.render("cell");
        assert!(!text.contains('\u{1b}'));
        assert!(text.contains("more bytes were not kept"));
        assert!(text.len() < 10_000);
    }
}
