//! What is done at the windows of nodes, and pictures of their displays.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::driver::{Deadline, Driver, StepError};
use crate::agent::protocol::{DisplayAct, HostFile, Request, Response};
use crate::backend::{BackendError, LiveCell};
use crate::plan::{Gesture, NodePlan, Ready, WindowAct};
use crate::spec::LAST_SCREEN;
use crate::units::{NodeName, Timestamp};

/// How long the last pictures of a cell's displays may take together.
const LAST_PICTURES_WITHIN: Duration = Duration::from_secs(5);

/// A picture of a display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Screen {
    /// Its name, which is that of its file without `.png`.
    pub(super) name: String,
    /// PNG.
    pub(super) png: Vec<u8>,
}

impl<C: LiveCell> Driver<'_, C> {
    /// Does what a step asks for at the windows of a node.
    pub(super) async fn at_window(
        &self,
        node: &NodeName,
        act: &WindowAct,
        deadline: Deadline,
    ) -> Result<(), StepError> {
        match act {
            WindowAct::Gesture { gesture, window } => {
                self.transcript.told(node, &gesture.describe());
                self.gesture(node, gesture, window.as_deref()).await
            }
            WindowAct::Screenshot(name) => {
                let png = self.picture(self.node(node)?, false).await?;
                self.keep_screen(Screen {
                    name: name.to_string(),
                    png,
                });
                let what = format!("screenshot {name}");
                self.transcript.done(Timestamp::now(), node, &what);
                Ok(())
            }
            WindowAct::Await(title) => {
                let within = deadline.left_to_agent();
                let awaited = self.await_window(self.node(node)?, title, within).await;
                // That the window does not come is the program's answer.
                awaited.map(drop).map_err(|error| {
                    let said = self.last_words(node);
                    StepError::Unmet(format!("{}{said}", error.message))
                })
            }
        }
    }

    /// Does what a person does at a window.
    pub(super) async fn gesture(
        &self,
        node: &NodeName,
        gesture: &Gesture,
        window: Option<&str>,
    ) -> Result<(), StepError> {
        let act = DisplayAct::Gesture {
            gesture: gesture.clone(),
            window: window.map(str::to_owned),
        };
        self.at_display(self.node(node)?, act).await?;
        Ok(())
    }

    /// Types what a person types first, once there is a window: the one that the node counts as
    /// started by, or any.
    pub(super) async fn join_at_window(
        &self,
        node: &NodePlan,
        gesture: &Gesture,
        deadline: Deadline,
    ) -> Result<(), StepError> {
        let title = match &node.ready {
            Some(Ready::Window(title)) => title,
            _ => "",
        };
        let shown = self.await_window(node, title, deadline.left_to_agent());
        if let Err(error) = shown.await {
            return Err(self.never_ready(node, deadline, &error.message).await);
        }
        self.transcript.told(&node.name, &gesture.describe());
        self.gesture(&node.name, gesture, None).await
    }

    /// Waits until a node shows a window whose title contains `title`.
    pub(super) async fn await_window(
        &self,
        node: &NodePlan,
        title: &str,
        within: Duration,
    ) -> Result<Response, BackendError> {
        let title = title.to_owned();
        self.at_display(node, DisplayAct::Await { title, within })
            .await
    }

    /// A picture of every display that can still give one, as the steps left it.
    pub(super) async fn last_screens(&self) -> Vec<Screen> {
        let nodes = self.plan.nodes.iter();
        let taken = nodes
            .filter(|node| node.display.is_some())
            .map(|node| async move {
                match timeout(LAST_PICTURES_WITHIN, self.picture(node, true)).await {
                    Ok(Ok(png)) => Some(Screen {
                        name: format!("{}{LAST_SCREEN}", node.name),
                        png,
                    }),
                    // A node that was never started has no display that is up.
                    Ok(Err(error)) => {
                        tracing::debug!(node = %node.name, %error, "no last picture");
                        None
                    }
                    Err(_) => None,
                }
            });
        join_all(taken).await.into_iter().flatten().collect()
    }

    async fn picture(&self, node: &NodePlan, empty_too: bool) -> Result<Vec<u8>, BackendError> {
        self.at_display(node, DisplayAct::Picture { empty_too })
            .await?;
        let number = node.display.map_or(0, |display| display.number);
        self.cell.fetch(&node.host, HostFile::Picture(number)).await
    }

    async fn at_display(&self, node: &NodePlan, act: DisplayAct) -> Result<Response, BackendError> {
        let name = &node.name;
        let display = node.display.ok_or_else(|| {
            BackendError::machine(format!("ask the display of node `{name}`: it has none"))
        })?;
        let request = Request::Display {
            node: name.clone(),
            number: display.number,
            act,
        };
        self.cell.ask(&node.host, request).await
    }

    fn node(&self, name: &NodeName) -> Result<&NodePlan, BackendError> {
        self.plan
            .node(name)
            .ok_or_else(|| BackendError::machine(format!("there is no node `{name}` in this cell")))
    }
}
