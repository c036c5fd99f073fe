//! End-to-end tests of `rig`: one module a subject, data files beside it.

#![expect(
    clippy::unwrap_used,
    reason = "what a test cannot get at ends it, in its helpers as well"
)]

mod support;

mod agent;
mod bad_input;
mod captures;
mod check;
mod cleanup;
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
mod runs;
mod seeds;
mod trouble;
mod windows;
mod wireshark;
