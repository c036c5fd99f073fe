//! A cell with every name resolved: hosts and addresses, programs and their arguments, steps and
//! checks. What a backend builds and the runner drives.

mod build;
mod captures;
mod cell;
mod checks;
mod containers;
mod faults;
mod files;
mod links;
mod losses;
mod steps;
mod topology;
mod types;
mod uses;
mod validate;
mod windows;

pub use crate::spec::{Copies, DisplaySize, FlowEnd, HostFault, SocketPattern, Stream};
pub use build::{networks_needed, plan};
pub(crate) use containers::open_folder;
pub use containers::{ContainerPlan, FilePlan, UlimitPlan};
pub use files::check_files;
pub use types::{
    Action, CapturePlan, Check, CheckKind, ExitCheck, FlowCheck, FlowSelector, HostPlan, Input,
    InterfacePlan, Lateness, LinkPlan, LossCheck, NAME_SERVER_PORT, NetworkNeeds, NetworkPlan,
    NodePlan, OutputCheck, Plan, Ready, SocketCheck, SocketRows, Step, Subnet,
};
pub use validate::{sketch, validate};
pub use windows::{DisplayPlan, Gesture, WindowAct};
