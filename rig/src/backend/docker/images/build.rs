//! Building an image on the engine, and taking back what a failed build leaves.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bollard::body_full;
use bollard::errors::Error as EngineError;
use bollard::models::{BuildInfo, ImageInspect};
use bollard::query_parameters::{
    BuildImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder,
};
use futures_util::StreamExt as _;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::super::engine::{bounded, cause};
use super::super::labels;
use super::super::sweep::seconds_ago;
use super::super::words;
use super::base;
use super::context::{Context, DOCKERFILE};
use super::prepare::{ImageProgress, Listener};
use crate::backend::{BackendError, Blame};
use crate::units::{ImageName, printable};

/// The longest that a build may be silent.
const BUILD_SILENCE: Duration = Duration::from_mins(15);

/// The longest line of a build that is kept whole, in bytes.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// How much of a failed build's output an error shows, in lines from its end.
const ERROR_LINES: usize = 20;

/// How many images of one name stay on the engine: earlier states of a program that is being
/// worked on would fill it otherwise.
const KEPT_IMAGES: usize = 4;

/// An image that was made or used since may be in use by a run that has no container of it at this moment.
const RUN_TIME: Duration = Duration::from_hours(1);

/// What the engine puts around the standard error of a step (ECMA-48, SGR).
const RED: &str = "\u{1b}[91m";
const PLAIN: &str = "\u{1b}[0m";

/// How often the removal of a layer is tried while the engine ends the build that made it.
const LAYER_ATTEMPTS: u32 = 50;

/// Time between two attempts: the engine has no event for a layer becoming free.
const LAYER_PAUSE: Duration = Duration::from_millis(100);

/// What the ids of images begin with.
const DIGEST: &str = "sha256:";

/// Why a build did not end well.
#[derive(Debug)]
struct Failure {
    why: String,
    /// Whether it came from the engine, which speaks of the file in most cases.
    told: bool,
}

impl Failure {
    fn told(why: String) -> Self {
        Self { why, told: true }
    }

    fn of(error: &EngineError) -> Self {
        let told = matches!(
            error,
            EngineError::DockerResponseServerError { .. } | EngineError::DockerStreamError { .. }
        );
        Self {
            why: cause(error),
            told,
        }
    }

    /// Whose fault it is, with the last lines of the build's output: of a step that failed, the engine tells the exit
    /// code alone.
    fn blame(&self, output: &[String]) -> Blame {
        let of_machine = |said: &String| words::blames_machine(said);
        if !self.told || of_machine(&self.why) || output.iter().any(of_machine) {
            Blame::Machine
        } else {
            Blame::Input
        }
    }
}

/// Builds one image.
pub(super) struct Builder<'a> {
    client: &'a bollard::Docker,
    name: &'a ImageName,
    listener: Listener<'a>,
    undoing: &'a TaskTracker,
    output: Vec<String>,
    /// A line that has not ended.
    partial: String,
    layers: BTreeSet<String>,
    done: bool,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        client: &'a bollard::Docker,
        name: &'a ImageName,
        listener: Listener<'a>,
        undoing: &'a TaskTracker,
    ) -> Self {
        Self {
            client,
            name,
            listener,
            undoing,
            output: Vec::new(),
            partial: String::new(),
            layers: BTreeSet::new(),
            done: false,
        }
    }

    /// Builds `reference` from a context.
    pub(super) async fn build(
        mut self,
        reference: &str,
        context: &Context,
    ) -> Result<(), BackendError> {
        let tar = context.tar()?;
        let options = BuildImageOptionsBuilder::new()
            .dockerfile(DOCKERFILE)
            .t(reference)
            .buildargs(&context.args())
            .target(context.target().unwrap_or_default())
            .rm(true)
            .forcerm(true)
            .build();
        let client = self.client;
        let result = {
            let mut stream =
                std::pin::pin!(client.build_image(options, None, Some(body_full(tar.into()))));
            loop {
                match tokio::time::timeout(BUILD_SILENCE, stream.next()).await {
                    Ok(Some(Ok(info))) => {
                        if let Err(why) = self.note(info) {
                            break Err(why);
                        }
                    }
                    Ok(Some(Err(error))) => break Err(Failure::of(&error)),
                    Ok(None) => break Ok(()),
                    Err(_) => {
                        let why = format!("no output for {} s", BUILD_SILENCE.as_secs());
                        break Err(Failure::told(why));
                    }
                }
            }
        };
        match result {
            Ok(()) => {
                self.remove_strays().await;
                self.done = true;
                self.remove_earlier(reference).await;
                Ok(())
            }
            Err(failure) => {
                self.end_line();
                remove_layers(client, &self.layers).await;
                self.done = true;
                Err(self.failed(&failure))
            }
        }
    }

    /// Takes in one message of the build.
    fn note(&mut self, info: BuildInfo) -> Result<(), Failure> {
        if let Some(error) = info.error_detail {
            let why = error.message;
            return Err(Failure::told(
                why.unwrap_or_else(|| "the engine gave no reason".to_owned()),
            ));
        }
        // What a step prints on its standard error comes in red.
        let text = info.stream.unwrap_or_default();
        self.partial
            .push_str(&text.replace(RED, "").replace(PLAIN, ""));
        while let Some(end) = self.partial.find('\n') {
            let line: String = self.partial.drain(..=end).collect();
            self.note_line(&line);
        }
        if self.partial.len() > MAX_LINE_BYTES {
            self.end_line();
        }
        Ok(())
    }

    /// Takes what has come of a line as one: messages of the engine end anywhere.
    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.partial);
        self.note_line(&line);
    }

    fn note_line(&mut self, line: &str) {
        let line = printable(line.trim_end());
        if line.is_empty() {
            return;
        }
        if let Some(layer) = words::layer_of_step(&line) {
            self.layers.insert(layer.to_owned());
        }
        (self.listener)(ImageProgress::Output {
            name: self.name.clone(),
            line: line.trim().to_owned(),
        });
        self.output.push(line);
        let surplus = self.output.len().saturating_sub(ERROR_LINES);
        self.output.drain(..surplus);
    }

    fn failed(&self, failure: &Failure) -> BackendError {
        let why = failure.why.as_str();
        let mut message = format!("make image `{}`: {}", self.name, printable(why.trim()));
        for line in &self.output {
            message.push_str("\n  ");
            message.push_str(line);
        }
        let error = BackendError {
            blame: failure.blame(&self.output),
            ..BackendError::machine(message)
        };
        if words::lacks_in_context(why) {
            let hint = "there is to copy what is in the folder of `context`, and the programs of `cargo` in `bin/`";
            return error.with_hint(hint);
        }
        error
    }

    /// Removes the layers of a build that ended well and are no part of the image. Docker's are its parents and cannot
    /// be removed; Podman makes another image of the last one and leaves the first without a name.
    async fn remove_strays(&self) {
        let options = ListImagesOptionsBuilder::new()
            .filters(&HashMap::from([
                ("dangling", vec!["true".to_owned()]),
                ("label", vec![format!("{}={}", labels::IMAGE, self.name)]),
            ]))
            .build();
        let listed = bounded("list images", self.client.list_images(Some(options))).await;
        let strays: BTreeSet<_> = listed
            .into_iter()
            .flatten()
            .filter(|image| {
                let id = image.id.trim_start_matches(DIGEST);
                self.layers.iter().any(|layer| id.starts_with(layer))
            })
            .map(|image| image.id)
            .collect();
        remove_layers(self.client, &strays).await;
    }

    /// Removes all but the newest images of this name; those in use stay.
    async fn remove_earlier(&self, reference: &str) {
        let filters = HashMap::from([("label", vec![format!("{}={}", labels::IMAGE, self.name)])]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        let listed = bounded("list images", self.client.list_images(Some(options))).await;
        let Ok(mut images) = listed else { return };
        // The cache may give an image that was made long ago: the one that was asked for stays.
        let oldest_in_use = seconds_ago(RUN_TIME);
        images.retain(|image| {
            let mut tags = image.repo_tags.iter();
            !image.repo_tags.is_empty()
                && tags.all(|tag| tag != "<none>:<none>" && tag != reference)
        });
        images.sort_by_key(|image| std::cmp::Reverse(image.created));
        for tag in images
            .iter()
            .skip(KEPT_IMAGES)
            .filter(|image| image.created < oldest_in_use)
            .flat_map(|image| &image.repo_tags)
        {
            let used = self.client.inspect_image(tag).await;
            let used = used.ok().as_ref().and_then(base::last_used);
            if used.is_some_and(|used| used >= oldest_in_use) {
                continue;
            }
            let options = RemoveImageOptionsBuilder::new().build();
            self.client
                .remove_image(tag, Some(options), None)
                .await
                .ok();
        }
    }
}

impl Drop for Builder<'_> {
    /// A build that is given up ends with its connection; its layers are removed after it.
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let client = self.client.clone();
        let layers = std::mem::take(&mut self.layers);
        let removal = async move { remove_layers(&client, &layers).await };
        self.undoing.spawn_on(removal, &runtime);
    }
}

/// Removes those of the layers that rig made and that nothing has a name for. A build also names
/// its base, which the user may have left nameless: it has no label of rig's and stays.
async fn remove_layers(client: &bollard::Docker, layers: &BTreeSet<String>) {
    for layer in layers {
        let Ok(image) = client.inspect_image(layer).await else {
            continue;
        };
        if is_nameless_layer(&image) {
            remove_layer(client, layer).await;
        }
    }
}

fn is_nameless_layer(image: &ImageInspect) -> bool {
    let config = image.config.as_ref();
    let labels = config.and_then(|config| config.labels.as_ref());
    let ours = labels.is_some_and(|of_image| of_image.contains_key(labels::IMAGE));
    ours && image.repo_tags.as_ref().is_none_or(Vec::is_empty)
}

/// Removes a layer once the container of a build that was given up is gone from it. One that is
/// the parent of something else stays.
async fn remove_layer(client: &bollard::Docker, layer: &str) {
    for _ in 0..LAYER_ATTEMPTS {
        let options = RemoveImageOptionsBuilder::new().build();
        match client.remove_image(layer, Some(options), None).await {
            Err(error) if words::is_layer_in_use(&cause(&error)) => {
                tokio::time::sleep(LAYER_PAUSE).await;
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ImageConfig;

    use super::*;

    #[test]
    fn the_engine_tells_when_an_image_was_used_last() {
        let used = |json: &str| {
            let image: ImageInspect = serde_json::from_str(json).unwrap();
            base::last_used(&image)
        };
        let told = r#"{"Metadata":{"LastTagTime":"2026-12-01T15:23:32.156805495+01:00"}}"#;
        assert_eq!(used(told), Some(1_796_135_012));
        assert_eq!(used(r#"{"Metadata":{}}"#), None);
        assert_eq!(used("{}"), None);
    }

    #[test]
    fn a_build_that_the_machine_ends_is_not_the_files_fault() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let exit_code = || {
            Failure::told(
                "The command '/bin/sh -c apt-get update' returned a non-zero code: 100".into(),
            )
        };
        assert_eq!(
            exit_code().blame(&lines("E: no such package")),
            Blame::Input
        );
        let output = lines("Err:1 http://d bookworm\n  Temporary failure resolving 'd'");
        assert_eq!(exit_code().blame(&output), Blame::Machine);
        let full = EngineError::DockerStreamError {
            error: "write /bin/x: no space left on device".to_owned(),
        };
        assert_eq!(Failure::of(&full).blame(&[]), Blame::Machine);
        let syntax = EngineError::DockerResponseServerError {
            status_code: 400,
            message: "dockerfile parse error line 2: unknown instruction: RUNN".to_owned(),
        };
        assert_eq!(Failure::of(&syntax).blame(&[]), Blame::Input);
        let cut_off = EngineError::RequestTimeoutError;
        assert_eq!(Failure::of(&cut_off).blame(&[]), Blame::Machine);
    }

    #[test]
    fn only_a_nameless_image_with_our_label_is_a_layer() {
        let image = |label: &str, tags: &[&str]| ImageInspect {
            config: Some(ImageConfig {
                labels: Some(HashMap::from([(label.to_owned(), "app".to_owned())])),
                ..ImageConfig::default()
            }),
            repo_tags: Some(tags.iter().map(|&tag| tag.to_owned()).collect()),
            ..ImageInspect::default()
        };
        assert!(is_nameless_layer(&image(labels::IMAGE, &[])));
        assert!(!is_nameless_layer(&image(labels::IMAGE, &["rig/app:1"])));
        assert!(!is_nameless_layer(&image("maintainer", &[])));
        assert!(!is_nameless_layer(&ImageInspect::default()));
    }
}
