//! The conditions of an event, in brackets after its name.

use std::ops::RangeInclusive;

use crate::analysis::{EventKind, MAX_PAYLOAD_KEPT_BYTES, TcpFlags};
use crate::units::{parse_duration, printable};

use super::cursor::Cursor;
use super::error::{PatternError, near_name, quoted};
use super::item::{BytesTest, Condition, FlagsTest, Subject};
use super::property::Property;

/// The most conditions on one event: each costs a comparison for each event of a flow.
const MAX_CONDITIONS: usize = 16;
/// The longest text in a `bytes` condition, in bytes: more of a payload is not kept.
const MAX_BYTES_TEXT: usize = MAX_PAYLOAD_KEPT_BYTES;

/// The conditions that compare what an event has with a value.
const COMPARED: [&str; 7] = ["len", "bytes", "gap", "flags", "win", "mss", "ttl"];

/// Every condition, in the order in which messages list them.
fn all() -> Vec<&'static str> {
    let properties = Property::ALL.map(Property::name);
    COMPARED.into_iter().chain(properties).collect()
}

/// Reads `[condition, …]` where it follows; `kind` is the event's, `None` for ANY.
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    kind: Option<EventKind>,
) -> Result<Vec<Condition>, PatternError> {
    // White space may stand before the bracket, but is no part of the event without one.
    let mut ahead = cursor.clone();
    ahead.skip_space();
    let open = ahead.at();
    if !ahead.eat("[") {
        return Ok(Vec::new());
    }
    *cursor = ahead;
    let mut conditions = Vec::new();
    loop {
        cursor.skip_space();
        let start = cursor.at();
        let subject = subject(cursor, kind)?;
        conditions.push(Condition {
            subject,
            text: printable(cursor.since(start)),
        });
        if conditions.len() > MAX_CONDITIONS {
            let message = format!("an event has at most {MAX_CONDITIONS} conditions");
            return Err(cursor.error_since(start, message));
        }
        cursor.skip_space();
        if cursor.eat("]") {
            return Ok(conditions);
        }
        if !cursor.eat(",") {
            return Err(match cursor.peek() {
                None => PatternError::new("these conditions are not closed", open, 1)
                    .hint("a `]` is missing"),
                Some(_) => cursor.error_here(format!(
                    "`,` or `]` was expected, not {}",
                    cursor.next_shown()
                )),
            });
        }
    }
}

fn subject(cursor: &mut Cursor<'_>, kind: Option<EventKind>) -> Result<Subject, PatternError> {
    let negated = cursor.eat("!");
    cursor.skip_space();
    let start = cursor.at();
    let name = cursor.take_name();
    if let Some(problem) = kind.and_then(|kind| never_holds(name, kind)) {
        return Err(cursor.error_since(start, problem));
    }
    let wanted = !negated;
    if let Some(property) = Property::named(name) {
        return Ok(Subject::Property(property, wanted));
    }
    if !COMPARED.contains(&name) {
        return Err(unknown(cursor, start, name));
    }
    if negated {
        let [others @ .., last] = Property::ALL.map(Property::name);
        return Err(cursor
            .error_since(start, format!("`!` does not go with `{name}`"))
            .hint(format!("`!` goes with {} and {last}", others.join(", "))));
    }
    cursor.skip_space();
    match name {
        "bytes" => bytes(cursor),
        "flags" => flags(cursor),
        "gap" => Ok(Subject::Gap(gap(cursor)?)),
        "win" => Ok(Subject::Win(number_range(cursor, BYTES)?)),
        "mss" => Ok(Subject::Mss(number_range(cursor, BYTES)?)),
        "ttl" => Ok(Subject::Ttl(number_range(cursor, HOPS)?)),
        _ => Ok(Subject::Len(number_range(cursor, BYTES)?)),
    }
}

/// Why a condition makes no sense on this kind of event.
fn never_holds(name: &str, kind: EventKind) -> Option<String> {
    let fits = match name {
        "len" | "bytes" | "coalesced" | "reinjected" => kind == EventKind::Data,
        "probe" => matches!(kind, EventKind::Data | EventKind::Fin),
        "mss" | "fast-open" => matches!(kind, EventKind::Syn | EventKind::SynAck),
        "accepts-data" => kind == EventKind::SynAck,
        "foreign" => kind == EventKind::Rst,
        "data-fin" => !matches!(kind, EventKind::Syn | EventKind::SynAck | EventKind::Rst),
        "join" => !matches!(kind, EventKind::Data | EventKind::Fin | EventKind::Rst),
        "fastclose" => matches!(kind, EventKind::Ack | EventKind::Rst | EventKind::Data),
        _ => true,
    };
    let carrier = match name {
        "probe" => "DATA and FIN are sent as a tail loss probe",
        "mss" => "SYN and SYN-ACK announce one",
        "fast-open" => "SYN and SYN-ACK have the option",
        "accepts-data" => "SYN-ACK answers a SYN",
        "foreign" => "a RST is sent by others",
        "data-fin" => "DATA, FIN and ACK carry a DATA_FIN",
        "join" => "the handshake carries MP_JOIN",
        "fastclose" => "RST, ACK and DATA carry MP_FASTCLOSE",
        _ => "DATA carries payload",
    };
    (!fits).then(|| format!("`{name}` never holds for {kind}: only {carrier}"))
}

fn unknown(cursor: &Cursor<'_>, start: usize, name: &str) -> PatternError {
    if name.is_empty() {
        let found = cursor.next_shown();
        return cursor
            .error_here(format!("a condition was expected, not {found}"))
            .hint(format!("conditions are {}", all().join(", ")));
    }
    let error = cursor.error_since(start, format!("{} is not a condition", quoted(name)));
    match near_name(&name.to_lowercase(), &all()) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint(format!("conditions are {}", all().join(", "))),
    }
}

/// How a number is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    AtLeast,
    AtMost,
    More,
    Less,
}

fn comparison(cursor: &mut Cursor<'_>) -> Result<Comparison, PatternError> {
    for (sign, comparison) in [
        (">=", Comparison::AtLeast),
        ("<=", Comparison::AtMost),
        (">", Comparison::More),
        ("<", Comparison::Less),
        ("=", Comparison::Equal),
    ] {
        if cursor.eat(sign) {
            cursor.skip_space();
            return Ok(comparison);
        }
    }
    let found = cursor.next_shown();
    Err(cursor.error_here(format!(
        "one of `=`, `>=`, `<=`, `>`, `<` was expected, not {found}"
    )))
}

/// The numbers that compare so with `value`; `None` when there is none.
fn range(comparison: Comparison, value: u64) -> Option<RangeInclusive<u64>> {
    match comparison {
        Comparison::Equal => Some(value..=value),
        Comparison::AtLeast => Some(value..=u64::MAX),
        Comparison::AtMost => Some(0..=value),
        Comparison::More => value.checked_add(1).map(|least| least..=u64::MAX),
        Comparison::Less => value.checked_sub(1).map(|most| 0..=most),
    }
}

/// What a number counts, and the largest one.
type Measure = (&'static str, u32);

const BYTES: Measure = ("number of bytes", u32::MAX);
const HOPS: Measure = ("hop limit", u8::MAX as u32);

fn number_range(
    cursor: &mut Cursor<'_>,
    (what, most): Measure,
) -> Result<RangeInclusive<u64>, PatternError> {
    let start = cursor.at();
    let comparison = comparison(cursor)?;
    let digits_at = cursor.at();
    let digits = cursor.take_while(|c| c.is_ascii_alphanumeric());
    let number = digits.parse().ok().filter(|number| *number <= most);
    let number: u32 = number.ok_or_else(|| {
        if digits.is_empty() {
            let found = cursor.next_shown();
            return cursor.error_here(format!("a {what} was expected, not {found}"));
        }
        let message = format!("{} is not a {what} from 0 to {most}", quoted(digits));
        cursor.error_since(digits_at, message)
    })?;
    range(comparison, number.into())
        .ok_or_else(|| cursor.error_since(start, "no number is less than 0"))
}

/// `>=200ms`, `=1s+-100ms`, `=1s+-10%`; in nanoseconds.
fn gap(cursor: &mut Cursor<'_>) -> Result<RangeInclusive<u64>, PatternError> {
    let start = cursor.at();
    let comparison = comparison(cursor)?;
    let value = duration_ns(cursor)?;
    cursor.skip_space();
    let tolerance_at = cursor.at();
    if !(cursor.eat("+-") || cursor.eat("±")) {
        if comparison == Comparison::Equal {
            return Err(cursor
                .error_since(start, "no gap is exactly that long on a real wire")
                .hint(
                    "give a tolerance, `gap=1s+-100ms` or `gap=1s+-10%`, or a bound, `gap>=1s`",
                ));
        }
        return range(comparison, value)
            .ok_or_else(|| cursor.error_since(start, "no gap is shorter than nothing"));
    }
    if comparison != Comparison::Equal {
        return Err(cursor.error_since(tolerance_at, "a tolerance goes with `=` only"));
    }
    cursor.skip_space();
    let tolerance = tolerance_ns(cursor, value)?;
    Ok(value.saturating_sub(tolerance)..=value.saturating_add(tolerance))
}

fn tolerance_ns(cursor: &mut Cursor<'_>, value: u64) -> Result<u64, PatternError> {
    let start = cursor.at();
    let mut ahead = cursor.clone();
    let digits = ahead.take_while(|c| c.is_ascii_digit());
    if !ahead.eat("%") {
        return duration_ns(cursor);
    }
    *cursor = ahead;
    let percent: u64 = digits
        .parse()
        .ok()
        .filter(|percent| *percent <= 100)
        .ok_or_else(|| cursor.error_since(start, "a tolerance is from 0% to 100%"))?;
    Ok(value / 100 * percent + value % 100 * percent / 100)
}

fn duration_ns(cursor: &mut Cursor<'_>) -> Result<u64, PatternError> {
    let start = cursor.at();
    let text = cursor.take_while(|c| c.is_alphanumeric() || c == '.');
    if text.is_empty() {
        let found = cursor.next_shown();
        return Err(cursor.error_here(format!("a duration was expected, not {found}")));
    }
    parse_duration(text)
        .ok()
        .and_then(|duration| u64::try_from(duration.as_nanos()).ok())
        .ok_or_else(|| {
            cursor
                .error_since(start, format!("{} is not a duration", quoted(text)))
                .hint("write a number with its unit: 500us, 200ms, 2s")
        })
}

/// `=RST+ACK` or `*=PSH`.
fn flags(cursor: &mut Cursor<'_>) -> Result<Subject, PatternError> {
    let test = if cursor.eat("*=") {
        FlagsTest::Include
    } else if cursor.eat("=") {
        FlagsTest::Are
    } else {
        let found = cursor.next_shown();
        return Err(cursor
            .error_here(format!("`=` or `*=` was expected, not {found}"))
            .hint("`flags=RST+ACK` is these and no others, `flags*=PSH` allows others too"));
    };
    let mut set = 0;
    loop {
        cursor.skip_space();
        let start = cursor.at();
        let name = cursor.take_while(char::is_alphanumeric);
        let Some((_, flag)) = FLAGS.iter().find(|(known, _)| *known == name) else {
            let names: Vec<_> = FLAGS.iter().map(|(name, _)| *name).collect();
            let hint = format!("flags are {}, joined by `+`", names.join(", "));
            return Err(if name.is_empty() {
                let found = cursor.next_shown();
                cursor.error_here(format!("the name of a flag was expected, not {found}"))
            } else {
                cursor.error_since(start, format!("{} is not a flag", quoted(name)))
            }
            .hint(hint));
        };
        set |= flag.0;
        cursor.skip_space();
        if !cursor.eat("+") {
            return Ok(Subject::Flags(test, TcpFlags(set)));
        }
    }
}

const FLAGS: [(&str, TcpFlags); 6] = [
    ("SYN", TcpFlags::SYN),
    ("FIN", TcpFlags::FIN),
    ("RST", TcpFlags::RST),
    ("PSH", TcpFlags::PSH),
    ("ACK", TcpFlags::ACK),
    ("URG", TcpFlags::URG),
];

/// `="text"`, `^="text"` or `*="text"`.
fn bytes(cursor: &mut Cursor<'_>) -> Result<Subject, PatternError> {
    let test = if cursor.eat("^=") {
        BytesTest::Begins
    } else if cursor.eat("*=") {
        BytesTest::Contains
    } else if cursor.eat("=") {
        BytesTest::Is
    } else {
        let found = cursor.next_shown();
        return Err(cursor
            .error_here(format!("`=`, `^=` or `*=` was expected, not {found}"))
            .hint(
                "`bytes=\"quit\"` is the whole payload, `^=` its beginning, `*=` any part of it",
            ));
    };
    cursor.skip_space();
    let start = cursor.at();
    if !cursor.eat("\"") {
        let found = cursor.next_shown();
        return Err(cursor.error_here(format!("text in double quotes was expected, not {found}")));
    }
    let wanted = quoted_text(cursor, start)?;
    if wanted.is_empty() {
        return Err(cursor.error_since(start, "DATA has at least one byte"));
    }
    if wanted.len() > MAX_BYTES_TEXT {
        let message = format!(
            "the text has {} bytes, at most {MAX_BYTES_TEXT} are allowed",
            wanted.len()
        );
        return Err(cursor.error_since(start, message));
    }
    Ok(Subject::Bytes(test, wanted))
}

/// The rest of a text whose opening quote stands at `open`.
fn quoted_text(cursor: &mut Cursor<'_>, open: usize) -> Result<Vec<u8>, PatternError> {
    let mut out = Vec::new();
    loop {
        let start = cursor.at();
        match cursor.bump() {
            None => {
                return Err(
                    PatternError::new("this text is not closed", open, 1).hint("a `\"` is missing")
                );
            }
            Some('"') => return Ok(out),
            Some('\\') => out.push(escape(cursor, start)?),
            Some(c) => out.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
}

/// The rest of an escape whose backslash stands at `start`.
fn escape(cursor: &mut Cursor<'_>, start: usize) -> Result<u8, PatternError> {
    match cursor.bump() {
        Some('n') => return Ok(b'\n'),
        Some('r') => return Ok(b'\r'),
        Some('t') => return Ok(b'\t'),
        Some('0') => return Ok(0),
        Some('\\') => return Ok(b'\\'),
        Some('"') => return Ok(b'"'),
        Some('x') => {
            let digits = cursor.rest().get(..2).unwrap_or_default();
            if digits.bytes().all(|b| b.is_ascii_hexdigit())
                && let Ok(byte) = u8::from_str_radix(digits, 16)
            {
                cursor.eat(digits);
                return Ok(byte);
            }
        }
        _ => {}
    }
    Err(cursor
        .error_since(start, "this escape is not known")
        .hint("escapes are \\n, \\r, \\t, \\0, \\\\, \\\" and \\x with two hexadecimal digits"))
}

#[cfg(test)]
mod tests {
    use super::super::Pattern;
    use super::super::testing::{assert_errors, events};
    use super::*;

    #[test]
    fn errors_point_at_the_fault() {
        assert_errors(&[
            (
                "> DATA[lenn=1]",
                7,
                4,
                "`lenn` is not a condition",
                "did you mean `len`?",
            ),
            (
                "> DATA[retransmited]",
                7,
                12,
                "not a condition",
                "did you mean `retransmission`?",
            ),
            (
                "> DATA[]",
                7,
                1,
                "a condition was expected, not `]`",
                "conditions are len,",
            ),
            ("> DATA[len=1", 6, 1, "not closed", "`]` is missing"),
            ("> DATA[len=1 gap>1s]", 13, 1, "`,` or `]` was expected", ""),
            ("> DATA[len:12]", 10, 1, "one of `=`", ""),
            ("> DATA[len=4294967296]", 11, 10, "from 0 to 4294967295", ""),
            (
                "> DATA[len=1kB]",
                11,
                3,
                "`1kB` is not a number of bytes",
                "",
            ),
            ("> DATA[len<0]", 10, 2, "less than 0", ""),
            ("> FIN[len=1]", 6, 3, "only DATA carries payload", ""),
            ("> RST[data-fin]", 6, 8, "only DATA, FIN and ACK", ""),
            ("> DATA[join]", 7, 4, "only the handshake", ""),
            ("> SYN[fastclose]", 6, 9, "only RST, ACK and DATA", ""),
            ("> ACK[reinjected]", 6, 10, "only DATA", ""),
            ("> DATA[mss=1460]", 7, 3, "only SYN and SYN-ACK", ""),
            ("> FIN[gap>=200]", 11, 3, "`200` is not a duration", "200ms"),
            ("> FIN[gap=1s]", 9, 3, "exactly", "tolerance"),
            ("> FIN[gap>1s+-10%]", 12, 2, "goes with `=` only", ""),
            ("> FIN[gap=1s+-101%]", 14, 4, "0% to 100%", ""),
            (
                "> FIN[flags=ACK+FUN]",
                16,
                3,
                "`FUN` is not a flag",
                "flags are SYN",
            ),
            ("> DATA[bytes=quit]", 13, 1, "double quotes", ""),
            ("> DATA[bytes=\"quit]", 13, 1, "not closed", "missing"),
            ("> DATA[bytes=\"\"]", 13, 2, "at least one byte", ""),
            ("> DATA[bytes=\"\\xé\"]", 14, 2, "not known", "\\x"),
            ("> DATA[!len=1]", 8, 3, "`!` does not go with `len`", "lost"),
        ]);
    }

    #[test]
    fn multipath_is_asked_for_by_name() {
        let flow = events(
            "> SYN mptcp; < SYN-ACK mptcp; > ACK join; > DATA 4 reinjected; > ACK data-fin; < RST fastclose",
        );
        for (text, matches) in [
            (
                "> SYN[mptcp] < SYN-ACK ... > ACK[data-fin] < RST[fastclose]",
                true,
            ),
            (
                "> SYN < SYN-ACK > ACK[data-fin] > DATA[reinjected] ... < RST",
                false,
            ),
            (
                "> SYN < SYN-ACK > ACK[join] > DATA[reinjected] ... < RST",
                true,
            ),
            ("> SYN[!mptcp] - ANY*", false),
            ("> SYN < SYN-ACK > DATA[!reinjected] < RST", false),
            ("> SYN < SYN-ACK > DATA < RST[!fastclose]", false),
            ("- ANY[mptcp, !data-fin]* - ANY[data-fin] - ANY", true),
        ] {
            let pattern = Pattern::parse(text).unwrap();
            assert_eq!(pattern.matches(&flow).is_ok(), matches, "{text}");
        }
        let wrong = Pattern::parse("> SYN < SYN-ACK > DATA[data-fin] < RST").unwrap();
        let mismatch = wrong.matches(&flow).unwrap_err().to_string();
        assert!(mismatch.contains("it has no `data-fin`"), "{mismatch}");
    }

    #[test]
    fn text_and_conditions_are_bounded() {
        let long = format!("> DATA[bytes=\"{}\"]", "a".repeat(MAX_BYTES_TEXT + 1));
        assert!(
            Pattern::parse(&long)
                .unwrap_err()
                .message
                .contains("at most 256")
        );
        let many = format!("> DATA[{}]", vec!["lost"; 17].join(","));
        assert!(
            Pattern::parse(&many)
                .unwrap_err()
                .message
                .contains("at most 16")
        );
    }
}
