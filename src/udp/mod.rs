//! The chat over datagrams: one server with an address book, any number of peers, one socket.
//!
//! | module | what it holds |
//! |---|---|
//! | [`wire`] | the datagrams: a two-letter code and a text |
//! | [`limits`] | every bound, each of the server's with its flag |
//! | [`gate`] | how fast a user, and how fast a stranger, is served |
//! | [`book`] | who has which name and address, and who is in which room |
//! | [`service`] | who is let into the book, who is taken out, and who is told what |
//! | [`commands`] | what a user may ask for, and what comes of it |
//! | [`server`] | the server's socket, clock and operator |
//! | [`client`] | the terminal client |

pub mod book;
pub mod client;
mod commands;
pub mod gate;
pub mod limits;
pub mod server;
pub mod service;
#[cfg(test)]
mod testing;
pub mod wire;
