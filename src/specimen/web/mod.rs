//! A small web server, a client that gets one page, and an example site.
//!
//! | module | what it holds |
//! |---|---|
//! | [`folder`] | from the path of a request to a file, and to no other |
//! | [`content`] | the body of an answer: a text, or a file piece by piece |
//! | [`answer`] | what each request is answered with |
//! | [`connection`] | one connection, from its first request to the last FIN |
//! | [`server`] | accepts, counts and drains connections |
//! | [`client`] | gets one page and shows it |
//! | [`site`] | the example site, and writes it into a folder |
//! | [`picture`] | pictures made of arithmetic |

pub mod answer;
pub mod client;
pub mod connection;
pub mod content;
pub mod folder;
pub mod picture;
pub mod server;
pub mod site;

/// The port of the reports.
pub const PORT: u16 = 8888;
