//! The arguments of each command.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Do these programs talk to each other, and how does every connection end?
#[derive(Debug, Parser)]
#[command(name = "rig", version, about, max_term_width = 100)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `rig` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the cells of a matrix file and judge how every connection ends
    Run(RunArgs),
    /// List the cells of a matrix file
    List(ListArgs),
    /// Check a matrix file without running anything
    Validate(ValidateArgs),
    /// List the connections of a capture and how each ended
    Flows(FlowsArgs),
    /// Check the connections of a capture against a pattern, or against the checks of a file
    Check(CheckArgs),
    /// Put captures of the same traffic, taken at several places, together
    Merge(MergeArgs),
    /// Propose a pattern for connections such as those of some captures
    Learn(LearnArgs),
    /// List the patterns that every pattern can name
    Patterns(PatternsArgs),
    /// Remove what killed runs left on the engine
    Gc(GcArgs),
    /// Hold a host: runs inside a container, not by hand
    #[command(hide = true)]
    Agent,
}

/// Arguments of `rig run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The matrix file
    pub file: PathBuf,
    /// Run only the cells with this value, `client=netcat`, or whose name contains this text,
    /// `kill` or `ending=k`; several joined by `,` must all fit; may be given more than once, a
    /// cell that fits any of them is run
    #[arg(long, value_name = "PART")]
    pub filter: Vec<String>,
    /// How many cells run at the same time [default: number of processors]
    #[arg(long, short, value_name = "N")]
    pub jobs: Option<std::num::NonZeroUsize>,
    /// Folder for the evidence; what an earlier run left there is replaced
    #[arg(long, value_name = "DIR", default_value = "rig-out")]
    pub out: PathBuf,
    /// Leave the hosts and programs of cells that did not pass on the engine, to be looked at
    #[arg(long)]
    pub keep: bool,
    /// Profile of Cargo for the programs of `cargo` entries that name none [default: release]; `dev`
    /// compiles faster
    #[arg(long, value_name = "NAME", env = "RIG_CARGO_PROFILE")]
    pub cargo_profile: Option<String>,
}

/// Arguments of `rig list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// The matrix file
    pub file: PathBuf,
    /// List only these cells, as in `rig run`
    #[arg(long, value_name = "PART")]
    pub filter: Vec<String>,
    /// List the excluded cells, too, on standard error, with the reasons
    #[arg(long)]
    pub excluded: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `rig validate`.
#[derive(Debug, clap::Args)]
pub struct ValidateArgs {
    /// The matrix files
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
}

/// Arguments of `rig flows`.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
pub struct FlowsArgs {
    /// The capture, pcap or pcapng, plain or compressed; `-` is standard input. Several captures, or
    /// a folder of them, are taken for captures of the same traffic at several places and put
    /// together, as `rig merge` does; the folder of a cell means its `wire.pcapng`
    #[arg(required_unless_present = "schema")]
    pub captures: Vec<PathBuf>,
    /// Print one JSON object a line, with the field names of Zeek's conn.log
    #[arg(long)]
    pub json: bool,
    /// Print comma-separated values with a line of field names
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Draw connection N, by its number in the first column, segment by segment
    #[arg(long, value_name = "N", conflicts_with_all = ["json", "csv", "flow", "condition"])]
    pub ladder: Option<u64>,
    /// Only these flows: `A -> B` as in `rig check`, or one end alone, on whichever side it is;
    /// several may be given
    #[arg(long, value_name = "FLOW")]
    pub flow: Vec<String>,
    /// Only flows for which this holds: `conn_state == RSTR and duration > 2s`; see
    /// docs/analysis.md
    #[arg(long = "where", value_name = "EXPR")]
    pub condition: Option<String>,
    /// End TCP connections that have had no packet for so long, and print them then
    #[arg(long, value_name = "DURATION")]
    pub tcp_timeout: Option<String>,
    /// End UDP conversations that have had no packet for so long, and print them then
    #[arg(long, value_name = "DURATION")]
    pub udp_timeout: Option<String>,
    /// Take segments and datagrams with wrong checksums for right: for captures that were
    /// anonymised, rewritten, or taken before a network card filled the checksums in
    #[arg(long)]
    pub no_checksums: bool,
    /// Go on reading while the file grows, until ctrl-c; flows are printed as they end
    /// [timeouts: 5m for TCP, 1m for UDP]
    #[arg(long)]
    pub follow: bool,
    /// Print the JSON Schema of the objects of --json
    #[arg(long, exclusive = true)]
    pub schema: bool,
}

/// Arguments of `rig check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The capture, pcap or pcapng, or the folder of a cell's evidence
    pub capture: PathBuf,
    /// Which flows: `A -> B`, each an address, a name from the capture, a port, `address:port`, or
    /// `*`; several may be given
    #[arg(long, value_name = "FLOW", default_value = "* -> *")]
    pub flow: Vec<String>,
    /// The pattern that each of them must match, or `@FILE` with a pattern in it; see
    /// docs/patterns.md
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true)]
    pub pattern: Option<String>,
    /// A file with named patterns that `--pattern` uses; may be given more than once
    #[arg(long, value_name = "FILE")]
    pub patterns: Vec<String>,
    /// The fates that are allowed, in Zeek's names: `SF`, or `SF,RSTO`
    #[arg(long, value_name = "FATES", value_delimiter = ',')]
    pub fate: Vec<String>,
    /// How many flows there must be: `1`, `2..`, `1..3`
    #[arg(long, value_name = "COUNT")]
    pub count: Option<String>,
    /// Judge by the flow checks of this matrix file, or file of checks alone
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["flow", "pattern", "patterns", "fate", "count"]
    )]
    pub expect: Option<PathBuf>,
    /// The cell of the matrix [default: the one whose evidence the capture is]
    #[arg(long, value_name = "NAME", requires = "expect")]
    pub cell: Option<String>,
    /// Take segments and datagrams with wrong checksums for right: for captures that were
    /// anonymised, rewritten, or taken before a network card filled the checksums in
    #[arg(long)]
    pub no_checksums: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `rig merge`.
#[derive(Debug, clap::Args)]
pub struct MergeArgs {
    /// The captures, or folders with captures; the clock of the first one counts
    #[arg(required = true)]
    pub captures: Vec<PathBuf>,
    /// The capture to be written, pcapng; `-` is standard output
    #[arg(long, short, value_name = "FILE")]
    pub out: PathBuf,
    /// Comment each packet that arrived with the time that it took
    #[arg(long)]
    pub delays: bool,
}

/// Arguments of `rig learn`.
#[derive(Debug, clap::Args)]
pub struct LearnArgs {
    /// Captures of connections as they should be, pcap or pcapng
    #[arg(required = true)]
    pub captures: Vec<PathBuf>,
    /// Which flows, as in `rig check`; several may be given
    #[arg(long, value_name = "FLOW", default_value = "* -> *")]
    pub flow: Vec<String>,
    /// Ask for the lengths and bytes of data, the flags of resets and the number of repeats, where
    /// they were always the same
    #[arg(long)]
    pub exact: bool,
    /// Take segments and datagrams with wrong checksums for right: for captures that were
    /// anonymised, rewritten, or taken before a network card filled the checksums in
    #[arg(long)]
    pub no_checksums: bool,
    /// Print a definition of this name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// Arguments of `rig patterns`.
#[derive(Debug, clap::Args)]
pub struct PatternsArgs {
    /// Only the patterns with one of these names: `reset-by`, `reset-by(initiator)`
    pub names: Vec<String>,
}

/// Arguments of `rig gc`.
#[derive(Debug, clap::Args)]
pub struct GcArgs {
    /// Only say what would be removed
    #[arg(long)]
    pub dry_run: bool,
    /// Also remove what belongs to runs that are still going on, runs of other machines, and
    /// layers of images that are less than an hour old
    #[arg(long)]
    pub all: bool,
    /// Also remove the images that rig made
    #[arg(long)]
    pub images: bool,
}
