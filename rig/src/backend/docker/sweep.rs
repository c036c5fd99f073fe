//! What runs have on an engine, found by label, and its removal.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, ListNetworksOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder,
};
use futures_util::future::join_all;

use super::engine::{ENGINE_TIMEOUT, bounded, cause, status};
use super::labels::{self, Life, Owner, RunId};
use crate::backend::BackendError;
use crate::units::Timestamp;

/// How often the removal of a network is tried while its last containers still vanish.
const NETWORK_ATTEMPTS: u32 = 20;

/// Time between two attempts: the engine has no event for a network becoming free.
const NETWORK_PAUSE: Duration = Duration::from_millis(100);

/// A layer without a name that is younger may belong to an image that is being made.
const LAYER_AGE: Duration = Duration::from_hours(1);

/// Which runs are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SweepScope {
    /// Only this one.
    Run(RunId),
    /// Those whose process has ended.
    Ended,
    /// Every run, also those that go on and those of other machines.
    All,
}

/// What something on the engine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The container of a host, with its interfaces, running or not.
    Host,
    /// Another container, running or not.
    Container,
    /// A network.
    Network,
    /// A layer of an image whose making was cut short.
    Layer,
    /// An image.
    Image,
}

/// Something that a run has on the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// What it is.
    pub kind: Kind,
    /// Container id, network name, image id or reference.
    pub id: String,
    /// How people know it.
    pub name: String,
    /// The run it belongs to; empty for images.
    pub run: String,
}

/// Something that could not be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unremoved {
    /// What it is.
    pub leftover: Leftover,
    /// Why.
    pub why: String,
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Host | Kind::Container => "container",
            Kind::Network => "network",
            Kind::Layer => "layer",
            Kind::Image => "image",
        };
        write!(f, "{kind} {}", self.name)?;
        if !self.run.is_empty() {
            write!(f, " of run {}", self.run)?;
        }
        Ok(())
    }
}

impl fmt::Display for Unremoved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.leftover, self.why)
    }
}

/// Finds the containers and networks of the runs in `scope`.
pub async fn survey(
    client: &bollard::Docker,
    scope: &SweepScope,
) -> Result<Vec<Leftover>, BackendError> {
    let filter = match scope {
        SweepScope::Run(run) => format!("{}={run}", labels::RUN),
        SweepScope::Ended | SweepScope::All => labels::RUN.to_owned(),
    };
    let filters = HashMap::from([("label", vec![filter])]);
    let observer = Owner::this_process();
    let meant = |labels: Option<&HashMap<String, String>>| match scope {
        SweepScope::Run(_) | SweepScope::All => true,
        SweepScope::Ended => labels
            .and_then(|labels| labels.get(labels::OWNER))
            .and_then(|text| Owner::parse(text))
            .is_some_and(|owner| owner.life(&observer) == Life::Ended),
    };
    let mut found = Vec::new();
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filters)
        .build();
    let containers = bounded("list containers", client.list_containers(Some(options))).await?;
    for container in containers
        .into_iter()
        .filter(|one| meant(one.labels.as_ref()))
    {
        let id = container.id.unwrap_or_default();
        let name = container.names.and_then(|names| names.into_iter().next());
        let labels = container.labels.as_ref();
        let is_host = labels.is_some_and(|labels| labels.contains_key(labels::HOST));
        found.push(Leftover {
            kind: if is_host { Kind::Host } else { Kind::Container },
            name: name.map_or_else(
                || id.clone(),
                |name| name.trim_start_matches('/').to_owned(),
            ),
            run: run_of(container.labels.as_ref()),
            id,
        });
    }
    let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
    let networks = bounded("list networks", client.list_networks(Some(options))).await?;
    for network in networks
        .into_iter()
        .filter(|one| meant(one.labels.as_ref()))
    {
        let name = network.name.unwrap_or_default();
        let run = run_of(network.labels.as_ref());
        found.push(Leftover {
            kind: Kind::Network,
            id: name.clone(),
            name,
            run,
        });
    }
    Ok(found)
}

/// Finds the layers that a cut-short making of an image left, and, with `images`, the images that
/// rig made. A layer has no owner: unless `scope` is every run, only those that no making under way
/// can have made are meant.
pub async fn survey_images(
    client: &bollard::Docker,
    scope: &SweepScope,
    images: bool,
) -> Result<Vec<Leftover>, BackendError> {
    let newest = if *scope == SweepScope::All {
        i64::MAX
    } else {
        seconds_ago(LAYER_AGE)
    };
    let filters = HashMap::from([("label", vec![labels::IMAGE])]);
    let options = ListImagesOptionsBuilder::new().filters(&filters).build();
    let listed = bounded("list images", client.list_images(Some(options))).await?;
    let mut found = Vec::new();
    for image in listed {
        let tags: Vec<_> = image
            .repo_tags
            .into_iter()
            .filter(|tag| tag != "<none>:<none>")
            .collect();
        let layer = tags.is_empty();
        let names = if layer { vec![image.id] } else { tags };
        if layer && image.created <= newest || !layer && images {
            let kind = if layer { Kind::Layer } else { Kind::Image };
            found.extend(names.into_iter().map(|name| Leftover {
                kind,
                id: name.clone(),
                name,
                run: String::new(),
            }));
        }
    }
    Ok(found)
}

/// Removes what was found: containers first, then the networks they were on and images. Gives back
/// what could not be removed. Hosts go one after another: where several endpoints leave a network
/// at once, the engine (seen in 20.10) may lose count of them and never let it go.
pub async fn remove_all(client: &bollard::Docker, found: Vec<Leftover>) -> Vec<Unremoved> {
    let (hosts, others): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|one| one.kind == Kind::Host);
    let (containers, rest): (Vec<_>, Vec<_>) = others
        .into_iter()
        .partition(|one| one.kind == Kind::Container);
    let mut unremoved = remove_together(client, containers).await;
    for host in hosts {
        unremoved.extend(remove(client, host).await);
    }
    unremoved.extend(remove_together(client, rest).await);
    unremoved
}

async fn remove_together(client: &bollard::Docker, group: Vec<Leftover>) -> Vec<Unremoved> {
    let results = join_all(group.into_iter().map(|one| remove(client, one))).await;
    results.into_iter().flatten().collect()
}

async fn remove(client: &bollard::Docker, leftover: Leftover) -> Option<Unremoved> {
    let removal = async {
        match leftover.kind {
            Kind::Host | Kind::Container => remove_container(client, &leftover.id).await,
            Kind::Network => remove_network(client, &leftover.id).await,
            Kind::Layer | Kind::Image => {
                let options = RemoveImageOptionsBuilder::new().build();
                client
                    .remove_image(&leftover.id, Some(options), None)
                    .await
                    .map(drop)
            }
        }
    };
    let why = match tokio::time::timeout(ENGINE_TIMEOUT, removal).await {
        Ok(Ok(())) => return None,
        Ok(Err(error)) if is_gone(&error) => return None,
        Ok(Err(error)) if has_endpoints(&error) => format!(
            "{} (where none is listed, the engine has lost count: it finds out when it is restarted)",
            cause(&error)
        ),
        Ok(Err(error)) => cause(&error),
        Err(_) => "the engine did not answer".to_owned(),
    };
    Some(Unremoved { leftover, why })
}

async fn remove_container(
    client: &bollard::Docker,
    id: &str,
) -> Result<(), bollard::errors::Error> {
    let options = RemoveContainerOptionsBuilder::new()
        .force(true)
        .v(true)
        .build();
    client.remove_container(id, Some(options)).await
}

async fn remove_network(
    client: &bollard::Docker,
    name: &str,
) -> Result<(), bollard::errors::Error> {
    for _ in 1..NETWORK_ATTEMPTS {
        match client.remove_network(name).await {
            Err(error) if has_endpoints(&error) => {
                tokio::time::sleep(NETWORK_PAUSE).await;
            }
            other => return other,
        }
    }
    client.remove_network(name).await
}

/// Whether the engine counts endpoints on a network that shall go.
fn has_endpoints(error: &bollard::errors::Error) -> bool {
    cause(error).contains("active endpoints")
}

/// Whether something is gone, or going, without our doing.
fn is_gone(error: &bollard::errors::Error) -> bool {
    let why = cause(error);
    // The last is said of an image that goes together with one that was built on it.
    status(error) == Some(404)
        || why.contains("is already in progress")
        || why.contains("unrecognized image ID")
}

/// The moment this long ago, in seconds since the UNIX epoch, as the engine tells an image's age.
pub(super) fn seconds_ago(age: Duration) -> i64 {
    let now_ns = Timestamp::now().0;
    let then_s = Duration::from_nanos(now_ns).saturating_sub(age).as_secs();
    i64::try_from(then_s).unwrap_or(i64::MAX)
}

fn run_of(labels: Option<&HashMap<String, String>>) -> String {
    labels
        .and_then(|labels| labels.get(labels::RUN))
        .cloned()
        .unwrap_or_default()
}
