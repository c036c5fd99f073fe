//! From text to a tree of items.

use crate::analysis::{EventKind, Sender};
use crate::units::printable;

use super::conditions;
use super::cursor::Cursor;
use super::error::{PatternError, near_name, quoted};
use super::item::{EventTest, Item, Test};
use super::library::Library;
use super::reference::Reference;

/// The longest pattern text, in bytes.
pub const MAX_PATTERN_BYTES: usize = 16 * 1024;
/// How deep groups may nest; reading, compiling and dropping a tree recurse this deep at most.
pub(super) const MAX_DEPTH: usize = 32;
/// The largest number in a `{n,m}` quantifier.
pub(super) const MAX_COUNT: u32 = 1000;

/// The shape of a pattern; items are indices into the list beside it.
#[derive(Debug, Clone)]
pub(super) enum Tree {
    Item(usize),
    Sequence(Vec<Tree>),
    Choice(Vec<Tree>),
    /// `max` is `None` for any number.
    Repeat {
        body: Box<Tree>,
        min: u32,
        max: Option<u32>,
    },
}

/// What a text says.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) tree: Tree,
    pub(super) items: Vec<Item>,
    /// How deep its groups nest, those of the patterns it names included.
    pub(super) depth: usize,
}

/// Reads a whole pattern. Names stand for the patterns of `library`.
pub(super) fn parse(text: &str, library: &Library) -> Result<Parsed, PatternError> {
    check_length(text, text.len(), 0)?;
    let mut parser = Parser::new(Cursor::new(text), Some(library));
    let tree = parser.only_pattern()?;
    Ok(parser.finish(tree))
}

/// Reads one event, whose direction may be left out for either.
pub(super) fn parse_event(text: &str) -> Result<Item, PatternError> {
    check_length(text, text.len(), 0)?;
    let none = Library::default();
    let mut parser = Parser::new(Cursor::new(text), Some(&none));
    parser.cursor.skip_space();
    let start = parser.cursor.at();
    let named = !parser.cursor.clone().take_name().is_empty();
    match parser.cursor.peek() {
        Some('(' | '.' | '…') => {}
        _ if named => {
            parser.event(start, None)?;
        }
        _ => {
            parser.item(0)?;
        }
    }
    parser.cursor.skip_space();
    let one_event = parser.items.len() == 1 && parser.items[0].event_test().is_some();
    if !one_event || parser.cursor.peek().is_some() {
        let at = if one_event { parser.cursor.at() } else { start };
        return Err(PatternError::new(
            "one event is expected here, and nothing else",
            at,
            text.len() - at,
        )
        .hint("write `RST`, `> RST` or `- DATA[retransmission]`; several stand in a list"));
    }
    Ok(parser.items.remove(0))
}

/// Refuses a text of more than [`MAX_PATTERN_BYTES`]; it begins at `at` of `text`.
pub(super) fn check_length(text: &str, end: usize, at: usize) -> Result<(), PatternError> {
    let length = end - at;
    if length <= MAX_PATTERN_BYTES {
        return Ok(());
    }
    let start = (at..=at + MAX_PATTERN_BYTES)
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(at);
    Err(PatternError::new(
        format!("the pattern is {length} bytes long, at most {MAX_PATTERN_BYTES} are allowed"),
        start,
        end - start,
    ))
}

/// Reads items from a text.
pub(super) struct Parser<'a> {
    pub(super) cursor: Cursor<'a>,
    pub(super) items: Vec<Item>,
    /// What names stand for; without it they are only noted.
    pub(super) library: Option<&'a Library>,
    /// The names so far.
    pub(super) references: Vec<Reference>,
    /// The deepest nesting so far.
    pub(super) deepest: usize,
    /// Where the last item ends.
    pub(super) items_end: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(cursor: Cursor<'a>, library: Option<&'a Library>) -> Self {
        Self {
            cursor,
            items: Vec::new(),
            library,
            references: Vec::new(),
            deepest: 0,
            items_end: 0,
        }
    }

    /// What was read.
    pub(super) fn finish(self, tree: Tree) -> Parsed {
        Parsed {
            tree,
            items: self.items,
            depth: self.deepest,
        }
    }

    /// Reads a text that is a pattern and has no definitions.
    pub(super) fn only_pattern(&mut self) -> Result<Tree, PatternError> {
        self.cursor.skip_space();
        self.no_definition()?;
        let tree = self.sequence(0)?;
        self.no_definition()?;
        self.at_end()?;
        Ok(tree)
    }

    fn no_definition(&self) -> Result<(), PatternError> {
        let Some(head) = self.definition_ahead() else {
            return Ok(());
        };
        let message = format!("{} is defined within a pattern", quoted(&head.name));
        Err(PatternError::new(message, head.at, head.len)
            .hint("definitions stand in pattern files and under `patterns:` of matrix files"))
    }

    /// An error unless the text ends here.
    pub(super) fn at_end(&self) -> Result<(), PatternError> {
        match self.cursor.peek() {
            None => Ok(()),
            Some('|') => Err(self
                .cursor
                .error_here("alternatives stand in a group")
                .hint("put parentheses around them: `( > FIN | > RST )`")),
            Some(_) => Err(self.cursor.error_here("this `)` closes no group")),
        }
    }
}

impl Parser<'_> {
    /// Items up to `|`, `)`, the head of a definition or the end; at least one.
    pub(super) fn sequence(&mut self, depth: usize) -> Result<Tree, PatternError> {
        let mut parts = Vec::new();
        loop {
            self.cursor.skip_space();
            if matches!(self.cursor.peek(), None | Some('|' | ')'))
                || (depth == 0 && self.definition_ahead().is_some())
            {
                break;
            }
            let part = self.item(depth)?;
            parts.push(self.quantified(part)?);
            self.items_end = self.cursor.at();
        }
        match parts.len() {
            0 if depth == 0 && self.cursor.peek().is_none() => {
                Err(self.cursor.error_here("the pattern is empty").hint(
                    "write `...` for a flow of any data, or the events that must come: `> SYN < RST`",
                ))
            }
            0 => Err(self
                .cursor
                .error_here(format!(
                    "an event must stand before {}",
                    self.cursor.next_shown()
                ))
                .hint("`?` after a group or an event makes it optional")),
            1 => Ok(parts.remove(0)),
            _ => Ok(Tree::Sequence(parts)),
        }
    }

    fn item(&mut self, depth: usize) -> Result<Tree, PatternError> {
        let start = self.cursor.at();
        if self.cursor.eat("...") || self.cursor.eat("…") {
            return Ok(self.push(Test::Filler, "..."));
        }
        if self.cursor.eat("(") {
            return self.group(start, depth + 1);
        }
        let sender = match self.cursor.peek() {
            Some('>') => Some(Sender::Initiator),
            Some('<') => Some(Sender::Responder),
            Some('-') => None,
            Some('a'..='z') => return self.reference(depth),
            _ => return Err(self.not_an_item()),
        };
        self.cursor.bump();
        self.cursor.skip_space();
        self.event(start, sender)
    }

    /// The name and conditions of an event that began at `start`.
    fn event(&mut self, start: usize, sender: Option<Sender>) -> Result<Tree, PatternError> {
        let kind = self.event_name()?;
        let conditions = conditions::parse(&mut self.cursor, kind)?;
        let text = squeezed(self.cursor.since(start));
        Ok(self.push(
            Test::Event(EventTest {
                sender,
                kind,
                conditions,
            }),
            &text,
        ))
    }

    pub(super) fn push(&mut self, test: Test, written: &str) -> Tree {
        self.items.push(Item {
            test,
            text: written.to_owned(),
        });
        Tree::Item(self.items.len() - 1)
    }

    /// The rest of a group whose `(` stands at `start`.
    fn group(&mut self, start: usize, depth: usize) -> Result<Tree, PatternError> {
        if depth > MAX_DEPTH {
            return Err(self.cursor.error_since(
                start,
                format!("groups nest more than {MAX_DEPTH} deep here"),
            ));
        }
        self.deepest = self.deepest.max(depth);
        let mut choices = Vec::new();
        loop {
            choices.push(self.sequence(depth)?);
            if self.cursor.eat(")") {
                break;
            }
            if !self.cursor.eat("|") {
                return Err(PatternError::new("this group is not closed", start, 1)
                    .hint("a `)` is missing"));
            }
        }
        Ok(if choices.len() == 1 {
            choices.remove(0)
        } else {
            Tree::Choice(choices)
        })
    }

    /// Reads the name of an event; `None` is ANY.
    fn event_name(&mut self) -> Result<Option<EventKind>, PatternError> {
        let start = self.cursor.at();
        let name = self.cursor.take_name();
        if name == ANY {
            return Ok(None);
        }
        if let Some(kind) = KINDS.into_iter().find(|kind| kind.name() == name) {
            return Ok(Some(kind));
        }
        if name.is_empty() {
            let found = self.cursor.next_shown();
            let error = self
                .cursor
                .error_here(format!("the name of an event must follow, not {found}"));
            return Err(match self.cursor.peek() {
                Some('>' | '-') => error.hint(
                    "a direction is one character: `>` initiator to responder, `<` back, `-` either",
                ),
                _ => error.hint(names_hint()),
            });
        }
        let error = self
            .cursor
            .error_since(start, format!("{} is not an event", quoted(name)));
        Err(match near_event(name) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint(names_hint()),
        })
    }

    /// The error for a character that begins no item.
    fn not_an_item(&self) -> PatternError {
        let mut ahead = self.cursor.clone();
        let start = ahead.at();
        let name = ahead.take_name();
        if !name.is_empty() {
            return ahead
                .error_since(start, format!("{} has no direction", quoted(name)))
                .hint(format!(
                    "write `> {0}` for initiator to responder, `< {0}` for the way back, `- {0}` for either",
                    printable(&name.chars().take(20).collect::<String>())
                ));
        }
        let message = format!(
            "an event or a group was expected, not {}",
            self.cursor.next_shown()
        );
        let error = self.cursor.error_here(message);
        match self.cursor.peek() {
            Some('?' | '*' | '+' | '{') => {
                error.hint("a quantifier follows an event, `...` or a group")
            }
            Some('[') => error.hint("conditions follow the name of an event: `> DATA[len=4]`"),
            Some('.') => error.hint("`...` has three dots"),
            _ => error,
        }
    }
}

/// The name that stands for every kind of event.
const ANY: &str = "ANY";

/// Every kind of event, in the order in which messages list them.
const KINDS: [EventKind; 6] = [
    EventKind::Syn,
    EventKind::SynAck,
    EventKind::Ack,
    EventKind::Data,
    EventKind::Fin,
    EventKind::Rst,
];

/// The name of the event that `name` was probably meant to be, in any case of letters.
pub(super) fn near_event(name: &str) -> Option<&'static str> {
    let names: Vec<_> = KINDS.iter().map(|kind| kind.name()).chain([ANY]).collect();
    near_name(&as_event(name), &names)
}

fn as_event(name: &str) -> String {
    name.to_uppercase().replace('_', "-")
}

fn names_hint() -> String {
    let names: Vec<_> = KINDS.iter().map(|kind| kind.name()).collect();
    format!("events are {} and {ANY}", names.join(", "))
}

/// `text` safe to print, with each run of white space and comments as one space.
pub(super) fn squeezed(text: &str) -> String {
    let mut cursor = Cursor::new(text);
    let mut out = String::with_capacity(text.len());
    while let Some(c) = cursor.bump() {
        if c == '"' {
            // Quoted text is kept as it is; an escaped quote does not end it.
            out.push(c);
            while let Some(c) = cursor.bump() {
                out.push(c);
                if c == '\\' {
                    out.extend(cursor.bump());
                } else if c == '"' {
                    break;
                }
            }
        } else if c.is_whitespace() || c == '#' {
            if c == '#' {
                cursor.take_while(|c| c != '\n');
            }
            cursor.skip_space();
            out.push(' ');
        } else {
            out.push(c);
        }
    }
    printable(&out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Pattern;
    use super::super::testing::assert_errors;
    use super::*;

    fn error(text: &str) -> PatternError {
        Pattern::parse(text).unwrap_err()
    }

    #[test]
    fn the_whole_grammar_is_read() {
        for text in [
            "...",
            ">SYN<SYN-ACK>ACK",
            "> SYN  < SYN-ACK  > ACK  ...  ( > FIN < FIN | < FIN > FIN )",
            "( > DATA[len=12] | < DATA[ len >= 1 , gap < 1.5s ] )* - RST?",
            "> DATA{2} > DATA{2,} > DATA{ 2 , 3 } ... ?",
            "# a comment\n> SYN # another\n\t< RST[flags=RST+ACK]",
            "> DATA[bytes=\"a \\\"b\\\" # ] \\x00\\n\"]",
            "- ANY[!lost, retransmission, coalesced]",
            "> SYN[mss=1460, win>1000, flags*=SYN, gap=200ms+-25%]",
            "handshake...orderly-close-by( responder )",
            "handshake ( reset-by(initiator)? | unanswered-syn ){2} # names",
        ] {
            let parsed = Pattern::parse(text);
            assert!(parsed.is_ok(), "{text}: {parsed:?}");
        }
    }

    #[test]
    fn errors_point_at_the_fault() {
        assert_errors(&[
            ("", 0, 0, "the pattern is empty", "write `...`"),
            (
                "> FINN",
                2,
                4,
                "`FINN` is not an event",
                "did you mean `FIN`?",
            ),
            (
                "> syn_ack",
                2,
                7,
                "`syn_ack` is not an event",
                "did you mean `SYN-ACK`?",
            ),
            (
                "> HELLO",
                2,
                5,
                "`HELLO` is not an event",
                "events are SYN,",
            ),
            ("SYN", 0, 3, "`SYN` has no direction", "write `> SYN`"),
            (
                "handshak ...",
                0,
                8,
                "there is no pattern `handshak`",
                "did you mean `handshake`?",
            ),
            (
                "> SYN reset-by(client)",
                6,
                16,
                "there is no pattern `reset-by(client)`",
                "write `reset-by(initiator)` or",
            ),
            ("syn", 0, 3, "there is no pattern `syn`", "`> SYN`"),
            (
                "handshake( > FIN )",
                9,
                1,
                "argument of `handshake`",
                "`handshake (` with a space",
            ),
            ("handShake", 0, 9, "not a name of a pattern", "lower-case"),
            ("a = > SYN", 0, 1, "defined within a pattern", "files"),
            (
                "-> SYN",
                1,
                1,
                "the name of an event must follow",
                "one character",
            ),
            (
                "> FIN | > RST",
                6,
                1,
                "alternatives stand in a group",
                "parentheses",
            ),
            ("> FIN )", 6, 1, "closes no group", ""),
            (
                "( > FIN",
                0,
                1,
                "this group is not closed",
                "`)` is missing",
            ),
            ("( > FIN | )", 10, 1, "must stand before `)`", "optional"),
            ("> DATA**", 7, 1, "one quantifier", "parentheses"),
            (
                "* > DATA",
                0,
                1,
                "expected, not `*`",
                "a quantifier follows",
            ),
            (
                "> DATA{3,2}",
                6,
                5,
                "no number is at least 3 and at most 2",
                "",
            ),
            ("> DATA{0}", 6, 3, "must not occur", ""),
            ("> DATA{1001}", 7, 4, "at most 1000", ""),
            ("> DATA{99999999999999}", 7, 14, "at most 1000", ""),
            ("> DATA{x}", 7, 1, "a number was expected", "`{n}`"),
            ("> SYN \u{1b}", 6, 1, "`\\u{1b}`", ""),
        ]);
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let nested = |depth| format!("{}> SYN{}", "(".repeat(depth), ")".repeat(depth));
        assert!(Pattern::parse(&nested(MAX_DEPTH)).is_ok());
        assert!(
            error(&nested(MAX_DEPTH + 1))
                .message
                .contains("nest more than 32")
        );
        assert!(
            error(&"(".repeat(10_000))
                .message
                .contains("nest more than 32")
        );
        let long = "é".repeat(MAX_PATTERN_BYTES);
        assert!(error(&long).message.contains("at most 16384"));
    }

    #[test]
    fn items_are_shown_as_written() {
        let pattern = Pattern::parse(">  DATA[ len=1,\n bytes=\"a  #b\" ] ... <FIN").unwrap();
        let shown: Vec<_> = pattern.items.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["> DATA[ len=1, bytes=\"a  #b\" ]", "...", "<FIN"]);
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in ".{0,80}") {
            check(&text);
        }

        #[test]
        fn reading_near_patterns_never_panics(text in "([<>()|?*+{},.#\\[\\]\"\\\\=!~^%±é -]|SYN|FIN|DATA|ANY|len|gap|bytes|flags|mss|1|20|ms|s|\n){0,40}") {
            check(&text);
        }
    }

    /// An error points into the text, at character boundaries.
    fn check(text: &str) {
        if let Err(error) = Pattern::parse(text) {
            let end = error.offset_bytes + error.len_bytes;
            assert!(
                text.get(error.offset_bytes..end).is_some(),
                "{text:?}: {error:?}"
            );
            assert!(!error.message.chars().any(crate::units::acts_on_terminal));
        }
    }
}
