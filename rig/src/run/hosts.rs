//! What steps do to whole hosts.

use std::net::IpAddr;

use futures_util::future::try_join_all;

use super::driver::{Driver, StepError};
use super::faults::{Fault, Victim, other_answer};
use crate::agent::protocol::{HostInterface, Request, Response};
use crate::backend::LiveCell;
use crate::judge::HostOutage;
use crate::plan::HostFault;
use crate::units::{HostName, NetworkName, Timestamp};

/// What became of a host that is off the network.
const CRASHED: &str = "has crashed";
const UNPLUGGED: &str = "is unplugged";

impl<C: LiveCell> Driver<'_, C> {
    /// Does something to a whole host, and makes sure of it.
    pub(super) async fn change_host(
        &self,
        fault: HostFault,
        host: &HostName,
        networks: &[NetworkName],
    ) -> Result<(), StepError> {
        match fault {
            HostFault::Crash => self.crash(host).await.map(drop),
            HostFault::Boot => self.boot(host).await,
            HostFault::Reboot => {
                self.crash(host).await?;
                self.boot(host).await
            }
            HostFault::Unplug => {
                let addresses = self.addresses(host, networks);
                let request = Request::Unplug { addresses };
                self.cut(fault, host, request, UNPLUGGED).await
            }
            HostFault::Plug => {
                let addresses = self.addresses(host, networks);
                let request = Request::Plug {
                    addresses: addresses.clone(),
                };
                self.mend(fault, host, request, &addresses).await
            }
        }
    }

    async fn crash(&self, host: &HostName) -> Result<(), StepError> {
        self.cut(HostFault::Crash, host, Request::Crash, CRASHED)
            .await?;
        // The agent has seen them die; the engine tells how.
        let programs = self.plan.nodes.iter().filter(|node| node.host == *host);
        let dying = programs.filter(|node| self.running(&node.name));
        try_join_all(dying.map(|node| self.wait(&node.name))).await?;
        Ok(())
    }

    async fn boot(&self, host: &HostName) -> Result<(), StepError> {
        let addresses = self.addresses(host, &[]);
        self.mend(HostFault::Boot, host, Request::Boot, &addresses)
            .await
    }

    /// Takes a host off networks.
    async fn cut(
        &self,
        fault: HostFault,
        host: &HostName,
        request: Request,
        why: &'static str,
    ) -> Result<(), StepError> {
        let Response::Cut { at, interfaces } = self.cell.ask(host, request).await? else {
            return Err(other_answer(&format!("{} host `{host}`", fault.name())));
        };
        self.note(fault, host, at);
        let is_cut =
            |address: &IpAddr| interfaces.iter().any(|one| one.addresses.contains(address));
        let addresses = self.addresses(host, &[]).into_iter().filter(is_cut);
        self.state()
            .outages
            .extend(addresses.map(|address| HostOutage {
                host: host.clone(),
                why,
                address,
                from: at,
                until: None,
            }));
        self.keep_reaching(host, &interfaces).await
    }

    /// Brings a host back.
    async fn mend(
        &self,
        fault: HostFault,
        host: &HostName,
        request: Request,
        addresses: &[IpAddr],
    ) -> Result<(), StepError> {
        let Response::Mended { at } = self.cell.ask(host, request).await? else {
            return Err(other_answer(&format!("{} host `{host}`", fault.name())));
        };
        self.note(fault, host, at);
        let mut state = self.state();
        for outage in &mut state.outages {
            if outage.until.is_none() && addresses.contains(&outage.address) {
                outage.until = Some(at);
            }
        }
        Ok(())
    }

    /// Lets the other hosts of its networks go on sending to a host that does not answer any more when
    /// it is asked for its link address, as a router between them would.
    async fn keep_reaching(
        &self,
        host: &HostName,
        interfaces: &[HostInterface],
    ) -> Result<(), StepError> {
        let Some(lost) = self.plan.host(host) else {
            return Ok(());
        };
        let mut pins = Vec::new();
        for end in &lost.interfaces {
            let address = IpAddr::V4(end.address);
            let Some(cut) = interfaces
                .iter()
                .find(|one| one.addresses.contains(&address))
            else {
                continue;
            };
            for other in self.plan.hosts.iter().filter(|other| other.name != *host) {
                let same = other
                    .interfaces
                    .iter()
                    .find(|one| one.network == end.network);
                pins.extend(same.map(|one| {
                    let request = Request::Pin {
                        from: IpAddr::V4(one.address),
                        neighbour: address,
                        mac: cut.mac,
                    };
                    self.cell.ask(&other.name, request)
                }));
            }
        }
        try_join_all(pins).await?;
        Ok(())
    }

    /// The addresses of a host on these networks, or on all where none is named.
    fn addresses(&self, host: &HostName, networks: &[NetworkName]) -> Vec<IpAddr> {
        let interfaces = self.plan.host(host).into_iter().flat_map(|h| &h.interfaces);
        interfaces
            .filter(|one| networks.is_empty() || networks.contains(&one.network))
            .map(|one| IpAddr::V4(one.address))
            .collect()
    }

    fn note(&self, fault: HostFault, host: &HostName, at: Timestamp) {
        self.transcript.done_to_host(at, host, fault.name());
        self.state().faults.push(Fault {
            alone_in: None,
            at,
            on: Victim::Host(host.clone()),
            what: format!("{} {host}", fault.name()),
            sends: false,
        });
    }
}
