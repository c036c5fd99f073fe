//! Values that are written as one text: names, counts, ends of flows, fates, events.

use std::ops::Range;

use crate::analysis::{ConnState, Sender};
use crate::link::{Protocol, QuantityError};
use crate::pattern::{EventPattern, PatternError};
use crate::units::{
    HostName, MarkName, NameError, NetworkName, NodeName, ScreenName, Signal, TerminalSize,
    UnitError, check_name,
};

use super::{
    ClosedBy, Copies, FlowEnd, FlowEnds, Linking, Nat, PacketEvent, Place, Problem, Seed, Times,
};

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A lower-case fragment.
    pub message: String,
    /// What could be done about it.
    pub hint: Option<String>,
    /// The bytes that are meant; `None` for the whole text.
    pub range: Option<Range<usize>>,
}

impl Fault {
    /// A fault of the whole text.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            range: None,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<NameError> for Fault {
    fn from(error: NameError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<PatternError> for Fault {
    fn from(error: PatternError) -> Self {
        Self {
            range: Some(error.offset_bytes..error.offset_bytes + error.len_bytes),
            message: error.message,
            hint: error.hint,
        }
    }
}

impl From<QuantityError> for Fault {
    fn from(error: QuantityError) -> Self {
        Self::new(error.message).hint(error.hint)
    }
}

/// A value that is written as one text.
pub trait FromText: Sized {
    /// Reads the text.
    ///
    /// # Errors
    /// What is wrong with it.
    fn from_text(text: &str) -> Result<Self, Fault>;
}

impl FromText for String {
    /// A name that has no type of its own: an implementation, an axis, a value of one.
    fn from_text(text: &str) -> Result<Self, Fault> {
        check_name(text)?;
        Ok(text.to_owned())
    }
}

impl FromText for NodeName {
    fn from_text(text: &str) -> Result<Self, Fault> {
        Ok(Self::new(text)?)
    }
}

impl FromText for HostName {
    fn from_text(text: &str) -> Result<Self, Fault> {
        Ok(Self::new(text)?)
    }
}

impl FromText for NetworkName {
    fn from_text(text: &str) -> Result<Self, Fault> {
        Ok(Self::new(text)?)
    }
}

impl FromText for MarkName {
    fn from_text(text: &str) -> Result<Self, Fault> {
        Ok(Self::new(text)?)
    }
}

impl FromText for ScreenName {
    fn from_text(text: &str) -> Result<Self, Fault> {
        Ok(Self::new(text)?)
    }
}

/// A name in which `*` stands for any characters, or for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wildcard(String);

impl Wildcard {
    /// As written.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// Whether it may stand for several names.
    pub(super) fn is_wild(&self) -> bool {
        self.0.contains('*')
    }

    /// Whether it is this name, or stands for it.
    pub(super) fn fits(&self, name: &str) -> bool {
        let Some((first, stars)) = self.0.split_once('*') else {
            return self.0 == name;
        };
        let (between, last) = stars.rsplit_once('*').unwrap_or(("", stars));
        let Some(rest) = name.strip_prefix(first) else {
            return false;
        };
        // Each part at its first place leaves the most for those after it.
        let rest = between.split('*').try_fold(rest, |rest, part| {
            let at = rest.find(part)?;
            Some(&rest[at + part.len()..])
        });
        rest.is_some_and(|rest| rest.ends_with(last))
    }
}

impl FromText for Wildcard {
    fn from_text(text: &str) -> Result<Self, Fault> {
        // Whatever the stars stand for, the rest must be able to be part of a name.
        check_name(&text.replace('*', "x")).map_err(|_| NameError(text.to_owned()))?;
        Ok(Self(text.to_owned()))
    }
}

/// The largest number of a signal that has a name.
const MAX_SIGNAL: i32 = 31;

impl FromText for Signal {
    fn from_text(text: &str) -> Result<Self, Fault> {
        Self::new(text).map_err(|error| {
            let upper = text.to_ascii_uppercase();
            let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
            let names = (1..=MAX_SIGNAL).filter_map(Self::from_number);
            let meant = suggestion(bare, names.map(Self::name));
            Fault {
                hint: meant.map(|name| format!("did you mean `{name}`?")),
                ..Fault::new(error.to_string())
            }
        })
    }
}

impl FromText for Linking {
    fn from_text(text: &str) -> Result<Self, Fault> {
        match text {
            "static" => Ok(Self::Static),
            "dynamic" => Ok(Self::Dynamic),
            _ => Err(Fault::new(format!("`{text}` is not a way to link"))
                .hint("use `static` or `dynamic`")),
        }
    }
}

impl FromText for u16 {
    /// A port.
    fn from_text(text: &str) -> Result<Self, Fault> {
        let port = text.parse().ok().filter(|&port: &u16| port != 0);
        port.ok_or_else(|| Fault::new(format!("`{text}` is not a port: use 1 to 65535")))
    }
}

impl FromText for i64 {
    /// An exit code.
    fn from_text(text: &str) -> Result<Self, Fault> {
        let code = text.parse().ok().filter(|code| (0..=255).contains(code));
        code.ok_or_else(|| Fault::new(format!("`{text}` is not an exit code: use 0 to 255")))
    }
}

impl FromText for usize {
    /// A position counted from 1.
    fn from_text(text: &str) -> Result<Self, Fault> {
        let nth = text.parse().ok().filter(|&nth: &Self| nth != 0);
        nth.ok_or_else(|| Fault::new(format!("`{text}` is not a position: the first is 1")))
    }
}

impl FromText for TerminalSize {
    /// `80x24`: columns and rows.
    fn from_text(text: &str) -> Result<Self, Fault> {
        text.parse()
            .map_err(|error: UnitError| Fault::new(error.to_string()))
    }
}

impl FromText for Copies {
    /// `2`, `2..` or `1..3`, bounds included.
    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = || {
            Fault::new(format!("`{text}` is not a count"))
                .hint("write `2`, `2..` for two or more, or `1..3` for one to three")
        };
        let number = |text: &str| text.trim().parse::<u64>().map_err(|_| fault());
        let (min, max) = match text.split_once("..") {
            None => (number(text)?, Some(number(text)?)),
            Some((min, max)) if max.trim().is_empty() => (number(min)?, None),
            Some((min, max)) => (number(min)?, Some(number(max)?)),
        };
        if max.is_some_and(|max| max < min) {
            return Err(Fault::new(format!("`{text}` counts backwards")));
        }
        Ok(Self { min, max })
    }
}

impl FromText for FlowEnds {
    /// `alice -> server:15102`.
    fn from_text(text: &str) -> Result<Self, Fault> {
        let Some((initiator, responder)) = text.split_once("->") else {
            return Err(Fault::new(format!("`{text}` names no flow"))
                .hint("write `alice -> server`, or `alice -> server:15102`"));
        };
        Ok(Self {
            initiator: flow_end(initiator)?,
            responder: flow_end(responder)?,
        })
    }
}

fn flow_end(text: &str) -> Result<FlowEnd, Fault> {
    let text = text.trim();
    let (node, port) = match text.split_once(':') {
        Some((node, port)) => (node, Some(u16::from_text(port)?)),
        None => (text, None),
    };
    let node = NodeName::new(node)?;
    Ok(FlowEnd { node, port })
}

impl FromText for ConnState {
    fn from_text(text: &str) -> Result<Self, Fault> {
        Self::from_name(text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name);
            let fault = Fault::new(format!("`{text}` is not a fate"));
            fault.hint(match suggestion(text, names) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("fates are Zeek's conn_state: {}", names.join(", ")),
            })
        })
    }
}

impl FromText for ClosedBy {
    fn from_text(text: &str) -> Result<Self, Fault> {
        Ok(match text {
            "initiator" => Self::Side(Sender::Initiator),
            "responder" => Self::Side(Sender::Responder),
            node => Self::Node(NodeName::new(node)?),
        })
    }
}

/// Which side of a flow a node is.
///
/// # Errors
/// It is at neither end, or at both.
pub fn closing_side(node: &NodeName, ends: &FlowEnds, place: Place) -> Result<Sender, Problem> {
    let (from, to) = (&ends.initiator.node, &ends.responder.node);
    match (node == from, node == to) {
        (true, false) => Ok(Sender::Initiator),
        (false, true) => Ok(Sender::Responder),
        (true, true) => Err(
            Problem::at(place, format!("`{node}` is both ends of the flow"))
                .hint("write `initiator` or `responder`"),
        ),
        (false, false) => Err(
            Problem::at(place, format!("`{node}` is no end of the flow")).hint(format!(
                "write `{from}`, `{to}`, `initiator` or `responder`"
            )),
        ),
    }
}

impl FromText for EventPattern {
    /// `RST`, `> RST` or `- DATA[retransmission]`.
    fn from_text(text: &str) -> Result<Self, Fault> {
        Ok(Self::parse(text)?)
    }
}

impl FromText for PacketEvent {
    /// `RST` or `DATA[len=12]`.
    fn from_text(text: &str) -> Result<Self, Fault> {
        Ok(Self(EventPattern::parse_alone(text)?))
    }
}

impl FromText for Protocol {
    fn from_text(text: &str) -> Result<Self, Fault> {
        Self::from_name(text).ok_or_else(|| {
            Fault::new(format!("`{text}` is not a protocol")).hint("protocols are: tcp, udp, icmp")
        })
    }
}

impl FromText for Times {
    fn from_text(text: &str) -> Result<Self, Fault> {
        let times = text.parse().ok().filter(|&times: &u64| times > 0);
        times.map(Self).ok_or_else(|| {
            Fault::new(format!(
                "`{text}` is not a number of packets: use 1 or more"
            ))
        })
    }
}

impl FromText for Seed {
    fn from_text(text: &str) -> Result<Self, Fault> {
        let seed = text.parse().map(Self);
        seed.map_err(|_| Fault::new(format!("`{text}` is not a seed: use a whole number from 0")))
    }
}

impl FromText for Nat {
    fn from_text(text: &str) -> Result<Self, Fault> {
        match text {
            "none" => Ok(Self::None),
            "masquerade" => Ok(Self::Masquerade),
            _ => Err(
                Fault::new(format!("`{text}` is no way to translate addresses"))
                    .hint("write `masquerade` or `none`"),
            ),
        }
    }
}

/// How alike two words must be for one to be suggested for the other, from 0 to 1.
const MIN_LIKENESS: f64 = 0.66;
/// The same where only their beginnings are compared closely.
const MIN_PREFIX_LIKENESS: f64 = 0.85;

/// The candidate that was probably meant, if any is like `word`: one that differs by a slip of the
/// finger, or else one that begins alike.
pub(super) fn suggestion<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_lowercase();
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let best = |min: f64, likeness: fn(&str, &str) -> f64| {
        let rated = candidates.iter().map(|&candidate| {
            let likeness = likeness(&word, &candidate.to_lowercase());
            (likeness, candidate)
        });
        let alike = rated.filter(|(likeness, _)| *likeness >= min);
        // Of equal ones the first, hence the reversal: `max_by` takes the last.
        let alike: Vec<_> = alike.collect();
        let best = alike.into_iter().rev().max_by(|a, b| a.0.total_cmp(&b.0));
        best.map(|(_, candidate)| candidate)
    };
    best(MIN_LIKENESS, strsim::normalized_damerau_levenshtein)
        .or_else(|| best(MIN_PREFIX_LIKENESS, strsim::jaro_winkler))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        let fits = |pattern: &str, name: &str| Wildcard::from_text(pattern).unwrap().fits(name);
        assert!(fits("ncat-*", "ncat-room") && fits("ncat-*", "ncat-") && fits("*", "a.b"));
        assert!(fits("*-*", "a-b-c") && fits("a*c", "ac") && fits("a.b", "a.b"));
        assert!(!fits("ncat-*", "xncat-room") && !fits("*-room", "a-rooms") && !fits("a.b", "axb"));
        for wrong in ["", "-*", "a b", "[ab]", "?", &"*".repeat(41)] {
            assert!(Wildcard::from_text(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn counts() {
        let some = |min, max| Ok(Copies { min, max });
        assert_eq!(Copies::from_text("2"), some(2, Some(2)));
        assert_eq!(Copies::from_text("2.."), some(2, None));
        assert_eq!(Copies::from_text("0..3"), some(0, Some(3)));
        for wrong in ["", "..", "..3", "3..1", "-1", "a", "1...3"] {
            assert!(Copies::from_text(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn flows() {
        let ends = FlowEnds::from_text("alice:4000->server:15102").unwrap();
        assert_eq!(ends.initiator.to_string(), "alice:4000");
        assert_eq!(ends.responder.port, Some(15102));
        for wrong in [
            "alice", "-> b", "a ->", "a -> b:0", "a -> b:x", "a <- b", "a -> b c",
        ] {
            assert!(FlowEnds::from_text(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn faults_of_events_have_their_place() {
        let fault = EventPattern::from_text("> RTS").unwrap_err();
        assert_eq!(fault.range, Some(2..5));
        assert_eq!(fault.hint.as_deref(), Some("did you mean `RST`?"));
    }

    #[test]
    fn suggestions_are_for_words_that_are_alike() {
        let words = ["image", "run", "ready", "say", "leave", "env"];
        assert_eq!(suggestion("imge", words), Some("image"));
        assert_eq!(suggestion("levae", words), Some("leave"));
        assert_eq!(suggestion("xyz", words), None);
    }
}
