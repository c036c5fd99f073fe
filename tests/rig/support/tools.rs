//! Other people's tools, in containers of the image `docker/tools.Dockerfile`.

use std::path::Path;

use rig::backend::docker::prepare_image;
use rig::spec::{BaseImage, Image, ImageBuild, ImageOrigin, Located, Place};
use rig::units::ImageName;
use testcontainers::core::ExecCommand;
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, GenericImage, ImageExt as _};

use super::engine::engine;
use super::workspace_file;

/// Where a capture is inside the container.
const CAPTURE: &str = "/capture";

/// A container with tshark, tcpdump and tcptrace, and one capture to look at.
pub(crate) struct Tools {
    container: ContainerAsync<GenericImage>,
}

impl Tools {
    /// Brings the tools up beside a capture.
    pub(crate) async fn on(capture: &Path) -> Self {
        let client = engine().await;
        let place = Place::default();
        let image = Image {
            place,
            origin: ImageOrigin::Build(Box::new(ImageBuild {
                dockerfile: Located::new(workspace_file("docker/tools.Dockerfile"), place),
                context: None,
                cargo: None,
                base: Some(BaseImage {
                    image: Located::new("debian:bookworm-slim".to_owned(), place),
                    make: Some(Located::new(workspace_file("docker/base-image.sh"), place)),
                }),
            })),
        };
        let name = ImageName::new("tools").unwrap();
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
        String::from_utf8(stdout).unwrap()
    }
}
