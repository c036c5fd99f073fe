//! Subnets that fake cells take and give back.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::backend::{BackendError, SubnetLease};
use crate::plan::Subnet;

/// How many subnets there are.
const SUBNETS: u8 = 200;

/// The subnets that are in use.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Vec<Subnet>>);

impl Pool {
    /// Takes `count` free subnets until the lease is dropped.
    pub(super) fn take(self: &Arc<Self>, count: usize) -> Result<Lease, BackendError> {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let subnets: Vec<_> = (0..SUBNETS)
            .map(|n| Subnet::containing(Ipv4Addr::new(10, 99, n, 0)))
            .filter(|subnet| !used.contains(subnet))
            .take(count)
            .collect();
        if subnets.len() < count {
            return Err(BackendError::machine(format!(
                "take {count} subnets: only {} of {SUBNETS} are free",
                subnets.len()
            )));
        }
        used.extend(&subnets);
        Ok(Lease {
            pool: self.clone(),
            subnets,
        })
    }
}

/// Subnets of one cell.
#[derive(Debug)]
pub(super) struct Lease {
    pool: Arc<Pool>,
    subnets: Vec<Subnet>,
}

impl SubnetLease for Lease {
    fn subnets(&self) -> &[Subnet] {
        &self.subnets
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut used = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|subnet| !self.subnets.contains(subnet));
    }
}
