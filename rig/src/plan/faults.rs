//! What the steps of a cell do to its hosts, followed from step to step, so that a fault that makes no
//! sense is a mistake of the file.

use std::collections::HashMap;

use super::HostFault;
use crate::spec::{Place, Problem};
use crate::units::{HostName, NetworkName, NodeName};

/// What became of the hosts and nodes up to a step.
#[derive(Debug, Default)]
pub(super) struct Condition {
    /// Hosts without power, with the step that took it.
    crashed: HashMap<HostName, Place>,
    /// Hosts that have crashed at some time, with the last step that did it.
    died: HashMap<HostName, Place>,
    /// Cables that are pulled, with the step that did.
    unplugged: HashMap<(HostName, NetworkName), Place>,
    /// Nodes that are frozen, with the step that did.
    paused: HashMap<NodeName, Place>,
}

/// A step that does something to a host.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub(super) fault: HostFault,
    pub(super) host: &'a HostName,
    /// The networks that it is on.
    pub(super) on: &'a [&'a NetworkName],
    /// The one that is meant.
    pub(super) network: Option<&'a NetworkName>,
    /// A node of it that is frozen.
    pub(super) paused: Option<&'a NodeName>,
    /// Where the host is named.
    pub(super) place: Place,
    /// Where the step stands.
    pub(super) step: Place,
}

impl Condition {
    /// Whether the host of a node has power.
    pub(super) fn powered(
        &self,
        host: &HostName,
        node: &NodeName,
        place: Place,
    ) -> Result<(), Problem> {
        match self.crashed.get(host) {
            None => Ok(()),
            Some(step) => {
                let message =
                    format!("host `{host}` of node `{node}` has crashed before this step");
                Err(Problem::at(place, message).other(*step, "it crashes here"))
            }
        }
    }

    /// Whether the host of a node has had power all the time, as its display needs.
    pub(super) fn never_died(
        &self,
        host: &HostName,
        node: &NodeName,
        place: Place,
    ) -> Result<(), Problem> {
        match self.died.get(host) {
            None => Ok(()),
            Some(step) => {
                let message = format!(
                    "the display of node `{node}` ended with host `{host}`, and there is no other in this cell"
                );
                Err(Problem::at(place, message).other(*step, "it crashes here"))
            }
        }
    }

    /// Takes note that a node is frozen.
    pub(super) fn pause(&mut self, node: &NodeName, place: Place) -> Result<(), Problem> {
        match self.paused.insert(node.clone(), place) {
            None => Ok(()),
            Some(first) => {
                let message = format!("node `{node}` is paused already");
                Err(Problem::at(place, message).other(first, "it is paused here"))
            }
        }
    }

    /// Takes note that a node is not frozen any more; gives whether it was.
    pub(super) fn resumed(&mut self, node: &NodeName) -> bool {
        self.paused.remove(node).is_some()
    }

    /// Whether a node is frozen.
    pub(super) fn is_paused(&self, node: &NodeName) -> bool {
        self.paused.contains_key(node)
    }

    /// Takes note of what is done to a host; gives the networks whose cables it is about.
    pub(super) fn change(&mut self, change: &Change<'_>) -> Result<Vec<NetworkName>, Problem> {
        let host = change.host;
        let crashed = self.crashed.get(host).copied();
        match (change.fault, crashed) {
            (HostFault::Boot, None) => {
                let message = format!("host `{host}` has not crashed before this step");
                return Err(Problem::at(change.place, message));
            }
            (HostFault::Boot, Some(_)) => {
                self.crashed.remove(host);
                return Ok(Vec::new());
            }
            (_, Some(step)) => {
                let message = format!("host `{host}` has crashed before this step");
                let hint = format!("`boot: {host}` powers it on");
                let problem = Problem::at(change.place, message).hint(hint);
                return Err(problem.other(step, "it crashes here"));
            }
            (_, None) => {}
        }
        match change.fault {
            HostFault::Unplug => self.unplug(change),
            HostFault::Plug => self.plug(change),
            fault => {
                self.check_whole(change)?;
                self.died.insert(host.clone(), change.step);
                if fault == HostFault::Crash {
                    self.crashed.insert(host.clone(), change.step);
                }
                Ok(Vec::new())
            }
        }
    }

    /// A host that crashes is on its networks, and its programs run.
    fn check_whole(&self, change: &Change<'_>) -> Result<(), Problem> {
        let host = change.host;
        if let Some(node) = change.paused {
            let message = format!("node `{node}` of host `{host}` is paused, so it cannot die");
            let problem =
                Problem::at(change.place, message).hint(format!("`resume: {node}` first"));
            return Err(match self.paused.get(node) {
                Some(step) => problem.other(*step, "it is paused here"),
                None => problem,
            });
        }
        let pulled = self.unplugged.iter().find(|((of, _), _)| of == host);
        let Some((_, step)) = pulled else {
            return Ok(());
        };
        let message = format!("host `{host}` is unplugged, so nobody would notice");
        let problem = Problem::at(change.place, message).hint(format!("`plug: {host}` first"));
        Err(problem.other(*step, "it is unplugged here"))
    }

    fn unplug(&mut self, change: &Change<'_>) -> Result<Vec<NetworkName>, Problem> {
        let host = change.host;
        let networks: Vec<&NetworkName> = match change.network {
            Some(network) => vec![network],
            None => change.on.to_vec(),
        };
        if networks.is_empty() {
            let message = format!("host `{host}` is on no network");
            return Err(Problem::at(change.place, message));
        }
        for network in &networks {
            let cable = (host.clone(), (*network).clone());
            if let Some(step) = self.unplugged.insert(cable, change.step) {
                let message = format!("host `{host}` is unplugged from `{network}` already");
                return Err(Problem::at(change.place, message).other(step, "it is unplugged here"));
            }
        }
        Ok(networks.into_iter().cloned().collect())
    }

    fn plug(&mut self, change: &Change<'_>) -> Result<Vec<NetworkName>, Problem> {
        let host = change.host;
        let pulled = |network: &&&NetworkName| {
            let cable = (host.clone(), (**network).clone());
            self.unplugged.contains_key(&cable) && change.network.is_none_or(|one| one == **network)
        };
        let networks: Vec<NetworkName> = change
            .on
            .iter()
            .filter(pulled)
            .map(|n| (*n).clone())
            .collect();
        if networks.is_empty() {
            let from = change.network.map(|network| format!(" from `{network}`"));
            let from = from.unwrap_or_default();
            let message = format!("host `{host}` is not unplugged{from} before this step");
            return Err(Problem::at(change.place, message));
        }
        for network in &networks {
            self.unplugged.remove(&(host.clone(), network.clone()));
        }
        Ok(networks)
    }
}
