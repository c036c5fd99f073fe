//! A service to talk with in unit tests: users are known by their ports.

use std::net::SocketAddr;

use tokio::time::Instant;

use super::limits::Limits;
use super::service::{Effects, Service};

/// The address of a user.
pub(super) fn at(port: u16) -> SocketAddr {
    ([10, 0, 0, 1], port).into()
}

pub(super) struct Talk {
    pub(super) service: Service,
    pub(super) now: Instant,
}

impl Talk {
    /// A service with these users, at the ports 1, 2, 3 and so on.
    pub(super) fn new(names: &[&str]) -> Self {
        let now = Instant::now();
        let limits = Limits {
            max_per_address: 1000,
            ..Limits::defaults()
        };
        let mut talk = Self {
            service: Service::new(limits, now),
            now,
        };
        for (port, name) in (1..).zip(names) {
            // One second each, so that they are not too many strangers at once.
            talk.now += std::time::Duration::from_millis(if names.len() > 20 { 100 } else { 0 });
            let answer = talk.say(port, &format!("hi {name}"));
            assert!(answer[0].contains(" hi "), "{answer:?}");
        }
        talk
    }

    /// What is sent when `datagram` comes from a port: each the port and the datagram.
    pub(super) fn say(&mut self, port: u16, datagram: &str) -> Vec<String> {
        let effects = self
            .service
            .receive(self.now, at(port), datagram.as_bytes());
        Self::told(&effects)
    }

    /// What is sent: each the port and the datagram.
    pub(super) fn told(effects: &Effects) -> Vec<String> {
        let datagrams = effects.datagrams.iter();
        datagrams
            .map(|(to, datagram)| format!("{} {datagram}", to.port()))
            .collect()
    }
}
