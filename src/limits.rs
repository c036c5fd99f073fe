//! Every bound of the server. Each has a flag; the ones that have none are the constants below.

use std::time::Duration;

use crate::duration;
use crate::patience::Bounds;

/// How long a session that ends may take to write its last lines while the room goes on. As long as its client
/// takes bytes, or its kernel does: on a slow line it frees room for more seldom.
pub const FAREWELL: Bounds = Bounds {
    silence: Duration::from_secs(5),
    limit: Duration::from_mins(1),
};

/// The same while the server shuts down.
pub const FAREWELL_AT_SHUTDOWN: Bounds = Bounds {
    silence: Duration::from_millis(500),
    limit: Duration::from_millis(1200),
};

/// How long the server, its FIN sent, waits for the client's while the room goes on: as long as something still
/// comes.
pub const PEER_FIN: Bounds = Bounds {
    silence: Duration::from_secs(5),
    limit: Duration::from_mins(1),
};

/// The same while the server shuts down.
pub const PEER_FIN_AT_SHUTDOWN: Bounds = Bounds {
    silence: Duration::from_secs(1),
    limit: SHUTDOWN_WAIT,
};

/// So long after the order to shut down the server ends whatever its clients do.
pub const SHUTDOWN_WAIT: Duration = Duration::from_millis(1700);

/// Answers to telnet's requests that may wait for one who does not read, in bytes.
pub const ANSWER_BYTES: usize = 8 * 1024;

/// Messages that a member may send in a second unless a server is told otherwise.
pub const RATE: u32 = 50;

/// So many messages of one side are taken before whatever else waits gets a turn.
pub const TURN: usize = 64;

/// So often a delivery lets further members speak first, for as long as there are any.
pub const GATHERINGS: usize = 8;

/// So often somebody who speaks, comes or goes lets the others send first while the queue of one of
/// them is half full: many at once must not be taken for a member who does not read.
pub const TURNS_LEFT: usize = 64;

/// So many of these turns the slowest member may let pass in a row.
pub const STALLED_TURNS: usize = 4;

/// When so many bytes wait to be written to a socket, no more are put to them.
pub const WRITE_BYTES: usize = 16 * 1024;

/// The largest piece in which a room's lines are kept, in bytes, unless one line is longer.
pub const PIECE_BYTES: usize = 16 * 1024;

/// The limits of a server.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Connections at a time; a further one is told so and closed
    #[arg(long, value_name = "COUNT", default_value_t = 4096,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,

    /// Longest message in bytes, its line end not counted; a longer one is answered with a line
    #[arg(long, value_name = "BYTES", default_value_t = 4096,
          value_parser = clap::value_parser!(u32).range(16..=1_048_576))]
    pub max_message: u32,

    /// Longest user name, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 32,
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub max_name: u32,

    /// How long a client may take to give a name that can be used
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration::parse)]
    pub name_wait: Duration,

    /// So many names a client may try
    #[arg(long, value_name = "COUNT", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub name_tries: u32,

    /// Messages that may wait for one member; a member with more has fallen behind and is dropped
    #[arg(long, value_name = "COUNT", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub queue: u32,

    /// The kernel's send buffer of one connection, in bytes (the kernel doubles it)
    #[arg(long, value_name = "BYTES", default_value_t = 131_072,
          value_parser = clap::value_parser!(u32).range(4096..=16_777_216))]
    pub send_buffer: u32,

    /// Messages a second that one member may send (0: any number); more are read later, none is lost
    #[arg(long, value_name = "COUNT", default_value_t = RATE)]
    pub rate: u32,

    /// Messages that one member may send at once before the rate holds
    #[arg(long, value_name = "COUNT", default_value_t = 200,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub burst: u32,

    /// Bytes without a line end are a message once the line has been quiet for this time
    #[arg(long, value_name = "TIME", default_value = "300ms", value_parser = duration::parse)]
    pub quiet: Duration,

    /// How long the rest of a character cut in two is waited for before it counts as damaged
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration::parse)]
    pub tail_wait: Duration,
}

impl Limits {
    /// The limits that hold when no flag is given.
    ///
    /// # Panics
    /// Never: the defaults above are within their ranges, as a test shows.
    pub fn defaults() -> Self {
        let command = <Self as clap::Args>::augment_args(clap::Command::new("limits"));
        let matches = command.get_matches_from(["limits"]);
        #[expect(
            clippy::expect_used,
            reason = "every flag has a default, as a test shows"
        )]
        <Self as clap::FromArgMatches>::from_arg_matches(&matches).expect("defaults are whole")
    }

    /// The longest message in bytes.
    pub fn max_message_bytes(&self) -> usize {
        self.max_message as usize
    }

    /// The longest name in bytes.
    pub fn max_name_bytes(&self) -> usize {
        self.max_name as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_whole_and_an_end_fits_into_two_seconds() {
        assert_eq!(Limits::defaults().max_message_bytes(), 4096);
        let silent = FAREWELL_AT_SHUTDOWN.silence + PEER_FIN_AT_SHUTDOWN.silence;
        assert!(silent < SHUTDOWN_WAIT);
        assert!(FAREWELL_AT_SHUTDOWN.limit < SHUTDOWN_WAIT);
        assert!(SHUTDOWN_WAIT < Duration::from_secs(2));
    }
}
