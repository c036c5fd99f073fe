//! Networks of a run. A network outlives the cell that used it and serves the next one: making and
//! removing one takes the engine longer than starting a program.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use futures_util::future::{join_all, try_join_all};
use tokio::runtime::Handle;

use super::engine::{Shared, bounded};
use super::labels::RunId;
use super::sweep;
use super::words::{self, Brand};
use crate::backend::{BackendError, SubnetLease};
use crate::plan::{NetworkNeeds, Subnet};
use crate::units::printable;

/// 198.18.0.0/15 is set aside for tests of network devices (RFC 2544, RFC 6890), so that no real
/// host is hidden by a network of the rig.
const FIRST_OCTETS: [u8; 2] = [198, 18];

/// Subnets of 24 bits in that range.
const SUBNETS: usize = 512;

/// Segment lengths depend on the MTU, and an engine's default may be smaller.
const MTU_BYTES: &str = "1500";

/// Options of Docker's bridge driver.
const MTU: &str = "com.docker.network.driver.mtu";
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
const GATEWAY_MODE: &str = "com.docker.network.bridge.gateway_mode_ipv4";

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
    /// Whether the engine does not know [`GATEWAY_MODE`].
    mode_refused: bool,
    /// No cell will come any more: what becomes free is removed.
    closing: bool,
}

/// What keeps an engine from making packets its own on a network. On an internal network Docker lets nothing
/// pass that has another network's addresses, not even within it, so where links join networks they are not
/// internal there: the agents of the hosts remove the ways out, and what would still leave keeps addresses
/// that nobody answers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shelter {
    /// No way out: a cell's traffic stays among its hosts. Podman, which translates addresses on other networks
    /// whatever it is told, lets pass there what links forward.
    Internal,
    /// Not internal, and without the filter against other networks' addresses that Docker has since 28.
    Unprotected,
    /// Not internal, on an engine before that filter, which does not know that it can be without.
    Open,
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
                mode_refused: false,
                closing: false,
            }),
        }
    }

    /// Makes the networks of cells that will come. Those that cannot be made are left to the cells, which tell why.
    pub(super) async fn stock(pool: &Arc<Self>, cells: &[NetworkNeeds]) {
        let leases = cells.iter().map(|&needs| Self::lease(pool, needs));
        for lease in join_all(leases).await {
            // Dropped leases are free ones.
            if let Err(error) = lease {
                tracing::debug!(%error, "the networks of a cell are not there ahead of it");
            }
        }
    }

    /// No cell will come any more: removes the networks that are free, and each of the others as soon as it is. What
    /// stays is found by the sweep of the run.
    pub(super) fn close(pool: &Arc<Self>) {
        let free = {
            let mut state = pool.state();
            state.closing = true;
            std::mem::take(&mut state.free)
        };
        pool.remove(free.into_iter().flatten().collect());
    }

    /// Removes networks in the background.
    fn remove(&self, subnets: Vec<Subnet>) {
        // Without a runtime the sweep of the whole run removes them.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        for subnet in subnets {
            let (client, name) = (self.shared.client.clone(), name(&self.shared.run, subnet));
            let removal = async move {
                if let Err(error) = sweep::remove_free_network(&client, &name).await {
                    tracing::debug!(%error, "a network was not removed at once");
                }
            };
            self.shared.work.spawn_on(removal, &runtime);
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
            match self.make_at(subnet, joined).await {
                Ok(()) => return Ok(subnet),
                Err(error) if words::is_taken_subnet(&error.message) => {}
                Err(error) => return Err(error),
            }
        }
        Err(
            BackendError::machine("make a network: every subnet of 198.18.0.0/15 is in use")
                .with_hint("remove what earlier runs left with `rig gc`"),
        )
    }

    async fn make_at(&self, subnet: Subnet, joined: bool) -> Result<(), BackendError> {
        let shelter = self.shelter(joined);
        match self.ask_for(subnet, shelter).await {
            Err(error)
                if shelter == Shelter::Unprotected
                    && words::refuses_gateway_mode(&error.message) =>
            {
                tracing::debug!(error = error.message, "networks of links go without it");
                self.state().mode_refused = true;
                self.ask_for(subnet, Shelter::Open).await
            }
            other => other,
        }
    }

    fn shelter(&self, joined: bool) -> Shelter {
        match self.shared.brand {
            _ if !joined => Shelter::Internal,
            Brand::Podman => Shelter::Internal,
            Brand::Docker if self.state().mode_refused => Shelter::Open,
            Brand::Docker => Shelter::Unprotected,
        }
    }

    async fn ask_for(&self, subnet: Subnet, shelter: Shelter) -> Result<(), BackendError> {
        let request = self.request(subnet, shelter);
        let operation = format!("make network {subnet}");
        let client = self.shared.client.clone();
        let making = async move { bounded(&operation, client.create_network(request)).await };
        let made = self.shared.finish(making).await?;
        if !made.warning.is_empty() {
            let warning = printable(&made.warning);
            tracing::warn!(network = %subnet, "the engine made a network and says: {warning}");
        }
        Ok(())
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

    fn request(&self, subnet: Subnet, shelter: Shelter) -> NetworkCreateRequest {
        let mut options = vec![(MTU, MTU_BYTES)];
        if shelter != Shelter::Internal {
            options.push((MASQUERADE, "false"));
        }
        if shelter == Shelter::Unprotected {
            options.push((GATEWAY_MODE, "nat-unprotected"));
        }
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        NetworkCreateRequest {
            name: name(&self.shared.run, subnet),
            driver: Some("bridge".to_owned()),
            internal: Some(shelter == Shelter::Internal),
            ipam: Some(Ipam {
                config: Some(vec![IpamConfig {
                    subnet: Some(subnet.to_string()),
                    ..IpamConfig::default()
                }]),
                ..Ipam::default()
            }),
            options: Some(options.into_iter().map(owned).collect()),
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
        let mut state = self.pool.state();
        if state.closing {
            drop(state);
            self.pool.remove(subnets);
        } else {
            state.free[usize::from(self.joined)].extend(subnets);
        }
    }
}

/// The engine's name of the network that has this subnet.
pub(super) fn name(run: &RunId, subnet: Subnet) -> String {
    let [_, second, third, _] = subnet.address(0).octets();
    format!("rig-{run}-net-{second}-{third}")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::canned::Canned;
    use super::*;

    const NEEDS_JOINED: NetworkNeeds = NetworkNeeds {
        count: 1,
        joined: true,
    };

    /// What an engine is asked for, in turn, until it has made one network as `needs` say; it answers by `answers`.
    async fn asked(brand: Brand, needs: NetworkNeeds, answers: &[(u16, &str)]) -> Vec<Value> {
        let (sender, bodies) = std::sync::mpsc::channel();
        let made = (201, r#"{"Id":"0f","Warning":""}"#.to_owned());
        let mut answers = answers
            .iter()
            .map(|&(status, why)| (status, serde_json::json!({ "message": why }).to_string()))
            .collect::<Vec<_>>()
            .into_iter();
        let engine = Canned::new(move |request, body| {
            assert_eq!(request, "POST /networks/create");
            sender.send(serde_json::from_str(body).unwrap()).unwrap();
            answers.next().unwrap_or_else(|| made.clone())
        });
        let shared = Arc::new(Shared::for_tests(engine.client.clone(), brand));
        let pool = Arc::new(NetworkPool::new(shared));
        let lease = NetworkPool::lease(&pool, needs).await.unwrap();
        assert_eq!(lease.subnets().len(), needs.count);
        bodies.try_iter().collect()
    }

    #[tokio::test]
    async fn networks_of_links_are_open_and_unprotected_on_docker_and_internal_on_podman() {
        let bodies = asked(Brand::Docker, NEEDS_JOINED, &[]).await;
        assert_eq!(bodies[0]["Internal"], false);
        assert_eq!(bodies[0]["Options"][GATEWAY_MODE], "nat-unprotected");
        assert_eq!(bodies[0]["Options"][MASQUERADE], "false");
        let bodies = asked(Brand::Podman, NEEDS_JOINED, &[]).await;
        assert_eq!(bodies[0]["Internal"], true);
        // Podman warns of options that it does not know.
        assert_eq!(bodies[0]["Options"], serde_json::json!({ MTU: MTU_BYTES }));
    }

    #[tokio::test]
    async fn an_engine_that_does_not_know_the_mode_goes_without_it() {
        let why = "failed to parse com.docker.network.bridge.gateway_mode_ipv4 value: nat-unprotected \
                   (unknown gateway mode nat-unprotected)";
        let needs = NetworkNeeds {
            count: 2,
            ..NEEDS_JOINED
        };
        let bodies = asked(Brand::Docker, needs, &[(400, why), (400, why)]).await;
        let open: Vec<_> = bodies
            .iter()
            .filter(|body| body["Options"].get(GATEWAY_MODE).is_none())
            .collect();
        assert_eq!(open.len(), 2, "{bodies:?}");
        assert!(open.iter().all(|body| body["Internal"] == false));
    }

    #[tokio::test]
    async fn networks_that_no_cell_will_use_go_as_soon_as_they_are_free() {
        let engine = Canned::new(|request, _| match request {
            "POST /networks/create" => (201, r#"{"Id":"0f","Warning":""}"#.to_owned()),
            _ => (204, String::new()),
        });
        let shared = Arc::new(Shared::for_tests(engine.client.clone(), Brand::Docker));
        let work = shared.work.clone();
        let pool = Arc::new(NetworkPool::new(shared));
        let one = NetworkNeeds {
            count: 1,
            joined: false,
        };
        NetworkPool::stock(&pool, &[one, one]).await;
        let lease = NetworkPool::lease(&pool, one).await.unwrap();
        let made = engine.requests().len();
        assert_eq!(made, 2, "it was there already");
        let removed = async || {
            work.close();
            work.wait().await;
            engine.requests().split_off(made)
        };
        NetworkPool::close(&pool);
        assert_eq!(removed().await.len(), 1);
        let [in_use] = lease.subnets() else {
            panic!("one network");
        };
        let in_use = format!("DELETE /networks/{}", name(&pool.shared.run, *in_use));
        drop(lease);
        assert_eq!(removed().await[1..], [in_use]);
    }

    #[tokio::test]
    async fn a_taken_subnet_is_left_to_whoever_has_it() {
        for (brand, why) in [
            (
                Brand::Docker,
                "Pool overlaps with other one on this address space",
            ),
            (
                Brand::Podman,
                "subnet 198.18.252.0/24 is already used on the host or by another config",
            ),
        ] {
            let needs = NetworkNeeds {
                count: 1,
                joined: false,
            };
            let bodies = asked(brand, needs, &[(500, why)]).await;
            let subnets: Vec<_> = bodies
                .iter()
                .map(|body| &body["IPAM"]["Config"][0]["Subnet"])
                .collect();
            assert_eq!(subnets.len(), 2, "{bodies:?}");
            assert_ne!(subnets[0], subnets[1]);
        }
    }
}
