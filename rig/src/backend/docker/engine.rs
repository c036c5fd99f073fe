//! The engine of a run: its connection, and what all cells of the run share.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bollard::container::AttachContainerResults;
use bollard::errors::Error as EngineError;
use bollard::models::{ContainerCreateBody, HealthConfig};
use bollard::query_parameters::AttachContainerOptionsBuilder;
use futures_util::future::try_join_all;
use indexmap::IndexMap;
use tokio_util::task::TaskTracker;

use super::cell::DockerCell;
use super::images::{AGENT_IMAGE_NAME, ImageProgress, Images};
use super::labels::{self, Owner, RunId};
use super::networks::NetworkPool;
use super::sweep::{Kept, remove_run};
use super::sweeper::Sweeper;
use super::words::{self, Brand};
use crate::backend::{Backend, BackendError, SubnetLease};
use crate::plan::{NetworkNeeds, Plan};
use crate::spec::Image;
use crate::units::ImageName;

/// The longest that the engine may take for one request other than a build.
pub(super) const ENGINE_TIMEOUT: Duration = Duration::from_mins(1);

/// The longest that a released cell may take to vanish before the run says that it did not.
const REMOVAL_TIMEOUT: Duration = Duration::from_mins(1);

/// What an engine takes from a terminal's input for itself: keys that nobody presses, since its own
/// choice begins with ctrl-P.
const DETACH_KEYS: &str = "ctrl-^,ctrl-_,ctrl-^,ctrl-_";

/// A Docker engine, for one run.
#[derive(Debug)]
pub struct Docker {
    pub(super) shared: Arc<Shared>,
    networks: Arc<NetworkPool>,
}

/// A connection to an engine, and whose it is.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Sends requests.
    pub client: bollard::Docker,
    /// Who made the engine.
    pub brand: Brand,
}

/// What every part of the backend needs.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) client: bollard::Docker,
    pub(super) brand: Brand,
    pub(super) run: RunId,
    pub(super) owner: Owner,
    /// Known before the first cell is opened.
    images: OnceLock<References>,
    /// Cells opened so far: their numbers tell their containers apart.
    pub(super) cells: AtomicUsize,
    /// Requests that go on to their end, and removals.
    pub(super) work: TaskTracker,
    pub(super) kept: Kept,
}

/// How the engine knows the images of a run.
#[derive(Debug, Default)]
pub(super) struct References {
    /// By their names in the file.
    pub(super) nodes: BTreeMap<ImageName, String>,
    pub(super) agent: String,
    /// That of displays, where a cell of the run has one.
    pub(super) display: Option<String>,
}

impl Shared {
    /// What a run has before its images are known.
    fn new(client: bollard::Docker, brand: Brand, run: RunId) -> Self {
        Self {
            client,
            brand,
            run,
            owner: Owner::this_process(),
            images: OnceLock::new(),
            cells: AtomicUsize::new(0),
            work: TaskTracker::new(),
            kept: Kept::default(),
        }
    }

    /// What a run without images has.
    #[cfg(test)]
    pub(super) fn for_tests(client: bollard::Docker, brand: Brand) -> Self {
        Self::new(client, brand, RunId::new())
    }

    /// The images; none before they are there.
    pub(super) fn images(&self) -> &References {
        self.images.get_or_init(References::default)
    }

    /// Attaches to every standard stream of a container that has not been started, so that no byte
    /// is missed.
    pub(super) async fn attach(
        &self,
        operation: &str,
        container: &str,
    ) -> Result<AttachContainerResults, BackendError> {
        bounded(operation, self.attaching(container)).await
    }

    /// The request of [`Self::attach`], for those who tell the engine's errors apart.
    pub(super) async fn attaching(
        &self,
        container: &str,
    ) -> Result<AttachContainerResults, EngineError> {
        let options = AttachContainerOptionsBuilder::new()
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .stream(true)
            .detach_keys(DETACH_KEYS)
            .build();
        self.client.attach_container(container, Some(options)).await
    }

    pub(super) fn labels(
        &self,
        extra: &[(&str, &str)],
    ) -> std::collections::HashMap<String, String> {
        labels::labels(&self.run, &self.owner, extra)
    }

    /// Does work that makes something on the engine, to its end even when nobody waits for it any
    /// more: a request that was sent is carried out, whoever hears of it.
    pub(super) async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, BackendError>> + Send + 'static,
    ) -> Result<T, BackendError> {
        self.work
            .spawn(work)
            .await
            .unwrap_or_else(|error| Err(BackendError::machine(format!("ask the engine: {error}"))))
    }
}

impl Docker {
    /// Connects to the engine that the environment means, and asks for a sign of life.
    ///
    /// # Errors
    /// An engine that cannot be reached, or forbids it.
    pub async fn connect() -> Result<Connection, BackendError> {
        let client = testcontainers::core::client::docker_client_instance()
            .await
            .map_err(|error| unreachable_engine(&error.to_string(), None))?;
        match tokio::time::timeout(ENGINE_TIMEOUT, client.version()).await {
            Ok(Ok(version)) => {
                let brand = Brand::of(&version);
                tracing::debug!(?brand, ?version, "an engine answers");
                Ok(Connection { client, brand })
            }
            Ok(Err(error)) => Err(unreachable_engine(&cause(&error), status(&error))),
            Err(_) => Err(unreachable_engine("it does not answer", None)),
        }
    }

    /// Finds or makes the agent's image, that of displays where `displays` are needed, and `requests`,
    /// and gets ready for cells of the run that `sweeper` guards; the networks that the first of them need, `first`, are
    /// made meanwhile. When this is given up, the guard waits until it is undone.
    ///
    /// # Errors
    /// An image that cannot be made is the fault of its entry in the file.
    pub async fn prepare(
        Connection { client, brand }: Connection,
        sweeper: &Sweeper,
        requests: &IndexMap<ImageName, Image>,
        displays: bool,
        first: &[NetworkNeeds],
        progress: &(dyn Fn(ImageProgress) + Sync),
    ) -> Result<Self, BackendError> {
        let shared = Arc::new(Shared {
            work: sweeper.work().clone(),
            kept: sweeper.kept().clone(),
            ..Shared::new(client.clone(), brand, sweeper.run().clone())
        });
        let networks = Arc::new(NetworkPool::new(Arc::clone(&shared)));
        let images = Images::new(client.clone(), sweeper.work().clone());
        // Together: one waits for a mirror while another is compiled. What several are made of is made once.
        let display = async {
            if displays {
                images.display(progress).await.map(Some)
            } else {
                Ok(None)
            }
        };
        let nodes = try_join_all(requests.iter().map(async |(name, image)| {
            let reference = images.prepare(name, image, progress).await?;
            Ok((name.clone(), reference))
        }));
        let networks_of_first = async {
            NetworkPool::stock(&networks, first).await;
            Ok(())
        };
        let (agent, display, nodes, ()) =
            tokio::try_join!(images.agent(progress), display, nodes, networks_of_first)?;
        let references = References {
            nodes: nodes.into_iter().collect(),
            agent,
            display,
        };
        tracing::debug!(?references, "{AGENT_IMAGE_NAME} and node images are there");
        shared.images.get_or_init(|| references);
        Ok(Self { shared, networks })
    }
}

/// Finds or makes one image, as a run would, and gives the reference by which the engine knows it.
///
/// # Errors
/// An image that cannot be made.
pub async fn prepare_image(
    client: &bollard::Docker,
    name: &ImageName,
    image: &Image,
    progress: &(dyn Fn(ImageProgress) + Sync),
) -> Result<String, BackendError> {
    Images::new(client.clone(), TaskTracker::new())
        .prepare(name, image, progress)
        .await
}

impl Backend for Docker {
    type Cell = DockerCell;

    async fn lease(&self, needs: NetworkNeeds) -> Result<Arc<dyn SubnetLease>, BackendError> {
        Ok(Arc::new(NetworkPool::lease(&self.networks, needs).await?))
    }

    async fn open(
        &self,
        plan: Arc<Plan>,
        lease: Arc<dyn SubnetLease>,
    ) -> Result<DockerCell, BackendError> {
        DockerCell::open(Arc::clone(&self.shared), plan, lease).await
    }

    async fn close(&self) -> Result<(), BackendError> {
        NetworkPool::close(&self.networks);
        self.shared.work.close();
        if tokio::time::timeout(REMOVAL_TIMEOUT, self.shared.work.wait())
            .await
            .is_err()
        {
            tracing::warn!("released cells are still being removed");
        }
        remove_run(&self.shared.client, &self.shared.run, &self.shared.kept).await
    }
}

/// What hosts and nodes have in common: standard streams that the controller is attached to, and an
/// input that ends when the controller is gone, however that went.
pub(super) fn attached_container() -> ContainerCreateBody {
    ContainerCreateBody {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        open_stdin: Some(true),
        stdin_once: Some(true),
        // Its probes would be programs and connections that no file speaks of.
        healthcheck: Some(HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// Runs one request of the engine within [`ENGINE_TIMEOUT`]; `operation` names it with its object.
pub(super) async fn bounded<T>(
    operation: &str,
    request: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, BackendError> {
    answered(operation, request)
        .await?
        .map_err(|error| BackendError::machine(format!("{operation}: {}", cause(&error))))
}

/// Like [`bounded`], and gives the engine's own error to those who tell its errors apart.
pub(super) async fn answered<T>(
    operation: &str,
    request: impl Future<Output = Result<T, EngineError>>,
) -> Result<Result<T, EngineError>, BackendError> {
    tokio::time::timeout(ENGINE_TIMEOUT, request)
        .await
        .map_err(|_| {
            BackendError::machine(format!(
                "{operation}: the engine did not answer within {} s",
                ENGINE_TIMEOUT.as_secs()
            ))
        })
}

/// The engine's own words where it said any, otherwise the innermost cause.
pub(super) fn cause(error: &EngineError) -> String {
    if let EngineError::DockerResponseServerError { message, .. } = error {
        return message.trim().to_owned();
    }
    if let EngineError::DockerStreamError { error } = error {
        return error.trim().to_owned();
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    text
}

/// The HTTP status that the engine answered with, if it answered.
pub(super) fn status(error: &EngineError) -> Option<u16> {
    match error {
        EngineError::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

fn unreachable_engine(why: &str, status: Option<u16>) -> BackendError {
    let hint = if words::forbids_socket(why) {
        "this user may not open the engine's socket: join its group (often `docker`) or run as one who may"
    } else if matches!(status, Some(401 | 403)) {
        "the engine forbids this user to use it: ask whoever runs it, or name another one with DOCKER_HOST"
    } else {
        "start the engine (for instance `dockerd`), or name a reachable one with DOCKER_HOST"
    };
    BackendError::machine(format!("reach a container engine: {why}")).with_hint(hint)
}
