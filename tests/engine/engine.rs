//! The container engine of the tests.

use std::collections::HashMap;

use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, ListNetworksOptionsBuilder,
};
use rig::backend::docker::Docker;

/// The engine; without one these tests fail, they are never skipped.
pub(crate) async fn engine() -> bollard::Docker {
    let engine = Docker::connect().await.unwrap_or_else(|error| {
        panic!("the end-to-end tests need a container engine: failed to {error}")
    });
    engine.client
}

/// Everything on the engine that carries the label of a run.
pub(crate) async fn left_by(client: &bollard::Docker, run: &str) -> Vec<String> {
    let filters = HashMap::from([("label", vec![format!("rig.run={run}")])]);
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filters)
        .build();
    let containers = client.list_containers(Some(options)).await.unwrap();
    let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
    let networks = client.list_networks(Some(options)).await.unwrap();
    containers
        .into_iter()
        .map(|one| format!("container {:?}", one.names))
        .chain(
            networks
                .into_iter()
                .map(|one| format!("network {:?}", one.name)),
        )
        .collect()
}

/// Layers without a name that belong to an image of this name.
pub(crate) async fn nameless_layers(client: &bollard::Docker, image: &str) -> Vec<String> {
    let filters = HashMap::from([
        ("label", vec![format!("rig.image={image}")]),
        ("dangling", vec!["true".to_owned()]),
    ]);
    let options = ListImagesOptionsBuilder::new().filters(&filters).build();
    let images = client.list_images(Some(options)).await.unwrap();
    images.into_iter().map(|image| image.id).collect()
}
