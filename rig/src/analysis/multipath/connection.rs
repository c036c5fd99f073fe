//! What is common to the subflows of a connection.

use std::collections::HashMap;

use super::ranges::Ranges;
use super::told::{self, DataFin, DataSide, MultipathFate};
use crate::analysis::flow::Sender;
use crate::analysis::side::low32;
use crate::wire::{DataNumber, Key, Token};

/// Numbers that are further than this from where a side stands are not believed: no window is as large.
const MAX_DISTANCE: i32 = 1 << 30;

/// A connection. Its sides are those of its first subflow.
#[derive(Debug, Default)]
pub(super) struct Connection {
    /// By what name its subflows join, of the initiator and of the responder.
    tokens: [Option<Token>; 2],
    pub(super) subflows: u32,
    /// Subflows that were reset.
    resets: u32,
    /// Flows that refer to it.
    referred: u32,
    sides: [Data; 2],
    closed_by: Option<usize>,
    fastclosed_by: Option<usize>,
}

/// The data of one side. Positions are data numbers relative to the initial one: the first byte stands at 1.
#[derive(Debug, Default)]
struct Data {
    /// The lower half of the initial number, by the side's key, or by what was seen first.
    first: Option<u32>,
    /// The position after the last one that was seen.
    next: u64,
    seen: Ranges,
    acked: u64,
    /// Where its `DATA_FIN` stands.
    fin: Option<u64>,
}

impl Data {
    /// The position of a number near the present end; where nothing is known, the number is that of the first byte.
    fn position(&mut self, number: DataNumber) -> Option<u64> {
        let low = low(number);
        let first = *self.first.get_or_insert_with(|| low.wrapping_sub(1));
        let here = self.next.max(self.acked).max(1);
        let distance = low
            .wrapping_sub(first)
            .wrapping_sub(low32(here))
            .cast_signed();
        let near = (-MAX_DISTANCE..=MAX_DISTANCE).contains(&distance);
        near.then(|| here.checked_add_signed(distance.into()))?
    }
}

/// The lower half of a number: as sequence numbers of TCP do, it tells all others that are near.
fn low(number: DataNumber) -> u32 {
    match number {
        DataNumber::Whole(whole) => low32(whole),
        DataNumber::Low(low) => low,
    }
}

impl Connection {
    /// Takes note of what the key of one side tells: the token by which it is joined, and its initial number.
    fn knows(&mut self, side: usize, token: Token, first: u64) {
        self.tokens[side] = Some(token);
        self.sides[side].first = Some(low32(first));
    }

    /// The position of a number of one side.
    pub(super) fn position(&mut self, side: usize, number: DataNumber) -> Option<u64> {
        self.sides[side].position(number)
    }

    /// Takes in payload of one side; `new` is where the part begins that its subflow had not carried before. Gives
    /// how many bytes of that part had been sent before.
    pub(super) fn sent(&mut self, side: usize, start: u64, new: u64, end: u64) -> u64 {
        let data = &mut self.sides[side];
        let again = data.seen.count_within(new.max(start), end);
        data.seen.insert(start, end);
        data.next = data.next.max(end);
        again
    }

    /// Takes in a `DATA_ACK` that one side sent.
    pub(super) fn acknowledged(&mut self, side: usize, position: u64) {
        let data = &mut self.sides[1 - side];
        data.acked = data.acked.max(position);
    }

    /// Takes in a `DATA_FIN` of one side, at a position if it tells one.
    pub(super) fn finished(&mut self, side: usize, position: Option<u64>) {
        let data = &mut self.sides[side];
        let position = position.unwrap_or_else(|| data.next.max(1));
        data.fin.get_or_insert(position);
        data.next = data.next.max(position.saturating_add(1));
        self.closed_by.get_or_insert(side);
    }

    /// Takes in a `MP_FASTCLOSE` of one side.
    pub(super) fn aborted(&mut self, side: usize) {
        self.fastclosed_by.get_or_insert(side);
        self.closed_by.get_or_insert(side);
    }

    fn fate(&self) -> MultipathFate {
        let fins = self.sides.iter().filter(|side| side.fin.is_some()).count();
        match fins {
            _ if self.fastclosed_by.is_some() => MultipathFate::Fastclosed,
            2 => MultipathFate::Orderly,
            _ if self.subflows > 0 && self.resets >= self.subflows => MultipathFate::Reset,
            1 => MultipathFate::HalfClosed,
            _ => MultipathFate::Open,
        }
    }

    /// The token that names it: the one of the responder, by which the initiator joins.
    fn token(&self) -> Option<Token> {
        self.tokens[Sender::Responder.place()].or(self.tokens[Sender::Initiator.place()])
    }

    /// What there is to tell of it, with the sides of a flow, which may be the other way round.
    fn told(&self, flipped: bool) -> told::Connection {
        let of_flow = |side: usize| Sender::at(if flipped { 1 - side } else { side });
        let mut sides = [&self.sides[0], &self.sides[1]].map(|data| {
            let end = data.acked.saturating_sub(1);
            let over = data.fin.is_some_and(|fin| data.acked > fin);
            DataSide {
                bytes: data.seen.len(),
                acked_bytes: end.saturating_sub(u64::from(over)),
                fin: data.fin.map(|_| {
                    if over {
                        DataFin::Acknowledged
                    } else {
                        DataFin::Sent
                    }
                }),
            }
        });
        if flipped {
            sides.reverse();
        }
        told::Connection {
            subflows: self.subflows,
            fate: self.fate(),
            closed_by: self.closed_by.map(of_flow),
            fastclosed_by: self.fastclosed_by.map(of_flow),
            sides,
        }
    }
}

/// The connections that flows refer to, each in its place.
#[derive(Debug, Default)]
pub(in crate::analysis) struct Connections {
    places: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// Places by the tokens that both sides have. The hasher is keyed at random, so a hostile capture cannot make
    /// tokens collide.
    by_token: HashMap<Token, usize>,
}

impl Connections {
    /// Begins a connection.
    pub(super) fn begin(&mut self) -> usize {
        let connection = Connection {
            referred: 1,
            ..Connection::default()
        };
        if let Some(index) = self.free.pop() {
            self.places[index] = Some(connection);
            return index;
        }
        self.places.push(Some(connection));
        self.places.len() - 1
    }

    /// The connection that a token names, for a flow that joins it, and whether the token is that of its initiator.
    /// One that began before the capture begins with its first subflow.
    pub(super) fn join(&mut self, token: Token) -> (usize, bool) {
        if let Some(&index) = self.by_token.get(&token)
            && let Some(connection) = &mut self.places[index]
        {
            connection.referred += 1;
            let of_initiator = connection.tokens[Sender::Initiator.place()] == Some(token);
            return (index, of_initiator);
        }
        let index = self.begin();
        if let Some(connection) = &mut self.places[index] {
            connection.tokens[Sender::Responder.place()] = Some(token);
        }
        self.by_token.insert(token, index);
        (index, false)
    }

    /// Takes note of the key of one side of a connection.
    pub(super) fn knows_key(&mut self, index: usize, side: usize, key: Key, version: u8) {
        if let Some(connection) = &mut self.places[index] {
            let (token, first) = key.derive(version);
            connection.knows(side, token, first);
            self.by_token.insert(token, index);
        }
    }

    pub(super) fn get(&mut self, index: usize) -> Option<&mut Connection> {
        self.places[index].as_mut()
    }

    /// What there is to tell of a connection to a flow, and its name.
    pub(super) fn told(
        &self,
        index: usize,
        flipped: bool,
    ) -> Option<(told::Connection, Option<Token>)> {
        let connection = self.places[index].as_ref()?;
        Some((connection.told(flipped), connection.token()))
    }

    /// Takes note that a subflow of a connection was reset.
    pub(super) fn was_reset(&mut self, index: usize) {
        if let Some(connection) = &mut self.places[index] {
            connection.resets += 1;
        }
    }

    /// A flow is over that referred to a connection; with the last of them the connection is forgotten.
    pub(in crate::analysis) fn leave(&mut self, index: usize) {
        let Some(connection) = &mut self.places[index] else {
            return;
        };
        connection.referred = connection.referred.saturating_sub(1);
        if connection.referred > 0 {
            return;
        }
        for token in connection.tokens.into_iter().flatten() {
            if self.by_token.get(&token) == Some(&index) {
                self.by_token.remove(&token);
            }
        }
        self.places[index] = None;
        self.free.push(index);
    }

    /// How many connections are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places.iter().flatten().count()
    }
}
