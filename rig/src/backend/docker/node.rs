//! A node: one program in a container of its own image, inside the namespaces of its host.

use std::num::NonZero;
use std::pin::Pin;
use std::sync::Arc;

use bollard::container::LogOutput;
use bollard::errors::Error as EngineError;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    ResizeContainerTTYOptionsBuilder, StartContainerOptions, WaitContainerOptionsBuilder,
};
use futures_util::StreamExt as _;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};

use super::cell::{Containers, Role};
use super::display::Display;
use super::engine::{Shared, answered, attached_container, cause, status};
use super::labels;
use crate::agent::protocol::NODE_VARIABLE;
use crate::backend::{BackendError, LiveNode, OutputChunk};
use crate::judge::VisitEnd;
use crate::plan::{NodePlan, Stream};
use crate::units::{TerminalSize, Timestamp, printable};

/// Writes to a program's input that may wait.
const INPUT_QUEUE: usize = 64;

/// Pieces of a program's output that may wait to be read; beyond them the program itself waits.
const OUTPUT_QUEUE: usize = 256;

/// Whose namespaces a node joins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Joins<'a> {
    /// The container of its host's agent.
    pub(super) host: &'a str,
    /// Its display, if it has one.
    pub(super) display: Option<&'a Display>,
}

/// Makes the container of a node for its next visit.
pub(super) async fn create(
    containers: &Arc<Containers>,
    cell: &str,
    node: &NodePlan,
    joins: Joins<'_>,
    name: &str,
) -> Result<String, BackendError> {
    let shared = &containers.shared;
    let operation = format!("make node `{}`", node.name);
    let image = shared.images.get(&node.image).ok_or_else(|| {
        BackendError::machine(format!(
            "{operation}: image `{}` was not prepared",
            node.image
        ))
    })?;
    let (program, arguments) = node.command.split_first().ok_or_else(|| {
        BackendError::input(
            format!("{operation}: its command is empty"),
            node.command_place,
        )
    })?;
    let mut env: Vec<String> = node
        .env
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    env.push(format!("{NODE_VARIABLE}={}", node.name));
    if let Some(size) = node.terminal {
        // Those of the file go before these.
        env.splice(0..0, terminal_variables(size));
    }
    let joined = format!("container:{}", joins.host);
    let display = joins.display.map(|display| display.container.as_str());
    let body = ContainerCreateBody {
        image: Some(image.clone()),
        entrypoint: Some(vec![program.clone()]),
        cmd: Some(arguments.to_vec()),
        env: Some(env),
        labels: Some(shared.labels(&[(labels::CELL, cell), (labels::NODE, node.name.as_str())])),
        host_config: Some(HostConfig {
            network_mode: Some(joined.clone()),
            // As the first process of a namespace of its own a program without handlers would
            // ignore SIGTERM, which no real host does.
            pid_mode: Some(joined),
            // Its server's socket, and the memory through which pictures go to it.
            volumes_from: display.map(|container| vec![container.to_owned()]),
            ipc_mode: display.map(|container| format!("container:{container}")),
            // Engines since API 1.42 give the terminal this size before the program starts.
            console_size: node
                .terminal
                .map(|size| [size.rows, size.columns].map(cells).into()),
            ..HostConfig::default()
        }),
        tty: Some(node.terminal.is_some()),
        ..attached_container()
    };
    containers.create(Role::Node, &operation, name, body).await
}

/// Starts a node's program, attached before its first byte of output.
pub(super) async fn start(
    shared: &Shared,
    node: &NodePlan,
    container: &str,
) -> Result<LiveNode, BackendError> {
    let operation = format!("start node `{}`", node.name);
    let attached = shared.attach(&operation, container).await?;
    let started = Timestamp::now();
    let start = shared
        .client
        .start_container(container, None::<StartContainerOptions>);
    answered(&operation, start)
        .await?
        .map_err(|error| start_error(node, &error))?;
    if let Some(size) = node.terminal {
        resize(shared, &operation, container, size).await?;
    }
    let (end_sender, ended) = watch::channel(None);
    tokio::spawn(watch_end(
        shared.client.clone(),
        container.to_owned(),
        end_sender,
    ));
    let (input, input_queue) = mpsc::channel(INPUT_QUEUE);
    let (output_queue, output) = mpsc::channel(OUTPUT_QUEUE);
    tokio::spawn(write_input(attached.input, input_queue));
    tokio::spawn(read_output(attached.output, output_queue));
    Ok(LiveNode {
        started,
        input,
        output,
        ended,
    })
}

/// What tells programs about their terminal. Older engines give it its size once the program runs:
/// one that looks at once finds it here.
fn terminal_variables(size: TerminalSize) -> [String; 3] {
    [
        "TERM=xterm-256color".to_owned(),
        format!("COLUMNS={}", size.columns),
        format!("LINES={}", size.rows),
    ]
}

/// Gives a terminal its size, and its program a SIGWINCH.
async fn resize(
    shared: &Shared,
    operation: &str,
    container: &str,
    size: TerminalSize,
) -> Result<(), BackendError> {
    let options = ResizeContainerTTYOptionsBuilder::new()
        .w(size.columns.get().into())
        .h(size.rows.get().into())
        .build();
    let request = shared.client.resize_container_tty(container, options);
    match answered(operation, request).await? {
        // A program that has ended already has no terminal; its end is told elsewhere.
        Err(error) if status(&error).is_none() => Err(BackendError::machine(format!(
            "{operation}: give its terminal a size: {}",
            printable(&cause(&error))
        ))),
        _ => Ok(()),
    }
}

fn cells(count: NonZero<u16>) -> usize {
    count.get().into()
}

/// Tells a command that is not in its image, the file's fault, from a failure of the engine.
fn start_error(node: &NodePlan, error: &EngineError) -> BackendError {
    let message = cause(error);
    let command = node.command.first().map_or("", String::as_str);
    let missing = message.contains("executable file not found")
        || message.contains("no such file or directory");
    if missing {
        let message = format!(
            "start node `{}`: image `{}` has no program `{}`",
            node.name,
            node.image,
            printable(command)
        );
        BackendError::input(message, node.command_place)
    } else if message.contains("permission denied") && message.contains("exec") {
        let message = format!(
            "start node `{}`: `{}` in image `{}` is not executable",
            node.name,
            printable(command),
            node.image
        );
        BackendError::input(message, node.command_place)
    } else {
        BackendError::machine(format!(
            "start node `{}`: {}",
            node.name,
            printable(&message)
        ))
    }
}

/// Waits for the end of a program whose container has been started. The engine keeps a container
/// and its exit code until the cell removes it, so that an end that came before is told at once.
async fn watch_end(
    client: bollard::Docker,
    container: String,
    sender: watch::Sender<Option<VisitEnd>>,
) {
    let options = WaitContainerOptionsBuilder::new()
        .condition("not-running")
        .build();
    let mut ends = std::pin::pin!(client.wait_container(&container, Some(options)));
    let code = match ends.next().await {
        Some(Ok(end)) => end.status_code,
        Some(Err(EngineError::DockerContainerWaitError { code, .. })) => code,
        Some(Err(error)) => {
            tracing::debug!(%container, %error, "the end of a program was not told");
            return;
        }
        None => return,
    };
    sender.send_replace(Some(VisitEnd {
        at: Timestamp::now(),
        code,
    }));
}

async fn write_input(
    mut input: Pin<Box<dyn AsyncWrite + Send>>,
    mut queue: mpsc::Receiver<Vec<u8>>,
) {
    while let Some(bytes) = queue.recv().await {
        if input.write_all(&bytes).await.is_err() || input.flush().await.is_err() {
            return;
        }
    }
    // Half a close: the program reads the end of its input, its output goes on.
    input.shutdown().await.ok();
}

type Output = Pin<Box<dyn futures_util::Stream<Item = Result<LogOutput, EngineError>> + Send>>;

async fn read_output(mut output: Output, queue: mpsc::Sender<OutputChunk>) {
    while let Some(Ok(chunk)) = output.next().await {
        let (stream, message) = match chunk {
            // A terminal's output comes as it is, on no stream.
            LogOutput::StdOut { message } | LogOutput::Console { message } => {
                (Stream::Stdout, message)
            }
            LogOutput::StdErr { message } => (Stream::Stderr, message),
            LogOutput::StdIn { .. } => continue,
        };
        let chunk = OutputChunk {
            at: Timestamp::now(),
            stream,
            bytes: message.to_vec(),
        };
        if queue.send(chunk).await.is_err() {
            return;
        }
    }
}
