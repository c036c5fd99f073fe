//! YAML text to a tree in which every key and value knows its place.
//!
//! Built from the parser's events rather than through serde, so that keys have places too, a
//! scalar stays the text that was written (`15102` and `"15102"` are the same argument, `no` is
//! not a boolean), and duplicate keys are all found at once.

use std::collections::HashMap;

use serde_yaml::granit_parser::{self, Event, Parser, ScalarStyle, ScanError, Span};

use super::source::saturate;
use super::{Located, Place, Problem, Source};

/// How deep maps and lists may be nested.
pub(super) const MAX_DEPTH: usize = 32;
/// The most that a file may be once its aliases are replaced by what they stand for: bytes of
/// text plus one for each key and value. A file of the largest size without aliases stays below.
pub(super) const MAX_EXPANDED: usize = 4 * super::MAX_FILE_BYTES;

/// A value of the file.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Where it stands; for maps and lists where they begin.
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    Scalar(Scalar),
    Seq(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its value.
pub(super) type Entry = (Located<String>, Node);

#[derive(Debug, Clone)]
pub(super) struct Scalar {
    /// The text that is meant.
    pub(super) text: String,
    /// It is written without quotes on one line.
    pub(super) plain: bool,
    /// Byte range as written, quotes included.
    written: (usize, usize),
    literal_block: bool,
}

impl Node {
    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Scalar(_) => "a text",
            Value::Seq(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// Its text, if it has one.
    pub(super) fn scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// Its entries; none if it is not a map.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Itself where it stands in place of a list, or the items of the list.
    pub(super) fn one_or_more(&self) -> &[Self] {
        match &self.value {
            Value::Seq(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    /// Its items; none if it is not a list.
    pub(super) fn items(&self) -> &[Self] {
        match &self.value {
            Value::Seq(items) => items,
            _ => &[],
        }
    }

    /// The value of a key, if it is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let entry = self.entries().iter().find(|(k, _)| k.value == key)?;
        Some(&entry.1)
    }
}

impl Scalar {
    /// The place of a part of the text. Where quoting or folding makes that part hard to find it
    /// is the whole of it, `place`.
    pub(super) fn place_in(&self, source: &Source, place: Place, at: usize, len: usize) -> Place {
        let (start, end) = self.written;
        let Some(written) = source.text().get(start..end) else {
            return place;
        };
        let quote = usize::from(written.starts_with(['"', '\'']));
        let end = (at + len).min(self.text.len());
        let is_written_so = self
            .text
            .get(..end)
            .is_some_and(|part| written.get(quote..quote + end) == Some(part));
        if is_written_so && !self.literal_block {
            return source.place(start + quote + at, len);
        }
        if self.literal_block {
            return self.place_in_block(source, at, len).unwrap_or(place);
        }
        place
    }

    /// The place of a part of a `|` block: its lines are the file's lines, less their indent.
    fn place_in_block(&self, source: &Source, at: usize, len: usize) -> Option<Place> {
        let header = source.place(self.written.0, 0);
        let before = self.text.get(..at)?;
        let line_in_block = before.matches('\n').count();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.text[line_start..].split('\n').next()?;
        // The header `|` stands on the line before the first one.
        let mut index = header.line as usize + line_in_block;
        if !source.text()[header.offset_bytes..].starts_with('|') {
            index -= 1;
        }
        let file_line = source.line(index);
        let indent = file_line.len().checked_sub(line.len())?;
        if !file_line.ends_with(line) {
            return None;
        }
        let offset = source.line_start(index)? + indent + (at - line_start);
        Some(source.place(offset, len.max(1)))
    }
}

/// Reads the text of a file.
///
/// # Errors
/// Everything that keeps it from being a tree.
pub(super) fn parse(source: &Source) -> Result<Node, Vec<Problem>> {
    // YAML takes a lone CR for a line end, editors and compilers do not: lines would be counted
    // differently.
    let bytes = source.text().as_bytes();
    let is_lone = |&at: &usize| bytes[at] == b'\r' && bytes.get(at + 1) != Some(&b'\n');
    if let Some(at) = (0..bytes.len()).find(is_lone) {
        let message = "a carriage return without a line feed";
        return Err(vec![
            Problem::at(source.place(at, 1), message).hint("end lines with LF or CRLF"),
        ]);
    }
    let mut builder = Builder {
        source,
        open: Vec::new(),
        root: None,
        anchors: HashMap::new(),
        expanded: 0,
        problems: Vec::new(),
    };
    let mut options = granit_parser::Options::default();
    options.set_emit_comments(false);
    for event in Parser::new_from_str_with_options(source.text(), options) {
        let result = match event {
            Ok((event, span)) => builder.take(event, span),
            Err(error) => Err(scan_problem(source, &error)),
        };
        if let Err(problem) = result {
            builder.problems.push(problem);
            return Err(builder.problems);
        }
    }
    match builder.root {
        Some(root) if builder.problems.is_empty() => Ok(root),
        Some(_) => Err(builder.problems),
        None => Err(vec![Problem::of_file("the file is empty")]),
    }
}

fn scan_problem(source: &Source, error: &ScanError) -> Problem {
    let marker = error.marker();
    let place = match marker.byte_offset() {
        Some(offset) => source.place(offset, 1),
        None => place_of_line(source, marker.line()),
    };
    let line = source.line((place.line as usize).saturating_sub(1));
    let indented_by_tab = line.trim_start_matches(' ').starts_with('\t');
    // What begins with one of these is no plain text to YAML: patterns do.
    let bare = line
        .split_once(": ")
        .is_some_and(|(_, value)| value.trim_start().starts_with(['>', '*', '-', '|']));
    let alias = source.text()[place.offset_bytes..].starts_with('*');
    let hint = if indented_by_tab {
        Some("indent with spaces, YAML forbids tabs there")
    } else if alias && !bare {
        Some("put a value that begins with `*` in quotes: it is an alias of YAML otherwise")
    } else {
        bare.then_some("put the value in quotes, or write `|` and the text on the lines below")
    };
    let hint = hint.map(str::to_owned);
    Problem::at(place, format!("not YAML: {}", error.info())).maybe_hint(hint)
}

fn place_of_line(source: &Source, line: usize) -> Place {
    let offset = source.line_start(line.saturating_sub(1));
    source.place(offset.unwrap_or(source.text().len()), 0)
}

/// A map or list whose end has not come yet.
struct Open {
    place: Place,
    anchor: usize,
    /// [`Builder::expanded`] when it began.
    expanded_before: usize,
    items: Items,
}

enum Items {
    Seq(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        key: Option<Located<String>>,
        seen: HashMap<String, Place>,
    },
}

struct Builder<'a> {
    source: &'a Source,
    open: Vec<Open>,
    root: Option<Node>,
    /// Anchored values with what they expand to.
    anchors: HashMap<usize, (Node, usize)>,
    expanded: usize,
    problems: Vec<Problem>,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let place = self.place(&span);
        if event.tag().is_some() {
            return Err(Problem::at(place, "YAML tags are not used in matrix files"));
        }
        match event {
            Event::DocumentStart(..) if self.root.is_some() => Err(Problem::at(
                place,
                "a matrix file holds one document, a second one begins here",
            )),
            Event::Scalar(text, style, anchor, _) => {
                self.scalar(text.into_owned(), style, anchor, &span, place)
            }
            Event::SequenceStart(_, anchor, _) => self.begin(Items::Seq(Vec::new()), anchor, place),
            Event::MappingStart(_, anchor, _) => {
                let items = Items::Map {
                    entries: Vec::new(),
                    key: None,
                    seen: HashMap::new(),
                };
                self.begin(items, anchor, place)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.end();
                Ok(())
            }
            Event::Alias(id) => self.alias(id, place),
            _ => Ok(()),
        }
    }

    /// The part of a span that is on its first line.
    fn place(&self, span: &Span) -> Place {
        let Some(range) = span.byte_range() else {
            return place_of_line(self.source, span.start.line());
        };
        let index = span.start.line().saturating_sub(1);
        let line_end = self.source.line_start(index).unwrap_or(0) + self.source.line(index).len();
        Place {
            line: saturate(span.start.line()),
            column: saturate(span.start.col() + 1),
            offset_bytes: range.start,
            len_bytes: range.end.min(line_end).saturating_sub(range.start),
        }
    }

    fn scalar(
        &mut self,
        text: String,
        style: ScalarStyle,
        anchor: usize,
        span: &Span,
        place: Place,
    ) -> Result<(), Problem> {
        let before = self.expanded;
        self.count(1 + text.len(), place)?;
        if let Some(Open {
            items:
                Items::Map {
                    key: key @ None,
                    seen,
                    ..
                },
            ..
        }) = self.open.last_mut()
        {
            match seen.get(&text) {
                Some(&first) => self.problems.push(
                    Problem::at(place, format!("`{text}` is given twice"))
                        .other(first, "given first"),
                ),
                None => _ = seen.insert(text.clone(), place),
            }
            *key = Some(Located::new(text, place));
            return Ok(());
        }
        let plain = style == ScalarStyle::Plain;
        let value = if plain && matches!(text.as_str(), "" | "~" | "null") {
            Value::Null
        } else {
            let written = span.byte_range().unwrap_or(0..0);
            Value::Scalar(Scalar {
                text,
                plain,
                written: (written.start, written.end),
                literal_block: style == ScalarStyle::Literal,
            })
        };
        self.add(Node { place, value }, anchor, before);
        Ok(())
    }

    fn begin(&mut self, items: Items, anchor: usize, place: Place) -> Result<(), Problem> {
        if self.open.len() >= MAX_DEPTH {
            let message = format!("nested deeper than {MAX_DEPTH} levels");
            return Err(Problem::at(place, message));
        }
        if let Some(Open {
            items: Items::Map { key: None, .. },
            ..
        }) = self.open.last()
        {
            return Err(Problem::at(place, "a key must be a text")
                .hint("a value that begins with `{`, `[` or `*` needs quotes to be a text"));
        }
        let expanded_before = self.expanded;
        self.count(1, place)?;
        self.open.push(Open {
            place,
            anchor,
            expanded_before,
            items,
        });
        Ok(())
    }

    fn end(&mut self) {
        let Some(open) = self.open.pop() else {
            return;
        };
        let mut place = open.place;
        let value = match open.items {
            Items::Seq(items) => Value::Seq(items),
            Items::Map { entries, .. } => {
                // A block map begins with its first key: the caret goes under that key.
                if let Some((key, _)) = entries.first()
                    && key.place.offset_bytes == place.offset_bytes
                {
                    place = key.place;
                }
                Value::Map(entries)
            }
        };
        self.add(Node { place, value }, open.anchor, open.expanded_before);
    }

    fn alias(&mut self, id: usize, place: Place) -> Result<(), Problem> {
        let Some((node, size)) = self.anchors.get(&id) else {
            return Err(Problem::at(
                place,
                "an alias cannot stand for what it is part of",
            ));
        };
        let (node, size) = (node.clone(), *size);
        let before = self.expanded;
        self.count(size, place)?;
        if let Some(Open {
            items: Items::Map { key: None, .. },
            ..
        }) = self.open.last()
        {
            return Err(Problem::at(place, "an alias cannot be a key"));
        }
        self.add(node, 0, before);
        Ok(())
    }

    fn count(&mut self, size: usize, place: Place) -> Result<(), Problem> {
        self.expanded = self.expanded.saturating_add(size);
        if self.expanded > MAX_EXPANDED {
            let message = "the aliases of the file stand for too much";
            return Err(Problem::at(place, message).hint(format!(
                "with every alias replaced the file may hold {MAX_EXPANDED} bytes"
            )));
        }
        Ok(())
    }

    /// Puts a complete value where it belongs.
    fn add(&mut self, node: Node, anchor: usize, expanded_before: usize) {
        if anchor != 0 {
            let size = self.expanded - expanded_before;
            // The copy is counted like an alias, so that anchors alone cannot blow up either.
            self.expanded = self.expanded.saturating_add(size);
            self.anchors.insert(anchor, (node.clone(), size));
        }
        match self.open.last_mut().map(|open| &mut open.items) {
            Some(Items::Seq(items)) => items.push(node),
            Some(Items::Map { entries, key, .. }) => {
                if let Some(key) = key.take() {
                    entries.push((key, node));
                }
            }
            None => self.root = Some(node),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> (Source, Node) {
        let source = Source::new("x.yaml", text.to_owned());
        let root = parse(&source).unwrap();
        (source, root)
    }

    /// What a part of a scalar's text is in the file.
    fn part<'s>(source: &'s Source, node: &Node, at: usize, len: usize) -> &'s str {
        let scalar = node.scalar().unwrap();
        let place = scalar.place_in(source, node.place, at, len);
        &source.text()[place.offset_bytes..place.offset_bytes + place.len_bytes]
    }

    #[test]
    fn keys_and_values_know_their_places() {
        let (_, root) = source("a: 1\nlist:\n  - { è: x, b: 'y' }\n");
        let item = &root.get("list").unwrap().items()[0];
        let (key, value) = &item.entries()[1];
        assert_eq!((key.place.line, key.place.column), (3, 13));
        assert_eq!((value.place.line, value.place.column), (3, 16));
        assert_eq!(value.place.len_bytes, 3, "with quotes");
    }

    #[test]
    fn scalars_stay_as_written() {
        let (_, root) = source("[15102, no, 0x1f, ~, null, '', \"null\", 1e3]");
        let texts: Vec<_> = root.items().iter().map(|item| item.scalar()).collect();
        let texts: Vec<_> = texts.iter().map(|s| s.map(|s| s.text.as_str())).collect();
        let nothing = None;
        assert_eq!(
            texts,
            [
                Some("15102"),
                Some("no"),
                Some("0x1f"),
                nothing,
                nothing,
                Some(""),
                Some("null"),
                Some("1e3")
            ]
        );
    }

    #[test]
    fn parts_of_scalars_have_places() {
        let (source, root) = source(
            "plain: one two\nsingle: 'one two'\ndouble: \"one two\\n\"\nblock: |\n    one\n      two\n\n    three\n",
        );
        for key in ["plain", "single", "double"] {
            assert_eq!(part(&source, root.get(key).unwrap(), 4, 3), "two", "{key}");
        }
        let block = root.get("block").unwrap();
        assert_eq!(block.scalar().unwrap().text, "one\n  two\n\nthree\n");
        assert_eq!(part(&source, block, 0, 3), "one");
        assert_eq!(part(&source, block, 6, 3), "two");
        assert_eq!(part(&source, block, 11, 5), "three");
    }

    #[test]
    fn every_duplicate_key_is_told() {
        let source = Source::new("x.yaml", "a: 1\na: 2\nb: { c: 1, c: 2 }\n".to_owned());
        let problems = parse(&source).unwrap_err();
        let lines: Vec<_> = problems.iter().map(|p| p.place.unwrap().line).collect();
        assert_eq!(lines, [2, 3]);
        assert_eq!(problems[0].other.as_ref().unwrap().0.line, 1);
    }

    #[test]
    fn aliases_stand_for_what_is_anchored() {
        let (_, root) = source("a: &x [1, 2]\nb: *x\n");
        assert_eq!(root.get("b").unwrap().items().len(), 2);
    }
}
