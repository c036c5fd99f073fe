//! What runs inside a host: capture, socket tables, signals, faults, the forwarding of links, hands at
//! displays.
//!
//! `rig agent` is the first process of a host's container. It owns the network namespace, so that
//! the first SYN is never missed and a killed program's FIN or RST is still seen. The controller
//! speaks to it in JSON lines over its standard input and output ([`protocol`]); end of input is
//! the agent's end, and with it that of every program of the host.
//!
//! docs/agent.md tells what it needs, what it proves and what it can miss.

pub mod protocol;

mod serve;

mod host;

mod interfaces;

mod bpf;
mod filters;
mod route;

mod capture;
mod netlink;
mod outage;
mod paths;
mod ring;
mod sentinel;
mod spool;

mod display;
mod forward;
mod routes;

mod datagrams;
mod names;
mod owners;
mod processes;
mod programs;
mod signals;
mod sockets;
mod tables;
mod waiting;

mod sys;

pub use serve::{End, serve};
