//! What judging connections takes beside their packets, as it is kept for later.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::types::{Evidence, HostEvidence, NodeEvidence, Visit};
use crate::agent::protocol::InterfaceProof;
use crate::analysis::Flow;
use crate::plan::Plan;
use crate::units::{HostName, NodeName, Timestamp};

/// Proof of completeness, openers of connections and lives of programs: what a capture does not
/// hold, and flow checks rest on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// [`Account::VERSION`] of the program that wrote it.
    pub version: u32,
    /// Name of the cell.
    pub cell: String,
    /// Whether the steps were done, so that the checks were judged.
    pub judged: bool,
    /// By host.
    pub hosts: BTreeMap<HostName, HostEvidence>,
    /// When each node's program ran.
    pub visits: BTreeMap<NodeName, Vec<Visit>>,
}

impl Account {
    /// Version of the shape.
    pub const VERSION: u32 = 1;
    /// Name of its file, in the folder of a cell's evidence.
    pub const FILE: &str = "evidence.json";

    /// What of a cell's evidence its captures do not hold.
    #[must_use]
    pub fn of(cell: &str, judged: bool, evidence: &Evidence) -> Self {
        let nodes = evidence.nodes.iter();
        Self {
            version: Self::VERSION,
            cell: cell.to_owned(),
            judged,
            hosts: evidence.hosts.clone(),
            visits: nodes
                .map(|(name, node)| (name.clone(), node.visits.clone()))
                .collect(),
        }
    }

    /// For captures of which nothing else is known: they are taken for complete, and each program
    /// for one that ran all the time.
    #[must_use]
    pub fn on_trust(plan: &Plan) -> Self {
        let hosts = plan.hosts.iter().map(|host| {
            let labels = host.interfaces.iter();
            let interfaces = labels.map(|interface| InterfaceProof {
                label: format!("{}@{}", host.name, interface.network),
                received: 0,
                dropped: 0,
                unsure: 0,
                opened: true,
                closed: true,
            });
            let evidence = HostEvidence {
                interfaces: interfaces.collect(),
                owners: Vec::new(),
                datagrams: Vec::new(),
                link: None,
            };
            (host.name.clone(), evidence)
        });
        let always = Visit {
            started: Timestamp(0),
            ended: None,
        };
        let nodes = plan.nodes.iter();
        Self {
            version: Self::VERSION,
            cell: plan.cell.clone(),
            judged: true,
            hosts: hosts.collect(),
            visits: nodes
                .map(|node| (node.name.clone(), vec![always.clone()]))
                .collect(),
        }
    }

    /// The evidence for flow checks, with the flows of the captures.
    #[must_use]
    pub fn with_flows(self, flows: Vec<Flow>) -> Evidence {
        let visits = self.visits.into_iter();
        let nodes = visits.map(|(name, visits)| {
            let node = NodeEvidence {
                visits,
                ..NodeEvidence::default()
            };
            (name, node)
        });
        Evidence {
            flows,
            hosts: self.hosts,
            nodes: nodes.collect(),
            ..Evidence::default()
        }
    }
}
