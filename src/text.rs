//! Bytes from outside made harmless: what comes out is valid UTF-8 and moves no terminal.

/// Turns any bytes into text that a terminal only shows.
///
/// Invalid UTF-8 becomes U+FFFD, a tab a space, and every other character that a terminal would
/// act upon (see [`acts_on_terminal`]) is written out, as in `\u{1b}`. Applying it twice changes
/// nothing more, so a client may repeat what the server has done already.
pub fn harmless(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    // Most messages are of this kind, and this is ten times as fast.
    if bytes.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.into_owned();
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push(' '),
            c if acts_on_terminal(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// Whether a terminal acts upon `c`, or shows later text in another order because of it: the
/// control characters (C0, DEL, C1), line and paragraph separators, and the bidirectional,
/// invisible and tag characters that Unicode TR 36 warns of. The fillers of Hangul are letters that nobody
/// sees: with one behind it, a name looks like another.
///
/// The joiners U+200C and U+200D stay: Persian words and many emoji are spelled with them.
pub fn acts_on_terminal(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// Whether `bytes` end inside a UTF-8 sequence that further bytes could complete.
pub fn ends_inside_character(bytes: &[u8]) -> bool {
    let Some(last) = bytes.utf8_chunks().last() else {
        return false;
    };
    std::str::from_utf8(last.invalid()).is_err_and(|e| e.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_passes_unchanged() {
        for text in ["ciao", "perché no? 日本語", "👨\u{200d}👩\u{200d}👧", ""] {
            assert_eq!(harmless(text.as_bytes()), text);
        }
    }

    #[test]
    fn characters_that_move_a_terminal_are_written_out() {
        assert_eq!(harmless(b"\x1b[2J"), "\\u{1b}[2J");
        assert_eq!(harmless(b"a\rb\x07\x7f"), "a\\u{d}b\\u{7}\\u{7f}");
        assert_eq!(harmless("\u{9b}31m".as_bytes()), "\\u{9b}31m");
        assert_eq!(harmless("abc\u{202e}cba".as_bytes()), "abc\\u{202e}cba");
        assert_eq!(
            harmless("x\u{2066}\u{feff}y".as_bytes()),
            "x\\u{2066}\\u{feff}y"
        );
        assert_eq!(harmless("a\u{3164}\u{ad}".as_bytes()), "a\\u{3164}\\u{ad}");
        assert_eq!(harmless(b"a\tb"), "a b");
    }

    #[test]
    fn invalid_utf8_becomes_the_replacement_character() {
        assert_eq!(harmless(b"caf\xc3"), "caf\u{fffd}");
        assert_eq!(
            harmless(b"\xff\xf4\xff\xfd\x06"),
            "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\\u{6}"
        );
        assert_eq!(harmless(b"\xc0\xaf"), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn doing_it_twice_changes_nothing_more() {
        let once = harmless(b"\x1b]0;title\x07\xfe\t\xe2\x80\xae");
        assert_eq!(harmless(once.as_bytes()), once);
    }

    #[test]
    fn an_unfinished_character_is_told_from_a_wrong_one() {
        assert!(ends_inside_character(b"caf\xc3"));
        assert!(ends_inside_character(b"\xf0\x9f\x98"));
        assert!(!ends_inside_character(b"caf"));
        assert!(!ends_inside_character("é".as_bytes()));
        assert!(!ends_inside_character(b"caf\xff"));
        assert!(!ends_inside_character(b""));
    }
}
