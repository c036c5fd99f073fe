//! Images that are not built here: looked for on the engine, pulled, or made by a script.

use std::path::Path;
use std::time::Duration;

use bollard::models::ImageInspect;
use bollard::query_parameters::{CreateImageOptionsBuilder, TagImageOptionsBuilder};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio_util::task::TaskTracker;

use super::super::engine::{answered, bounded, cause, status};
use super::job::Job;
use super::lock::MakingLock;
use super::prepare::{ImageProgress, Listener};
use crate::backend::BackendError;
use crate::units::{ImageName, plain_path, printable};

/// The longest time without any progress of a pull.
const PULL_SILENCE: Duration = Duration::from_mins(1);

/// The longest that a script may take to make an image.
const MAKE_TIMEOUT: Duration = Duration::from_mins(15);

/// The engine's id of an image, if it has it.
pub(super) async fn image_id(
    client: &bollard::Docker,
    reference: &str,
) -> Result<Option<String>, BackendError> {
    let operation = format!("look for image {reference}");
    match answered(&operation, client.inspect_image(reference)).await? {
        Ok(image) => Ok(image.id),
        Err(error) if status(&error) == Some(404) => Ok(None),
        Err(error) => Err(BackendError::machine(format!(
            "{operation}: {}",
            cause(&error)
        ))),
    }
}

/// Has the engine note that an image is used now, by naming it again: others that make images of its name leave it then.
pub(super) async fn mark_used(client: &bollard::Docker, reference: &str) {
    let Some((repository, tag)) = reference.rsplit_once(':') else {
        return;
    };
    let options = TagImageOptionsBuilder::new()
        .repo(repository)
        .tag(tag)
        .build();
    let operation = format!("note that image {reference} is used");
    if let Err(error) = bounded(&operation, client.tag_image(reference, Some(options))).await {
        tracing::debug!(%error, "it counts as used when it was made");
    }
}

/// When an image was last made or named, in seconds of UNIX time; none where the engine does not tell.
pub(super) fn last_used(image: &ImageInspect) -> Option<i64> {
    // The type of the time depends on what else is compiled with the crate; its text does not.
    let metadata = serde_json::to_value(image.metadata.as_ref()?).ok()?;
    let named: Timestamp = metadata.get("LastTagTime")?.as_str()?.parse().ok()?;
    Some(named.as_second())
}

/// Makes sure that the engine has an image, and gives its id.
pub(super) async fn ensure(
    client: &bollard::Docker,
    name: &ImageName,
    image: &str,
    script: Option<&Path>,
    listener: Listener<'_>,
    undoing: &TaskTracker,
) -> Result<String, BackendError> {
    if let Some(id) = image_id(client, image).await? {
        return Ok(id);
    }
    let _lock = MakingLock::of_part(name, &format!("base {image}"), listener).await?;
    // Whoever held the lock may have made it.
    if let Some(id) = image_id(client, image).await? {
        return Ok(id);
    }
    let say = |what: String| {
        listener(ImageProgress::Working {
            name: name.clone(),
            what,
        });
    };
    say(format!("pulling {image}"));
    let pulled = pull(client, image).await;
    if let Some(id) = image_id(client, image).await? {
        return Ok(id);
    }
    let why = pulled
        .err()
        .unwrap_or_else(|| "the engine does not have it afterwards".to_owned());
    let Some(script) = script else {
        return Err(BackendError::machine(format!(
            "make image `{name}`: pull {}: {}",
            image,
            printable(&why)
        ))
        .with_hint(
            "name a program that makes it: write `{ image: …, make: … }` in place of the reference",
        ));
    };
    let shown = plain_path(script);
    say(format!(
        "{} cannot be pulled; {} makes it",
        image,
        shown.display()
    ));
    make(script, image, &say, undoing).await.map_err(|error| {
        BackendError::machine(format!(
            "make image `{name}`: {} {}: {error}",
            shown.display(),
            image
        ))
        .with_hint(format!(
            "it was tried since {image} could not be pulled: {why}"
        ))
    })?;
    image_id(client, image).await?.ok_or_else(|| {
        BackendError::machine(format!(
            "make image `{name}`: {} ended well and the engine has no {}",
            shown.display(),
            image
        ))
    })
}

async fn pull(client: &bollard::Docker, reference: &str) -> Result<(), String> {
    let (image, tag) = image_and_tag(reference);
    let options = CreateImageOptionsBuilder::new()
        .from_image(image)
        .tag(tag)
        .build();
    let mut progress = std::pin::pin!(client.create_image(Some(options), None, None));
    loop {
        match tokio::time::timeout(PULL_SILENCE, progress.next()).await {
            Ok(Some(Ok(_))) => {}
            Ok(Some(Err(error))) => return Err(cause(&error)),
            Ok(None) => return Ok(()),
            Err(_) => return Err(format!("no progress for {} s", PULL_SILENCE.as_secs())),
        }
    }
}

/// A reference as the engine's API takes it. One with a digest is passed whole, without a tag: the
/// colon in it is the digest's.
fn image_and_tag(reference: &str) -> (&str, &str) {
    if reference.contains('@') {
        return (reference, "");
    }
    match reference.rsplit_once(':') {
        // What stands behind the colon of `registry:5000/name` is a port.
        Some((image, tag)) if !tag.contains('/') => (image, tag),
        _ => (reference, "latest"),
    }
}

/// Runs the script; its log goes to the listener, its last line into the error.
async fn make(
    script: &Path,
    reference: &str,
    say: &(dyn Fn(String) + Sync),
    undoing: &TaskTracker,
) -> Result<(), String> {
    let mut job = Job::start(Command::new(script).arg(reference), undoing)
        .map_err(|error| format!("start it: {error}"))?;
    let outputs = job.outputs();
    let run = async {
        let mut last = String::new();
        if let Some((mut stdout, log)) = outputs {
            let mut lines = BufReader::new(log).lines();
            let read = async {
                while let Ok(Some(line)) = lines.next_line().await {
                    last = printable(&line);
                    say(last.clone());
                }
            };
            // It has nothing to say there, and must not wait for a reader.
            let mut nowhere = tokio::io::sink();
            let (_, ()) = tokio::join!(tokio::io::copy(&mut stdout, &mut nowhere), read);
        }
        match job.ended().await {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{status}: {last}")),
            Err(error) => Err(error.to_string()),
        }
    };
    tokio::time::timeout(MAKE_TIMEOUT, run)
        .await
        .unwrap_or_else(|_| Err(format!("not done within {} s", MAKE_TIMEOUT.as_secs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_split_at_its_tag_alone() {
        for (reference, split) in [
            ("debian", ("debian", "latest")),
            ("debian:12", ("debian", "12")),
            ("registry:5000/debian", ("registry:5000/debian", "latest")),
            ("registry:5000/debian:12", ("registry:5000/debian", "12")),
            ("debian@sha256:00ff", ("debian@sha256:00ff", "")),
            ("r:5000/d:12@sha256:00ff", ("r:5000/d:12@sha256:00ff", "")),
        ] {
            assert_eq!(image_and_tag(reference), split, "{reference}");
        }
    }
}
