//! What the reader's screen is like. Read once, by the command line, and handed in.

use std::ffi::OsStr;
use std::io::IsTerminal;

use comfy_table::Table;

/// Width of text that is not for a terminal, in columns.
const DEFAULT_COLUMNS: u16 = 100;

/// Width of a terminal that says it has no columns at all: nobody has told it its size.
const UNTOLD_COLUMNS: u16 = 80;

/// Narrower terminals are written to as if they were this wide, in columns.
const MIN_COLUMNS: u16 = 40;

/// What output may make use of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// It is a terminal that can move its cursor.
    pub terminal: bool,
    /// Its width in columns.
    pub columns: u16,
    /// Colours are wanted.
    pub colour: bool,
}

impl Screen {
    /// A file or a pipe: no cursor, no colour.
    pub const FILE: Self = Self {
        terminal: false,
        columns: DEFAULT_COLUMNS,
        colour: false,
    };

    /// What `stream` is, with the wishes of the environment: `NO_COLOR` (any value but the empty
    /// one) and `TERM=dumb`.
    pub fn of(stream: &impl IsTerminal) -> Self {
        if !stream.is_terminal() {
            return Self::FILE;
        }
        Self::from_parts(
            Table::new()
                .width()
                .or_else(|| Table::new().use_stderr().width()),
            std::env::var_os("NO_COLOR").as_deref(),
            std::env::var_os("TERM").as_deref(),
        )
    }

    /// A terminal with these properties.
    fn from_parts(columns: Option<u16>, no_color: Option<&OsStr>, term: Option<&OsStr>) -> Self {
        let dumb = term.is_none_or(|term| term.is_empty() || term == "dumb");
        Self {
            terminal: !dumb,
            columns: match columns {
                None => DEFAULT_COLUMNS,
                Some(0) => UNTOLD_COLUMNS,
                Some(columns) => columns.max(MIN_COLUMNS),
            },
            colour: !dumb && no_color.is_none_or(OsStr::is_empty),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_only_on_a_terminal_that_wants_it() {
        let xterm = Some(OsStr::new("xterm"));
        assert!(Screen::from_parts(Some(80), None, xterm).colour);
        assert!(Screen::from_parts(Some(80), Some(OsStr::new("")), xterm).colour);
        assert!(!Screen::from_parts(Some(80), Some(OsStr::new("1")), xterm).colour);
        let dumb = Screen::from_parts(Some(80), None, Some(OsStr::new("dumb")));
        assert!(!dumb.colour && !dumb.terminal);
        assert_eq!(
            Screen::from_parts(Some(3), None, xterm).columns,
            MIN_COLUMNS
        );
        assert_eq!(Screen::from_parts(Some(0), None, xterm).columns, 80);
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(Screen::of(&file), Screen::FILE);
    }
}
