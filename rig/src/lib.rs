//! `rig` answers two questions about network programs: *do they talk to each other, and how does
//! every connection end?*
//!
//! The crate is a pipeline, one module a stage; a stage imports only the stages before it.
//!
//! | stage | turns | into |
//! |---|---|---|
//! | [`units`] | text such as `25ms` | durations, timestamps, names |
//! | [`wire`] | bytes of a packet | header views |
//! | [`pcapng`] | capture files | records, and records into capture files |
//! | [`reconcile`] | captures of several places | one capture, with what became of each packet |
//! | [`analysis`] | packets | flows: one connection each, with its events and its fate |
//! | [`pattern`] | pattern text and a flow | a match or a mismatch that explains itself |
//! | [`link`] | packets at a link between networks | what becomes of each, by settings and a seed |
//! | [`spec`] | a matrix file | a typed specification, every error with its place |
//! | [`matrix`] | a specification | the cells of its matrix |
//! | [`plan`] | a cell | hosts, addresses, nodes, steps and checks, all names resolved |
//! | [`agent`] | requests | what happens inside a host: capture, socket tables, signals |
//! | [`judge`] | checks and evidence | verdicts |
//! | [`backend`] | a plan | live hosts and nodes |
//! | [`run`] | cells | events: steps, deadlines, evidence, clean-up |
//! | [`report`] | events | terminal, JSON, `JUnit`, HTML |
//! | [`cli`] | arguments | one call into the library |
//!
//! `wire`, `pcapng`, `analysis` and `pattern` work on any capture file, live rig or not.

pub mod agent;
pub mod analysis;
pub mod backend;
pub mod cli;
pub mod judge;
pub mod link;
pub mod matrix;
pub mod pattern;
pub mod pcapng;
pub mod plan;
pub mod reconcile;
pub mod report;
pub mod run;
pub mod spec;
pub mod units;
pub mod wire;
