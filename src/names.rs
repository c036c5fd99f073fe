//! What a user may be called.
//!
//! A name is an identifier of the PRECIS framework (RFC 8264, 4.2; RFC 8265, 3.4): letters and digits of any
//! script with the marks that belong to them, in one spelling (NFKC), with the joiners of RFC 5892 where a
//! script needs them and nowhere else, and not with two directions (RFC 5893, 2). Two names are one if
//! Unicode's full case folding makes them so. What nobody sees, or what could pass for the server, is in no name.

use std::fmt;
use std::sync::Arc;

use precis_profiles::UsernameCasePreserved;
use precis_profiles::precis_core::profile::Rules as _;
use precis_profiles::precis_core::{DerivedPropertyValue, IdentifierClass, StringClass as _};
use unicase::UniCase;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// The author of what the operator says; nobody else may take it.
pub const OPERATOR: &str = "operator";

/// Words that mean something else on the wire, and so can name nobody.
const RESERVED: [&str; 3] = [OPERATOR, "quit", "exit"];

/// So many marks a letter may have: Burmese needs five. More are drawn over the lines above (UTS #39, 5.4).
const MARKS_OF_A_LETTER: usize = 6;

/// Normalized, a text has at least so small a part of its bytes (UAX #15, 9: a syllable of Hangul in its letters).
const LONGEST_SPELLING: usize = 3;

/// Chooses a form of a letter of Mongolian, and cannot be seen. PRECIS has not heard of it yet.
const MONGOLIAN_SELECTOR_FOUR: char = '\u{180f}';

/// The name of a member, as it is shown. Two are equal if they are shown alike; see [`Name::key`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    shown: Arc<str>,
    key: Arc<str>,
}

/// Why a text cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Over the limit.
    #[error("it is {len_bytes} bytes long, {max_bytes} are allowed")]
    TooLong {
        /// Its length.
        len_bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// A character that no name holds, or a wrong first one.
    #[error("use letters, digits, `-`, `_` and `.`, and begin with a letter or digit")]
    Form,
    /// Too many marks on one letter, or the same one twice.
    #[error("a letter has at most {MARKS_OF_A_LETTER} marks, each of them once")]
    Marks,
    /// Text from right to left together with other text, or with digits or signs at its edges.
    #[error("letters from right to left are not mixed with others, and stand first and last")]
    Direction,
    /// A word with a meaning of its own.
    #[error("it is reserved")]
    Reserved,
}

impl Name {
    /// Takes `text`, blanks around it cut off and spelled as NFKC spells it, as a name of at most `max_bytes`.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn parse(text: &str, max_bytes: usize) -> Result<Self, NameError> {
        let fits = |text: &str, max: usize| match text.len() {
            len_bytes if len_bytes > max => Err(NameError::TooLong {
                len_bytes,
                max_bytes,
            }),
            _ => Ok(()),
        };
        let given = text.trim();
        fits(given, max_bytes.saturating_mul(LONGEST_SPELLING))?;
        let name: String = given.nfkc().collect();
        fits(&name, max_bytes)?;
        if !is_identifier(&name) {
            return Err(NameError::Form);
        }
        if has_too_many_marks(&name) {
            return Err(NameError::Marks);
        }
        if !has_one_direction(&name) {
            return Err(NameError::Direction);
        }
        let key = key(&name);
        if RESERVED.contains(&key.as_str()) {
            return Err(NameError::Reserved);
        }
        let shown: Arc<str> = name.into();
        let key = if key == *shown {
            Arc::clone(&shown)
        } else {
            key.into()
        };
        Ok(Self { shown, key })
    }

    /// What two names must differ in: `Alice` and `alice` are one, `straße` and `STRASSE` too.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Whether PRECIS takes it for an identifier, and of ASCII there are letters, digits, `-`, `_` and `.` alone.
fn is_identifier(name: &str) -> bool {
    let first = |c: char| c.is_alphanumeric() && !is_combining_mark(c);
    let plain =
        |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let class = IdentifierClass::default();
    // Its tables end with Unicode 6.3, as IANA's do: a letter that came later stands there as any other.
    let known: String = name
        .chars()
        .map(|c| if is_later_letter(class, c) { 'x' } else { c })
        .collect();
    name.starts_with(first) && name.chars().all(plain) && class.allows(known).is_ok()
}

fn is_later_letter(class: IdentifierClass, c: char) -> bool {
    c != MONGOLIAN_SELECTOR_FOUR
        && (c.is_alphanumeric() || is_combining_mark(c))
        && class.get_value_from_char(c) == DerivedPropertyValue::Unassigned
}

fn has_too_many_marks(name: &str) -> bool {
    let (mut marks, mut before) = (0, None);
    name.nfd().any(|c| {
        let is_mark = is_combining_mark(c);
        marks = if is_mark { marks + 1 } else { 0 };
        let again = is_mark && before.replace(c) == Some(c);
        if !is_mark {
            before = None;
        }
        again || marks > MARKS_OF_A_LETTER
    })
}

/// The Bidi rule. Marks go with their letters and change nothing about it, but the crate takes them for an end of the
/// name.
fn has_one_direction(name: &str) -> bool {
    let letters: String = name.chars().filter(|c| !is_combining_mark(*c)).collect();
    UsernameCasePreserved::new()
        .directionality_rule(letters)
        .is_ok()
}

/// Canonical caseless matching (Unicode, D145), without the joiners, which nobody sees.
fn key(name: &str) -> String {
    let decomposed: String = name.nfd().collect();
    let folded = UniCase::unicode(decomposed).to_folded_case();
    let seen = folded
        .chars()
        .filter(|c| !matches!(c, '\u{200c}' | '\u{200d}'));
    seen.nfkc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_taken() {
        for text in ["alice", " bob ", "Zoë", "李", "r2-d2_x.y", "7"] {
            assert_eq!(Name::parse(text, 32).unwrap().to_string(), text.trim());
        }
        assert_eq!(Name::parse("Alice", 32).unwrap().key(), "alice");
    }

    #[test]
    fn letters_of_any_script_with_their_marks_are_names() {
        for text in [
            "हिन्दी",         // Devanagari
            "தமிழ்",          // Tamil
            "ที่",             // Thai
            "မြန်မာ",         // Burmese
            "လျှို့ဝှက်",          // five marks on one letter
            "ខ្មែរ",           // Khmer
            "བོད་",           // Tibetan
            "ދިވެހި",           // Thaana: marks that do not combine
            "مُحَمَّد",          // Arabic, with its vowels
            "דָּוִד",           // Hebrew, with its points
            "𞤀𞤣𞤤𞤢𞤥",         // Adlam, younger than the tables of PRECIS
            "𖹀𖹱",            // Medefaidrin, as young
            "l·l-paral·lel", // Catalan
            "한국",
        ] {
            assert_eq!(
                Name::parse(text, 64).map(|name| name.to_string()),
                Ok(text.to_owned())
            );
        }
    }

    #[test]
    fn each_spelling_is_the_same_name() {
        for (one, other) in [
            ("Nguye\u{302}\u{303}n", "Nguyễn"),
            ("cafe\u{301}", "café"),
            ("น\u{e49}\u{e33}", "น\u{e49}\u{e4d}\u{e32}"), // a vowel that Thai writes as one
            ("ａｌｉｃｅ", "alice"),
            ("\u{1112}\u{1161}\u{11ab}", "한"),
        ] {
            let [one, other] = [one, other].map(|text| Name::parse(text, 32).unwrap());
            assert_eq!(one, other);
        }
        // What counts is how long it is as it is shown.
        let syllables = "\u{1112}\u{1161}\u{11ab}".repeat(10);
        assert_eq!(
            Name::parse(&syllables, 30).unwrap().to_string(),
            "한".repeat(10)
        );
    }

    #[test]
    fn names_that_differ_in_case_alone_are_one() {
        for (one, other) in [
            ("straße", "STRASSE"),
            ("σσ", "σς"),
            ("ΣΑΣ", "σας"),
            ("ǆ", "Ǆ"),
            ("Ꮳ", "ꮳ"), // Cherokee
            ("\u{3b1}\u{345}", "ΑΙ"),
            // With a joiner or without: seen alike.
            ("क\u{94d}\u{200d}ष", "क\u{94d}ष"),
        ] {
            let [one, other] = [one, other].map(|text| Name::parse(text, 32).unwrap());
            assert_eq!(one.key(), other.key(), "{one} {other}");
        }
        let [one, other] = ["ı", "i"].map(|text| Name::parse(text, 32).unwrap());
        assert_ne!(one.key(), other.key(), "a letter of its own");
    }

    #[test]
    fn joiners_stand_where_a_script_needs_them_alone() {
        for text in [
            "ශ\u{dca}\u{200d}රී", // Sinhala
            "می\u{200c}خواهم",   // Persian
            "क\u{94d}\u{200c}ष",
        ] {
            assert_eq!(Name::parse(text, 64).unwrap().to_string(), text);
        }
        for text in [
            "ali\u{200d}ce",
            "ali\u{200c}ce",
            "\u{200d}alice",
            "می\u{200c}",
            "क\u{200d}ष",
        ] {
            assert_eq!(Name::parse(text, 64), Err(NameError::Form), "{text:?}");
        }
    }

    #[test]
    fn directions_are_not_mixed() {
        for text in ["דוד", "דוד7", "דוד-כהן", "علی_٧"] {
            assert!(Name::parse(text, 32).is_ok(), "{text}");
        }
        for text in ["aliceדוד", "דודalice", "7דוד", "דוד-", "דוד7٧"] {
            assert!(Name::parse(text, 32).is_err(), "{text}");
        }
        assert_eq!(Name::parse("aדוד", 32), Err(NameError::Direction));
    }

    #[test]
    fn marks_do_not_pile_up() {
        for text in [
            "Z\u{301}\u{301}",
            "a\u{300}\u{300}",
            &"e\u{300}\u{301}\u{302}\u{303}".repeat(4),
        ] {
            let many = text.len() > 20;
            assert_eq!(Name::parse(text, 64).is_ok(), many, "{text}");
        }
        let tower = "a\u{300}\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}";
        assert_eq!(Name::parse(tower, 64), Err(NameError::Marks));
    }

    #[test]
    fn a_name_that_is_read_back_is_the_same() {
        for text in [
            "ﬁﬁ",
            "Ⅷ",
            "Straße",
            "ΣΑΣ",
            "می\u{200c}خواهم",
            "น\u{e49}\u{e33}",
        ] {
            let name = Name::parse(text, 32).unwrap();
            assert_eq!(Name::parse(&name.to_string(), 32), Ok(name));
        }
    }

    /// Characters of all kinds, for names that nobody has.
    const PIECES: [&str; 24] = [
        "a", "Z", "7", "-", ".", "*", ":", " ", "ß", "ﬁ", "\u{301}", "\u{200d}", "\u{200c}",
        "\u{202e}", "क", "\u{94d}", "ד", "\u{5b8}", "ل", "٧", "\u{e33}", "\u{1112}", "𞤀",
        "\u{180f}",
    ];

    #[test]
    fn whatever_is_taken_for_a_name_stays_one_and_shows_no_more_than_it_is() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut taken = 0;
        for _ in 0..20_000 {
            let text: String = (0..rng.usize(1..8))
                .map(|_| PIECES[rng.usize(..PIECES.len())])
                .collect();
            let Ok(name) = Name::parse(&text, 32) else {
                continue;
            };
            taken += 1;
            assert_eq!(
                Name::parse(&name.to_string(), 32).as_ref(),
                Ok(&name),
                "{text:?}"
            );
            let shown = name.to_string();
            assert_eq!(crate::text::harmless(shown.as_bytes()), shown);
            assert!(!shown.contains([' ', '*', ':', '\u{180f}']), "{text:?}");
        }
        assert!(taken > 500, "{taken}");
    }

    #[test]
    fn names_that_could_pass_for_something_else_are_not() {
        for text in [
            "",
            "*",
            "* you are bob",
            "a b",
            "a:b",
            ".a",
            "-a",
            "\\u{1b}x",
            "\u{3164}",
            "operator\u{3164}",
            "alice\u{115f}",
            // A mark without its letter, blanks, symbols.
            "\u{301}a",
            "a\u{a0}b",
            "☃",
            "alice😀",
            // Nobody sees them.
            "alice\u{ad}",
            "alice\u{34f}",
            "alice\u{200b}",
            "alice\u{2060}",
            "alice\u{feff}",
            "alice\u{fe0f}",
            "alice\u{180b}",
            "alice\u{180f}",
            "alice\u{e0061}",
            // They turn what follows round.
            "alice\u{202e}",
            "alice\u{2066}",
            "alice\u{61c}",
            "alice\u{200f}",
        ] {
            assert_eq!(Name::parse(text, 32), Err(NameError::Form), "{text}");
        }
        for text in ["operator", "Quit", "EXIT", "ｏｐｅｒａｔｏｒ", "ｑｕit"] {
            assert_eq!(Name::parse(text, 32), Err(NameError::Reserved), "{text}");
        }
        let error = Name::parse("abcdef", 5).unwrap_err();
        assert_eq!(error.to_string(), "it is 6 bytes long, 5 are allowed");
    }
}
