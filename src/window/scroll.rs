//! Which rows of the conversation are in view.
//!
//! Rows have heights that are known only once they are laid out, and only those in view are. So the
//! position is a row and not a number of pixels: the lowest one in view, and how much of it is not.

use std::ops::Range;

/// Rows with heights.
pub trait Rows {
    /// Numbers of the rows that there are.
    fn range(&self) -> Range<u64>;

    /// Height of one of them, in logical pixels; above zero.
    fn height(&mut self, row: u64) -> f32;
}

/// A row that is in view.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placed {
    /// Its number.
    pub row: u64,
    /// Its upper edge below that of the view, in logical pixels.
    pub top: f32,
}

/// A place in the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Scroll {
    /// The lowest row in view.
    row: u64,
    /// So much of it is below the view, in logical pixels.
    below: f32,
    /// The user has left the end of the conversation.
    away: bool,
    /// Some row was in view.
    begun: bool,
}

impl Scroll {
    /// Whether the view goes with the conversation.
    pub fn follows(&self) -> bool {
        !self.away
    }

    /// Goes to the end, and with the conversation from now on.
    pub fn to_end(&mut self, rows: &impl Rows) {
        self.away = false;
        self.row = rows.range().end.saturating_sub(1);
        self.below = 0.0;
    }

    /// Goes to a row, which then is the lowest in view.
    pub fn to_row(&mut self, row: u64, rows: &mut impl Rows, view_height: f32) {
        if rows.range().is_empty() {
            return;
        }
        self.row = row;
        self.below = 0.0;
        self.away = true;
        self.settle(rows, view_height);
    }

    /// Moves by so many pixels, down where they are positive.
    pub fn by(&mut self, pixels: f32, rows: &mut impl Rows, view_height: f32) {
        if rows.range().is_empty() {
            return;
        }
        self.clamp(rows);
        self.below -= pixels;
        self.away = true;
        self.settle(rows, view_height);
    }

    /// Whether a view that follows is at the end.
    pub fn has_arrived(&self, rows: &impl Rows) -> bool {
        let range = rows.range();
        let is_last = self.begun && self.row + 1 == range.end && self.below <= 0.0;
        self.away || range.is_empty() || is_last
    }

    /// One step towards the end for a view that follows: at most what the view can show, so that each
    /// row is in view at least once.
    pub fn follow(&mut self, rows: &mut impl Rows, view_height: f32) {
        let range = rows.range();
        if self.away || range.is_empty() {
            return;
        }
        if !self.begun || self.row < range.start {
            self.begun = true;
            self.row = range.start;
            self.below = rows.height(range.start);
        }
        let mut left = view_height;
        loop {
            let step = left.min(self.below);
            self.below -= step;
            left -= step;
            if self.below > 0.0 || self.row + 1 == range.end {
                return;
            }
            self.row += 1;
            self.below = rows.height(self.row);
        }
    }

    /// The rows in view, from above.
    pub fn placed(&mut self, rows: &mut impl Rows, view_height: f32) -> Vec<Placed> {
        let range = rows.range();
        if range.is_empty() {
            return Vec::new();
        }
        self.clamp(rows);
        let mut placed = Vec::new();
        let mut bottom = view_height + self.below;
        let mut row = self.row;
        loop {
            bottom -= rows.height(row);
            placed.push(Placed { row, top: bottom });
            if bottom <= 0.0 || row == range.start {
                break;
            }
            row -= 1;
        }
        placed.reverse();
        if bottom > 0.0 {
            // Less than a view of them: they begin at its upper edge.
            for placed in &mut placed {
                placed.top -= bottom;
            }
        }
        placed
    }

    /// Keeps the place among the rows that there are.
    fn clamp(&mut self, rows: &impl Rows) {
        let range = rows.range();
        let row = self.row.clamp(range.start, range.end - 1);
        if row != self.row {
            self.row = row;
            self.below = 0.0;
        }
    }

    /// Makes `below` a part of its row again, and fills the view.
    fn settle(&mut self, rows: &mut impl Rows, view_height: f32) {
        let range = rows.range();
        self.clamp(rows);
        while self.below < 0.0 {
            if self.row + 1 == range.end {
                self.to_end(rows);
                return;
            }
            self.row += 1;
            self.below += rows.height(self.row);
        }
        while self.below >= rows.height(self.row) && self.row > range.start {
            self.below -= rows.height(self.row);
            self.row -= 1;
        }
        self.fill(rows, view_height);
        if self.row + 1 == range.end && self.below <= 0.0 {
            self.away = false;
        }
    }

    /// Moves down where the first row would leave a gap above it.
    fn fill(&mut self, rows: &mut impl Rows, view_height: f32) {
        let range = rows.range();
        let mut above = -self.below;
        for row in (range.start..=self.row).rev() {
            above += rows.height(row);
            if above >= view_height {
                return;
            }
        }
        let mut gap = view_height - above;
        while gap > 0.0 {
            let step = gap.min(self.below);
            self.below -= step;
            gap -= step;
            if gap > 0.0 {
                if self.row + 1 == range.end {
                    return;
                }
                self.row += 1;
                self.below = rows.height(self.row);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of these heights.
    struct Heights(Vec<f32>);

    impl Rows for Heights {
        fn range(&self) -> Range<u64> {
            0..self.0.len() as u64
        }

        fn height(&mut self, row: u64) -> f32 {
            self.0[usize::try_from(row).unwrap()]
        }
    }

    const VIEW: f32 = 100.0;

    fn even(count: usize) -> Heights {
        Heights(vec![10.0; count])
    }

    fn shown(scroll: &mut Scroll, rows: &mut Heights) -> (u64, u64) {
        let placed = scroll.placed(rows, VIEW);
        (placed[0].row, placed[placed.len() - 1].row)
    }

    #[test]
    fn every_row_is_in_view_on_the_way_to_the_end() {
        for heights in [
            vec![10.0; 95],
            vec![10.0, 250.0, 30.0, 99.0, 101.0, 100.0, 1.0],
            vec![33.0; 50],
        ] {
            let mut rows = Heights(heights);
            let mut scroll = Scroll::default();
            let mut seen = vec![false; rows.0.len()];
            for _ in 0..1000 {
                scroll.follow(&mut rows, VIEW);
                for placed in scroll.placed(&mut rows, VIEW) {
                    seen[usize::try_from(placed.row).unwrap()] = true;
                }
                if scroll.has_arrived(&rows) {
                    break;
                }
            }
            assert!(scroll.has_arrived(&rows), "it arrives");
            assert!(seen.iter().all(|&seen| seen), "{seen:?}");
        }
    }

    #[test]
    fn without_rows_there_is_nowhere_to_go() {
        let mut none = even(0);
        let mut scroll = Scroll::default();
        scroll.to_row(0, &mut none, VIEW);
        scroll.by(-10.0, &mut none, VIEW);
        assert!(scroll.follows(), "it still follows");
        assert!(!scroll.has_arrived(&even(3)));
    }

    #[test]
    fn few_rows_begin_at_the_top() {
        let mut rows = even(3);
        let mut scroll = Scroll::default();
        scroll.follow(&mut rows, VIEW);
        let tops: Vec<_> = scroll
            .placed(&mut rows, VIEW)
            .iter()
            .map(|p| p.top)
            .collect();
        assert_eq!(tops, [0.0, 10.0, 20.0]);
        scroll.by(-50.0, &mut rows, VIEW);
        assert!(scroll.follows(), "there is nothing to scroll");
        assert_eq!(shown(&mut scroll, &mut rows), (0, 2));
    }

    #[test]
    fn up_and_down_again_is_where_it_was() {
        let mut rows = even(50);
        let mut scroll = Scroll::default();
        scroll.to_end(&rows);
        scroll.by(-105.0, &mut rows, VIEW);
        assert!(!scroll.follows());
        assert_eq!(shown(&mut scroll, &mut rows), (29, 39));
        scroll.by(105.0, &mut rows, VIEW);
        assert!(scroll.follows());
        assert_eq!(shown(&mut scroll, &mut rows), (40, 49));
    }

    #[test]
    fn both_ends_hold() {
        let mut rows = even(50);
        let mut scroll = Scroll::default();
        scroll.to_end(&rows);
        scroll.by(-1e6, &mut rows, VIEW);
        assert_eq!(shown(&mut scroll, &mut rows), (0, 9));
        scroll.by(1e6, &mut rows, VIEW);
        assert_eq!(shown(&mut scroll, &mut rows), (40, 49));
        assert!(scroll.follows());
    }

    #[test]
    fn who_reads_above_stays_there_when_lines_come() {
        let mut rows = even(50);
        let mut scroll = Scroll::default();
        scroll.to_end(&rows);
        scroll.by(-200.0, &mut rows, VIEW);
        let before = shown(&mut scroll, &mut rows);
        rows.0.extend([10.0; 20]);
        scroll.follow(&mut rows, VIEW);
        assert_eq!(shown(&mut scroll, &mut rows), before);
    }

    #[test]
    fn without_rows_nothing_is_in_view() {
        let mut rows = even(0);
        let mut scroll = Scroll::default();
        scroll.by(10.0, &mut rows, VIEW);
        scroll.follow(&mut rows, VIEW);
        assert!(scroll.has_arrived(&rows));
        assert_eq!(scroll.placed(&mut rows, VIEW), []);
    }
}
