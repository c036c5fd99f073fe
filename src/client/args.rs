//! The command line of the client.

use std::time::Duration;

use clap::ValueEnum;

use crate::{duration, protocol, text};

/// A chat client for the terminal
///
/// Each line typed is a message; `quit`, `exit` or the end of input leaves. Messages are printed on
/// stdout, one a line; failures are one line on stderr.
///
/// Exit codes: 0 left as asked, 1 another failure, 2 wrong arguments, 3 connection refused, 4 timed
/// out, 5 reset by peer, 6 no such host, 7 the server closed the connection, 8 the server refused
/// the name, 9 left, but not everything that was said was heard back.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "chat-client", version)]
pub struct Args {
    /// Where to, and how
    #[command(flatten)]
    pub visit: Visit,

    /// How the talk is shown
    #[arg(long, value_enum, default_value_t = Ui::Line)]
    pub ui: Ui,
}

/// What a visit to a server needs to know, whatever shows it.
#[derive(Debug, Clone, clap::Args)]
pub struct Visit {
    /// Name or address of the server's host
    pub host: String,

    /// Port of the server
    #[arg(long, default_value_t = protocol::PORT)]
    pub port: u16,

    /// Answers the server's request for a name; without it the first line typed does
    #[arg(long)]
    pub name: Option<String>,

    /// How a message ends on the wire
    #[arg(long, value_enum, default_value_t = Ending::Line)]
    pub framing: Ending,

    /// How long to try to connect
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    pub timeout: Duration,

    /// With --name: how long what is typed is held back for a server that has not asked for a name
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration::parse)]
    pub name_wait: Duration,

    /// How long the server may be silent after `quit` before it is left
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration::parse)]
    pub leave_wait: Duration,

    /// Bytes from the server without a line end are shown after this time
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = duration::parse)]
    pub quiet: Duration,

    /// With bare framing: the pause between two messages, which keeps them apart
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = duration::parse)]
    pub pause: Duration,
}

impl Visit {
    /// The server as messages name it.
    pub fn peer(&self) -> String {
        let host = text::harmless(self.host.as_bytes());
        format!("{host} port {}", self.port)
    }
}

/// How the talk is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Ui {
    /// Line by line; what was said stays on the terminal.
    Line,
    /// On the whole terminal, with the members and a view that scrolls.
    Full,
}

/// How a message ends on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Ending {
    /// Each message is a line, ended by LF.
    Line,
    /// Each message is one bare send, ended by nothing.
    Bare,
}

impl Ending {
    /// What goes over the wire for `message`.
    pub fn encode(self, message: &str) -> String {
        match self {
            Self::Line => format!("{message}\n"),
            Self::Bare => message.to_owned(),
        }
    }
}
