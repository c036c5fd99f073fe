//! Images, programs, hosts, links and nodes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use indexmap::IndexMap;

use super::{CaptureSpec, ContainerSpec, When};
use crate::link::{Key, Protocol, Setting};
use crate::pattern::EventPattern;
use crate::spec::{Chord, Field, Located, Place, Template};
use crate::units::{HostName, ImageName, NetworkName, Signal, TerminalSize};

/// Where the file system of a node comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Where its entry stands.
    pub place: Place,
    /// Where it comes from.
    pub origin: ImageOrigin,
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageOrigin {
    /// It is on the engine, can be pulled, or is made by a program.
    Reference(BaseImage),
    /// It is built.
    Build(Box<ImageBuild>),
}

/// How an image is built. Relative paths of the file are already joined to the file's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageBuild {
    /// The Dockerfile.
    pub dockerfile: Located<PathBuf>,
    /// Folder of the build's context, if it has one.
    pub context: Option<Located<PathBuf>>,
    /// Build arguments by name, each with the place of its name.
    pub args: BTreeMap<String, Located<String>>,
    /// The stage of the Dockerfile that becomes the image; the last one without it.
    pub target: Option<Located<String>>,
    /// Package whose binaries are part of the context.
    pub cargo: Option<CargoBuild>,
    /// The image that the Dockerfile starts from, and how it is made where it is missing.
    pub base: Option<BaseImage>,
}

/// A package whose binaries go into an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CargoBuild {
    /// Folder of the matrix file, and so of the workspace.
    pub folder: PathBuf,
    /// Name of the package.
    pub package: Located<String>,
    /// Cargo profile; `None` leaves the choice to the rig.
    pub profile: Option<Located<String>>,
    /// Features of the package, beside its default ones.
    pub features: Vec<Located<String>>,
    /// How the binaries are linked.
    pub link: Linking,
}

/// How the binaries of a package are linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Linking {
    /// As the workspace says; for images made `FROM scratch`, statically.
    #[default]
    Static,
    /// With the C library and what else is loaded at run time: a program that opens windows cannot do
    /// otherwise.
    Dynamic,
}

/// An image that no Dockerfile makes, and how it is made where it is missing and cannot be pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseImage {
    /// Its reference: `debian:bookworm-slim`.
    pub image: Located<String>,
    /// Program that makes it, called with the reference.
    pub make: Option<Located<PathBuf>>,
}

/// A program and how a person uses it.
#[derive(Debug, Clone)]
pub struct Implementation {
    /// Where its entry stands.
    pub place: Place,
    /// Image it runs from.
    pub image: Located<ImageName>,
    /// Program and arguments.
    pub run: Vec<Template>,
    /// Where `run` stands.
    pub run_place: Place,
    /// The terminal that it runs on; pipes without it.
    pub terminal: Option<TerminalSize>,
    /// When it counts as started; at once without it.
    pub ready: Option<ReadySpec>,
    /// The display that its windows are on.
    pub display: Option<DisplaySpec>,
    /// What is typed as soon as it runs, before it counts as started.
    pub join: Option<SaySpec>,
    /// What a `say` step types.
    pub say: Option<SaySpec>,
    /// What a `leave` step does.
    pub leave: Option<LeaveSpec>,
    /// Environment variables.
    pub env: IndexMap<String, Template>,
    /// What it has beside its image.
    pub container: ContainerSpec,
}

/// When a node counts as started.
#[derive(Debug, Clone)]
pub enum ReadySpec {
    /// It listens on this TCP port.
    Listening(Field<u16>),
    /// It has an established connection to this TCP port.
    Connected(Field<u16>),
    /// It has a socket bound to this UDP port.
    Bound(Field<u16>),
    /// It printed a line that contains this text.
    Output(Template),
    /// It shows a window whose title contains this text.
    Window(Template),
}

/// A display of a program's own, at which no person sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisplaySpec {
    /// Where its entry stands.
    pub place: Place,
    /// How large it is.
    pub size: DisplaySize,
}

/// Width and height of a display, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisplaySize {
    /// From left to right.
    pub width: u16,
    /// From top to bottom.
    pub height: u16,
}

/// Where a person types.
#[derive(Debug, Clone)]
pub enum SaySpec {
    /// On the terminal: this goes to the standard input.
    Stdin(Template),
    /// At the program's window.
    Type(Template),
}

/// How a person leaves a program.
#[derive(Debug, Clone)]
pub enum LeaveSpec {
    /// By typing this.
    Stdin(Template),
    /// By typing this at its window.
    Type(Template),
    /// By pressing these keys at its window.
    Keys(Vec<Field<Chord>>),
    /// By ending the standard input.
    Eof,
    /// By a signal.
    Signal(Field<Signal>),
}

/// A network namespace.
#[derive(Debug, Clone)]
pub struct Host {
    /// Where its entry stands.
    pub place: Place,
    /// Networks it is on, in the order given.
    pub networks: Vec<Located<NetworkName>>,
    /// `net.*` kernel settings.
    pub sysctls: IndexMap<String, Located<String>>,
    /// Whether it answers nothing to packets for closed ports.
    pub stealth: bool,
    /// How it is captured, where that differs from the file's other hosts.
    pub capture: CaptureSpec,
}

/// Two networks that are joined.
#[derive(Debug, Clone)]
pub struct LinkSpec {
    /// Where its name stands.
    pub place: Place,
    /// The networks.
    pub joins: [Located<NetworkName>; 2],
    /// In which cells it is there.
    pub when: When,
    /// What it does to packets from either side.
    pub settings: Vec<SettingSpec>,
    /// What else it does to those that come from one of its networks.
    pub from: Vec<(Located<NetworkName>, Vec<SettingSpec>)>,
    /// Where its random numbers begin.
    pub seed: Option<Field<Seed>>,
    /// Whether it translates addresses.
    pub nat: Option<Field<Nat>>,
    /// Packets that it loses.
    pub lose: Vec<LoseSpec>,
}

/// A setting of a link.
#[derive(Debug, Clone)]
pub struct SettingSpec {
    /// Which.
    pub key: Key,
    /// Its value.
    pub value: Field<Setting>,
}

/// Where random numbers begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub u64);

/// How a link translates addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// Not at all.
    None,
    /// Hosts of the network that is named first are hidden behind the link's address.
    Masquerade,
}

/// Which packets a link loses; [`crate::link::Rule`] explains each field.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of the rule")]
pub struct LoseSpec {
    pub place: Place,
    /// A node, a host or a network.
    pub from: Option<Field<String>>,
    /// A node, a host or a network.
    pub to: Option<Field<String>>,
    pub event: Option<Field<PacketEvent>>,
    pub protocol: Option<Field<Protocol>>,
    pub port: Option<Field<u16>>,
    pub nth: Option<Field<Times>>,
    pub count: Option<Field<Times>>,
    pub every: Option<Field<Times>>,
}

/// An event that one packet can be seen to be.
#[derive(Debug, Clone)]
pub struct PacketEvent(pub EventPattern);

/// A number of packets, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times(pub u64);

/// One program on a host.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where its name stands.
    pub place: Place,
    /// Host it runs on.
    pub on: Field<HostName>,
    /// Implementation it is.
    pub is: Field<String>,
    /// In which cells it is there.
    pub when: When,
    /// Environment variables, over those of the implementation.
    pub env: IndexMap<String, Template>,
}
