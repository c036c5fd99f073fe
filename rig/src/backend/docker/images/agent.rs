//! The agent's image: this program alone, FROM scratch.

use super::context::Context;
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

/// Whether an ELF file asks for an interpreter (`PT_INTERP`, System V ABI chapter 5).
fn is_dynamic(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let word = |at: usize, len: usize| -> Option<usize> {
        let bytes = elf.get(at..at.checked_add(len)?)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |value, &byte| value << 8 | usize::from(byte)),
        )
    };
    let headers = || {
        let (start, size, count) = (word(32, 8)?, word(54, 2)?, word(56, 2)?);
        Some((0..count).filter_map(move |index| word(start + index * size, 4)))
    };
    headers().is_some_and(|mut types| types.any(|kind| kind == PT_INTERP as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_is_static_and_the_shell_is_not() {
        assert!(!is_dynamic(&std::fs::read("/proc/self/exe").unwrap()));
        assert!(is_dynamic(&std::fs::read("/bin/sh").unwrap()));
        assert!(!is_dynamic(b""));
    }
}
