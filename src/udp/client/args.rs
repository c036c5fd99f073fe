//! The command line of the client.

use std::time::Duration;

use super::super::wire;
use crate::duration;

/// A client of the chat over datagrams
///
/// A line that begins with `$` is a command: `$userlist`, `$roomlist`, `$roomcreate NAME`,
/// `$roomjoin NAME`, `$roomleave`, `$poke USER`, `$kick`. Any other line goes to the room, or to the
/// user in a private talk; `$$` at its beginning stands for `$`. `quit`, `exit` or the end of input
/// leaves. What comes is printed on stdout, one datagram a line; failures are one line on stderr.
///
/// Exit codes: 0 left as asked, 1 another failure, 2 wrong arguments, 3 nobody receives there, 4 no
/// answer, 6 no such host, 7 the server ended the chat, 8 the server refused the name, 9 left, but not
/// everything that was said has come back.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Name or address of the server's host
    pub host: String,

    /// Name of the user
    #[arg(long)]
    pub name: String,

    /// Port of the server
    #[arg(long, default_value_t = wire::PORT)]
    pub port: u16,

    /// How long the server may take to answer the first and the last datagram, and each repeat
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = duration::parse_period)]
    pub retry: Duration,

    /// So many times the first datagram is sent
    #[arg(long, value_name = "COUNT", default_value_t = 6,
          value_parser = clap::value_parser!(u32).range(1..=100))]
    pub tries: u32,

    /// How long a command may go without an answer before the user is told, and how long the next of the texts that have
    /// not come back is waited for before the last datagram
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration::parse)]
    pub answer_wait: Duration,

    /// How often the server gets a sign of life; one that leaves four of them unanswered is gone
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration::parse_period)]
    pub keep_alive: Duration,
}
