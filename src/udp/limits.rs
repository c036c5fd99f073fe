//! Every bound of the server. Each has a flag; the ones that have none are the constants below and
//! those of [`super::wire`].

use std::time::Duration;

use crate::duration;

/// The longest name of a user or room, in bytes.
pub const MAX_NAME_BYTES: usize = 32;

/// So many addresses of strangers are served in a second; the datagrams of further ones are dropped.
pub const MAX_STRANGERS: usize = 1024;

/// What the kernel may hold of datagrams not yet read, in bytes; the system's own bound may be lower.
pub const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// The limits of a server.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Users in the address book
    #[arg(long, value_name = "COUNT", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_users: u32,

    /// Users of one IP address
    #[arg(long, value_name = "COUNT", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_per_address: u32,

    /// Rooms at a time
    #[arg(long, value_name = "COUNT", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_rooms: u32,

    /// A user not heard of for this time leaves the address book
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse_period)]
    pub forget_after: Duration,

    /// Datagrams a second that one user may send (0: any number); more are thrown away
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    pub rate: u32,

    /// Datagrams that one user may send at once before the rate holds
    #[arg(long, value_name = "COUNT", default_value_t = 60,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub burst: u32,

    /// Datagrams a second that are read from an IP address for users who are not in the book
    #[arg(long, value_name = "COUNT", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub stranger_rate: u32,
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_whole() {
        assert_eq!(Limits::defaults().max_users, 1000);
    }
}
