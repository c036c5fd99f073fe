//! When a node counts as started.

use tokio::time::Instant;

use super::driver::{ANSWER_MARGIN, Deadline, Driver, StepError};
use crate::agent::protocol::Request;
use crate::backend::{BackendError, LiveCell};
use crate::plan::{NodePlan, Ready};
use crate::units::show_duration;

impl<C: LiveCell> Driver<'_, C> {
    /// Waits until a node whose program has been started counts as started.
    pub(super) async fn await_ready(
        &self,
        node: &NodePlan,
        deadline: Deadline,
    ) -> Result<(), StepError> {
        let name = node.name.clone();
        let within = deadline.left_to_agent();
        let answer = match &node.ready {
            None => return Ok(()),
            Some(Ready::Listening(port)) => {
                let request = Request::AwaitListening {
                    node: name,
                    port: *port,
                    within,
                };
                self.cell.ask(&node.host, request).await
            }
            Some(Ready::Connected(port)) => {
                let request = Request::AwaitConnected {
                    node: name,
                    port: *port,
                    within,
                };
                self.cell.ask(&node.host, request).await
            }
            Some(Ready::Bound(port)) => {
                let request = Request::AwaitBound {
                    node: name,
                    port: *port,
                    within,
                };
                self.cell.ask(&node.host, request).await
            }
            Some(Ready::Window(title)) => self.await_window(node, title, within).await,
            Some(Ready::Output(text)) => {
                return self
                    .hear(&node.name, text)
                    .await
                    .map_err(|error| match error {
                        // What it printed last is part of the reason.
                        StepError::Unmet(why) => not_ready(node, "", &why),
                        other @ StepError::Backend(_) => other,
                    });
            }
        };
        match answer {
            Ok(_) => Ok(()),
            Err(error) => Err(self.never_ready(node, deadline, &error.message).await),
        }
    }

    /// A program that never becomes ready is the machine's or its own failure: nothing that the
    /// matrix asks about was tried yet.
    pub(super) async fn never_ready(
        &self,
        node: &NodePlan,
        deadline: Deadline,
        why: &str,
    ) -> StepError {
        let late = Instant::now() + ANSWER_MARGIN >= deadline.at;
        let (within, end) = if late {
            (
                format!(" within {}", show_duration(deadline.within)),
                String::new(),
            )
        } else {
            (String::new(), self.end_told(&node.name).await)
        };
        let said = self.last_words(&node.name);
        not_ready(node, &within, &format!("{why}{end}{said}"))
    }
}

fn not_ready(node: &NodePlan, within: &str, why: &str) -> StepError {
    let name = &node.name;
    let message = format!("start node `{name}`: it did not become ready{within}: {why}");
    StepError::Backend(BackendError::machine(message).or_at(node.command_place))
}
