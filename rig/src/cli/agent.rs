//! `rig agent`.

use std::io::{stdin, stdout};
use std::path::PathBuf;

use super::exit::Exit;
use crate::agent::protocol::CAPTURE_PATH;
use crate::agent::{End, serve};

/// Where the capture goes when an agent is run outside a container of its own.
const CAPTURE_VARIABLE: &str = "RIG_CAPTURE";

pub(super) fn main() -> Exit {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the agent cannot start");
            return Exit::Machine;
        }
    };
    let capture_path = std::env::var_os(CAPTURE_VARIABLE)
        .map_or_else(|| PathBuf::from(CAPTURE_PATH), PathBuf::from);
    let end = runtime.block_on(serve(stdin(), stdout(), capture_path));
    // What is under way is not waited for: the end of the agent is the end of its host.
    runtime.shutdown_background();
    match end {
        Ok(End::Released) => Exit::Passed,
        Ok(End::Signalled) => Exit::Interrupted,
        Ok(End::NeverAsked) => {
            tracing::error!("no request came: `rig agent` is started by `rig run`, not by hand");
            Exit::Machine
        }
        Err(error) => {
            tracing::error!(%error, "the agent cannot go on");
            Exit::Machine
        }
    }
}
