//! The data that comes nearest to what a pattern asks for where that did not come.

use crate::analysis::{Event, EventKind};

use super::explain::Place;
use super::item::{EventTest, Item, Subject, Test};
use super::matcher::gap;

/// How many DATA events before and behind the place are looked at.
const MAX_COMPARED: usize = 64;

/// What there is to say of the DATA whose payload is most like what an item asks for, and which did not fit; `way` has
/// the items that took the events before. None where the event at the place itself is such a one, or nothing is.
pub(super) fn nearest(place: &Place<'_>, items: &[Item], way: &[Option<usize>]) -> Option<String> {
    let mut asking = place.items.iter().filter_map(|item| {
        let test = item.event_test()?;
        Some((test, test.bytes()?))
    });
    let (test, wanted) = asking.next()?;
    let came = place.events.get(place.at);
    if came.is_some_and(|event| test.names(event)) {
        return None;
    }
    let is_named = |index: usize| {
        let item = way.get(index).copied().flatten();
        item.is_some_and(|item| matches!(items[item].test, Test::Event(_)))
    };
    let of_side = |index: &usize| {
        let event = &place.events[*index];
        event.kind == EventKind::Data && test.names(event) && !is_named(*index)
    };
    let before = (0..place.at).rev().filter(of_side).take(MAX_COMPARED);
    let behind = (place.at..place.events.len()).filter(of_side);
    let candidates = before.chain(behind.take(MAX_COMPARED));
    let told = candidates.filter_map(|index| {
        let event = &place.events[index];
        let told = told(test, place.events, index, index >= place.at)?;
        Some((distance(wanted, event), place.at.abs_diff(index), told))
    });
    told.min_by_key(|(distance, apart, _)| (*distance, *apart))
        .map(|(.., told)| told)
}

/// Why the event at `index` did not fit, or that it came too late.
fn told(test: &EventTest, events: &[Event], index: usize, is_late: bool) -> Option<String> {
    let (event, gap) = (&events[index], gap(events, index));
    let (kind, frame) = (event.kind, event.frame);
    let failed = test
        .conditions
        .iter()
        .find(|condition| !condition.holds(event, gap));
    match failed {
        Some(failed) => Some(format!(
            "the nearest {kind} is in frame {frame}: {}",
            failed.actual(event, gap)
        )),
        None if is_late => Some(format!("such a {kind} comes later, in frame {frame}")),
        None => None,
    }
}

/// How many bytes would have to change in a payload.
fn distance(wanted: &[u8], event: &Event) -> usize {
    let wanted = wanted.to_vec();
    strsim::generic_levenshtein(&wanted, &event.payload)
}

impl EventTest {
    /// The text that it asks payload for.
    fn bytes(&self) -> Option<&[u8]> {
        self.conditions
            .iter()
            .find_map(|condition| match &condition.subject {
                Subject::Bytes(_, wanted) => Some(wanted.as_slice()),
                _ => None,
            })
    }
}
