//! What a step tells links.

use crate::agent::protocol::LinkChange;
use crate::plan::{Action, Plan};
use crate::units::HostName;

/// The links that a step changes, how, and what a capture says of it; none where it is about
/// something else.
pub(super) fn of<'a>(
    action: &'a Action,
    plan: &'a Plan,
) -> Option<(Vec<&'a HostName>, LinkChange, String)> {
    Some(match action {
        Action::Link {
            link,
            settings,
            what,
        } => (vec![link], LinkChange::Set(settings.clone()), what.clone()),
        Action::Lose { link, rule } => {
            let what = format!("from now on lost on {link}: {}", rule.text);
            (vec![link], LinkChange::Lose(rule.clone()), what)
        }
        Action::Partition { groups, what } => {
            let what = if groups.is_empty() {
                "the partition is healed".to_owned()
            } else {
                format!("partition {what}")
            };
            let links = plan.links.iter().map(|link| &link.name).collect();
            (links, LinkChange::Partition(groups.clone()), what)
        }
        _ => return None,
    })
}
