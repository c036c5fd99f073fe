//! Mistakes of the file that a cell has met, and which other cells would meet them again.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::event::CellReport;
use crate::backend::Blame;
use crate::matrix::Cell;
use crate::plan::{self, Plan};
use crate::spec::{Place, Spec};

/// A part of a cell that the machine may not take: where it stands in the file, and what it came to.
type Part = (Place, String);

/// What is known of the mistakes of a file.
#[derive(Debug, Default)]
pub(super) struct Mistakes(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    parts: HashSet<Part>,
    /// One that every cell would meet.
    everywhere: bool,
}

impl Mistakes {
    /// Takes note of what a cell came to.
    pub(super) fn learn(&self, spec: &Spec, cell: &Cell, report: &CellReport) {
        let Some(trouble) = report
            .trouble
            .as_ref()
            .filter(|one| one.blame == Blame::Input)
        else {
            return;
        };
        let plan = plan::sketch(spec, cell).ok();
        let parts = plan.iter().flat_map(parts);
        let wrong: Vec<_> = parts
            .filter(|(place, _)| Some(*place) == trouble.place)
            .collect();
        let mut known = self.known();
        known.everywhere |= wrong.is_empty();
        known.parts.extend(wrong);
    }

    /// Whether a cell has a part that another could not be run with.
    pub(super) fn concern(&self, spec: &Spec, cell: &Cell) -> bool {
        let known = self.known();
        let has_one = || {
            let plan = plan::sketch(spec, cell).ok();
            plan.iter()
                .flat_map(parts)
                .any(|part| known.parts.contains(&part))
        };
        known.everywhere || (!known.parts.is_empty() && has_one())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parts(plan: &Plan) -> Vec<Part> {
    let nodes = plan.nodes.iter().map(|node| {
        let program = node.command.first().map_or("", String::as_str);
        (node.command_place, format!("{} {program}", node.image))
    });
    let hosts = plan.hosts.iter().flat_map(|host| {
        let settings = host
            .sysctls
            .values()
            .map(|setting| (setting.place, setting.value.clone()));
        settings.chain([(host.place, String::new())])
    });
    nodes.chain(hosts).collect()
}
