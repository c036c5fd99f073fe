//! Images of agent and nodes: found, or made when they are missing.
//!
//! An image's tag is the digest of everything that goes into it, so an image that is there is the
//! right one, and a changed program or Dockerfile makes a new one.

mod agent;
mod base;
mod build;
mod cargo;
mod context;
mod display;
mod elf;
pub(super) mod holder;
mod ignore;
mod job;
mod lock;
mod prepare;

pub(super) use agent::AGENT_IMAGE_NAME;
pub use prepare::ImageProgress;
pub(super) use prepare::Images;
