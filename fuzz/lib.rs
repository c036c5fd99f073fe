//! The stages of `rig` that read bytes from outside, without those that run containers.

#[path = "../rig/src/analysis/mod.rs"]
pub mod analysis;
#[path = "../rig/src/pattern/mod.rs"]
pub mod pattern;
#[path = "../rig/src/pcapng/mod.rs"]
pub mod pcapng;
#[path = "../rig/src/reconcile/mod.rs"]
pub mod reconcile;
#[path = "../rig/src/units.rs"]
pub mod units;
#[path = "../rig/src/wire/mod.rs"]
pub mod wire;
