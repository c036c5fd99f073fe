//! How hosts are captured, and what checks can see of packets that are cut.

use super::CapturePlan;
use super::cell::Placement;
use crate::spec::{CaptureSpec, Place, Problem};
use crate::units::HostName;

/// The longest headers before the payload of a segment, in bytes: Ethernet, IPv6 without extensions, TCP with all the
/// options that fit.
const MAX_HEADERS_BYTES: usize = 14 + 40 + 60;

/// How a host is captured: as its own entry says, or else as the file does. That of a link has no entry.
pub(super) fn of(
    placement: &Placement<'_>,
    host: Option<&HostName>,
) -> Result<CapturePlan, Problem> {
    let spec = placement.spec;
    let own = host.and_then(|host| spec.hosts.get(host));
    let own = own.map(|host| &host.capture);
    let mut plan = usual(placement);
    for CaptureSpec { ring, snap, time } in [Some(&spec.capture), own].into_iter().flatten() {
        if let Some(ring) = ring {
            plan.ring_bytes = placement.resolve(ring, None)?.0;
        }
        if let Some(snap) = snap {
            plan.snap_bytes = placement.resolve(snap, None)?.0;
        }
        if let Some(time) = time {
            placement.resolve(time, None)?;
        }
    }
    Ok(plan)
}

/// How a host is captured of which the file says nothing.
fn usual(placement: &Placement<'_>) -> CapturePlan {
    /// A link's host has one on each side, and `lo`.
    const OF_LINK: usize = 3;
    let of_hosts = placement
        .hosts
        .values()
        .map(|addresses| addresses.len() + 1);
    let count = of_hosts.sum::<usize>() + OF_LINK * placement.topology.links.len();
    let ring_bytes = if count > CapturePlan::FEW_INTERFACES {
        CapturePlan::RING_BYTES_OF_MANY
    } else {
        CapturePlan::RING_BYTES
    };
    CapturePlan {
        ring_bytes,
        snap_bytes: None,
    }
}

/// Refuses a check that looks for payload where packets are cut too short to be sure to hold it. Each packet is taken
/// from the capture of its sender, which may be any host.
pub(super) fn refuse_unseen(
    placement: &Placement<'_>,
    needed_bytes: Option<usize>,
    place: Place,
) -> Result<(), Problem> {
    let Some(needed) = needed_bytes else {
        return Ok(());
    };
    let hosts = placement.nodes.values().map(|node| Some(node.host));
    let links = placement.topology.links.iter().map(|_| None);
    for host in hosts.chain(links) {
        // What is wrong with it is told where hosts are planned.
        let Ok(CapturePlan {
            snap_bytes: Some(snap),
            ..
        }) = of(placement, host)
        else {
            continue;
        };
        let least = MAX_HEADERS_BYTES + needed;
        if (snap as usize) < least {
            let message = format!(
                "`bytes` looks at {needed} bytes of payload, and packets are cut after {snap} bytes"
            );
            let hint = format!(
                "with the longest headers that are {least} bytes: `capture: {{ snap: {least}B }}`, or no `snap`"
            );
            return Err(Problem::at(place, message).hint(hint));
        }
    }
    Ok(())
}
