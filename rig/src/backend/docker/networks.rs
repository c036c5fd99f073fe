//! Networks of a run. A network outlives the cell that used it and serves the next one: making and
//! removing one takes the engine longer than starting a program.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use futures_util::future::try_join_all;

use super::engine::{Shared, bounded};
use super::labels::RunId;
use crate::backend::{BackendError, SubnetLease};
use crate::plan::{NetworkNeeds, Subnet};

/// 198.18.0.0/15 is set aside for tests of network devices (RFC 2544, RFC 6890), so that no real
/// host is hidden by a network of the rig.
const FIRST_OCTETS: [u8; 2] = [198, 18];

/// Subnets of 24 bits in that range.
const SUBNETS: usize = 512;

/// Segment lengths depend on the MTU, and an engine's default may be smaller.
const MTU_BYTES: &str = "1500";

/// The networks that a run has on the engine.
#[derive(Debug)]
pub(super) struct NetworkPool {
    shared: Arc<Shared>,
    state: Mutex<PoolState>,
}

#[derive(Debug)]
struct PoolState {
    /// Networks that exist and that no cell uses: those that are by themselves, and those that
    /// links can join.
    free: [Vec<Subnet>; 2],
    /// Where the search for a subnet goes on.
    next: usize,
    /// How many subnets were tried.
    tried: usize,
}

/// Networks in use by one cell.
#[derive(Debug)]
pub(super) struct NetworkLease {
    pool: Arc<NetworkPool>,
    subnets: Vec<Subnet>,
    joined: bool,
}

impl NetworkPool {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        // Runs at the same time begin at different places, so that they seldom collide.
        let next = shared.run.seed() % SUBNETS;
        Self {
            shared,
            state: Mutex::new(PoolState {
                free: [Vec::new(), Vec::new()],
                next,
                tried: 0,
            }),
        }
    }

    /// Takes networks, making those that are missing.
    pub(super) async fn lease(
        pool: &Arc<Self>,
        NetworkNeeds { count, joined }: NetworkNeeds,
    ) -> Result<NetworkLease, BackendError> {
        let mut lease = NetworkLease {
            pool: Arc::clone(pool),
            subnets: Vec::new(),
            joined,
        };
        lease.subnets = {
            let mut state = pool.state();
            let free = &mut state.free[usize::from(joined)];
            let kept = free.len().saturating_sub(count);
            free.split_off(kept)
        };
        let missing = count - lease.subnets.len();
        let made = try_join_all((0..missing).map(|_| pool.make(joined))).await?;
        lease.subnets.extend(made);
        Ok(lease)
    }

    /// Makes a network in the first subnet that nothing on the engine overlaps.
    async fn make(&self, joined: bool) -> Result<Subnet, BackendError> {
        while let Some(subnet) = self.next_candidate() {
            let request = self.request(subnet, joined);
            let operation = format!("make network {subnet}");
            let client = self.shared.client.clone();
            let making = async move { bounded(&operation, client.create_network(request)).await };
            match self.shared.finish(making).await {
                Ok(_) => return Ok(subnet),
                Err(error) if is_overlap(&error.message) => {}
                Err(error) => return Err(error),
            }
        }
        Err(
            BackendError::machine("make a network: every subnet of 198.18.0.0/15 is in use")
                .with_hint("remove what earlier runs left with `rig gc`"),
        )
    }

    fn next_candidate(&self) -> Option<Subnet> {
        let mut state = self.state();
        if state.tried >= SUBNETS {
            return None;
        }
        let number = state.next;
        state.next = (number + 1) % SUBNETS;
        state.tried += 1;
        let [first, second] = FIRST_OCTETS;
        let [high, low] = u16::try_from(number).ok()?.to_be_bytes();
        Some(Subnet::containing(Ipv4Addr::new(
            first,
            second + high,
            low,
            0,
        )))
    }

    fn request(&self, subnet: Subnet, joined: bool) -> NetworkCreateRequest {
        // On an internal network an engine lets nothing pass that has another network's addresses,
        // not even within it. Where links join networks, the agents of the hosts remove the ways
        // out, and what would still leave keeps addresses that nobody answers to.
        let masquerade = (
            "com.docker.network.bridge.enable_ip_masquerade".to_owned(),
            "false".to_owned(),
        );
        NetworkCreateRequest {
            name: name(&self.shared.run, subnet),
            driver: Some("bridge".to_owned()),
            // No way out: a cell's traffic stays among its hosts.
            internal: Some(!joined),
            ipam: Some(Ipam {
                config: Some(vec![IpamConfig {
                    subnet: Some(subnet.to_string()),
                    ..IpamConfig::default()
                }]),
                ..Ipam::default()
            }),
            options: Some(
                [
                    (
                        "com.docker.network.driver.mtu".to_owned(),
                        MTU_BYTES.to_owned(),
                    ),
                    masquerade,
                ]
                .into(),
            ),
            labels: Some(self.shared.labels(&[])),
            ..NetworkCreateRequest::default()
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SubnetLease for NetworkLease {
    fn subnets(&self) -> &[Subnet] {
        &self.subnets
    }
}

impl Drop for NetworkLease {
    fn drop(&mut self) {
        let subnets = std::mem::take(&mut self.subnets);
        self.pool.state().free[usize::from(self.joined)].extend(subnets);
    }
}

/// The engine's name of the network that has this subnet.
pub(super) fn name(run: &RunId, subnet: Subnet) -> String {
    let [_, second, third, _] = subnet.address(0).octets();
    format!("rig-{run}-net-{second}-{third}")
}

/// Whether the engine refused a network because its addresses are taken.
fn is_overlap(message: &str) -> bool {
    message.contains("overlap")
}
