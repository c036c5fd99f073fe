//! A program's terminal: what is drawn on it becomes lines, as they appear on the screen.
//!
//! A program on a terminal draws: it moves the cursor, wipes, writes over what is there. What a
//! person sees is the screen, so the screen is kept, and a line of it that was not there before is a
//! line that the program printed. Rows that only moved, as all do when a view scrolls, are none. A row
//! is divided at vertical lines such as `│`, so that what stands in one column is told from what
//! stands in the next.
//!
//! A picture comes in pieces, and while it is drawn rows stand where they were and already where they
//! will be. So what is new is what the last *complete* picture lacked. A picture is complete where the
//! program says so (synchronized output, private mode 2026), and otherwise when nothing more has come for
//! a while. Before that only lines count that no later piece can turn into something else. What stands in the row of the
//! cursor may be typed just now, and is told once nothing more is, or where it has moved to another row.
//!
//! | module | what it holds |
//! |---|---|
//! | `rows` | rows of a screen, and which of them are new |
//! | `screen` | a screen, and what was seen on it |
//! | `watch` | when a screen is looked at |

mod rows;
mod screen;
mod watch;

pub(super) use watch::{PICTURE_TAKES, watch};
