//! The image of displays. What it is made from is part of this program, so that any matrix file can
//! ask for a display without naming an image.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempPath;

use super::context::Context;
use crate::backend::BackendError;
use crate::units::ImageName;

/// Name of the image among those of the run.
const NAME: &str = "display";

/// The image that it starts from.
pub(super) const BASE: &str = "debian:bookworm-slim";

const DOCKERFILE: &str = include_str!("../../../../../docker/display.Dockerfile");

/// Makes the base where it cannot be pulled.
const BASE_SCRIPT: &str = include_str!("../../../../../docker/base-image.sh");

/// The name and the context of the image.
pub(super) fn context() -> Result<(ImageName, Context), BackendError> {
    let name = ImageName::new(NAME).map_err(|error| BackendError::machine(error.to_string()))?;
    let context = Context::new(&name, DOCKERFILE);
    Ok((name, context))
}

/// The script that makes the base, in a file until the path is dropped.
pub(super) fn base_script() -> Result<TempPath, BackendError> {
    let write = || {
        let mut file = tempfile::Builder::new()
            .prefix("rig-base-image.")
            .suffix(".sh")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempfile()?;
        file.write_all(BASE_SCRIPT.as_bytes())?;
        // Closed, since a file that is open for writing cannot be run.
        Ok(file.into_temp_path())
    };
    write().map_err(|error: std::io::Error| {
        BackendError::machine(format!("make image `{NAME}`: write a script: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_starts_from_the_base_that_the_script_makes() {
        assert!(DOCKERFILE.contains(&format!("\nFROM {BASE}\n")));
        let script = base_script().unwrap();
        let output = std::process::Command::new(&*script).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("usage:"), "{said}");
        assert_eq!(output.status.code(), Some(2));
    }
}
