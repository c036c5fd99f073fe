//! Other people's tools, in containers of images of the project.

use std::collections::BTreeMap;
use std::path::Path;

use rig::backend::docker::prepare_image;
use rig::spec::{BaseImage, Image, ImageBuild, ImageOrigin, Located, Place};
use rig::units::ImageName;
use testcontainers::core::ExecCommand;
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, GenericImage, ImageExt as _};

use crate::engine::engine;
use crate::support::workspace_file;

/// Where a capture is inside the container.
const CAPTURE: &str = "/capture";

/// Which releases of the tools.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Release {
    /// Of Debian 12: tshark 4.0, tcpdump, tcptrace.
    Bookworm,
    /// Of Debian 13: tshark 4.4 alone.
    Trixie,
}

impl Release {
    /// Name, Dockerfile and base of the image.
    fn image(self) -> [&'static str; 3] {
        match self {
            Self::Bookworm => ["tools", "docker/tools.Dockerfile", "debian:bookworm-slim"],
            Self::Trixie => [
                "tools-current",
                "docker/tools-current.Dockerfile",
                "debian:trixie-slim",
            ],
        }
    }
}

/// A container with the tools of a release, and one capture to look at.
pub(crate) struct Tools {
    container: ContainerAsync<GenericImage>,
}

impl Tools {
    /// Brings the tools up beside a capture.
    pub(crate) async fn on(capture: &Path, release: Release) -> Self {
        let client = engine().await;
        let [name, dockerfile, base] = release.image();
        let place = Place::default();
        let image = Image {
            place,
            origin: ImageOrigin::Build(Box::new(ImageBuild {
                dockerfile: Located::new(workspace_file(dockerfile), place),
                context: None,
                args: BTreeMap::new(),
                target: None,
                cargo: None,
                base: Some(BaseImage {
                    image: Located::new(base.to_owned(), place),
                    make: Some(Located::new(workspace_file("docker/base-image.sh"), place)),
                }),
            })),
        };
        let name = ImageName::new(name).unwrap();
        let reference = prepare_image(&client, &name, &image, &|_| {})
            .await
            .unwrap();
        let (repository, tag) = reference.rsplit_once(':').unwrap();
        let container = GenericImage::new(repository, tag)
            .with_copy_to(CAPTURE, capture)
            .with_cmd(["sleep", "600"])
            .start()
            .await
            .unwrap();
        Self { container }
    }

    /// What a tool prints; `CAPTURE` among its arguments stands for the capture.
    pub(crate) async fn run(&self, command: &[&str]) -> String {
        self.run_heard(command).await.0
    }

    /// The same, with what the command complained of.
    pub(crate) async fn run_heard(&self, command: &[&str]) -> (String, String) {
        let words = command.iter().map(|word| match *word {
            "CAPTURE" => CAPTURE,
            other => other,
        });
        let mut result = self.container.exec(ExecCommand::new(words)).await.unwrap();
        let stdout = result.stdout_to_vec().await.unwrap();
        let stderr = result.stderr_to_vec().await.unwrap();
        assert_eq!(
            result.exit_code().await.unwrap(),
            Some(0),
            "{command:?}: {}",
            String::from_utf8_lossy(&stderr)
        );
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(stdout), text(stderr))
    }
}
