//! One event alone, as `never` forbids it.

use std::fmt;

use crate::analysis::Event;

use super::error::PatternError;
use super::item::Item;
use super::matcher::gap;
use super::parse;

/// An event with direction, name and conditions: `> RST`, `- DATA[retransmission]`, `FIN`.
#[derive(Debug, Clone)]
pub struct EventPattern {
    item: Item,
}

impl EventPattern {
    /// Reads an event; without a direction it may come from either side.
    ///
    /// ```
    /// # use rig::pattern::EventPattern;
    /// assert!(EventPattern::parse("- DATA[retransmission]").is_ok());
    /// assert!(EventPattern::parse("RST").is_ok());
    /// assert!(EventPattern::parse("> FIN < FIN").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let item = parse::parse_event(text)?;
        Ok(Self { item })
    }

    /// Reads an event that one packet can be seen to be: without a direction, and without
    /// conditions on what came before it or became of it.
    ///
    /// ```
    /// # use rig::pattern::EventPattern;
    /// assert!(EventPattern::parse_alone("DATA[len=12]").is_ok());
    /// assert!(EventPattern::parse_alone("> RST").is_err());
    /// assert!(EventPattern::parse_alone("RST[gap>=1s]").is_err());
    /// ```
    pub fn parse_alone(text: &str) -> Result<Self, PatternError> {
        let event = Self::parse(text)?;
        let error = |message: String| PatternError::new(message, 0, text.len());
        if text.trim_start().starts_with(['>', '<', '-']) {
            let message = "the direction is not part of this event".to_owned();
            return Err(error(message).hint("leave the sign out"));
        }
        let conditions = event.item.event_test().map(|test| &test.conditions);
        let mut conditions = conditions.into_iter().flatten();
        match conditions.find(|condition| !condition.is_told_by_one_packet()) {
            Some(condition) => {
                let message = format!("`{}` is not told by one packet", condition.text);
                Err(error(message).hint(
                    "use len, bytes, flags, win, mss, ttl, mptcp, join, data-fin and fastclose",
                ))
            }
            None => Ok(event),
        }
    }

    /// The length of the longest text that it asks payload for, if it does so.
    #[must_use]
    pub fn longest_bytes(&self) -> Option<usize> {
        self.item.longest_bytes()
    }

    /// How many of the first bytes of a payload it looks at, if it asks for payload.
    #[must_use]
    pub fn looked_at_bytes(&self) -> Option<usize> {
        self.item.looked_at_bytes()
    }

    /// Whether the event at `index` of a flow is such a one. Other than in a pattern, a repeat is
    /// an event like any other here, whether or not the conditions ask about it. One of an older connection is
    /// such a one only where they do.
    #[must_use]
    pub fn takes(&self, events: &[Event], index: usize) -> bool {
        let (Some(test), Some(event)) = (self.item.event_test(), events.get(index)) else {
            return false;
        };
        test.sender.is_none_or(|sender| sender == event.sender)
            && test.kind.is_none_or(|kind| kind == event.kind)
            && (!event.older || test.asks_for_older())
            && test
                .conditions
                .iter()
                .all(|condition| condition.holds(event, gap(events, index)))
    }
}

impl fmt::Display for EventPattern {
    /// As written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.item.text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::events;
    use super::*;

    #[test]
    fn one_event_with_direction_and_conditions() {
        let events = events("> SYN; < SYN-ACK; > DATA 4; > DATA 4 again; < RST");
        for (text, taken) in [
            ("RST", vec![4]),
            ("- RST", vec![4]),
            ("> RST", vec![]),
            ("< RST[flags=RST]", vec![4]),
            (" > DATA ", vec![2, 3]),
            ("DATA[retransmission]", vec![3]),
            ("- DATA[len>4]", vec![]),
            ("> ANY", vec![0, 2, 3]),
            ("ANY[gap>=2ms]", vec![]),
        ] {
            let event = EventPattern::parse(text).unwrap();
            let found: Vec<_> = (0..events.len())
                .filter(|&index| event.takes(&events, index))
                .collect();
            assert_eq!(found, taken, "{text}");
            assert_eq!(event.to_string(), text.trim());
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_place() {
        for (text, at, message) in [
            ("", 0, "an event or a group was expected"),
            ("RTS", 0, "`RTS` is not an event"),
            ("> RST < FIN", 6, "one event is expected"),
            ("RST*", 3, "one event is expected"),
            ("...", 0, "one event is expected"),
            ("( > RST )", 0, "one event is expected"),
            ("handshake", 0, "`handshake` is not an event"),
            ("> DATA[len=x]", 11, "`x` is not a number"),
        ] {
            let error = EventPattern::parse(text).unwrap_err();
            assert_eq!(error.offset_bytes, at, "{text}: {error}");
            assert!(error.message.contains(message), "{text}: {error}");
        }
    }
}
