//! The display of a node: an X server without a screen, in a container inside the namespaces of the
//! node's host.
//!
//! Programs reach it by a socket in a volume that dies with its containers, the agent by one in the
//! abstract namespace. It listens on no port, so nothing of it is on the wire.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error as EngineError;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::StartContainerOptions;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::OnceCell;

use super::cell::{Containers, Role};
use super::engine::{Shared, attached_container, bounded};
use super::labels;
use crate::backend::BackendError;
use crate::plan::{DisplayPlan, NodePlan};
use crate::units::{NodeName, printable};

/// Where X servers have their sockets.
const SOCKETS: &str = "/tmp/.X11-unix";

/// The longest that a server may take to come up.
const UP_WITHIN: Duration = Duration::from_secs(15);

/// Memory that programs share with their display, in bytes: browsers want more than the engine's
/// 64 MiB. None of it is taken before it is used.
const SHARED_MEMORY_BYTES: i64 = 512 * 1024 * 1024;

/// How many of the last pieces of a server's output an error shows.
const SHOWN_PIECES: usize = 10;

/// The display of a node, which outlives the node's visits.
#[derive(Debug, Clone)]
pub(super) struct Display {
    pub(super) container: String,
    plan: DisplayPlan,
    up: Arc<OnceCell<()>>,
}

/// Makes the container of a node's display, if it has one.
pub(super) async fn create(
    containers: &Arc<Containers>,
    cell: &str,
    node: &NodePlan,
    agent_container: &str,
    prefix: &str,
) -> Result<Option<Display>, BackendError> {
    let Some(plan) = node.display else {
        return Ok(None);
    };
    let shared = &containers.shared;
    let operation = format!("make the display of node `{}`", node.name);
    let image = shared.images().display.clone().ok_or_else(|| {
        BackendError::machine(format!(
            "{operation}: the image of displays was not prepared"
        ))
    })?;
    let joined = format!("container:{agent_container}");
    let body = ContainerCreateBody {
        image: Some(image),
        entrypoint: Some(vec!["Xvfb".to_owned()]),
        cmd: Some(arguments(plan)),
        labels: Some(shared.labels(&[(labels::CELL, cell), (labels::DISPLAY, node.name.as_str())])),
        volumes: Some(vec![SOCKETS.to_owned()]),
        host_config: Some(HostConfig {
            network_mode: Some(joined.clone()),
            pid_mode: Some(joined),
            ipc_mode: Some("shareable".to_owned()),
            shm_size: Some(SHARED_MEMORY_BYTES),
            ..HostConfig::default()
        }),
        ..attached_container()
    };
    let name = format!("{prefix}-display-{}", node.name);
    let container = containers
        .create(Role::Node, &operation, &name, body)
        .await?;
    Ok(Some(Display {
        container,
        plan,
        up: Arc::default(),
    }))
}

/// What the server is told (Xserver(1), Xvfb(1)). It goes on when its last window has gone, asks
/// nobody for a password, and says on its standard output when it is up.
fn arguments(plan: DisplayPlan) -> Vec<String> {
    let (name, width, height) = (plan.name(), plan.size.width, plan.size.height);
    let screen = format!("{width}x{height}x24");
    let mut words = vec![name.as_str(), "-screen", "0", &screen];
    words.extend(["-nolisten", "tcp", "-noreset", "-ac", "-displayfd", "1"]);
    words.into_iter().map(str::to_owned).collect()
}

impl Display {
    /// Starts the server, unless it is up.
    pub(super) async fn up(&self, shared: &Shared, node: &NodeName) -> Result<(), BackendError> {
        self.up
            .get_or_try_init(|| self.start(shared, node))
            .await
            .copied()
    }

    async fn start(&self, shared: &Shared, node: &NodeName) -> Result<(), BackendError> {
        let operation = format!("start the display of node `{node}`");
        let mut attached = shared.attach(&operation, &self.container).await?;
        let options = None::<StartContainerOptions>;
        let request = shared.client.start_container(&self.container, options);
        bounded(&operation, request).await?;
        let told = tokio::time::timeout(UP_WITHIN, told_number(&mut attached.output)).await;
        let failed = |cause: &str| Err(BackendError::machine(format!("{operation}: {cause}")));
        match told {
            Ok(Ok(number)) if number == self.plan.number => {}
            Ok(Ok(number)) => return failed(&format!("its server is number {number}")),
            Ok(Err(said)) => return failed(&format!("its server ended: {}", printable(&said))),
            Err(_) => return failed(&format!("it is not up after {} s", UP_WITHIN.as_secs())),
        }
        // What it says later is of no use, and must not wait for a reader.
        tokio::spawn(async move { while attached.output.next().await.is_some() {} });
        Ok(())
    }
}

/// Waits for the server's number, which it writes when it is up; else what it said before its end.
async fn told_number(
    mut output: impl Stream<Item = Result<LogOutput, EngineError>> + Unpin,
) -> Result<u16, String> {
    let mut number = String::new();
    let mut said = VecDeque::new();
    while let Some(Ok(chunk)) = output.next().await {
        let text = String::from_utf8_lossy(chunk.as_ref()).into_owned();
        if let LogOutput::StdOut { .. } = chunk {
            number.push_str(&text);
            let line = number.split_once('\n').map(|(line, _)| line.trim());
            if let Some(told) = line.and_then(|line| line.parse().ok()) {
                return Ok(told);
            }
        }
        said.push_back(text);
        if said.len() > SHOWN_PIECES {
            said.pop_front();
        }
    }
    let said: Vec<String> = said.into();
    Err(said.concat().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::DisplaySize;

    fn stdout(text: &str) -> LogOutput {
        LogOutput::StdOut {
            message: text.to_owned().into(),
        }
    }

    fn stderr(text: &str) -> LogOutput {
        LogOutput::StdErr {
            message: text.to_owned().into(),
        }
    }

    async fn told(pieces: Vec<LogOutput>) -> Result<u16, String> {
        told_number(futures_util::stream::iter(pieces.into_iter().map(Ok))).await
    }

    #[tokio::test]
    async fn a_server_is_up_when_it_tells_its_number() {
        let pieces = vec![stderr("warning\n"), stdout("1"), stdout("0\n")];
        assert_eq!(told(pieces).await, Ok(10));
        let pieces = vec![stderr("no such\nscreen\n"), stdout("1")];
        assert_eq!(told(pieces).await, Err("no such\nscreen\n1".to_owned()));
    }

    #[test]
    fn the_server_listens_on_no_port() {
        let words = arguments(DisplayPlan {
            number: 11,
            size: DisplaySize {
                width: 800,
                height: 600,
            },
        });
        assert_eq!(words[..4], [":11", "-screen", "0", "800x600x24"]);
        assert!(words.windows(2).any(|pair| pair == ["-nolisten", "tcp"]));
    }
}
