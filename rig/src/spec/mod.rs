//! A matrix file, typed and complete, every error with its place in the file.
//!
//! Reading goes in two stages. `tree` turns the text into a tree in which every key and value
//! knows its place; the other modules turn that tree into a [`Spec`] and collect every error on
//! the way, so that a file with three mistakes is told of three.

mod place;
mod source;
mod types;

mod diagnostics;
mod keys;
mod template;
mod words;

mod load;
mod tree;

mod axes;
mod capture;
mod checks;
mod containers;
mod dockerfile;
mod expectations;
mod files;
mod images;
mod links;
mod names;
mod patterns;
mod read;
mod resolvers;
mod steps;
mod system;
mod windows;

pub use diagnostics::{Diagnostics, MAX_PROBLEMS_SHOWN, Problem, Style};
pub(crate) use names::hint_for;

pub use dockerfile::{Dockerfile, read_dockerfile};
pub use expectations::{Expectations, FlowExpectation, load_expectations};
pub(crate) use files::{missing_file, missing_files};
pub use keys::{Chord, Key, Modifier};
pub use load::{MAX_FILE_BYTES, load, parse};
pub use place::{Located, Place};
pub use source::Source;
pub use template::{Field, Hole, Part, Template};
pub use types::{
    ActionSpec, Axis, AxisValue, BaseImage, CaptureSpec, CargoBuild, CellRule, CellsEntry,
    CheckSpec, CheckSpecKind, ClosedBy, ContainerPath, ContainerSpec, Copies, DEFAULT_DISPLAY,
    DEFAULT_START_TIMEOUT, DEFAULT_STEP_TIMEOUT, DEFAULT_STOP_GRACE, DisplaySize, DisplaySpec,
    ExitSpec, ExpectedFailure, FileSpec, FlowCheckSpec, FlowEnd, FlowEnds, Host, HostFault, Image,
    ImageBuild, ImageOrigin, Implementation, LeaveSpec, LinkSpec, Linking, LoseSpec, MAX_HOSTS,
    MAX_LINKS, MAX_NETWORKS, MAX_NODES, MAX_RENDERED_BYTES, MAX_STEPS, Nat, Node, PacketEvent,
    ReadySpec, RingSize, SaySpec, Seed, SettingSpec, SnapLen, SocketPattern, SourcePath, Spec,
    StepSpec, Stream, TimeSource, Timeouts, Times, TmpfsSpec, Ulimit, UlimitSpec, UseSpec, User,
    ValueSteps, When, WindowStep,
};
pub(crate) use windows::{DISPLAY, display_is_given};
pub use windows::{LAST_SCREEN, MAX_DISPLAY_SIDE, MIN_DISPLAY_SIDE};
pub use words::{Fault, FromText, closing_side};
