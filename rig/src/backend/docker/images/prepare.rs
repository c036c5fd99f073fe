//! From an entry of the file to a reference that the engine knows.

use std::time::{Duration, Instant};

use tokio_util::task::TaskTracker;

use super::build::Builder;
use super::context::{Context, Digest};
use super::lock::MakingLock;
use super::{agent, base, cargo, display, holder};
use crate::backend::{BackendError, Blame};
use crate::spec::{
    BaseImage, Dockerfile, Image, ImageBuild, ImageOrigin, Linking, read_dockerfile,
};
use crate::units::{ImageName, plain_path};

/// What becomes of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageProgress {
    /// A part of its making begins; which, in a line.
    Working {
        /// The image.
        name: ImageName,
        /// What is going on.
        what: String,
    },
    /// A line that its making printed.
    Output {
        /// The image.
        name: ImageName,
        /// The line, harmless to a terminal.
        line: String,
    },
    /// It is there.
    Ready {
        /// The image.
        name: ImageName,
        /// Reference by which the engine knows it.
        reference: String,
        /// How long it took.
        took: Duration,
    },
}

/// Who is told what becomes of the images.
pub(in crate::backend::docker) type Listener<'a> = &'a (dyn Fn(ImageProgress) + Sync);

/// Finds and makes images on one engine.
#[derive(Debug)]
pub(in crate::backend::docker) struct Images {
    client: bollard::Docker,
    /// The undoing of makings that were given up.
    undoing: TaskTracker,
}

impl Images {
    pub(in crate::backend::docker) fn new(client: bollard::Docker, undoing: TaskTracker) -> Self {
        Self { client, undoing }
    }

    /// The image of the agent: this very program.
    pub(in crate::backend::docker) async fn agent(
        &self,
        listener: Listener<'_>,
    ) -> Result<String, BackendError> {
        let (name, context) = agent::context().await?;
        let began = Instant::now();
        self.found_or_built(&name, &context, None, began, listener)
            .await
    }

    /// The image of displays.
    pub(in crate::backend::docker) async fn display(
        &self,
        listener: Listener<'_>,
    ) -> Result<String, BackendError> {
        let began = Instant::now();
        let (name, context) = display::context()?;
        let script = display::base_script()?;
        let base_id = base::ensure(
            &self.client,
            &name,
            display::BASE,
            Some(&script),
            listener,
            &self.undoing,
        )
        .await?;
        self.found_or_built(&name, &context, Some(&base_id), began, listener)
            .await
    }

    /// The image of an entry of the file; its errors point into the entry.
    pub(in crate::backend::docker) async fn prepare(
        &self,
        name: &ImageName,
        image: &Image,
        listener: Listener<'_>,
    ) -> Result<String, BackendError> {
        let prepared = match &image.origin {
            ImageOrigin::Reference(base) => self.referred_to(name, base, listener).await,
            ImageOrigin::Build(build) => self.built(name, build, listener).await,
        };
        prepared.map_err(|error| error.or_at(image.place))
    }

    /// An image that the file refers to, and in which programs can be held.
    async fn referred_to(
        &self,
        name: &ImageName,
        base: &BaseImage,
        listener: Listener<'_>,
    ) -> Result<String, BackendError> {
        let began = Instant::now();
        let id = self.ensured(name, base, listener).await?;
        let context = holder::context(name, &format!("FROM {}", base.image.value), None);
        self.found_or_built(name, &context, Some(&id), began, listener)
            .await
    }

    async fn built(
        &self,
        name: &ImageName,
        build: &ImageBuild,
        listener: Listener<'_>,
    ) -> Result<String, BackendError> {
        let began = Instant::now();
        let dockerfile = &build.dockerfile;
        let text = read_dockerfile(&dockerfile.value).map_err(|error| {
            let file = plain_path(&dockerfile.value);
            let file = file.display();
            BackendError::input(
                format!("make image `{name}`: read {file}: {error}"),
                dockerfile.place,
            )
        })?;
        let stages = Dockerfile::parse(&text);
        if let Some(problem) = stages.lacks(build).into_iter().next() {
            return Err(BackendError {
                message: format!("make image `{name}`: {}", problem.message),
                hint: problem.hint,
                blame: Blame::Input,
                place: problem.place,
            });
        }
        let target = build.target.as_ref().map(|target| target.value.as_str());
        let mut context = holder::context(name, &text, stages.end_of(target));
        if let Some(folder) = &build.context {
            context
                .add_folder(&folder.value, &dockerfile.value)
                .map_err(|error| error.or_at(folder.place))?;
        }
        if let Some(cargo) = &build.cargo {
            // Until they are read: a build with other features would replace them.
            let linked = match cargo.link {
                Linking::Static => "",
                Linking::Dynamic => " linked dynamically",
            };
            let part = format!("the programs of {}{linked}", cargo.package.value);
            let _lock = MakingLock::of_part(name, &part, listener).await?;
            let programs = cargo::build(name, cargo, listener, &self.undoing).await?;
            let target = build.target.as_ref().map(|target| target.value.as_str());
            if stages.is_from_scratch(target) {
                cargo::must_be_static(name, cargo, &programs)?;
            }
            for program in &programs {
                context.add_program(program)?;
            }
        }
        let base_id = match &build.base {
            Some(base) => Some(self.ensured(name, base, listener).await?),
            None => None,
        };
        context.build_with(build);
        self.found_or_built(name, &context, base_id.as_deref(), began, listener)
            .await
    }

    /// The id of an image that is not built here.
    async fn ensured(
        &self,
        name: &ImageName,
        base: &BaseImage,
        listener: Listener<'_>,
    ) -> Result<String, BackendError> {
        let script = base.make.as_ref().map(|make| make.value.as_path());
        base::ensure(
            &self.client,
            name,
            &base.image.value,
            script,
            listener,
            &self.undoing,
        )
        .await
        .map_err(|error| error.or_at(base.image.place))
    }

    async fn found_or_built(
        &self,
        name: &ImageName,
        context: &Context,
        base_id: Option<&str>,
        began: Instant,
        listener: Listener<'_>,
    ) -> Result<String, BackendError> {
        let Digest(digest) = context.digest(base_id);
        let reference = format!("rig/{}:{digest}", name.as_str().to_ascii_lowercase());
        let there = async || base::image_id(&self.client, &reference).await;
        if there().await?.is_none() {
            let _lock = MakingLock::take(name, listener).await?;
            // Whoever held the lock may have made it.
            if there().await?.is_none() {
                self.build(name, context, &reference, listener).await?;
            }
        } else {
            base::mark_used(&self.client, &reference).await;
        }
        listener(ImageProgress::Ready {
            name: name.clone(),
            reference: reference.clone(),
            took: began.elapsed(),
        });
        Ok(reference)
    }

    async fn build(
        &self,
        name: &ImageName,
        context: &Context,
        reference: &str,
        listener: Listener<'_>,
    ) -> Result<(), BackendError> {
        listener(ImageProgress::Working {
            name: name.clone(),
            what: format!("building {reference}"),
        });
        Builder::new(&self.client, name, listener, &self.undoing)
            .build(reference, context)
            .await
    }
}
