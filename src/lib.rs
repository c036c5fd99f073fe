//! The programs that rig puts under test. The chat programs: a server for a room or for one client
//! at a time, a terminal client and one with a window, a chat between two peers, and a chat over
//! datagrams. And specimens: small servers and clients whose calls are read beside the packets.
//!
//! | module | what it holds |
//! |---|---|
//! | [`text`] | bytes from outside made harmless for a terminal |
//! | [`framing`] | bytes into messages: by line end, or by quiet |
//! | [`protocol`] | the lines that server and client say to each other |
//! | [`names`] | what a user may be called |
//! | [`limits`] | every bound of the server, each with its flag |
//! | [`rate`], [`strikes`] | how fast a member may talk; how many errors a connection may have |
//! | [`patience`] | deadlines that count from the last sign of life |
//! | [`telnet`] | telnet's commands, taken out of a stream of bytes |
//! | [`pending`] | bytes that wait to be written to one connection |
//! | [`link`] | one connection: messages in, lines out, FIN |
//! | [`sent`] | how much of what was sent the peer's host has acknowledged |
//! | [`feed`] | what is said in a room, kept once and read by each member from its own place |
//! | [`room`] | the members, and how a message reaches them |
//! | [`session`] | one connection of the room, from greeting to FIN |
//! | [`one_to_one`] | the operator and one client at a time |
//! | [`operator`] | the operator's words on stdin, what the operator sees on stdout |
//! | [`listen`] | the address to listen on: one, or all there are |
//! | [`shutdown`] | signals into one clean end |
//! | [`server`] | accepts, counts and drains connections |
//! | [`client`] | the terminal client |
//! | [`peer`] | the chat between two peers |
//! | [`udp`] | the chat over datagrams: server and client |
//! | [`specimen`] | staged, upper-case and web servers, and their clients |
//! | [`window`] | the window client |
//! | [`duration`] | times on the command line, with their unit |
//! | [`start`] | what the programs do before they begin: log, runtime, file limit |

pub mod client;
pub mod duration;
pub mod feed;
pub mod framing;
pub mod limits;
pub mod link;
pub mod listen;
pub mod names;
pub mod one_to_one;
pub mod operator;
pub mod patience;
pub mod peer;
pub mod pending;
pub mod protocol;
pub mod rate;
pub mod room;
pub mod sent;
pub mod server;
pub mod session;
pub mod shutdown;
pub mod specimen;
pub mod start;
pub mod strikes;
pub mod telnet;
pub mod text;
pub mod udp;
pub mod window;
