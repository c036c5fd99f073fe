//! `--flow`: which flows are meant by their ends.

use std::net::IpAddr;

use super::super::check::ends::Selector;
use crate::analysis::Flow;
use crate::spec::Fault;

/// One `--flow`: `A -> B`, or one end alone, which may then be on either side.
#[derive(Debug)]
pub(super) struct Ends(Vec<Selector>);

impl Ends {
    /// Reads the text with the names that stand in the capture.
    pub(super) fn read(text: &str, names: &[(IpAddr, String)]) -> Result<Self, Fault> {
        if text.contains("->") {
            return Ok(Self(vec![Selector::read(text, names)?]));
        }
        // Errors keep their place, since the end that is written comes first.
        let initiator = Selector::read(&format!("{text} -> *"), names)?;
        let responder = Selector::read(&format!("* -> {text}"), names)?;
        Ok(Self(vec![initiator, responder]))
    }

    pub(super) fn mean(&self, flow: &Flow) -> bool {
        self.0.iter().any(|selector| selector.means(flow))
    }
}
