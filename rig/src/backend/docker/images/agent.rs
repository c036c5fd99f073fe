//! The agent's image: this program alone, FROM scratch.

use super::context::Context;
use super::elf::is_dynamic;
use crate::backend::BackendError;
use crate::units::ImageName;

/// Name of the image among those of the run.
pub(in crate::backend::docker) const AGENT_IMAGE_NAME: &str = "agent";

const DOCKERFILE: &str = "FROM scratch\nCOPY rig /rig\nENTRYPOINT [\"/rig\", \"agent\"]\n";

/// The name and the context of the agent's image.
pub(super) async fn context() -> Result<(ImageName, Context), BackendError> {
    let name = ImageName::new(AGENT_IMAGE_NAME)
        .map_err(|error| BackendError::machine(error.to_string()))?;
    // The running file, also when the one on disk was replaced meanwhile.
    let program = tokio::fs::read("/proc/self/exe")
        .await
        .map_err(|error| BackendError::machine(format!("read the rig's own program: {error}")))?;
    if is_dynamic(&program) {
        return Err(BackendError::machine(
            "make the agent's image: this rig is linked dynamically and would not start in it",
        )
        .with_hint(
            "build it with `-C target-feature=+crt-static`, as its .cargo/config.toml does",
        ));
    }
    let mut context = Context::new(&name, DOCKERFILE);
    context.add_executable("rig", program);
    Ok((name, context))
}
