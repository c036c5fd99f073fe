//! Flows as columns of text.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write;

use comfy_table::{ContentArrangement, Table, presets};

use super::names::Names;
use crate::analysis::{Flow, Proto};
use crate::units::{Timestamp, show_duration};
use crate::wire::Token;

/// Beyond this many flows a terminal gets plain columns too: nobody reads a drawn table of that
/// length, and laying it out takes long.
const MAX_ROWS_DRAWN: usize = 1000;

const COLUMNS: usize = 12;

const HEADINGS: [&str; COLUMNS] = [
    "#",
    "start",
    "proto",
    "initiator",
    "responder",
    "state",
    "history",
    "bytes > <",
    "packets > <",
    "duration",
    "closed by",
    "remarks",
];

/// Columns that a narrow terminal goes without, in this order: by position in [`HEADINGS`].
const LEFT_OUT_FIRST: [usize; 3] = [1, 8, 9];

/// Room that each column gets where rows are shown before all of them are known: enough for most.
const ROOM: [usize; COLUMNS] = [4, 27, 5, 18, 18, 6, 10, 11, 11, 8, 9, 0];

/// A row's cells.
type Row = [String; COLUMNS];

/// The row of a flow.
pub(super) fn row(flow: &Flow, names: &Names) -> Row {
    let (orig, resp) = (&flow.orig_side, &flow.resp_side);
    let proto = match flow.proto {
        Proto::Tcp => "tcp",
        Proto::Udp => "udp",
    };
    let closer = flow.closed_by.map(|side| side.to_string());
    [
        flow.number.to_string(),
        utc(flow.first),
        proto.to_owned(),
        names.endpoint(flow.orig),
        names.endpoint(flow.resp),
        flow.conn_state.to_string(),
        flow.history.clone(),
        format!("{} {}", orig.bytes, resp.bytes),
        format!("{} {}", orig.pkts, resp.pkts),
        show_duration(flow.duration()),
        closer.unwrap_or_else(|| "-".to_owned()),
        flow.remarks().join(", "),
    ]
}

/// The headings with the room that rows get which are shown as they come.
pub(super) fn write_headings(out: &mut impl Write) -> std::io::Result<()> {
    write_line(out, HEADINGS.into_iter().zip(ROOM))
}

/// A row that is shown before the others are known.
pub(super) fn write_row(out: &mut impl Write, row: &Row) -> std::io::Result<()> {
    write_line(out, row.iter().map(String::as_str).zip(ROOM))
}

fn write_line<'a>(
    out: &mut impl Write,
    cells: impl Iterator<Item = (&'a str, usize)>,
) -> std::io::Result<()> {
    let mut line = String::new();
    for (cell, width) in cells {
        // Writing into a text cannot fail.
        let _ = write!(line, "{cell:width$}  ");
    }
    writeln!(out, "{}", line.trim_end())
}

/// Rows of text with the room that each column needs. All cells stand in one text, since captures
/// may hold hundreds of thousands of flows.
pub(super) struct Columns {
    text: String,
    ends: Vec<usize>,
    widths: [usize; COLUMNS],
    /// Rows of subflows of Multipath TCP, and their connections' names.
    subflows: Vec<(usize, Token)>,
}

impl Columns {
    pub(super) fn new() -> Self {
        let mut columns = Self {
            text: String::new(),
            ends: Vec::new(),
            widths: [0; COLUMNS],
            subflows: Vec::new(),
        };
        columns.push(&HEADINGS.map(str::to_owned), None);
        columns
    }

    /// Adds a row; subflows of the same connection stand together.
    pub(super) fn push(&mut self, row: &Row, connection: Option<Token>) {
        if let Some(token) = connection {
            self.subflows.push((self.ends.len() / COLUMNS, token));
        }
        for (cell, width) in row.iter().zip(&mut self.widths) {
            self.text.push_str(cell);
            self.ends.push(self.text.len());
            *width = (*width).max(cell.chars().count());
        }
    }

    /// Writes the rows: drawn for a terminal of this width, aligned by spaces elsewhere.
    pub(super) fn write(&self, out: &mut impl Write, width: Option<u16>) -> std::io::Result<()> {
        let rows = self.ends.len() / COLUMNS - 1;
        match width {
            Some(width) if rows <= MAX_ROWS_DRAWN => self.draw(out, width),
            _ => self
                .rows()
                .try_for_each(|row| write_line(out, row.into_iter().zip(self.widths))),
        }
    }

    /// The rows, headings first; further subflows of a connection stand below its first one.
    fn rows(&self) -> impl Iterator<Item = [&str; COLUMNS]> {
        let mut firsts = HashMap::new();
        // For each row that stands elsewhere: the row below which it stands.
        let moved: HashMap<usize, usize> = self
            .subflows
            .iter()
            .filter_map(|(row, token)| {
                let first = *firsts.entry(*token).or_insert(*row);
                (first != *row).then_some((*row, first))
            })
            .collect();
        let mut order: Vec<usize> = (0..self.ends.len() / COLUMNS).collect();
        if !moved.is_empty() {
            order.sort_by_key(|row| (*moved.get(row).unwrap_or(row), *row));
        }
        order.into_iter().map(|row| self.cells(row))
    }

    fn cells(&self, row: usize) -> [&str; COLUMNS] {
        let first = row * COLUMNS;
        std::array::from_fn(|column| {
            let at = first + column;
            let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
            &self.text[start..self.ends[at]]
        })
    }

    /// As a table that fits the width.
    fn draw(&self, out: &mut impl Write, width: u16) -> std::io::Result<()> {
        let shown = self.fitting(usize::from(width));
        let cells = |row: [&str; COLUMNS]| shown.iter().map(|c| row[*c].to_owned()).collect();
        let mut table = Table::new();
        table
            .load_style(presets::UTF8_HORIZONTAL_ONLY)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width);
        let mut rows = self.rows().map(cells);
        if let Some(headings) = rows.next() {
            let headings: Vec<String> = headings;
            table.set_header(headings);
        }
        table.add_rows(rows);
        writeln!(out, "{table}")
    }

    /// The columns that are shown in this width.
    fn fitting(&self, width: usize) -> Vec<usize> {
        /// Room between the cells of a drawn table.
        const PADDING: usize = 3;
        let mut shown: Vec<usize> = (0..COLUMNS).collect();
        for left_out in LEFT_OUT_FIRST {
            let needed: usize = shown.iter().map(|c| self.widths[*c] + PADDING).sum();
            if needed <= width {
                break;
            }
            shown.retain(|column| *column != left_out);
        }
        shown
    }
}

/// A moment in UTC with microseconds, by the calendar of ISO 8601.
fn utc(at: Timestamp) -> String {
    const DAY_S: u64 = 86_400;
    let (seconds, ns) = (at.0 / 1_000_000_000, at.0 % 1_000_000_000);
    let (year, month, day) = date(seconds / DAY_S);
    let (hour, minute, second) = (seconds % DAY_S / 3600, seconds % 3600 / 60, seconds % 60);
    let us = ns / 1000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{us:06}Z")
}

/// Year, month and day of a day counted from 1 January 1970.
fn date(mut day: u64) -> (u64, u64, u64) {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    // A timestamp ends in the year 2554, which bounds the loop.
    loop {
        let days = if leap(year) { 366 } else { 365 };
        if day < days {
            break;
        }
        day -= days;
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for days in months {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    (year, month, day + 1)
}

#[cfg(test)]
mod tests {
    use super::super::testing::flow;
    use super::*;

    #[test]
    fn a_narrow_terminal_goes_without_some_columns() {
        let mut columns = Columns::new();
        columns.push(&row(&flow(), &Names::default()), None);
        let drawn = |width| {
            let mut out = Vec::new();
            columns.write(&mut out, Some(width)).unwrap();
            String::from_utf8(out).unwrap()
        };
        for (width, start, packets) in [(200, true, true), (120, false, true), (100, false, false)]
        {
            let table = drawn(width);
            assert!(
                table
                    .lines()
                    .all(|line| line.chars().count() <= width.into())
            );
            // Three lines of frame, the headings and the flow: no cell is broken.
            assert_eq!(table.lines().count(), 5, "{table}");
            assert_eq!(table.contains("start"), start, "{table}");
            assert_eq!(table.contains("packets"), packets, "{table}");
        }
    }

    #[test]
    fn subflows_of_a_connection_stand_together() {
        let mut columns = Columns::new();
        for (number, token) in [
            (1, Some(7)),
            (2, None),
            (3, Some(9)),
            (4, Some(7)),
            (5, Some(9)),
            (6, Some(7)),
        ] {
            let flow = Flow { number, ..flow() };
            columns.push(&row(&flow, &Names::default()), token.map(Token));
        }
        let numbers: Vec<_> = columns.rows().map(|row| row[0]).collect();
        assert_eq!(numbers, ["#", "1", "4", "6", "2", "3", "5"]);
    }

    #[test]
    fn moments_by_the_calendar() {
        for (ns, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400_000_001_000, "2000-02-29T00:00:00.000001Z"),
            (1_735_689_599_999_999_999, "2024-12-31T23:59:59.999999Z"),
            (1_735_689_600_000_000_000, "2025-01-01T00:00:00.000000Z"),
            (u64::MAX, "2554-07-21T23:34:33.709551Z"),
        ] {
            assert_eq!(utc(Timestamp(ns)), expected);
        }
    }
}
