//! Whether the rules of links have lost what they should.

use crate::link::{Loss, What};
use crate::plan::LossCheck;

use super::finding::Finding;
use super::types::Evidence;

/// Judges whether a rule has lost a packet.
pub(super) fn judge(check: &LossCheck, evidence: &Evidence) -> Finding {
    let account = evidence.hosts.get(&check.link);
    let account = account.and_then(|host| host.link.as_ref());
    let Some(rule) = account.and_then(|account| account.rules.get(check.rule)) else {
        let detail = format!("link {} gave no account of what it did", check.link);
        return Finding::inconclusive(&detail);
    };
    match (rule.matched, rule.lost) {
        (0, _) => Finding::fail("it has never met a packet that it is about"),
        (matched, 0) => {
            let packets = if matched == 1 { "packet" } else { "packets" };
            let detail = format!("it has lost none: it has met {matched} {packets} only");
            Finding::fail(&detail)
        }
        _ => Finding::pass().resting_on(frames(check, evidence)),
    }
}

/// The frames that the rule has lost, as far as they are known.
fn frames(check: &LossCheck, evidence: &Evidence) -> Vec<u64> {
    let of_rule = evidence.deeds.iter().filter(|deed| {
        let lost = matches!(&deed.what, What::Lost(Loss::Rule { rule, .. }) if *rule == check.rule);
        lost && deed.link == check.link
    });
    of_rule.map(|deed| deed.frame).collect()
}
