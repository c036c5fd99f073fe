//! Text from outside made harmless and bounded, colours, and the names of moments.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::judge::Verdict;
use crate::report::Screen;
use crate::units::{Timestamp, printable};

/// The most bytes of one name, step or message that a report shows.
pub const MAX_LINE_BYTES: usize = 400;

/// The most bytes of one detail or ladder that the terminal shows.
pub const MAX_TERMINAL_BYTES: usize = 8 * 1024;

/// The most bytes of one detail or ladder that a file shows.
pub const MAX_FILE_BYTES: usize = 64 * 1024;

/// `text` as one harmless line of at most [`MAX_LINE_BYTES`] and a note of what was left off.
#[must_use]
pub fn line(text: &str) -> String {
    printable(&bounded(text, MAX_LINE_BYTES))
}

/// `text` harmless, its line ends kept, of at most `max_bytes` and a note of what was left off.
#[must_use]
pub fn block(text: &str, max_bytes: usize) -> String {
    let mut out = String::new();
    for (index, part) in bounded(text.trim_end(), max_bytes).lines().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        out.push_str(&printable(part.trim_end()));
    }
    out
}

/// `text` cut to at most `max_bytes`, with a note of how much was left off.
#[must_use]
pub fn bounded(text: &str, max_bytes: usize) -> Cow<'_, str> {
    if text.len() <= max_bytes {
        return text.into();
    }
    let cut = text.floor_char_boundary(max_bytes);
    format!("{} … ({} more bytes)", &text[..cut], text.len() - cut).into()
}

/// Every line of `text` moved to the right by `columns`.
#[must_use]
pub fn indent(text: &str, columns: usize) -> String {
    let mut out = String::with_capacity(text.len() + columns);
    for part in text.lines() {
        if part.is_empty() {
            out.push('\n');
        } else {
            let _infallible = writeln!(out, "{:columns$}{part}", "");
        }
    }
    out
}

/// A verdict's word, padded to `width` columns, in its colour where colours are wanted.
#[must_use]
pub fn verdict_word(verdict: Verdict, width: usize, screen: Screen) -> String {
    let word = format!("{:width$}", verdict.word());
    if !screen.colour {
        return word;
    }
    // ECMA-48 section 8.3.117, Select Graphic Rendition.
    let rendition = match verdict {
        Verdict::Pass => "32",
        Verdict::Skipped => "2",
        Verdict::ExpectedFailure | Verdict::Inconclusive => "33",
        Verdict::Fail => "31",
        Verdict::Error => "1;31",
    };
    format!("\u{1b}[{rendition}m{word}\u{1b}[0m")
}

/// `1 cell`, `2 cells`.
#[must_use]
pub fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// A moment as RFC 3339 writes it, in UTC with nanoseconds: `2026-01-31T09:30:00.000000001Z`.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    const NANOS: u64 = 1_000_000_000;
    const DAY: u64 = 86_400;
    let seconds = at.0 / NANOS;
    let (year, month, day) = civil_date(seconds / DAY);
    let of_day = seconds % DAY;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}Z",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60,
        at.0 % NANOS
    )
}

/// Year, month and day of the proleptic Gregorian calendar, from days since 1970-01-01.
fn civil_date(days: u64) -> (u64, u64, u64) {
    const DAYS_IN_400_YEARS: u64 = 146_097;
    // Years are counted from a first of March, so that a leap day is a year's last day.
    let from_march_0000 = days + 719_468;
    let era = from_march_0000 / DAYS_IN_400_YEARS;
    let day_of_era = from_march_0000 % DAYS_IN_400_YEARS;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_in_rfc_3339() {
        for (seconds, written) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_400, "2000-02-29T00:00:00"),
            (1_709_251_199, "2024-02-29T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
        ] {
            assert_eq!(
                rfc3339(Timestamp(seconds * 1_000_000_000 + 5)),
                format!("{written}.000000005Z")
            );
        }
        // The last moment that a timestamp can hold.
        assert!(rfc3339(Timestamp(u64::MAX)).starts_with("2554-07-21T"));
    }

    #[test]
    fn long_text_is_cut_at_a_character_and_says_so() {
        assert_eq!(bounded("èèè", 3), "è … (4 more bytes)");
        assert_eq!(bounded("èèè", 6), "èèè");
        let megabyte = "x".repeat(1 << 20);
        assert!(line(&megabyte).len() < MAX_LINE_BYTES + 40);
        assert!(block(&megabyte, MAX_TERMINAL_BYTES).len() < MAX_TERMINAL_BYTES + 40);
    }

    #[test]
    fn escapes_become_visible_and_line_ends_stay() {
        assert_eq!(line("a\nb\u{1b}c"), "a\\u{a}b\\u{1b}c");
        assert_eq!(block("a\r\nb\u{202e}c\n", 100), "a\nb\\u{202e}c");
        assert_eq!(indent("a\n\nb", 2), "  a\n\n  b\n");
    }
}
