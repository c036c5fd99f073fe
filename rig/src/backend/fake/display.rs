//! The displays of simulated programs.

use super::cell::{FakeCell, locked, no_process};
use super::program::Input;
use crate::agent::protocol::{DisplayAct, Response};
use crate::backend::BackendError;
use crate::plan::Gesture;
use crate::units::NodeName;

/// A picture of one black pixel (PNG).
pub(super) const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\
    \x08\0\0\0\0\x3a\x7e\x9b\x55\0\0\0\nIDATx\x9cc`\0\0\0\x02\0\x01\x48\xaf\xa4\x71\
    \0\0\0\0IEND\xae\x42\x60\x82";

impl FakeCell {
    /// Does what is asked of the display of a node.
    pub(super) async fn at_display(
        &self,
        node: &NodeName,
        act: DisplayAct,
    ) -> Result<Response, BackendError> {
        match act {
            DisplayAct::Await { title, within } => {
                let what = format!("wait for a window of {node} with {title:?} in its title");
                let fits = node.as_str().contains(&title);
                self.until(within, &what, |world| match world.alive(node) {
                    None => Some(Err(no_process(node))),
                    Some(_) if fits => Some(Ok(Response::Displayed { at: world.tick() })),
                    Some(_) => None,
                })
                .await
            }
            DisplayAct::Gesture { gesture, window } => {
                let mut world = locked(&self.world);
                let shows = world.alive(node).filter(|_| {
                    let named = window.as_deref();
                    named.is_none_or(|title| node.as_str().contains(title))
                });
                let pid = shows.ok_or_else(|| no_window(node))?;
                if let Gesture::Type(text) = gesture {
                    world.happen(pid, Input::Stdin(text.into_bytes()));
                }
                Ok(Response::Displayed { at: world.tick() })
            }
            DisplayAct::Picture { empty_too } => {
                let mut world = locked(&self.world);
                if !empty_too && world.alive(node).is_none() {
                    return Err(no_window(node));
                }
                Ok(Response::Displayed { at: world.tick() })
            }
        }
    }
}

fn no_window(node: &NodeName) -> BackendError {
    BackendError::machine(format!(
        "find a window of {node}: it shows none that is meant"
    ))
}
