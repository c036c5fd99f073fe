//! What a link between two networks does to each packet: pure, no clock, no I/O.
//!
//! A [`Link`] is given each IP packet that arrives at one of its two [`Side`]s, with the time, and
//! says what becomes of it: sent on at a moment, answered, or lost. Its random numbers come from a
//! seed and each packet takes the same number of them, so that the n-th packet of a direction meets
//! the same fate every time. The agent of a link host does what is said here.

mod quantity;
mod settings;

mod packet;

mod random;
mod rule;

mod lane;
mod masquerade;

mod icmp;

mod account;
mod forwarding;

mod schedule;

pub use account::{Deed, LinkAccount, Loss, MAX_DEEDS, RuleAccount, What};
pub use forwarding::{Fate, Link, LinkOrder, Route, Side};
pub use lane::MAX_UNDER_WAY_BYTES;
pub use masquerade::MAX_MAPPINGS;
pub use quantity::QuantityError;
pub use rule::{MAX_RULES, Protocol, Rule};
pub use schedule::Schedule;
pub use settings::{Clash, Distribution, Key, MAX_DELAY, Queue, Setting, Settings};

#[cfg(test)]
mod tests;
