//! The lines that are kept, and which of them are in view.
//!
//! A line takes one row or more, by the width of the view. A place in the conversation is the row
//! that is lowest in view; it is kept by its line, so that what comes and what is dropped do not
//! move the view.

use std::collections::VecDeque;

/// So many lines are kept; then the oldest are dropped.
pub(super) const MAX_LINES: usize = 10_000;

/// So much text is kept, in bytes; then the oldest lines are dropped.
pub(super) const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Lines of a conversation.
#[derive(Debug, Default)]
pub(super) struct Scrollback {
    lines: VecDeque<String>,
    /// How many lines were dropped: the number of the first that is there.
    dropped: usize,
    kept_bytes: usize,
    /// The lowest row in view; none while the view follows the conversation.
    lowest: Option<Row>,
    unread: usize,
}

/// A row of the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    /// Number of its line, counted from the first that ever came.
    line: usize,
    /// How many rows of the line are below it.
    below: usize,
}

/// The size of the view, and how many of its rows a line takes.
pub(super) struct Extent<'a> {
    /// Rows of the view.
    pub(super) height: usize,
    /// How many rows a line takes; at least one.
    pub(super) rows: &'a dyn Fn(&str) -> usize,
}

/// What is in view.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct View<'a> {
    /// The lines, the first and the last perhaps in part.
    pub(super) lines: Vec<&'a str>,
    /// Rows of the first line that are above the view.
    pub(super) above: usize,
    /// Rows that are in view.
    pub(super) rows: usize,
}

impl Scrollback {
    /// Adds a line at the end.
    pub(super) fn push(&mut self, line: String) {
        self.kept_bytes += line.len();
        self.lines.push_back(line);
        if self.lowest.is_some() {
            self.unread += 1;
        }
        while self.lines.len() > MAX_LINES || (self.kept_bytes > MAX_BYTES && self.lines.len() > 1)
        {
            let gone = self.lines.pop_front().unwrap_or_default();
            self.kept_bytes -= gone.len();
            self.dropped += 1;
        }
    }

    /// The newest line.
    pub(super) fn last(&self) -> Option<&str> {
        self.lines.back().map(String::as_str)
    }

    /// How many lines came since the view left the end; none while it is there.
    pub(super) fn unread(&self) -> Option<usize> {
        self.lowest.map(|_| self.unread)
    }

    /// Goes back to the end of the conversation.
    pub(super) fn follow(&mut self) {
        self.lowest = None;
        self.unread = 0;
    }

    /// Moves the view towards the beginning.
    pub(super) fn up(&mut self, rows: usize, extent: &Extent<'_>) {
        let Some(lowest) = self.bottom(extent) else {
            return;
        };
        let (moved, _) = self.above(lowest, rows, extent);
        self.settle(moved, extent);
    }

    /// Moves the view towards the end.
    pub(super) fn down(&mut self, rows: usize, extent: &Extent<'_>) {
        let Some(lowest) = self.bottom(extent) else {
            return;
        };
        self.settle(self.below(lowest, rows, extent), extent);
    }

    /// What is in view.
    pub(super) fn view(&self, extent: &Extent<'_>) -> View<'_> {
        let nothing = View {
            lines: Vec::new(),
            above: 0,
            rows: 0,
        };
        let (Some(lowest), Some(more)) = (self.bottom(extent), extent.height.checked_sub(1)) else {
            return nothing;
        };
        let (top, moved) = self.above(lowest, more, extent);
        let lines = (top.line..=lowest.line).map(|number| self.text(number));
        View {
            lines: lines.collect(),
            above: self.height(top.line, extent) - 1 - top.below,
            rows: moved + 1,
        }
    }

    /// Takes a row as the lowest in view, or the one that fills the view.
    fn settle(&mut self, lowest: Row, extent: &Extent<'_>) {
        let more = extent.height.saturating_sub(1);
        let (top, moved) = self.above(lowest, more, extent);
        let lowest = if moved < more {
            self.below(top, more, extent)
        } else {
            lowest
        };
        if lowest == self.end() {
            self.follow();
        } else {
            self.lowest = Some(lowest);
        }
    }

    /// The lowest row in view, within what is still there; none where nothing is.
    fn bottom(&self, extent: &Extent<'_>) -> Option<Row> {
        if self.lines.is_empty() {
            return None;
        }
        let row = self.lowest.unwrap_or(self.end());
        let line = row.line.max(self.dropped);
        // Another width may give the line fewer rows.
        let below = row.below.min(self.height(line, extent) - 1);
        Some(Row { line, below })
    }

    fn end(&self) -> Row {
        Row {
            line: self.dropped + self.lines.len().saturating_sub(1),
            below: 0,
        }
    }

    /// The row that is `rows` above another, or the first there is, and how far it is.
    fn above(&self, from: Row, rows: usize, extent: &Extent<'_>) -> (Row, usize) {
        let mut row = from;
        let mut left = rows;
        loop {
            let within = self.height(row.line, extent) - 1 - row.below;
            if left <= within {
                row.below += left;
                return (row, rows);
            }
            if row.line == self.dropped {
                row.below += within;
                return (row, rows - left + within);
            }
            left -= within + 1;
            row = Row {
                line: row.line - 1,
                below: 0,
            };
        }
    }

    /// The row that is `rows` below another, or the last there is.
    fn below(&self, from: Row, rows: usize, extent: &Extent<'_>) -> Row {
        let mut row = from;
        let mut left = rows;
        loop {
            if left <= row.below {
                row.below -= left;
                return row;
            }
            if row.line == self.end().line {
                return self.end();
            }
            left -= row.below + 1;
            row.line += 1;
            row.below = self.height(row.line, extent) - 1;
        }
    }

    fn height(&self, number: usize, extent: &Extent<'_>) -> usize {
        (extent.rows)(self.text(number)).max(1)
    }

    fn text(&self, number: usize) -> &str {
        &self.lines[number - self.dropped]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A view of `height` rows that are ten characters wide.
    fn extent(height: usize) -> Extent<'static> {
        Extent {
            height,
            rows: &|line| line.len().div_ceil(10),
        }
    }

    fn numbered(count: usize) -> Scrollback {
        let mut lines = Scrollback::default();
        for n in 0..count {
            lines.push(n.to_string());
        }
        lines
    }

    fn shown(lines: &Scrollback, height: usize) -> Vec<&str> {
        lines.view(&extent(height)).lines
    }

    #[test]
    fn the_view_follows_until_it_is_moved_and_then_stays() {
        let mut lines = numbered(10);
        assert_eq!(shown(&lines, 3), ["7", "8", "9"]);
        assert_eq!(lines.unread(), None);
        lines.up(2, &extent(3));
        assert_eq!(shown(&lines, 3), ["5", "6", "7"]);
        lines.push("10".to_owned());
        assert_eq!(shown(&lines, 3), ["5", "6", "7"]);
        assert_eq!(lines.unread(), Some(1));
        lines.down(3, &extent(3));
        assert_eq!(shown(&lines, 3), ["8", "9", "10"]);
        assert_eq!(lines.unread(), None);
    }

    #[test]
    fn the_view_stays_full_at_the_beginning_and_follows_at_the_end() {
        let mut lines = numbered(5);
        lines.up(100, &extent(3));
        assert_eq!(shown(&lines, 3), ["0", "1", "2"]);
        lines.down(100, &extent(3));
        assert_eq!(lines.unread(), None);
        let mut few = numbered(2);
        few.up(1, &extent(3));
        assert_eq!(few.unread(), None, "there is nowhere to go");
        assert_eq!(few.view(&extent(3)).rows, 2);
        assert_eq!(shown(&Scrollback::default(), 3), [""; 0]);
    }

    #[test]
    fn lines_of_several_rows_pass_row_by_row() {
        let mut lines = numbered(1);
        lines.push("x".repeat(35));
        let view = lines.view(&extent(3));
        assert_eq!((view.lines.len(), view.above, view.rows), (1, 1, 3));
        lines.up(1, &extent(3));
        assert_eq!(lines.view(&extent(3)).above, 0);
        lines.up(1, &extent(3));
        assert_eq!(lines.view(&extent(3)).lines.len(), 2);
        // A wider view gives the line one row, and the view is at its end.
        let wide = Extent {
            height: 3,
            rows: &|_| 1,
        };
        assert_eq!(lines.view(&wide).rows, 2);
    }

    #[test]
    fn the_oldest_lines_are_dropped_and_a_view_of_them_moves_on() {
        let mut lines = numbered(100);
        lines.up(1000, &extent(3));
        for n in 0..MAX_LINES {
            lines.push(format!("later {n}"));
        }
        assert_eq!(lines.lines.len(), MAX_LINES);
        assert_eq!(shown(&lines, 1), ["later 0"]);
        assert_eq!(lines.unread(), Some(MAX_LINES));
        lines.push("x".repeat(MAX_BYTES + 1));
        assert_eq!(lines.lines.len(), 1, "the newest line is kept");
        lines.up(5, &extent(3));
        assert_eq!(lines.view(&extent(3)).rows, 3);
    }
}
