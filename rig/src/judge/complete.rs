//! Whether captures can be relied on.

use crate::agent::protocol::InterfaceProof;
use crate::link::{LinkAccount, MAX_DEEDS};
use crate::plan::Plan;
use crate::units::HostName;

use super::types::{Evidence, TakenFrame};

/// Why the captures of `hosts` may lack packets; `None` when they are proven complete.
pub(super) fn doubt(evidence: &Evidence, hosts: &[&HostName]) -> Option<String> {
    hosts.iter().find_map(|host| {
        let proofs = evidence.hosts.get(*host).map(|host| &host.interfaces);
        match proofs {
            Some(proofs) if !proofs.is_empty() => proofs.iter().find_map(reason),
            _ => Some(format!(
                "the capture of host {host} is not proven complete: its agent gave no account of it"
            )),
        }
    })
}

/// Why the captures of a cell may lack packets: every interface of every host needs its proof.
pub(super) fn doubt_of_cell(plan: &Plan, evidence: &Evidence) -> Option<String> {
    let hosts: Vec<&HostName> = plan.hosts.iter().map(|host| &host.name).collect();
    let unaccounted = || {
        let links = plan.links.iter().map(|link| &link.name);
        links
            .filter_map(|name| Some((name, evidence.hosts.get(name)?.link.as_ref()?)))
            .find_map(|(name, account)| {
                let LinkAccount {
                    dropped,
                    unrecorded_losses,
                    ..
                } = account;
                if *dropped > 0 {
                    Some(format!(
                        "the kernel dropped {dropped} packets on link {name}, which was not asked to"
                    ))
                } else if *unrecorded_losses > 0 {
                    Some(format!(
                        "link {name} lost {unrecorded_losses} packets more than the {MAX_DEEDS} that it \
                         keeps account of"
                    ))
                } else {
                    None
                }
            })
    };
    doubt(evidence, &hosts).or_else(unaccounted).or_else(|| {
        let planned = plan.hosts.iter().flat_map(|host| {
            let labels = host.interfaces.iter();
            labels.map(move |interface| (host, format!("{}@{}", host.name, interface.network)))
        });
        planned
            .filter(|(host, label)| {
                let proofs = evidence.hosts.get(&host.name);
                !proofs.is_some_and(|host| host.interfaces.iter().any(|one| one.label == *label))
            })
            .map(|(_, label)| format!("the interface {label} was not captured"))
            .next()
    })
}

/// Why a cell proves nothing in which the machine took frames between two hosts.
#[must_use]
pub fn taken_doubt(evidence: &Evidence) -> Option<String> {
    let first = evidence.taken.first()?;
    let TakenFrame { frame, from, to } = first;
    let more = match evidence.taken.len() - 1 {
        0 => String::new(),
        more => format!(", nor did {more} more"),
    };
    Some(format!(
        "frame {frame} left {from} and never reached {to}{more}: nothing of the cell takes it there, so the machine did, such \
         as the engine's firewall, connection tracking, or a queue that was full"
    ))
}

fn reason(proof: &InterfaceProof) -> Option<String> {
    let reason = if proof.dropped > 0 {
        format!(
            "the kernel dropped {} of {} packets",
            proof.dropped,
            proof.dropped.saturating_add(proof.received)
        )
    } else if proof.unsure > 0 {
        format!(
            "{} of its packets came while it was being cut off or put back, and may not have reached the kernel",
            proof.unsure
        )
    } else if !proof.opened {
        "the sentinel at its beginning is missing".to_owned()
    } else if !proof.closed {
        "the sentinel at its end is missing".to_owned()
    } else {
        return None;
    };
    Some(format!(
        "the capture on {} is not proven complete: {reason}",
        proof.label
    ))
}
