//! Reading a condition, and holding flows against it.

use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;

use super::fields::{FIELDS, Field, Kind, Value};
use super::lex::{Piece, Token, fault, pieces};
use crate::cli::flows::record::ConnLog;
use crate::spec::Fault;
use crate::units::{decimal_seconds, parse_duration, printable};

/// The longest condition, in bytes.
const MAX_BYTES: usize = 16_384;
/// How deep parentheses and `not` may nest.
const MAX_DEPTH: usize = 64;
/// Names further off than this are not what was meant (Damerau-Levenshtein, 0 to 1).
const LEAST_LIKENESS: f64 = 0.6;

/// A condition over the fields of a flow, all of its types checked.
#[derive(Debug)]
pub(in super::super) struct Filter(Expr);

#[derive(Debug)]
enum Expr {
    Or(Vec<Expr>),
    And(Vec<Expr>),
    Not(Box<Expr>),
    Test(&'static Field, Test),
}

#[derive(Debug)]
enum Test {
    /// There, and not zero, false or empty.
    Holds,
    Compare(Operator, Literal),
    In(Vec<Literal>),
    Within(IpNet),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Contains,
}

#[derive(Debug)]
enum Literal {
    Count(u64),
    Seconds(f64),
    Address(IpAddr),
    Bool(bool),
    Text(String),
}

impl Filter {
    /// Reads a condition.
    pub(in super::super) fn parse(text: &str) -> Result<Self, Fault> {
        if text.len() > MAX_BYTES {
            let message = format!("the condition has more than {MAX_BYTES} bytes");
            return Err(Fault::new(message));
        }
        let mut parser = Parser {
            pieces: pieces(text)?,
            at: 0,
            end: text.len(),
        };
        let expr = parser.or(0)?;
        match parser.pieces.get(parser.at) {
            None => Ok(Self(expr)),
            Some(piece) => Err(fault(
                piece.range.clone(),
                "`and`, `or` or the end is expected here",
                None,
            )),
        }
    }

    /// Whether a flow fulfils it.
    pub(in super::super) fn holds(&self, flow: &ConnLog<'_>) -> bool {
        self.0.holds(flow)
    }
}

impl Expr {
    fn holds(&self, flow: &ConnLog<'_>) -> bool {
        match self {
            Self::Or(parts) => parts.iter().any(|part| part.holds(flow)),
            Self::And(parts) => parts.iter().all(|part| part.holds(flow)),
            Self::Not(part) => !part.holds(flow),
            Self::Test(field, test) => test.holds(&(field.get)(flow)),
        }
    }
}

impl Test {
    fn holds(&self, value: &Value<'_>) -> bool {
        match self {
            Self::Holds => match value {
                Value::Count(n) => *n > 0,
                Value::Seconds(s) => *s > 0.0,
                Value::Bool(b) => *b,
                Value::Text(text) => !text.is_empty(),
                Value::List(list) => !list.is_empty(),
                Value::Address(_) => true,
                Value::Absent => false,
            },
            Self::Compare(operator, literal) => operator.holds(value, literal),
            Self::In(literals) => literals.iter().any(|l| Operator::Eq.holds(value, l)),
            Self::Within(net) => matches!(value, Value::Address(address) if net.contains(address)),
        }
    }
}

impl Operator {
    /// What a flow does not have differs from everything and compares with nothing.
    fn holds(self, value: &Value<'_>, literal: &Literal) -> bool {
        let order = match (value, literal) {
            (Value::Count(a), Literal::Count(b)) => a.partial_cmp(b),
            (Value::Seconds(a), Literal::Seconds(b)) => a.partial_cmp(b),
            (Value::Address(a), Literal::Address(b)) => a.partial_cmp(b),
            (Value::Bool(a), Literal::Bool(b)) => a.partial_cmp(b),
            (Value::Text(a), Literal::Text(b)) if self == Self::Contains => {
                return a.contains(b.as_str());
            }
            (Value::Text(a), Literal::Text(b)) => Some(a.as_ref().cmp(b.as_str())),
            _ => None,
        };
        let Some(order) = order else {
            return self == Self::Ne;
        };
        match self {
            Self::Eq => order.is_eq(),
            Self::Ne => order.is_ne(),
            Self::Lt => order.is_lt(),
            Self::Le => order.is_le(),
            Self::Gt => order.is_gt(),
            Self::Ge => order.is_ge(),
            Self::Contains => false,
        }
    }
}

struct Parser<'a> {
    pieces: Vec<Piece<'a>>,
    at: usize,
    end: usize,
}

impl<'a> Parser<'a> {
    fn or(&mut self, depth: usize) -> Result<Expr, Fault> {
        let mut parts = vec![self.and(depth)?];
        while self.take(Token::Or) {
            parts.push(self.and(depth)?);
        }
        Ok(one_or(parts, Expr::Or))
    }

    fn and(&mut self, depth: usize) -> Result<Expr, Fault> {
        let mut parts = vec![self.not(depth)?];
        while self.take(Token::And) {
            parts.push(self.not(depth)?);
        }
        Ok(one_or(parts, Expr::And))
    }

    fn not(&mut self, depth: usize) -> Result<Expr, Fault> {
        if depth > MAX_DEPTH {
            let message = format!("conditions nest at most {MAX_DEPTH} deep");
            return Err(fault(self.here(), &message, None));
        }
        if self.take(Token::Not) {
            return Ok(Expr::Not(Box::new(self.not(depth + 1)?)));
        }
        let open = self.here();
        if self.take(Token::Open) {
            let expr = self.or(depth + 1)?;
            return if self.take(Token::Close) {
                Ok(expr)
            } else {
                Err(fault(open, "this `(` is not closed", None))
            };
        }
        self.test()
    }

    fn test(&mut self) -> Result<Expr, Fault> {
        let (name, range) = match self.next() {
            Some((Token::Word(name), range)) => (name, range),
            Some((_, range)) => return Err(fault(range, "a field is expected here", None)),
            None => return Err(fault(self.here(), "a field is expected here", None)),
        };
        let field = FIELDS.iter().find(|field| field.name == name);
        let field = field.ok_or_else(|| unknown_field(name, range))?;
        let sign = self.here();
        let operator = match self.pieces.get(self.at).map(|piece| piece.token) {
            Some(Token::Eq) => Operator::Eq,
            Some(Token::Ne) => Operator::Ne,
            Some(Token::Lt) => Operator::Lt,
            Some(Token::Le) => Operator::Le,
            Some(Token::Gt) => Operator::Gt,
            Some(Token::Ge) => Operator::Ge,
            Some(Token::Contains) => Operator::Contains,
            Some(Token::In) => {
                self.at += 1;
                return Ok(Expr::Test(field, self.within(field)?));
            }
            _ => return Ok(Expr::Test(field, Test::Holds)),
        };
        self.at += 1;
        let text = matches!(field.kind, Kind::Text | Kind::Word(_));
        let ordered = matches!(field.kind, Kind::Count | Kind::Span | Kind::Moment);
        let fits = match operator {
            Operator::Eq | Operator::Ne => true,
            Operator::Contains => text,
            _ => ordered,
        };
        if !fits {
            let message = format!("`{name}` is {}, which has no such order", field.kind.what());
            let message = match operator {
                Operator::Contains => format!("`{name}` is {}, not text", field.kind.what()),
                _ => message,
            };
            return Err(fault(sign, &message, None));
        }
        let whole = operator != Operator::Contains;
        let literal = self.literal(field, whole)?;
        Ok(Expr::Test(field, Test::Compare(operator, literal)))
    }

    /// What follows `in`.
    fn within(&mut self, field: &'static Field) -> Result<Test, Fault> {
        let open = self.here();
        if !self.take(Token::Open) {
            return match (field.kind, self.next()) {
                (Kind::Address, Some((Token::Word(text) | Token::Quoted(text), range))) => {
                    let net = text.parse().map(Test::Within);
                    net.map_err(|_| {
                        let message = format!("`{}` is no range of addresses", printable(text));
                        fault(range, &message, Some("write it as `10.0.0.0/8`"))
                    })
                }
                (Kind::Address, _) => Err(fault(open, "a range or `(` is expected here", None)),
                _ => Err(fault(open, "`(` and a list are expected here", None)),
            };
        }
        let mut literals = vec![self.literal(field, true)?];
        while self.take(Token::Comma) {
            literals.push(self.literal(field, true)?);
        }
        if self.take(Token::Close) {
            Ok(Test::In(literals))
        } else {
            Err(fault(self.here(), "`,` or `)` is expected here", None))
        }
    }

    /// A value that fits the field; the whole of it, or a part of its text.
    fn literal(&mut self, field: &'static Field, whole: bool) -> Result<Literal, Fault> {
        match self.next() {
            Some((Token::Word(text) | Token::Quoted(text), range)) => field
                .kind
                .literal(text, whole)
                .map_err(|hint| wrong_literal(field, text, range, hint.as_deref())),
            Some((_, range)) => Err(fault(range, "a value is expected here", None)),
            None => Err(fault(self.here(), "a value is expected here", None)),
        }
    }

    fn next(&mut self) -> Option<(Token<'a>, Range<usize>)> {
        let piece = self.pieces.get(self.at)?;
        self.at += 1;
        Some((piece.token, piece.range.clone()))
    }

    fn take(&mut self, token: Token<'_>) -> bool {
        let found = self.pieces.get(self.at).is_some_and(|p| p.token == token);
        self.at += usize::from(found);
        found
    }

    /// Where the next piece stands, or the end.
    fn here(&self) -> Range<usize> {
        let piece = self.pieces.get(self.at);
        piece.map_or(self.end..self.end, |piece| piece.range.clone())
    }
}

fn one_or(mut parts: Vec<Expr>, several: fn(Vec<Expr>) -> Expr) -> Expr {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            several(parts)
        }
        None => several(parts),
    }
}

impl Kind {
    fn what(self) -> &'static str {
        match self {
            Self::Count => "a number",
            Self::Span => "a duration",
            Self::Moment => "a moment in seconds since 1970",
            Self::Address => "an address",
            Self::Bool => "true or false",
            Self::Text => "text",
            Self::Word(_) => "a word",
            Self::List => "a list",
        }
    }

    /// Reads a value to compare with; otherwise a hint.
    fn literal(self, text: &str, whole: bool) -> Result<Literal, Option<String>> {
        match self {
            Self::Count => text.parse().map(Literal::Count).map_err(|_| None),
            Self::Span => parse_duration(text)
                .map(|duration| Literal::Seconds(decimal_seconds(duration)))
                .map_err(|_| Some("write it with its unit, such as `200ms` or `2s`".to_owned())),
            Self::Moment => text.parse().map(Literal::Seconds).map_err(|_| None),
            Self::Address => text.parse().map(Literal::Address).map_err(|_| {
                let net = text.parse::<IpNet>();
                net.ok().map(|_| "write `in` before a range".to_owned())
            }),
            Self::Bool => text.parse().map(Literal::Bool).map_err(|_| None),
            Self::Word(words) if whole && !words.contains(&text) => {
                let meant = nearest(text, words.iter().copied());
                let known = || format!("there are {}", words.join(", "));
                Err(Some(meant.unwrap_or_else(known)))
            }
            Self::Text | Self::Word(_) => Ok(Literal::Text(text.to_owned())),
            Self::List => Err(Some(
                "a list stands alone: it holds if it is not empty".to_owned(),
            )),
        }
    }
}

fn wrong_literal(field: &Field, text: &str, range: Range<usize>, hint: Option<&str>) -> Fault {
    let (name, what, text) = (field.name, field.kind.what(), printable(text));
    let message = format!("`{name}` is {what}, and `{text}` is none that it could be");
    fault(range, &message, hint)
}

fn unknown_field(name: &str, range: Range<usize>) -> Fault {
    let meant = nearest(name, FIELDS.iter().map(|field| field.name));
    let other = || "`rig flows --schema` lists the fields".to_owned();
    let message = format!("there is no field `{}`", printable(name));
    fault(range, &message, Some(&meant.unwrap_or_else(other)))
}

fn nearest(text: &str, known: impl Iterator<Item = &'static str>) -> Option<String> {
    known
        .map(|known| (strsim::normalized_damerau_levenshtein(text, known), known))
        .filter(|(likeness, _)| *likeness >= LEAST_LIKENESS)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| format!("did you mean `{known}`?"))
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flows::names::Names;
    use crate::cli::flows::testing::flow;

    fn holds(text: &str) -> bool {
        let (flow, names) = (flow(), Names::default());
        let filter = Filter::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
        filter.holds(&ConnLog::of(&flow, &names))
    }

    #[test]
    fn conditions_hold_or_not() {
        // The flow: 10.0.0.1:40000 -> 10.0.0.2:80, tcp, RSTR, 5 bytes and none back, 2.5 s, one
        // retransmission, reset by the responder.
        for (text, expected) in [
            ("conn_state == RSTR", true),
            ("conn_state != 'RSTR'", false),
            ("conn_state in (SF, RSTR)", true),
            ("conn_state in (SF)", false),
            ("conn_state contains RST", true),
            ("orig_bytes == 5", true),
            ("orig_bytes < 5 or resp_bytes == 0", true),
            ("orig_bytes < 5 || resp_bytes != 0", false),
            ("orig_bytes >= 5 && not resp_bytes > 0", true),
            ("!(orig_bytes == 5)", false),
            ("not not orig_bytes", true),
            ("duration > 2s and duration <= 2.5s", true),
            ("duration < 200ms", false),
            ("ts >= 1", true),
            ("id.orig_h in 10.0.0.0/8", true),
            ("id.orig_h in 192.168.0.0/16", false),
            ("id.orig_h in fd00::/8", false),
            ("id.orig_h == 10.0.0.1", true),
            ("id.orig_h in (10.0.0.7, 10.0.0.1)", true),
            ("id.resp_p == 80", true),
            ("history contains \"aD\"", false),
            ("history contains r", true),
            ("orig_retransmissions", true),
            ("orig_retransmission_gaps", true),
            ("resp_retransmission_gaps", false),
            ("orig_name", false),
            ("orig_name == alice", false),
            ("orig_name != alice", true),
            ("orig_mss > 0", false),
            ("not orig_mss", true),
            ("reset_by == responder", true),
            // `and` binds closer than `or`.
            (
                "orig_bytes == 5 or orig_bytes == 5 and resp_bytes == 7",
                true,
            ),
            (
                "(orig_bytes == 5 or orig_bytes == 5) and resp_bytes == 7",
                false,
            ),
        ] {
            assert_eq!(holds(text), expected, "{text}");
        }
    }

    #[test]
    fn errors_point_into_the_condition() {
        for (text, range, message, hint) in [
            ("", 0..0, "a field is expected", ""),
            (
                "orig_byts > 5",
                0..9,
                "no field `orig_byts`",
                "did you mean `orig_bytes`?",
            ),
            ("orig_bytes > many", 13..17, "`orig_bytes` is a number", ""),
            ("orig_bytes = 5", 11..12, "`=` means nothing", "write `==`"),
            ("orig_bytes >", 12..12, "a value is expected", ""),
            (
                "duration > 5",
                11..12,
                "`duration` is a duration",
                "with its unit",
            ),
            (
                "conn_state == RSTX",
                14..18,
                "is a word",
                "did you mean `RST",
            ),
            ("conn_state > SF", 11..12, "no such order", ""),
            ("orig_bytes contains 5", 11..19, "not text", ""),
            (
                "id.orig_h == 10.0.0.0/8",
                13..23,
                "is an address",
                "write `in`",
            ),
            ("id.orig_h in 10.0.0.0/33", 13..24, "no range", "10.0.0.0/8"),
            ("orig_bytes in 5", 11..13, "", ""),
            ("(orig_bytes > 5", 0..1, "not closed", ""),
            ("orig_bytes > 5)", 14..15, "the end is expected", ""),
            ("history == \"Sh", 11..14, "no end", ""),
            ("a § b", 2..4, "means nothing", ""),
        ] {
            let fault = Filter::parse(text).unwrap_err();
            if text != "orig_bytes in 5" {
                assert_eq!(fault.range, Some(range), "{text}: {fault:?}");
            }
            assert!(fault.message.contains(message), "{text}: {}", fault.message);
            assert!(fault.hint.unwrap_or_default().contains(hint), "{text}");
        }
        let deep = "(".repeat(100_000);
        assert!(Filter::parse(&deep).unwrap_err().message.contains("16384"));
        let deep = "not ".repeat(100) + "orig_bytes";
        assert!(Filter::parse(&deep).unwrap_err().message.contains("nest"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(
            text in "([a-z_.]{0,8}|orig_bytes|duration|and|or|not|in|[()<>=!\"',§ ]|[0-9./:]{1,5}){0,12}",
        ) {
            if let Err(Fault { range: Some(range), .. }) = Filter::parse(&text) {
                assert!(text.get(range.clone()).is_some(), "{text:?} {range:?}");
            }
        }
    }
}
