//! What runs have on an engine, found by label, and its removal.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::models::ContainerSummary;
use bollard::query_parameters::{
    ListContainersOptions, ListContainersOptionsBuilder, ListImagesOptionsBuilder,
    ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder,
};
use futures_util::future::join_all;

use super::engine::{ENGINE_TIMEOUT, answered, bounded, cause, status};
use super::labels::{self, Life, Owner, RunId};
use super::words;
use crate::backend::BackendError;
use crate::units::Timestamp;

/// How often the removal of a network is tried while its last containers still vanish.
const NETWORK_ATTEMPTS: u32 = 20;

/// Time between two attempts: the engine has no event for a network becoming free.
const NETWORK_PAUSE: Duration = Duration::from_millis(100);

/// A layer without a name that is younger may belong to an image that is being made.
const LAYER_AGE: Duration = Duration::from_hours(1);

/// How often containers are listed while one of them is in a state that passes. It lasts 0.2 s, and programs end
/// one after another.
const LISTING_ATTEMPTS: u32 = 10;

/// Time between two attempts.
const LISTING_PAUSE: Duration = Duration::from_millis(100);

/// Containers by id and networks by name that stay on the engine on purpose. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept(Arc<Mutex<HashSet<String>>>);

impl Kept {
    pub(super) fn add(&self, ids: impl IntoIterator<Item = String>) {
        self.ids().extend(ids);
    }

    fn has(&self, id: &str) -> bool {
        self.ids().contains(id)
    }

    fn ids(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
    let of_networks = ListNetworksOptionsBuilder::new().filters(&filters).build();
    let (containers, networks) = tokio::try_join!(
        list_containers(client, &options),
        bounded("list networks", client.list_networks(Some(of_networks))),
    )?;
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

/// Lists containers, again where one of them is in a state that passes.
async fn list_containers(
    client: &bollard::Docker,
    options: &ListContainersOptions,
) -> Result<Vec<ContainerSummary>, BackendError> {
    let operation = "list containers";
    for _ in 1..LISTING_ATTEMPTS {
        match answered(operation, client.list_containers(Some(options.clone()))).await? {
            Err(error) if words::is_passing_state(&error) => {
                tokio::time::sleep(LISTING_PAUSE).await;
            }
            Err(error) => {
                let why = cause(&error);
                return Err(BackendError::machine(format!("{operation}: {why}")));
            }
            Ok(containers) => return Ok(containers),
        }
    }
    bounded(operation, client.list_containers(Some(options.clone()))).await
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

/// Removes everything of a run but what is kept.
///
/// # Errors
/// Names each thing that could not be removed, with the reason.
pub(super) async fn remove_run(
    client: &bollard::Docker,
    run: &RunId,
    kept: &Kept,
) -> Result<(), BackendError> {
    let mut found = survey(client, &SweepScope::Run(run.clone())).await?;
    found.retain(|leftover| !kept.has(&leftover.id));
    let failed = remove_all(client, found).await;
    if failed.is_empty() {
        return Ok(());
    }
    let failures: Vec<_> = failed.iter().map(ToString::to_string).collect();
    let failures = failures.join("; ");
    Err(BackendError::machine(format!("remove {failures}")))
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

/// Removes a network that no container is on.
pub(super) async fn remove_free_network(
    client: &bollard::Docker,
    name: &str,
) -> Result<(), BackendError> {
    bounded(
        &format!("remove network {name}"),
        remove_network(client, name),
    )
    .await
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
    words::is_network_in_use(&cause(error))
}

/// Whether something is gone, or going, without our doing.
fn is_gone(error: &bollard::errors::Error) -> bool {
    let why = cause(error);
    // The last is said of an image that goes together with one that was built on it.
    status(error) == Some(404) || words::is_removal_under_way(&why) || words::is_image_gone(&why)
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

#[cfg(test)]
mod tests {
    use super::super::canned::Canned;
    use super::*;

    const RUN: &str = "0r";

    /// A container as an engine lists it.
    fn listed(id: &str, state: &str) -> String {
        format!(
            r#"{{"Id":"{id}","Names":["/{id}"],"State":"{state}","Labels":{{"{}":"{RUN}"}}}}"#,
            labels::RUN
        )
    }

    fn refused() -> (u16, String) {
        (500, r#"{"message":"no more of that"}"#.to_owned())
    }

    #[tokio::test]
    async fn a_state_that_docker_has_no_word_for_passes() {
        let mut states = ["exited", "stopped", "stopped"].to_vec();
        let engine = Canned::new(move |request, _| match request {
            "GET /containers/json" => (200, format!("[{}]", listed("c1", states.pop().unwrap()))),
            "GET /networks" => (200, "[]".to_owned()),
            _ => refused(),
        });
        let found = survey(&engine.client, &SweepScope::All).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].id, "c1");
    }

    #[tokio::test]
    async fn a_list_that_cannot_be_read_is_not_asked_for_for_ever() {
        let engine = Canned::new(|_, _| (200, format!("[{}]", listed("c1", "stopped"))));
        let error = survey(&engine.client, &SweepScope::All).await.unwrap_err();
        assert!(error.message.contains("unknown variant"), "{error}");
        let mut requests = engine.requests();
        requests.retain(|request| request == "GET /containers/json");
        assert_eq!(requests.len(), LISTING_ATTEMPTS as usize);
    }

    #[tokio::test]
    async fn what_is_kept_outlives_every_removal_of_its_run() {
        let engine = Canned::new(|request, _| match request {
            "GET /containers/json" => {
                let both = [listed("c1", "running"), listed("c2", "running")];
                (200, format!("[{}]", both.join(",")))
            }
            "GET /networks" => (200, r#"[{"Name":"n1"},{"Name":"n2"}]"#.to_owned()),
            "DELETE /containers/c2" | "DELETE /networks/n2" => (204, String::new()),
            _ => refused(),
        });
        let run = RunId::new();
        let kept = Kept::default();
        kept.clone().add(["c1", "n1"].map(str::to_owned));
        remove_run(&engine.client, &run, &kept).await.unwrap();
        let requests = engine.requests();
        assert_eq!(
            requests[2..],
            ["DELETE /containers/c2", "DELETE /networks/n2"]
        );
    }

    #[tokio::test]
    async fn a_network_that_podman_counts_containers_on_is_asked_for_again() {
        let mut answers = vec![
            (204, String::new()),
            (
                409,
                r#"{"message":"\"n1\" has associated containers with it. Use -f to forcibly delete containers and pods: network is being used"}"#
                    .to_owned(),
            ),
        ];
        let engine = Canned::new(move |_, _| answers.pop().unwrap());
        remove_network(&engine.client, "n1").await.unwrap();
        assert_eq!(engine.requests().len(), 2);
    }
}
