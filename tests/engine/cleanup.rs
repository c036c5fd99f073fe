//! What is left on the engine once a run has ended, however that went: nothing, or what `rig gc`
//! removes.

use libtest_mimic::Trial;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bollard::models::{ContainerCreateBody, ContainerSummary, NetworkCreateRequest};
use bollard::query_parameters::{
    CreateContainerOptions, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
    StartContainerOptions,
};
use rig::backend::docker::{Owner, RunId, Sweeper, prepare_image};
use rig::spec::{Image, ImageBuild, ImageOrigin, Located, Place};
use rig::units::ImageName;

use crate::engine::{engine, left_by, nameless_layers};
use crate::evidence::{Folder, run_id, run_json};
use crate::running::{PATIENCE, PAUSE, Running};
use crate::support::{IMAGE_PROFILE, rig, workspace_file};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial!(async fn after_a_signal_the_run_ends_orderly),
        trial!(async fn after_a_second_signal_it_ends_at_once),
        trial!(async fn a_signal_while_cells_begin_leaves_nothing),
        trial!(async fn a_signal_while_an_image_is_made_leaves_no_layer),
        trial!(async fn a_host_that_vanishes_is_told_and_the_rest_removed),
        trial!(async fn what_a_killed_run_leaves_is_found_and_removed),
        trial!(async fn what_is_kept_stays_until_it_is_collected),
        trial!(async fn a_run_that_fails_leaves_nothing),
        trial!(async fn a_panic_leaves_nothing),
    ]
}

/// How long an orderly end may take on a busy machine.
const ORDERLY: Duration = Duration::from_mins(1);

/// How long an end at once may take on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(20);

fn start(matrix: &str, out: &Path, arguments: &[&str]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rig"));
    command
        .arg("run")
        .arg(workspace_file("tests/engine/cleanup").join(matrix))
        .arg("--out")
        .arg(out)
        .args(["--jobs", "1"])
        .args(arguments);
    let mut running = Running::start(&mut command);
    running.wait_for("run ");
    running
}

/// The containers with a label.
async fn containers(client: &bollard::Docker, label: &str) -> Vec<ContainerSummary> {
    let filters = HashMap::from([("label", vec![label.to_owned()])]);
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filters)
        .build();
    client.list_containers(Some(options)).await.unwrap()
}

/// Waits until the containers with a label are as `wanted`.
async fn wait_until(
    client: &bollard::Docker,
    label: &str,
    wanted: impl Fn(&[ContainerSummary]) -> bool,
) -> Vec<ContainerSummary> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = containers(client, label).await;
        if wanted(&found) {
            return found;
        }
        assert!(Instant::now() < deadline, "{label}: {found:?}");
        tokio::time::sleep(PAUSE).await;
    }
}

fn is_running(container: &ContainerSummary) -> bool {
    container
        .status
        .as_deref()
        .unwrap_or_default()
        .starts_with("Up")
}

fn has_label(container: &ContainerSummary, key: &str, value: &str) -> bool {
    let labels = container.labels.as_ref();
    labels
        .and_then(|labels| labels.get(key))
        .is_some_and(|found| found == value)
}

/// Waits until a cell is in the midst of it: alice runs. Gives the run's label.
async fn in_the_midst(client: &bollard::Docker, running: &Running) -> String {
    let label = format!("rig.run={}", run_id(&running.said()));
    wait_until(client, &label, |found| {
        found
            .iter()
            .any(|one| has_label(one, "rig.node", "alice") && is_running(one))
    })
    .await;
    label
}

async fn assert_nothing_left(client: &bollard::Docker, stderr: &str) {
    assert_eq!(
        left_by(client, &run_id(stderr)).await,
        Vec::<String>::new(),
        "{stderr}"
    );
}

/// Another test's `rig gc`, also of another checkout, must not remove what this one looks at.
fn alone_with_gc() -> File {
    let lock = File::create(std::env::temp_dir().join("rig-tests-gc.lock")).unwrap();
    lock.lock().unwrap();
    lock
}

/// What `rig gc` says on stdout. It succeeds, unless something of another run than `run` stays: the
/// engine may be in use by others.
fn gc(arguments: &[&str], run: &str) -> String {
    let output = rig().arg("gc").args(arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let of_others = output.status.code() == Some(3)
        && stderr.contains("could not remove")
        && !stderr.contains(run);
    assert!(output.status.success() || of_others, "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// The lines of `rig gc` about a run.
fn lines_about(told: &str, run: &str) -> Vec<String> {
    let ours = told
        .lines()
        .filter(|line| line.ends_with(&format!("of run {run}")));
    ours.map(str::to_owned).collect()
}

async fn after_a_signal_the_run_ends_orderly() {
    let client = engine().await;
    for signal in ["INT", "TERM"] {
        let temp = Folder::new();
        let out = temp.path().join("out");
        let mut running = start("talk.yaml", &out, &[]);
        in_the_midst(&client, &running).await;
        running.signal(signal);
        let (status, stdout, stderr) = running.end(ORDERLY);
        assert_eq!(status.code(), Some(130), "{stderr}");
        assert_nothing_left(&client, &stderr).await;
        assert!(
            stderr.contains("interrupted: no further cell starts"),
            "{stderr}"
        );
        assert!(stdout.contains("the run was interrupted"), "{stdout}");
        let report = run_json(&out);
        assert_eq!(report["counts"]["skipped"], 2, "{report}");
        assert!(out.join("junit.xml").is_file());
    }
}

async fn after_a_second_signal_it_ends_at_once() {
    let client = engine().await;
    let temp = Folder::new();
    let mut running = start("talk.yaml", &temp.path().join("out"), &[]);
    in_the_midst(&client, &running).await;
    running.signal("INT");
    running.wait_for("interrupted");
    running.signal("INT");
    let (status, _, stderr) = running.end(AT_ONCE);
    assert_eq!(status.code(), Some(130), "{stderr}");
    assert_nothing_left(&client, &stderr).await;
}

async fn a_signal_while_cells_begin_leaves_nothing() {
    let client = engine().await;
    let temp = Folder::new();
    let mut running = start("talk.yaml", &temp.path().join("out"), &[]);
    let label = format!("rig.run={}", run_id(&running.said()));
    // The first container is there, others are being made.
    wait_until(&client, &label, |found| !found.is_empty()).await;
    running.signal("INT");
    running.signal("INT");
    let (status, _, stderr) = running.end(ORDERLY);
    assert_eq!(status.code(), Some(130), "{stderr}");
    assert_nothing_left(&client, &stderr).await;
}

async fn a_signal_while_an_image_is_made_leaves_no_layer() {
    let client = engine().await;
    let temp = Folder::new();
    let mut running = start("unfinished.yaml", &temp.path().join("out"), &[]);
    let label = "rig.image=unfinished";
    wait_until(&client, label, |found| found.iter().any(is_running)).await;
    running.signal("INT");
    let (status, _, stderr) = running.end(ORDERLY);
    assert_eq!(status.code(), Some(130), "{stderr}");
    assert_eq!(containers(&client, label).await, []);
    assert_eq!(
        nameless_layers(&client, "unfinished").await,
        Vec::<String>::new()
    );
}

async fn a_host_that_vanishes_is_told_and_the_rest_removed() {
    let client = engine().await;
    let temp = Folder::new();
    let out = temp.path().join("out");
    let mut running = start("marks.yaml", &out, &[]);
    let label = in_the_midst(&client, &running).await;
    let found = containers(&client, &label).await;
    let hub = found
        .iter()
        .find(|one| has_label(one, "rig.host", "hub"))
        .unwrap();
    let force = RemoveContainerOptionsBuilder::new().force(true).build();
    client
        .remove_container(hub.id.as_deref().unwrap(), Some(force))
        .await
        .unwrap();
    let (status, stdout, stderr) = running.end(ORDERLY);
    assert_eq!(status.code(), Some(3), "{stdout}\n{stderr}");
    assert!(stderr.contains("host `hub`: its agent ended"), "{stderr}");
    assert_nothing_left(&client, &stderr).await;
}

async fn what_a_killed_run_leaves_is_found_and_removed() {
    let client = engine().await;
    let _alone = alone_with_gc();
    let temp = Folder::new();
    let mut running = start("talk.yaml", &temp.path().join("out"), &[]);
    let label = in_the_midst(&client, &running).await;
    let run = run_id(&running.said());

    // A run that goes on is nobody's to collect.
    assert_eq!(lines_about(&gc(&[], &run), &run), Vec::<String>::new());
    assert!(containers(&client, &label).await.iter().any(is_running));

    running.signal("KILL");
    let (status, _, _) = running.end(AT_ONCE);
    assert_eq!(status.signal(), Some(9));
    // The agents' input has ended, and every program ends with them.
    wait_until(&client, &label, |found| !found.iter().any(is_running)).await;

    let left = left_by(&client, &run).await;
    assert_eq!(left.len(), 5, "two hosts, two nodes, a network: {left:?}");
    let would = lines_about(&gc(&["--dry-run"], &run), &run);
    assert_eq!(would.len(), left.len(), "{would:?}");
    assert!(
        would.iter().all(|line| line.starts_with("would remove ")),
        "{would:?}"
    );
    assert_eq!(left_by(&client, &run).await, left);

    let removed = lines_about(&gc(&[], &run), &run);
    let expected: Vec<_> = would
        .iter()
        .map(|line| line.replace("would remove", "removed"))
        .collect();
    assert_eq!(removed, expected);
    assert_eq!(left_by(&client, &run).await, Vec::<String>::new());
}

async fn what_is_kept_stays_until_it_is_collected() {
    let client = engine().await;
    let _alone = alone_with_gc();
    let temp = Folder::new();
    let mut running = start("fails.yaml", &temp.path().join("out"), &["--keep"]);
    let (status, stdout, stderr) = running.end(PATIENCE);
    assert_eq!(status.code(), Some(1), "{stdout}\n{stderr}");
    let run = run_id(&stderr);
    let label = format!("rig.run={run}");
    let told: Vec<&str> = stdout
        .lines()
        .find_map(|line| line.strip_prefix("  fails: "))
        .unwrap_or_else(|| panic!("{stdout}"))
        .split(' ')
        .collect();
    let kept = containers(&client, &label).await;
    let names = kept.iter().flat_map(|one| one.names.iter().flatten());
    let names: Vec<&str> = names.map(|name| name.trim_start_matches('/')).collect();
    assert_eq!(told.len(), names.len(), "{stdout}");
    assert!(told.iter().all(|name| names.contains(name)), "{names:?}");
    for host in ["hub", "left"] {
        assert!(
            kept.iter()
                .any(|one| has_label(one, "rig.host", host) && is_running(one)),
            "{host}: {kept:?}"
        );
    }
    assert_eq!(lines_about(&gc(&[], &run), &run).len(), 5);
    assert_eq!(left_by(&client, &run).await, Vec::<String>::new());
}

async fn a_run_that_fails_leaves_nothing() {
    let client = engine().await;
    let temp = Folder::new();
    let mut running = start("fails.yaml", &temp.path().join("out"), &[]);
    let (status, _, stderr) = running.end(PATIENCE);
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert_nothing_left(&client, &stderr).await;
}

async fn a_panic_leaves_nothing() {
    let client = engine().await;
    let run = RunId::new();
    let labels: HashMap<String, String> = [
        ("rig.run".to_owned(), run.to_string()),
        ("rig.owner".to_owned(), Owner::this_process().to_string()),
    ]
    .into();
    let guarded = Sweeper::new(run.clone(), |error| panic!("{error}"));
    let request = NetworkCreateRequest {
        name: format!("rig-{run}-test"),
        internal: Some(true),
        labels: Some(labels.clone()),
        ..NetworkCreateRequest::default()
    };
    client.create_network(request).await.unwrap();
    let body = ContainerCreateBody {
        image: Some(chat_image(&client).await),
        cmd: Some(vec!["chat-server".to_owned()]),
        labels: Some(labels),
        ..ContainerCreateBody::default()
    };
    let created = client
        .create_container(None::<CreateContainerOptions>, body)
        .await
        .unwrap();
    client
        .start_container(&created.id, None::<StartContainerOptions>)
        .await
        .unwrap();
    assert_eq!(left_by(&client, run.as_str()).await.len(), 2);

    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let _guarded = guarded;
        // As a panic, but for its message, which would look like that of a failure.
        resume_unwind(Box::new("in the midst of a run"));
    }));
    assert!(panicked.is_err());
    assert_eq!(left_by(&client, run.as_str()).await, Vec::<String>::new());
}

async fn chat_image(client: &bollard::Docker) -> String {
    let place = Place::default();
    let image = Image {
        place,
        origin: ImageOrigin::Build(Box::new(ImageBuild {
            dockerfile: Located::new(workspace_file("docker/chat.Dockerfile"), place),
            context: None,
            args: BTreeMap::new(),
            target: None,
            cargo: Some(rig::spec::CargoBuild {
                folder: workspace_file("rig"),
                package: Located::new("chat".to_owned(), place),
                profile: Some(Located::new(IMAGE_PROFILE.to_owned(), place)),
                features: Vec::new(),
                link: rig::spec::Linking::Static,
            }),
            base: None,
        })),
    };
    let name = ImageName::new("chat").unwrap();
    prepare_image(client, &name, &image, &|_| {}).await.unwrap()
}
