//! Files of patterns: a pattern, definitions, or both.

use super::compiled::Pattern;
use super::cursor::Cursor;
use super::definitions::Raw;
use super::error::PatternError;
use super::library::Library;
use super::parse::{Parser, check_length};
use super::reference;

/// The longest text of a pattern file, in bytes.
pub const MAX_PATTERN_FILE_BYTES: usize = 64 * 1024;

/// A pattern file that was read.
///
/// What stands before the first definition, `NAME = PATTERN`, is the file's pattern; a file that
/// has no such text and one definition means that one.
#[derive(Debug, Clone)]
pub struct PatternFile {
    /// The pattern that the file as a whole stands for, if it does.
    pub pattern: Option<Pattern>,
    /// Its definitions, in order.
    pub definitions: Vec<NamedPattern>,
    /// The patterns that were known before and those of the file.
    pub library: Library,
}

/// A definition of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPattern {
    /// With its argument: `reset-by(initiator)`.
    pub name: String,
    /// The lines of comment right above it, as written.
    pub comment: String,
    /// The definition as written.
    pub text: String,
}

impl PatternFile {
    /// Reads the text of a file, whose patterns may name each other and those of `library`.
    ///
    /// # Errors
    /// What is wrong with it, in the order of the text, at least one.
    pub fn parse(text: &str, library: &Library) -> Result<Self, Vec<PatternError>> {
        if text.len() > MAX_PATTERN_FILE_BYTES {
            let message = format!(
                "the file is longer than {MAX_PATTERN_FILE_BYTES} bytes, which is the most"
            );
            return Err(vec![PatternError::new(message, 0, 0)]);
        }
        let parts = Parts::find(text).map_err(|error| vec![error])?;
        let (library, wrong) = library.extended(&parts.definitions);
        let mut errors: Vec<_> = wrong.into_iter().map(|(_, error)| error).collect();
        let definitions = described(&parts.definitions);
        let pattern = match (parts.own_end, &parts.definitions[..]) {
            (Some(end), _) => match Pattern::parse_with(&text[..end], &library) {
                Ok(pattern) => Some(pattern),
                Err(error) => {
                    errors.push(error);
                    None
                }
            },
            (None, [only]) => library
                .get(&only.name)
                .map(Pattern::of)
                .transpose()
                .map_err(|e| vec![e])?,
            (None, _) => None,
        };
        if !errors.is_empty() {
            errors.sort_by_key(|error| error.offset_bytes);
            return Err(errors);
        }
        Ok(Self {
            pattern,
            definitions,
            library,
        })
    }
}

/// The parts of a file's text.
struct Parts<'a> {
    /// Where the file's own pattern ends, if there is one.
    own_end: Option<usize>,
    definitions: Vec<Raw<'a>>,
}

impl<'a> Parts<'a> {
    fn find(text: &'a str) -> Result<Self, PatternError> {
        let mut parts = Self {
            own_end: None,
            definitions: Vec::new(),
        };
        let mut parser = Parser::new(Cursor::new(text), None);
        parser.cursor.skip_space();
        if parser.definition_ahead().is_none() {
            parser.sequence(0)?;
            if parser.definition_ahead().is_none() {
                parser.at_end()?;
            }
            let end = parser.cursor.at();
            check_length(text, end, 0)?;
            parts.own_end = Some(end);
        }
        let mut at = parser.cursor.at();
        // Every turn reads a definition, which has a byte at least.
        while at < text.len() {
            let mut cursor = Cursor::starting_at(text, at);
            let head = reference::name(&mut cursor)?;
            cursor.skip_space();
            cursor.eat("=");
            cursor.skip_space();
            let (raw, end) = Raw::within(text, head, cursor.at())?;
            parts.definitions.push(raw);
            at = end;
        }
        Ok(parts)
    }
}

/// The definitions, each with the comment above it. Those that follow one another without an empty
/// line share the comment.
fn described(raws: &[Raw<'_>]) -> Vec<NamedPattern> {
    let mut described: Vec<NamedPattern> = Vec::with_capacity(raws.len());
    let mut before: Option<&Raw<'_>> = None;
    for raw in raws {
        let start = raw.name_range.start;
        let joined = before.is_some_and(|before| {
            let between = &raw.text[before.body.end..start];
            between.matches('\n').count() == 1
        });
        let comment = match described.last() {
            Some(last) if joined => last.comment.clone(),
            _ => comment_above(raw.text, start),
        };
        described.push(NamedPattern {
            name: raw.name.clone(),
            comment,
            text: raw.text[start..raw.body.end].to_owned(),
        });
        before = Some(raw);
    }
    described
}

/// The lines of comment right above the line in which `start` is.
fn comment_above(text: &str, start: usize) -> String {
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let mut comment_start = line_start;
    for line in text[..line_start].split_inclusive('\n').rev() {
        if !line.trim_start().starts_with('#') {
            break;
        }
        comment_start -= line.len();
    }
    text[comment_start..line_start].to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::testing::events;
    use super::*;

    fn read(text: &str) -> PatternFile {
        PatternFile::parse(text, Library::builtin()).unwrap()
    }

    fn errors(text: &str) -> Vec<String> {
        let errors = PatternFile::parse(text, Library::builtin()).unwrap_err();
        let shown = errors.iter().map(|error| {
            let end = error.offset_bytes + error.len_bytes;
            let hint = error.hint.as_deref().unwrap_or_default();
            format!("{}: {error}: {hint}", &text[error.offset_bytes..end])
        });
        shown.collect()
    }

    #[test]
    fn a_file_is_a_pattern_definitions_or_both() {
        let quits = "> DATA";
        for (text, names, has_pattern) in [
            ("> SYN  < RST", vec![], true),
            ("# only\nquits = > DATA # bye\n", vec!["quits"], true),
            ("handshake quits\nquits = > DATA", vec!["quits"], true),
            ("a = > SYN b\nb = < RST\n# the end\n", vec!["a", "b"], false),
            ("a(x)=> SYN\na(y) = < RST", vec!["a(x)", "a(y)"], false),
        ] {
            let file = read(text);
            let found: Vec<_> = file.definitions.iter().map(|d| d.name.as_str()).collect();
            assert_eq!(found, names, "{text}");
            assert_eq!(file.pattern.is_some(), has_pattern, "{text}");
            if names.contains(&"quits") {
                assert_eq!(file.library.body("quits"), Some(quits));
            }
        }
        let pattern = read("handshake ... b\na = < FIN\nb = a > FIN")
            .pattern
            .unwrap();
        let orderly = events("> SYN; < SYN-ACK; > ACK; > DATA 4; < FIN; > FIN; < ACK");
        assert!(pattern.matches(&orderly).is_ok());
        assert!(pattern.matches(&orderly[..5]).is_err());
    }

    #[test]
    fn comments_and_texts_are_kept_as_written() {
        let file =
            read("# all\n\n# one\n# two\na = > SYN # here\n  < RST\nb = > SYN\n\n# c\nc = a");
        let shown = file.definitions.iter();
        let shown: Vec<_> = shown
            .map(|d| (d.comment.as_str(), d.text.as_str()))
            .collect();
        assert_eq!(
            shown,
            [
                ("# one\n# two\n", "a = > SYN # here\n  < RST"),
                ("# one\n# two\n", "b = > SYN"),
                ("# c\n", "c = a"),
            ]
        );
    }

    #[test]
    fn every_error_points_into_the_file() {
        for (text, wanted) in [
            (
                "a = b\nb = > FINN",
                vec!["FINN: `FINN` is not an event: did you mean `FIN`?"],
            ),
            ("a = > FIN\na = > RST", vec!["a: `a` is defined twice: "]),
            (
                "a = hand-shake",
                vec!["hand-shake: there is no pattern `hand-shake`: did you mean `handshake`?"],
            ),
            (
                "a = quit\nquits = > FIN",
                vec!["quit: there is no pattern `quit`: did you mean `quits`?"],
            ),
            (
                "a = a",
                vec!["a: the pattern is made of itself: a names a: "],
            ),
            (
                "a = > SYN b\nb = c\nc = > FIN b\nd = a",
                vec!["b: the pattern is made of itself: b names c names b: "],
            ),
            (
                "a = \nb = > FIN",
                vec![
                    "b: an event must stand before `b`: `?` after a group or an event makes it optional",
                ],
            ),
            (
                "a = ( > FIN",
                vec!["(: this group is not closed: a `)` is missing"],
            ),
            (
                "a = > FIN | > RST",
                vec![
                    "|: alternatives stand in a group: put parentheses around them: `( > FIN | > RST )`",
                ],
            ),
            (
                "reset-by\na = > FIN",
                vec![
                    "reset-by: there is no pattern `reset-by`: write `reset-by(initiator)` or `reset-by(responder)`",
                ],
            ),
        ] {
            assert_eq!(errors(text), wanted, "{text}");
        }
    }

    #[test]
    fn writing_names_out_is_bounded() {
        let definitions = |first: &str, further: fn(usize) -> String| {
            let further = (1..60).map(|level| format!("a{level} = {}", further(level - 1)));
            let all: Vec<_> = std::iter::once(format!("a0 = {first}"))
                .chain(further)
                .collect();
            all.join("\n")
        };
        let doubled = definitions("> DATA > DATA", |before| format!("a{before} a{before}"));
        let told = errors(&doubled);
        // What names a pattern that is too large takes it for a small one.
        assert!(told.len() < 10, "{told:?}");
        assert!(told[0].contains("too large"), "{told:?}");

        let told = errors(&definitions("> DATA", |before| format!("( a{before} )")));
        assert!(told.len() < 10, "{told:?}");
        assert!(told[0].contains("nest more than 32 deep"), "{told:?}");

        let many: Vec<_> = (0..300).map(|n| format!("a{n} = > FIN")).collect();
        assert!(errors(&many.join("\n"))[0].contains("more than 256 patterns"));
        assert!(errors(&"#".repeat(MAX_PATTERN_FILE_BYTES + 1))[0].contains("65536 bytes"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "([<>()|?*=+{},.#-]|SYN|FIN|[a-c]| a =|\nb = |reset-by|\\(initiator\\)|handshake|\n| ){0,40}") {
            if let Err(errors) = PatternFile::parse(&text, Library::builtin()) {
                assert!(!errors.is_empty());
                for error in errors {
                    let end = error.offset_bytes + error.len_bytes;
                    assert!(text.get(error.offset_bytes..end).is_some(), "{text:?}: {error:?}");
                }
            }
        }
    }
}
