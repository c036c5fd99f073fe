//! End-to-end tests of `rig` that need no engine: one module a subject, data files beside it.

#![expect(
    clippy::unwrap_used,
    reason = "what a test cannot get at ends it, in its helpers as well"
)]

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod captures;
mod check;
mod checksums;
mod conversations;
mod documentation;
mod expect;
mod flows;
mod follow;
mod good_input;
mod learn;
mod library;
mod merge;
mod patterns;
mod reading;
mod seeds;
mod truth;
