//! A node: one program in a container of its own image, inside the namespaces of its host.

use std::collections::HashMap;
use std::num::NonZero;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error as EngineError;
use bollard::models::{ContainerCreateBody, HostConfig, ResourcesUlimits};
use bollard::query_parameters::{
    ResizeContainerTTYOptionsBuilder, StartContainerOptions, WaitContainerOptionsBuilder,
};
use futures_util::StreamExt as _;
use nix::errno::Errno;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};

use super::agent_link::AgentLink;
use super::cell::{Containers, Role};
use super::display::Display;
use super::engine::{Shared, answered, attached_container, cause, status};
use super::images::holder;
use super::{files, labels, words};
use crate::agent::protocol::{NODE_VARIABLE, ProcessEnd, Request, Response};
use crate::backend::{BackendError, LiveNode, OutputChunk};
use crate::judge::{HowEnded, VisitEnd};
use crate::plan::{ContainerPlan, NodePlan, Stream};
use crate::units::{NodeName, TerminalSize, Timestamp, printable};

/// Writes to a program's input that may wait.
const INPUT_QUEUE: usize = 64;

/// Pieces of a program's output that may wait to be read; beyond them the program itself waits.
const OUTPUT_QUEUE: usize = 256;

/// How long the first process of a container may take to start its program.
const START_WITHIN: Duration = Duration::from_secs(10);

/// How long the agent's word on the end of a program may come after the engine's.
const SEEN_WITHIN: Duration = Duration::from_secs(2);

/// Limits by their numbers in Linux; that of address space has no name for engines.
const RLIMITS: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];

/// Whose namespaces a node joins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Joins<'a> {
    /// The container of its host's agent.
    pub(super) host: &'a str,
    /// What the names of its cell's containers begin with.
    pub(super) prefix: &'a str,
    /// Its display, if it has one.
    pub(super) display: Option<&'a Display>,
}

/// Makes the container of a node for its next visit.
pub(super) async fn create(
    containers: &Arc<Containers>,
    cell: &str,
    node: &NodePlan,
    joins: Joins<'_>,
    visit: u32,
) -> Result<String, BackendError> {
    let shared = &containers.shared;
    let operation = format!("make node `{}`", node.name);
    let image = shared.images().nodes.get(&node.image).ok_or_else(|| {
        BackendError::machine(format!(
            "{operation}: image `{}` was not prepared",
            node.image
        ))
    })?;
    if node.command.is_empty() {
        let message = format!("{operation}: its command is empty");
        return Err(BackendError::input(message, node.command_place));
    }
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
        entrypoint: Some(holder::entrypoint(&node.name, visit)),
        cmd: Some(node.command.clone()),
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
            cap_add: Some(capabilities(&node.container)),
            tmpfs: Some(tmpfs(&node.container)),
            ulimits: Some(ulimits(&node.container)),
            // Engines since API 1.42 give the terminal this size before the program starts.
            console_size: node
                .terminal
                .map(|size| [size.rows, size.columns].map(cells).into()),
            ..HostConfig::default()
        }),
        tty: Some(node.terminal.is_some()),
        user: node.container.user.as_ref().map(|user| user.value.clone()),
        ..attached_container()
    };
    let name = format!("{}-{}-{visit}", joins.prefix, node.name);
    let container = containers
        .create(Role::Node, &operation, &name, body)
        .await?;
    files::copy(shared, node, &container).await?;
    Ok(container)
}

fn capabilities(plan: &ContainerPlan) -> Vec<String> {
    let names = plan.capabilities.iter();
    names.map(|name| (*name).to_owned()).collect()
}

/// Folders in memory, with the options of each: anyone may write there, as in a `/tmp`.
fn tmpfs(plan: &ContainerPlan) -> HashMap<String, String> {
    let folders = plan.tmpfs.iter().map(|tmpfs| {
        let options = format!("size={},mode=1777", tmpfs.size_bytes);
        (tmpfs.at.value.as_str().to_owned(), options)
    });
    folders.collect()
}

fn ulimits(plan: &ContainerPlan) -> Vec<ResourcesUlimits> {
    // To an engine -1 is no limit; what is read from a file fits.
    let signed = |limit: Option<u64>| limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(-1));
    let limits = plan.ulimits.iter().map(|ulimit| ResourcesUlimits {
        name: Some(ulimit.name.to_owned()),
        soft: Some(signed(ulimit.limit.soft)),
        hard: Some(signed(ulimit.limit.hard)),
    });
    limits.collect()
}

/// One start of a node.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) container: String,
    /// The first is 1.
    pub(super) number: u32,
    /// The line to the agent of its host.
    pub(super) link: Arc<AgentLink>,
}

/// Starts a node's program, attached before its first byte of output.
pub(super) async fn start(
    shared: &Shared,
    node: &NodePlan,
    visit: Visit,
) -> Result<LiveNode, BackendError> {
    let operation = format!("start node `{}`", node.name);
    let container = &visit.container;
    let attached = shared.attach(&operation, container).await?;
    let start = shared
        .client
        .start_container(container, None::<StartContainerOptions>);
    answered(&operation, start).await?.map_err(|error| {
        let why = cause(&error);
        let told = format!("{operation}: {}", printable(&why));
        refused(node, &why).unwrap_or_else(|| BackendError::machine(told))
    })?;
    if let Some(size) = node.terminal {
        resize(shared, &operation, container, size).await?;
    }
    let request = Request::AwaitStarted {
        node: node.name.clone(),
        visit: visit.number,
        within: START_WITHIN,
    };
    let started = match visit.link.ask(request).await? {
        Response::Started { at, .. } => at,
        Response::NotStarted { errno } => return Err(not_started(node, errno)),
        _ => {
            return Err(BackendError::machine(format!(
                "{operation}: the agent gave an answer to another question"
            )));
        }
    };
    let (end_sender, ended) = watch::channel(None);
    let (retired_sender, retired) = watch::channel(None);
    let leaving = Arc::new(AtomicBool::new(false));
    let watcher = EndWatcher {
        client: shared.client.clone(),
        visit,
        node: node.name.clone(),
        leaving: Arc::clone(&leaving),
        retired: retired_sender,
    };
    tokio::spawn(watcher.watch(end_sender));
    let (input, input_queue) = mpsc::channel(INPUT_QUEUE);
    let (output_queue, output) = mpsc::channel(OUTPUT_QUEUE);
    tokio::spawn(write_input(attached.input, input_queue));
    tokio::spawn(read_output(attached.output, output_queue));
    Ok(LiveNode {
        started,
        input,
        output,
        ended,
        retired,
        leaving,
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

/// Why the kernel did not take a program (execve(2)): the file's fault, in most cases.
fn not_started(node: &NodePlan, errno: i32) -> BackendError {
    let command = printable(node.command.first().map_or("", String::as_str));
    let operation = format!("start node `{}`", node.name);
    let why = match Errno::from_raw(errno) {
        Errno::ENOENT | Errno::ENOTDIR => {
            format!("image `{}` has no program `{command}`", node.image)
        }
        Errno::EACCES | Errno::ENOEXEC => {
            format!("`{command}` in image `{}` is not executable", node.image)
        }
        other => format!("run `{command}`: {}", other.desc()),
    };
    BackendError::input(format!("{operation}: {why}"), node.command_place)
}

/// What the file asks for and kept a program from being started: a user that the image does not have, or
/// a limit beyond that of the machine.
fn refused(node: &NodePlan, message: &str) -> Option<BackendError> {
    let name = &node.name;
    let user = node.container.user.as_ref();
    let user = user.filter(|_| words::is_unknown_user(message));
    if let Some(user) = user {
        let (image, user, place) = (&node.image, &user.value, user.place);
        let message = format!("start node `{name}`: image `{image}` has no user or group `{user}`");
        let hint = "numbers such as `1000:1000` need not be known to the image";
        return Some(BackendError::input(message, place).with_hint(hint));
    }
    let limit = *RLIMITS.get(words::refused_limit(message)?)?;
    let mut asked = node.container.ulimits.iter();
    let asked = asked.find(|asked| asked.name == limit)?;
    let message =
        format!("start node `{name}`: the engine may not set the limit `{limit}` so high");
    let hint = "no limit goes beyond the kernel's, nor beyond the engine's own where it lacks SYS_RESOURCE";
    Some(BackendError::input(message, asked.place).with_hint(hint))
}

/// Learns how a program ends.
struct EndWatcher {
    client: bollard::Docker,
    visit: Visit,
    node: NodeName,
    leaving: Arc<AtomicBool>,
    retired: watch::Sender<Option<VisitEnd>>,
}

impl EndWatcher {
    /// Waits for the end of a program that has been started: by the word of its host's agent, which knows it from the
    /// program's parent; by that of the engine where the agent cannot know.
    async fn watch(self, sender: watch::Sender<Option<VisitEnd>>) {
        let mut seen = std::pin::pin!(self.seen());
        let end = tokio::select! {
            end = &mut seen => end,
            told = self.told() => match tokio::time::timeout(SEEN_WITHIN, seen).await {
                Ok(Some(end)) => Some(end),
                _ => told,
            },
        };
        let end = match end {
            Some(end) => Some(end),
            None => self.told().await,
        };
        if let Some(end) = end {
            sender.send_replace(Some(end));
        }
    }

    async fn seen(&self) -> Option<VisitEnd> {
        for generation in 0.. {
            let request = Request::AwaitEnded {
                node: self.node.clone(),
                visit: self.visit.number,
                generation,
            };
            let answer = self.visit.link.ask(request).await;
            let Ok(Response::Ended { at, how, goes_on }) = answer else {
                tracing::debug!(node = %self.node, ?answer, "nobody saw how a program ended");
                return None;
            };
            let how = match how {
                ProcessEnd::Exited(code) => HowEnded::Exited(code),
                ProcessEnd::Killed(signal) => HowEnded::Killed(signal),
            };
            let end = VisitEnd { at, how };
            if !goes_on || self.leaving.load(Ordering::Relaxed) {
                return Some(end);
            }
            self.retired.send_replace(Some(end));
        }
        None
    }

    /// The engine keeps a container and its exit code until the cell removes it, so that an end that came before is
    /// told at once.
    async fn told(&self) -> Option<VisitEnd> {
        let options = WaitContainerOptionsBuilder::new()
            .condition("not-running")
            .build();
        let container = &self.visit.container;
        let mut ends = std::pin::pin!(self.client.wait_container(container, Some(options)));
        let code = match ends.next().await? {
            Ok(end) => end.status_code,
            Err(EngineError::DockerContainerWaitError { code, .. }) => code,
            Err(error) => {
                tracing::debug!(%container, %error, "the end of a program was not told");
                return None;
            }
        };
        Some(VisitEnd {
            at: Timestamp::now(),
            how: HowEnded::Unseen(code),
        })
    }
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
