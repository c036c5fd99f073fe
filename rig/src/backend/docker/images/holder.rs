//! The first process of nodes' containers, which each of their images holds.

use super::context::Context;
use crate::agent::protocol::{HOLD_PROGRAM, HOLD_SOCKET};
use crate::units::{ImageName, NodeName};

/// Its place in the context of a build; no program of a user's is called like that.
const IN_CONTEXT: &str = ".rig-hold";

/// Its place in an image.
const IN_IMAGE: &str = "/.rig-hold";

/// A context whose image holds it. The stage of a Dockerfile that becomes the image ends before line `end`, counted
/// from 0, or with the file.
pub(super) fn context(image: &ImageName, dockerfile: &str, end: Option<usize>) -> Context {
    let copy = format!("COPY {IN_CONTEXT} {IN_IMAGE}");
    let mut lines: Vec<&str> = dockerfile.lines().collect();
    lines.insert(end.map_or(lines.len(), |end| end.min(lines.len())), &copy);
    let dockerfile = lines.join("\n") + "\n";
    let mut context = Context::new(image, &dockerfile);
    context.add_executable(IN_CONTEXT, HOLD_PROGRAM.to_vec());
    context
}

/// How it is called, before the command of a node's program.
pub(in crate::backend::docker) fn entrypoint(node: &NodeName, visit: u32) -> Vec<String> {
    let words = [IN_IMAGE, HOLD_SOCKET, node.as_str()].map(str::to_owned);
    words.into_iter().chain([visit.to_string()]).collect()
}
