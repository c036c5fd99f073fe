//! `--where`: a condition over the fields of a flow.
//!
//! ```text
//! expression = and ( "or" and )*
//! and        = not ( "and" not )*
//! not        = "not" not | "(" expression ")" | test
//! test       = FIELD                          is there, and not zero, false or empty
//!            | FIELD op VALUE                 == != < <= > >=, `contains` for text
//!            | FIELD "in" ( CIDR | "(" VALUE ( "," VALUE )* ")" )
//! ```
//!
//! `&&`, `||` and `!` are other spellings. The values' forms follow from the field: a number, a
//! duration with its unit, an address, a word or quoted text.
//!
//! No crate that is kept does this well: the expressions of minijinja, which is here anyway, know
//! no durations and no address ranges, and what compares a word with a number is false there
//! instead of wrong.

mod fields;
mod lex;
mod parse;

pub(super) use fields::FIELDS;
pub(super) use parse::Filter;
