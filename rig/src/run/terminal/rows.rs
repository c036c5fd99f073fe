//! Rows of a screen, the lines that stand in them, and which of these are new.

use std::collections::HashSet;
use std::ops::Range;

/// What divides a row.
const VERTICAL_LINES: [char; 3] = ['│', '┃', '║'];

/// A row of a screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// What stands between vertical lines.
    parts: Vec<String>,
    /// Whether its line goes on in the next row, since it was too long for the screen.
    goes_on: bool,
}

/// The rows that a screen shows at present.
pub(super) fn in_view(screen: &vt100::Screen) -> Vec<Row> {
    let (_, columns) = screen.size();
    let rows = screen.rows(0, columns.get()).zip(0..);
    rows.map(|(text, number)| Row {
        parts: text.split(VERTICAL_LINES).map(str::to_owned).collect(),
        goes_on: screen.row_wrapped(number),
    })
    .collect()
}

/// A line: what stands in a column of a row, or a row with those in which it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The column that it stands in.
    pub(super) column: usize,
    /// The rows that it takes.
    pub(super) rows: Range<usize>,
    pub(super) text: String,
}

impl Line {
    /// What tells it from others, wherever it stands.
    pub(super) fn key(&self) -> (usize, String) {
        (self.column, self.text.clone())
    }
}

/// The lines of some rows that are not empty, in order.
fn lines(rows: &[Row]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut number = 0;
    while let Some(row) = rows.get(number) {
        let first = number;
        number += 1;
        if row.parts.len() == 1 {
            // A line that is longer than the screen is wide is one line.
            let single = |row: &Row| row.parts.len() == 1;
            while rows[number - 1].goes_on && rows.get(number).is_some_and(single) {
                number += 1;
            }
            let parts = rows[first..number].iter().map(|row| row.parts[0].as_str());
            lines.push((0, first..number, parts.collect::<String>()));
        } else {
            let parts = row.parts.iter().enumerate();
            lines.extend(parts.map(|(column, part)| (column, first..number, part.clone())));
        }
    }
    let lines = lines.into_iter().map(|(column, rows, text)| Line {
        column,
        rows,
        text: text.trim().to_owned(),
    });
    lines.filter(|line| !line.text.is_empty()).collect()
}

/// The lines that are new.
pub(super) struct New {
    /// In order, and whether each stood nowhere in its column before: it has not only moved.
    lines: Vec<(Line, bool)>,
}

impl New {
    /// What is new in `rows`, beside what stood in the rows `before`. The longest common subsequence is what was
    /// there, so that lines that moved are not new, and a text that comes again is.
    pub(super) fn of(before: &[Row], rows: &[Row]) -> Self {
        let (old, now) = (lines(before), lines(rows));
        let columns = now.iter().map(|line| line.column + 1).max().unwrap_or(0);
        let mut new = Vec::new();
        for column in 0..columns {
            let of_column = |line: &&Line| line.column == column;
            let old: Vec<_> = old.iter().filter(of_column).collect();
            let now: Vec<_> = now.iter().filter(of_column).collect();
            let known: HashSet<_> = old.iter().map(|line| line.text.as_str()).collect();
            let added = added(&old, &now).into_iter();
            new.extend(added.map(|line| (line.clone(), !known.contains(line.text.as_str()))));
        }
        new.sort_by_key(|(line, _)| (line.rows.start, line.column));
        Self { lines: new }
    }

    /// The new lines, each with whether it was unheard of.
    pub(super) fn lines(&self) -> impl Iterator<Item = (&Line, bool)> {
        self.lines.iter().map(|(line, unheard)| (line, *unheard))
    }

    /// Wipes new lines from the rows, so that they are new again the next time.
    pub(super) fn wipe(&self, wiped: impl Fn(&Line, bool) -> bool, rows: &mut [Row]) {
        for (line, _) in self
            .lines()
            .filter(|&(line, unheard_of)| wiped(line, unheard_of))
        {
            for row in &mut rows[line.rows.clone()] {
                row.parts[line.column].clear();
            }
        }
    }
}

/// The lines of `now` that are not in its longest common subsequence with `old`.
fn added<'a>(old: &[&Line], now: &[&'a Line]) -> Vec<&'a Line> {
    // common[i][j]: length of the longest common subsequence of old[i..] and now[j..].
    let mut common = vec![vec![0_u32; now.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..now.len()).rev() {
            common[i][j] = if old[i].text == now[j].text {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let mut added = Vec::new();
    let (mut i, mut j) = (0, 0);
    while let Some(line) = now.get(j) {
        if old.get(i).is_some_and(|was| was.text == line.text) {
            (i, j) = (i + 1, j + 1);
        } else if i < old.len() && common[i + 1][j] >= common[i][j + 1] {
            i += 1;
        } else {
            added.push(*line);
            j += 1;
        }
    }
    added
}

/// How many of the first `limit` rows are whole lines: a line may go on below them. One that fills all of them is taken
/// as it is.
pub(super) fn end_of_lines(rows: &[Row], limit: usize) -> usize {
    let mut end = limit;
    while end > 0 && rows[end - 1].goes_on {
        end -= 1;
    }
    if end == 0 { limit } else { end }
}
