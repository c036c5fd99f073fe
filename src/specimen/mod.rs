//! The specimen programs: small servers and clients whose calls are read beside the packets.
//!
//! | module | what it holds |
//! |---|---|
//! | [`calls`] | a socket whose every call is printed with what it returned |
//! | [`halt`] | waits until somebody says go on |
//! | [`staged`] | a server that halts after each call and never accepts, and its client |
//! | [`upper`] | a server that answers in upper case, and its client |
//! | [`web`] | a web server, a client for one page, and an example site |

pub mod calls;
pub mod halt;
pub mod staged;
pub mod upper;
pub mod web;
