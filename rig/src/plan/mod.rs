//! A cell with every name resolved: hosts and addresses, programs and their arguments, steps and
//! checks. What a backend builds and the runner drives.

mod build;
mod cell;
mod checks;
mod steps;
mod types;
mod validate;

pub use crate::spec::{Copies, FlowEnd, SocketPattern, Stream};
pub use build::{networks_needed, plan};
pub use types::{
    Action, Check, CheckKind, ExitCheck, FlowCheck, FlowSelector, HostPlan, Input, InterfacePlan,
    NetworkPlan, NodePlan, OutputCheck, Plan, Ready, SocketCheck, SocketRows, Step, Subnet,
};
pub use validate::{images_used, sketch, validate};
