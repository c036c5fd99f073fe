//! What a matrix file says, complete and typed.
//!
//! A [`Spec`] holds no unknown keys and no dangling names, as far as they can be told without
//! choosing a cell; what depends on the cell is checked when the cell is planned.

mod axes;
mod capture;
mod checks;
mod containers;
mod steps;
mod system;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use super::{Place, Source};
use crate::pattern::Library;
use crate::units::{HostName, ImageName, NetworkName, NodeName};

pub use axes::{Axis, AxisValue, CellRule, CellsEntry, ExpectedFailure, ValueSteps, When};
pub use capture::{CaptureSpec, RingSize, SnapLen, TimeSource};
pub use checks::{
    CheckSpec, CheckSpecKind, ClosedBy, Copies, ExitSpec, FlowCheckSpec, FlowEnd, FlowEnds,
    SocketPattern, Stream,
};
pub use containers::{
    ContainerPath, ContainerSpec, FileSpec, SourcePath, TmpfsSpec, Ulimit, UlimitSpec, User,
};
pub use steps::{ActionSpec, HostFault, StepSpec, UseSpec, WindowStep};
pub use system::{
    BaseImage, CargoBuild, DisplaySize, DisplaySpec, Host, Image, ImageBuild, ImageOrigin,
    Implementation, LeaveSpec, LinkSpec, Linking, LoseSpec, Nat, Node, PacketEvent, ReadySpec,
    SaySpec, Seed, SettingSpec, Times,
};

/// How long a step may take when neither it nor `timeouts` says otherwise.
pub const DEFAULT_STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a `start` may take when neither it nor `timeouts` says otherwise.
pub const DEFAULT_START_TIMEOUT: Duration = Duration::from_secs(30);
/// Time between SIGTERM and SIGKILL of a `stop` step that does not say otherwise.
pub const DEFAULT_STOP_GRACE: Duration = Duration::from_secs(5);
/// The size of a display whose entry does not say otherwise.
pub const DEFAULT_DISPLAY: DisplaySize = DisplaySize {
    width: 1024,
    height: 768,
};
/// The most hosts that a file may have: each has a host number in a subnet of 24 bits.
pub const MAX_HOSTS: usize = 200;

/// The most links that a file may have: their addresses come after those of the hosts.
pub const MAX_LINKS: usize = 40;

/// The most networks that a file may have.
pub const MAX_NETWORKS: usize = 200;
/// The most nodes that a file may have.
pub const MAX_NODES: usize = 200;
/// The most steps of a cell, and the most checks of a file.
pub const MAX_STEPS: usize = 1000;
/// The longest text that a template may become, in bytes.
pub const MAX_RENDERED_BYTES: usize = 64 * 1024;

/// A matrix file.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The file's name and text, for errors of later stages.
    pub source: Arc<Source>,
    /// Folder of the file.
    pub dir: PathBuf,
    /// Name of the matrix.
    pub name: String,
    /// Deadlines of steps that give none.
    pub timeouts: Timeouts,
    /// The patterns that checks can name: those of the file, and those that come with `rig`.
    pub patterns: Library,
    /// How hosts are captured that do not say otherwise.
    pub capture: CaptureSpec,
    /// Images by name, in the order of the file, as are all maps here.
    pub images: IndexMap<ImageName, Image>,
    /// Implementations by name.
    pub implementations: IndexMap<String, Implementation>,
    /// Networks by name, with the place of the name.
    pub networks: IndexMap<NetworkName, Place>,
    /// Hosts by name.
    pub hosts: IndexMap<HostName, Host>,
    /// Links between networks by name.
    pub links: IndexMap<HostName, LinkSpec>,
    /// Axes of the matrix by name.
    pub axes: IndexMap<String, Axis>,
    /// The cells, where the file lists them; without it they are the product of the axes.
    pub cells: Vec<CellsEntry>,
    /// Which cells are taken out of those.
    pub exclude: Vec<CellRule>,
    /// Which of those are wanted after all.
    pub include: Vec<CellRule>,
    /// Which cells are expected to fail.
    pub expected_failures: Vec<ExpectedFailure>,
    /// Nodes by name.
    pub nodes: IndexMap<NodeName, Node>,
    /// What is done.
    pub steps: Vec<StepSpec>,
    /// What must hold.
    pub checks: Vec<CheckSpec>,
}

/// Deadlines of steps that give none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Of every step but `start`.
    pub step: Duration,
    /// Of `start`.
    pub start: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            step: DEFAULT_STEP_TIMEOUT,
            start: DEFAULT_START_TIMEOUT,
        }
    }
}
