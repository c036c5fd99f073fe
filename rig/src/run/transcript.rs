//! What every node printed and was told, on one clock.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};

use super::buffering::Stdout;
use super::printed::{EndedLine, Printed, Wanted};
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
    wanted: BTreeMap<NodeName, Wanted>,
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
#[derive(Debug)]
struct Output {
    stdout: Printed,
    stderr: Printed,
    kept_bytes: usize,
    kept_lines: usize,
    dropped_bytes: usize,
    /// Visits whose output has not ended.
    open: usize,
    /// What the last visit has printed on its standard output, in bytes.
    stdout_bytes: u64,
}

impl Output {
    fn new(wanted: &Wanted) -> Self {
        Self {
            stdout: Printed::new(wanted),
            stderr: Printed::new(wanted),
            kept_bytes: 0,
            kept_lines: 0,
            dropped_bytes: 0,
            open: 0,
            stdout_bytes: 0,
        }
    }

    fn of(&mut self, stream: Stream) -> &mut Printed {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// What is kept of a line, while there is room.
    fn keep(&mut self, line: EndedLine) -> Option<String> {
        let EndedLine { text, cut_bytes } = line;
        self.dropped_bytes += cut_bytes;
        let len_bytes = text.len() + 1;
        let fits =
            self.kept_lines < MAX_OUTPUT_LINES && self.kept_bytes + len_bytes <= MAX_OUTPUT_BYTES;
        if !fits {
            self.dropped_bytes += len_bytes;
            return None;
        }
        self.kept_lines += 1;
        self.kept_bytes += len_bytes;
        Some(text)
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
    /// A transcript that looks for the texts of a cell in its nodes' output.
    pub(super) fn new(started: Timestamp, wanted: BTreeMap<NodeName, Wanted>) -> Self {
        let log = Log {
            entries: Vec::new(),
            outputs: BTreeMap::new(),
            wanted,
        };
        Self {
            started,
            log: Mutex::new(log),
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
        self.note(end.at, Some(node), "==", &end.to_string());
        self.news.send_modify(|count| *count += 1);
    }

    /// Notes that the process has ended that was a node's program, and that others go on.
    pub(super) fn retired(&self, node: &NodeName, end: VisitEnd) {
        let text = format!("{end}; processes that it has left in the background go on");
        self.note(end.at, Some(node), "==", &text);
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
        let mut log = self.log();
        let output = log.output(node);
        output.open += 1;
        output.stdout_bytes = 0;
    }

    /// What a node has printed on its standard output since its start.
    pub(super) fn stdout(&self, node: &NodeName) -> Stdout {
        let log = self.log();
        let output = log.outputs.get(node);
        output.map_or_else(Stdout::default, |output| Stdout {
            len_bytes: output.stdout_bytes,
            unended: !output.stdout.unended().is_empty(),
        })
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
            let output = log.output(&node);
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
            if output.of(stream).hear(text) {
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

    /// How many lines of a node contained each of the texts that checks ask about, by where they were printed.
    pub(super) fn counts(&self, node: &NodeName) -> BTreeMap<Stream, BTreeMap<String, u64>> {
        let log = self.log();
        let output = log.outputs.get(node);
        let streams = output.into_iter().flat_map(|output| {
            [
                (Stream::Stdout, output.stdout.counts()),
                (Stream::Stderr, output.stderr.counts()),
            ]
        });
        streams.collect()
    }

    /// The last lines a node printed, for an error.
    pub(super) fn last_lines(&self, node: &NodeName, count: usize) -> Vec<String> {
        let log = self.log();
        let Some(output) = log.outputs.get(node) else {
            return Vec::new();
        };
        let unended = [&output.stdout, &output.stderr]
            .into_iter()
            .map(|printed| String::from_utf8_lossy(printed.unended()))
            .filter(|text| !text.is_empty())
            .map(|text| shown(&text));
        let ended = log
            .entries
            .iter()
            .rev()
            .filter(|entry| entry.is_output_of(node));
        let mut lines: Vec<String> = ended.take(count).map(|entry| shown(&entry.text)).collect();
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
            let shown = shown(&entry.text);
            writeln!(text, "{seconds:>11.6} {node:<12} {} {shown}", entry.mark).ok();
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
    fn output(&mut self, node: &NodeName) -> &mut Output {
        let wanted = self.wanted.get(node);
        self.outputs
            .entry(node.clone())
            .or_insert_with(|| wanted.map_or_else(|| Output::new(&Wanted::default()), Output::new))
    }

    fn take(&mut self, node: &NodeName, chunk: &OutputChunk) {
        let output = self.output(node);
        if chunk.stream == Stream::Stdout {
            output.stdout_bytes += chunk.bytes.len() as u64;
        }
        let ended = output.of(chunk.stream).take(&chunk.bytes);
        let kept: Vec<_> = ended
            .into_iter()
            .filter_map(|line| output.keep(line))
            .collect();
        for text in kept {
            self.add_line(node, chunk.at, chunk.stream, text);
        }
    }

    /// Takes unended lines as lines.
    fn end_lines(&mut self, node: &NodeName, at: Timestamp) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let Some(output) = self.outputs.get_mut(node) else {
                return;
            };
            let ended = output.of(stream).end_line();
            if let Some(text) = ended.and_then(|line| output.keep(line)) {
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

/// A line as it is shown, harmless and not too long.
fn shown(text: &str) -> String {
    let mut chars = text.chars();
    let begin: String = chars.by_ref().take(MAX_SHOWN_CHARS).collect();
    let cut = if chars.next().is_some() { "…" } else { "" };
    printable(&begin) + cut
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
        let transcript = Transcript::new(Timestamp(0), BTreeMap::new());
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
    async fn what_is_not_kept_is_heard_and_counted() {
        let alice = NodeName::new("alice").unwrap();
        let texts = |text: &str| vec![text.to_owned()];
        let wanted = Wanted {
            heard: texts("ready"),
            counted: texts("y"),
        };
        let wanted = BTreeMap::from([(alice.clone(), wanted)]);
        let transcript = Transcript::new(Timestamp(0), wanted);
        transcript.expect(&alice);
        let (sender, receiver) = mpsc::channel(4);
        let recording = transcript.record(alice.clone(), receiver);
        let sending = async move {
            for _ in 0..100 {
                let noise = "x".repeat(1023) + "\n";
                let noise = chunk(Stream::Stdout, &noise.repeat(1024));
                sender.send(noise).await.unwrap();
            }
            sender.send(chunk(Stream::Stdout, "ready\n")).await.unwrap();
            sender.send(chunk(Stream::Stderr, "why")).await.unwrap();
        };
        tokio::join!(recording, sending);
        assert!(transcript.dropped_bytes(&alice) > 80 * 1024 * 1024);
        assert_eq!(transcript.listen(&alice, "ready"), Heard::Yes);
        assert_eq!(transcript.listen(&alice, "ready"), Heard::Never);
        let counts = transcript.counts(&alice);
        assert_eq!(counts[&Stream::Stdout]["y"], 1);
        assert_eq!(counts[&Stream::Stderr]["y"], 1);
    }

    #[tokio::test]
    async fn lines_are_bounded_too() {
        let transcript = Transcript::new(Timestamp(0), BTreeMap::new());
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
        let transcript = Transcript::new(Timestamp(0), BTreeMap::new());
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
