//! Cells on a Docker engine.
//!
//! testcontainers resolves which engine is meant (`DOCKER_HOST`, its own properties, the default
//! socket, TLS) and hands over the bollard client. Hosts and nodes are made with that client
//! itself: they need what a test container has no word for, namely static addresses, input that
//! ends with its controller (`StdinOnce`), and attaching before the start, so that no byte of
//! output and no end of a program is missed.
//!
//! Nothing is bind-mounted and nothing is published, so a remote engine works like a local one.

mod agent_link;
#[cfg(test)]
mod canned;
mod cell;
mod display;
mod engine;
mod files;
mod host;
mod images;
mod labels;
mod networks;
mod node;
mod paths;
mod sweep;
mod sweeper;
mod words;

pub use cell::DockerCell;
pub use engine::{Connection, Docker, prepare_image};
pub use images::ImageProgress;
pub use labels::{Owner, RunId};
pub use sweep::{Kind, Leftover, SweepScope, Unremoved, remove_all, survey, survey_images};
pub use sweeper::Sweeper;
pub use words::Brand;
