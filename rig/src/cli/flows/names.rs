//! Names of addresses, as the capture gives them.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use crate::units::printable;

/// Names of addresses, safe to print.
#[derive(Debug, Default)]
pub(super) struct Names {
    shown: HashMap<IpAddr, String>,
    /// As they stand in the capture.
    read: Vec<(IpAddr, String)>,
}

impl Names {
    /// Takes in the names that were read since the last time.
    pub(super) fn update(&mut self, read: &[(IpAddr, String)]) {
        let new = read.get(self.read.len()..).unwrap_or_default();
        for (address, name) in new {
            // The first name counts, as in Wireshark.
            let shown = self.shown.entry(*address);
            shown.or_insert_with(|| printable(name));
        }
        self.read.extend_from_slice(new);
    }

    pub(super) fn as_read(&self) -> &[(IpAddr, String)] {
        &self.read
    }

    pub(super) fn name(&self, address: IpAddr) -> Option<&str> {
        self.shown.get(&address).map(String::as_str)
    }

    /// `name:port`, or `address:port` where there is no name.
    pub(super) fn endpoint(&self, endpoint: SocketAddr) -> String {
        match self.name(endpoint.ip()) {
            Some(name) => format!("{name}:{}", endpoint.port()),
            None => endpoint.to_string(),
        }
    }
}
