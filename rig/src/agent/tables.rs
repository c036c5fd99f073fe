//! Socket tables that are too long for one answer: what is left of each is kept until it has been asked for.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::protocol::{MAX_LINE_BYTES, SocketRow};

/// Rows of one answer, with room to spare: a row has at most [`MAX_ROW_BYTES`], but for the name of its node.
pub(super) const ANSWER_ROWS: usize = 10_000;

/// The longest row in JSON, in bytes: two IPv6 addresses, a node's name of 40 characters and a timer.
const MAX_ROW_BYTES: usize = 400;

const _: () = assert!(ANSWER_ROWS * MAX_ROW_BYTES < MAX_LINE_BYTES);

/// Tables that are kept at the same time. A controller asks for one after the other; of one that was given up the
/// rest is forgotten when others come.
const MAX_TABLES: usize = 2;

/// The tables of which not everything has been handed over.
#[derive(Debug, Default)]
pub(super) struct Tables(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// Number, and all rows.
    tables: VecDeque<(u64, Vec<SocketRow>)>,
    next: u64,
}

impl Tables {
    /// The first rows of a table; keeps it where there are more, and gives the number to ask for them.
    pub(super) fn begin(&self, rows: Vec<SocketRow>) -> (Vec<SocketRow>, Option<u64>) {
        if rows.len() <= ANSWER_ROWS {
            return (rows, None);
        }
        let first = rows[..ANSWER_ROWS].to_vec();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = kept.next;
        kept.next += 1;
        if kept.tables.len() >= MAX_TABLES {
            kept.tables.pop_front();
        }
        kept.tables.push_back((number, rows));
        (first, Some(number))
    }

    /// The rows of a kept table from one on, and whether there are more after them. With its last rows a table is
    /// forgotten.
    pub(super) fn more(&self, table: u64, from: usize) -> Option<(Vec<SocketRow>, bool)> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept
            .tables
            .iter()
            .position(|(number, _)| *number == table)?;
        let rows = kept.tables[place].1.get(from..)?;
        let count = rows.len().min(ANSWER_ROWS);
        let (answer, is_last) = (rows[..count].to_vec(), count == rows.len());
        if is_last {
            kept.tables.remove(place);
        }
        Some((answer, !is_last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::protocol::{ReplyLine, Response, SocketTimer, TimerKind};
    use crate::units::{NodeName, Timestamp};

    /// A row as long as any can be, told apart by its queue.
    fn row(number: usize) -> SocketRow {
        let address = "[2001:0db8:1111:2222:3333:4444:5555:6666]:65535";
        SocketRow {
            proto: "tcp".to_owned(),
            state: "SYN_RECEIVED".to_owned(),
            recv_q: u32::MAX - u32::try_from(number).unwrap(),
            send_q: u32::MAX,
            local: address.parse().unwrap(),
            remote: address.parse().unwrap(),
            node: Some(NodeName::new(&"n".repeat(40)).unwrap()),
            timer: Some(SocketTimer {
                kind: TimerKind::Retransmit,
                expires_ms: u32::MAX,
            }),
            retransmits: u8::MAX,
        }
    }

    #[test]
    fn a_long_table_comes_in_several_answers_each_of_which_is_a_line() {
        let tables = Tables::default();
        let all: Vec<_> = (0..2 * ANSWER_ROWS + 5).map(row).collect();
        let (mut got, number) = tables.begin(all.clone());
        let number = number.unwrap();
        let line = ReplyLine {
            id: u64::MAX,
            result: Ok(Response::Sockets {
                at: Timestamp(u64::MAX),
                until: Timestamp(u64::MAX),
                sockets: got.clone(),
                rest: Some(u64::MAX),
            }),
        };
        assert!(serde_json::to_vec(&line).unwrap().len() < MAX_LINE_BYTES);
        loop {
            let (rows, more) = tables.more(number, got.len()).unwrap();
            got.extend(rows);
            if !more {
                break;
            }
        }
        assert_eq!(got, all);
        assert_eq!(tables.more(number, 0), None);
    }

    #[test]
    fn a_short_table_is_not_kept_and_a_table_that_was_given_up_is_forgotten() {
        let tables = Tables::default();
        assert_eq!(tables.begin(vec![row(1)]), (vec![row(1)], None));
        let long: Vec<_> = (0..=ANSWER_ROWS).map(row).collect();
        let numbers: Vec<_> = (0..=MAX_TABLES)
            .filter_map(|_| tables.begin(long.clone()).1)
            .collect();
        assert_eq!(tables.more(numbers[0], ANSWER_ROWS), None);
        assert_eq!(
            tables.more(numbers[1], ANSWER_ROWS),
            Some((vec![row(ANSWER_ROWS)], false))
        );
        assert_eq!(tables.more(numbers[2], long.len() + 1), None);
    }
}
