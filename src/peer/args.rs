//! The command line of the peer.

use std::net::IpAddr;
use std::time::Duration;

use crate::duration;

/// A chat between two peers
///
/// With a port alone it listens for one peer. With a host and a port it connects; if that fails, it
/// listens on that port. Each line typed is sent; `:q` or the end of input ends the chat. What the
/// peer says is printed on stdout, one message a line; failures are one line on stderr.
///
/// Exit codes: 0 ended as asked, 1 another failure, 2 wrong arguments, 4 the connection died, 5
/// reset by the peer, 6 no such host, 7 the peer ended the chat, 9 ended, but the peer's host has not taken all.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "chat-peer", version, allow_missing_positional = true)]
pub struct Args {
    /// Name or address of the peer's host; without it, the peer is listened for
    pub host: Option<String>,

    /// Port of the peer, or to listen on; 0 lets the system choose one to listen on
    pub port: u16,

    /// Address to listen on [default: all, of IPv4 and IPv6]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<IpAddr>,

    /// How long to try to connect
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration::parse)]
    pub timeout: Duration,

    /// How long the peer may do nothing after `:q` before it is left
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration::parse)]
    pub leave_wait: Duration,

    /// Bytes from the peer without a line end are shown after this time
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = duration::parse)]
    pub quiet: Duration,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_port_alone_listens_and_a_host_before_it_connects() {
        let args = Args::try_parse_from(["chat-peer", "15104"]).unwrap();
        assert_eq!((args.host, args.port), (None, 15104));
        let args = Args::try_parse_from(["chat-peer", "hub", "15104"]).unwrap();
        assert_eq!((args.host.as_deref(), args.port), (Some("hub"), 15104));
        assert!(Args::try_parse_from(["chat-peer", "hub"]).is_err());
        assert!(Args::try_parse_from(["chat-peer"]).is_err());
    }
}
