//! What is done in a cell.

use std::time::Duration;

use super::{LoseSpec, SettingSpec, SocketPattern, When};
use crate::spec::{Chord, Field, Place, Template};
use crate::units::{HostName, MarkName, NetworkName, NodeName, ScreenName, Signal};

/// A step of the file.
#[derive(Debug, Clone)]
pub struct StepSpec {
    /// Where it stands.
    pub place: Place,
    /// In which cells it is done.
    pub when: When,
    /// Its deadline.
    pub within: Option<Duration>,
    /// What is done.
    pub action: ActionSpec,
}

/// What a step does; [`crate::plan::Action`] explains each.
#[derive(Debug, Clone)]
#[expect(
    missing_docs,
    reason = "the fields are those of the action of the plan"
)]
pub enum ActionSpec {
    /// Start nodes.
    Start(Vec<Field<NodeName>>),
    /// Give a node input.
    Say {
        node: Field<NodeName>,
        text: Template,
    },
    /// Wait for a text in a node's output.
    Hear {
        node: Field<NodeName>,
        text: Template,
    },
    /// Make a node leave.
    Leave(Field<NodeName>),
    /// Send a signal.
    Kill {
        node: Field<NodeName>,
        signal: Field<Signal>,
    },
    /// SIGKILL while a connection has unread data.
    KillUnread(Field<NodeName>),
    /// Do something to a whole host.
    Host {
        fault: HostFault,
        host: Field<HostName>,
        /// Whose cable; all of them without it.
        network: Option<Field<NetworkName>>,
    },
    /// Freeze a node.
    Pause(Field<NodeName>),
    /// Thaw a node.
    Resume(Field<NodeName>),
    /// SIGTERM, then SIGKILL.
    Stop {
        node: Field<NodeName>,
        grace: Duration,
    },
    /// Wait for the end of a node's program.
    Wait(Field<NodeName>),
    /// Wait until the socket table of a node's host shows something.
    Until {
        node: Field<NodeName>,
        has: Vec<SocketPattern>,
        lacks: Vec<SocketPattern>,
    },
    /// Do something at a node's window.
    Window {
        node: Field<NodeName>,
        step: WindowStep,
    },
    /// Read the socket tables.
    Mark(MarkName),
    /// Let time pass.
    Settle(Duration),
    /// Change settings of a link, in both directions or in one.
    Link {
        link: Field<HostName>,
        /// The network whose packets are meant.
        from: Option<Field<NetworkName>>,
        set: Vec<SettingSpec>,
    },
    /// Let a link lose packets.
    Lose {
        link: Field<HostName>,
        rule: Box<LoseSpec>,
    },
    /// Let links pass nothing between groups of nodes, hosts or networks; none to heal them.
    Partition(Vec<Vec<Field<String>>>),
    /// Do what the cell's values on these axes say under `do`, one after another.
    Use(Vec<UseSpec>),
}

/// Steps that a cell's value on an axis brings along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UseSpec {
    /// Where it is named.
    pub place: Place,
    /// The axis.
    pub axis: String,
    /// The name of the steps, where those of the axis have names.
    pub part: Option<String>,
}

/// What a step does at a window; [`crate::plan::WindowAct`] explains each.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of the act of the plan")]
pub enum WindowStep {
    /// Type a text.
    Type {
        text: Template,
        window: Option<Template>,
    },
    /// Press keys.
    Press {
        keys: Vec<Field<Chord>>,
        window: Option<Template>,
    },
    /// Click at a point of the display.
    Click { x: u16, y: u16, button: u8 },
    /// Take a picture of the display.
    Screenshot(ScreenName),
    /// Wait for a window with this in its title.
    Await(Template),
}

/// What can be done to a whole host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostFault {
    /// Cut its power: its programs die, its connections are forgotten, and nobody is told.
    Crash,
    /// Power it on after a crash.
    Boot,
    /// Crash it and power it on.
    Reboot,
    /// Pull its cable.
    Unplug,
    /// Put its cable back.
    Plug,
}

impl HostFault {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::Crash,
        Self::Boot,
        Self::Reboot,
        Self::Unplug,
        Self::Plug,
    ];

    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Boot => "boot",
            Self::Reboot => "reboot",
            Self::Unplug => "unplug",
            Self::Plug => "plug",
        }
    }
}
