//! Hosts and programs on the engine, for the tests of the agent alone.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bollard::Docker;
use bollard::body_full;
use bollard::container::LogOutput;
use bollard::models::{
    ContainerCreateBody, HostConfig, NetworkConnectRequest, NetworkCreateRequest,
};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, BuildImageOptionsBuilder, DownloadFromContainerOptionsBuilder,
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, ListNetworksOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptions,
};
use futures_util::{Stream, StreamExt as _};
use rig::agent::protocol::{
    AgentError, CAPTURE_PATH, ReplyLine, Request, RequestLine, Response, SocketRow,
};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// Label with the sandbox's name, on everything that it makes.
const LABEL: &str = "rig.test";

/// Longest wait for anything on the engine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Longest wait for a socket table to show something, and the time between two looks.
const SOCKETS_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// An image with the agent and a test program, and what is made from it. Dropping it removes all.
pub(crate) struct Sandbox {
    client: Docker,
    name: String,
}

impl Sandbox {
    /// Makes the image.
    pub(crate) async fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let engine = rig::backend::docker::Docker::connect().await;
        let engine = engine.unwrap_or_else(|error| {
            panic!("the agent's end-to-end tests need a container engine: failed to {error}")
        });
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let sandbox = Self {
            client: engine.client,
            name: format!("rig-test-{}-{count}", std::process::id()),
        };
        sandbox.build_image().await;
        sandbox
    }

    async fn build_image(&self) {
        let rig = Path::new(env!("CARGO_BIN_EXE_rig"));
        let tar = tokio::task::spawn_blocking({
            let dockerfile = format!(
                "FROM scratch\nLABEL {LABEL}={}\nCOPY rig tcp-echo /\n",
                self.name
            );
            let programs = [rig.to_owned(), example(rig)];
            move || build_context(&dockerfile, &programs)
        });
        let options = BuildImageOptionsBuilder::new()
            .t(&self.name)
            .rm(true)
            .forcerm(true)
            .build();
        let body = body_full(tar.await.unwrap().into());
        let mut progress = std::pin::pin!(self.client.build_image(options, None, Some(body)));
        while let Some(message) = progress.next().await {
            let error = message.unwrap().error_detail;
            assert!(error.is_none(), "{error:?}");
        }
    }

    /// Makes a network.
    pub(crate) async fn network(&self, name: &str) -> String {
        let name = format!("{}-{name}", self.name);
        let request = NetworkCreateRequest {
            name: name.clone(),
            labels: Some(self.labels()),
            ..NetworkCreateRequest::default()
        };
        self.client.create_network(request).await.unwrap();
        name
    }

    /// Starts an agent on these networks; on none, it has a loopback interface alone.
    pub(crate) async fn host(&self, networks: &[&str]) -> Agent {
        let body = ContainerCreateBody {
            image: Some(self.name.clone()),
            entrypoint: Some(vec!["/rig".to_owned(), "agent".to_owned()]),
            labels: Some(self.labels()),
            open_stdin: Some(true),
            stdin_once: Some(true),
            host_config: Some(HostConfig {
                network_mode: Some((*networks.first().unwrap_or(&"none")).to_owned()),
                cap_add: Some(
                    ["NET_ADMIN", "NET_RAW", "SYS_PTRACE"]
                        .map(str::to_owned)
                        .into(),
                ),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let created = self.client.create_container(None, body).await.unwrap();
        for network in networks.iter().skip(1) {
            let request = NetworkConnectRequest {
                container: created.id.clone(),
                endpoint_config: None,
            };
            self.client.connect_network(network, request).await.unwrap();
        }
        let options = AttachContainerOptionsBuilder::new()
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .stream(true)
            .build();
        let attached = self
            .client
            .attach_container(&created.id, Some(options))
            .await;
        let attached = attached.unwrap();
        self.client
            .start_container(&created.id, None)
            .await
            .unwrap();
        Agent {
            client: self.client.clone(),
            container: created.id,
            input: attached.input,
            output: attached.output,
            partial: Vec::new(),
            replies: VecDeque::new(),
            next_id: 1,
        }
    }

    /// Starts the test program as a node of a host.
    pub(crate) async fn node(&self, host: &Agent, name: &str, args: &[&str]) -> Node {
        let joined = format!("container:{}", host.container);
        let entrypoint = std::iter::once("/tcp-echo").chain(args.iter().copied());
        let body = ContainerCreateBody {
            image: Some(self.name.clone()),
            entrypoint: Some(entrypoint.map(str::to_owned).collect()),
            env: Some(vec![format!("RIG_NODE={name}")]),
            labels: Some(self.labels()),
            host_config: Some(HostConfig {
                network_mode: Some(joined.clone()),
                pid_mode: Some(joined),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let created = self.client.create_container(None, body).await.unwrap();
        self.client
            .start_container(&created.id, None)
            .await
            .unwrap();
        Node {
            client: self.client.clone(),
            container: created.id,
        }
    }

    fn labels(&self) -> HashMap<String, String> {
        HashMap::from([(LABEL.to_owned(), self.name.clone())])
    }

    async fn remove_all(client: &Docker, name: &str) {
        let filters = HashMap::from([("label", vec![format!("{LABEL}={name}")])]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        for container in client.list_containers(Some(options)).await.unwrap() {
            let options = RemoveContainerOptionsBuilder::new()
                .force(true)
                .v(true)
                .build();
            let id = container.id.unwrap();
            client.remove_container(&id, Some(options)).await.unwrap();
        }
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        for network in client.list_networks(Some(options)).await.unwrap() {
            client.remove_network(&network.id.unwrap()).await.unwrap();
        }
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        for image in client.list_images(Some(options)).await.unwrap() {
            client
                .remove_image(&image.id, None::<RemoveImageOptions>, None)
                .await
                .unwrap();
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let name = self.name.clone();
        // A runtime of its own: the test's may be unwinding.
        let removed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let engine = rig::backend::docker::Docker::connect().await.unwrap();
                Self::remove_all(&engine.client, &name).await;
            });
        })
        .join();
        assert!(
            removed.is_ok() || std::thread::panicking(),
            "{} could not be removed",
            self.name
        );
    }
}

/// The test program, which cargo builds beside the tests.
fn example(rig: &Path) -> PathBuf {
    let path = rig.with_file_name("examples").join("tcp-echo");
    assert!(
        path.exists(),
        "{} is missing: `cargo test` builds it, `cargo test --test rig` needs \
         `cargo build -p rig --example tcp-echo` before",
        path.display()
    );
    path
}

fn build_context(dockerfile: &str, programs: &[PathBuf]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    // The engine does not read tar's notation for holes.
    tar.sparse(false);
    let mut header = tar::Header::new_gnu();
    header.set_size(dockerfile.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "Dockerfile", dockerfile.as_bytes())
        .unwrap();
    for program in programs {
        let name = program.file_name().unwrap();
        tar.append_path_with_name(program, name).unwrap();
    }
    tar.into_inner().unwrap()
}

/// A node's container.
pub(crate) struct Node {
    client: Docker,
    container: String,
}

impl Node {
    /// Waits until the program has printed this.
    pub(crate) async fn printed(&self, text: &str) {
        let options = LogsOptionsBuilder::new().stdout(true).follow(true).build();
        let printed = async {
            let mut log = std::pin::pin!(self.client.logs(&self.container, Some(options)));
            let mut all = String::new();
            while !all.contains(text) {
                let chunk = log.next().await.expect("it has ended").unwrap();
                all.push_str(&chunk.to_string());
            }
        };
        tokio::time::timeout(PATIENCE, printed).await.unwrap();
    }

    /// Waits until the program has ended; gives its exit code.
    pub(crate) async fn ended(&self) -> i64 {
        wait_for_end(&self.client, &self.container).await
    }
}

async fn wait_for_end(client: &Docker, container: &str) -> i64 {
    let ended = async {
        let result = std::pin::pin!(client.wait_container(container, None))
            .next()
            .await;
        match result.unwrap() {
            Ok(end) => end.status_code,
            Err(bollard::errors::Error::DockerContainerWaitError { code, .. }) => code,
            Err(error) => panic!("{error}"),
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.unwrap()
}

/// An agent and the line to it.
pub(crate) struct Agent {
    client: Docker,
    container: String,
    input: Pin<Box<dyn AsyncWrite + Send>>,
    output: Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>,
    partial: Vec<u8>,
    replies: VecDeque<ReplyLine>,
    next_id: u64,
}

impl Agent {
    /// Sends a request; gives its id.
    pub(crate) async fn send(&mut self, request: Request) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let line = serde_json::to_string(&RequestLine { id, request }).unwrap();
        self.send_line(&line).await;
        id
    }

    /// Sends a line of any text.
    pub(crate) async fn send_line(&mut self, line: &str) {
        self.input
            .write_all(format!("{line}\n").as_bytes())
            .await
            .unwrap();
        self.input.flush().await.unwrap();
    }

    /// The next reply to any request.
    pub(crate) async fn reply(&mut self) -> ReplyLine {
        let reply = async {
            loop {
                if let Some(reply) = self.replies.pop_front() {
                    return reply;
                }
                let chunk = self
                    .output
                    .next()
                    .await
                    .expect("the agent has ended")
                    .unwrap();
                let LogOutput::StdOut { message } = chunk else {
                    continue;
                };
                self.partial.extend(message);
                while let Some(end) = self.partial.iter().position(|&byte| byte == b'\n') {
                    let line: Vec<u8> = self.partial.drain(..=end).collect();
                    self.replies
                        .push_back(serde_json::from_slice(&line).unwrap());
                }
            }
        };
        tokio::time::timeout(PATIENCE, reply).await.unwrap()
    }

    /// Asks, with no other request under way.
    pub(crate) async fn ask(&mut self, request: Request) -> Result<Response, AgentError> {
        let id = self.send(request).await;
        let reply = self.reply().await;
        assert_eq!(reply.id, id);
        reply.result
    }

    /// Asks for the socket table until it shows what is waited for.
    pub(crate) async fn sockets_until(
        &mut self,
        what: &str,
        shows: impl Fn(&[SocketRow]) -> bool,
    ) -> Vec<SocketRow> {
        let started = std::time::Instant::now();
        loop {
            let Ok(Response::Sockets { sockets, .. }) = self.ask(Request::Sockets).await else {
                panic!("no socket table");
            };
            if shows(&sockets) {
                return sockets;
            }
            assert!(started.elapsed() < SOCKETS_WITHIN, "{what}: {sockets:#?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The capture as the engine hands it out.
    pub(crate) async fn capture(&self) -> Vec<u8> {
        let options = DownloadFromContainerOptionsBuilder::new()
            .path(CAPTURE_PATH)
            .build();
        let archive = self
            .client
            .download_from_container(&self.container, Some(options));
        let archive: Vec<u8> = archive.map(|chunk| chunk.unwrap().to_vec()).concat().await;
        let mut archive = tar::Archive::new(archive.as_slice());
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        let mut capture = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut capture).unwrap();
        capture
    }

    /// Ends the agent's input; gives its exit code.
    pub(crate) async fn release(mut self) -> i64 {
        self.input.shutdown().await.unwrap();
        drop(self.input);
        wait_for_end(&self.client, &self.container).await
    }
}
