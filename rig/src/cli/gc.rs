//! `rig gc`.

use std::io::{self, Write as _};

use super::args::GcArgs;
use super::exit::Exit;
use super::say;
use crate::backend::BackendError;
use crate::backend::docker::{self, Docker, Leftover, SweepScope, Unremoved};
use crate::units::printable;

pub(super) fn main(args: &GcArgs) -> Exit {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return say::failure(Exit::Machine, &format!("start a runtime: {error}")),
    };
    match runtime.block_on(collect(args)) {
        Ok((found, unremoved)) => tell(args, &found, &unremoved),
        Err(error) => {
            let hint = error.hint.as_ref().map(|hint| format!("\n  hint: {hint}"));
            say::failure(
                Exit::Machine,
                &format!("{error}{}", hint.unwrap_or_default()),
            )
        }
    }
}

async fn collect(args: &GcArgs) -> Result<(Vec<Leftover>, Vec<Unremoved>), BackendError> {
    let client = Docker::connect().await?.client;
    let scope = if args.all {
        SweepScope::All
    } else {
        SweepScope::Ended
    };
    let mut found = docker::survey(&client, &scope).await?;
    found.extend(docker::survey_images(&client, &scope, args.images).await?);
    let unremoved = if args.dry_run {
        Vec::new()
    } else {
        docker::remove_all(&client, found.clone()).await
    };
    Ok((found, unremoved))
}

fn tell(args: &GcArgs, found: &[Leftover], unremoved: &[Unremoved]) -> Exit {
    let verb = if args.dry_run {
        "would remove"
    } else {
        "removed"
    };
    let mut out = String::new();
    for leftover in found {
        if !unremoved.iter().any(|one| one.leftover == *leftover) {
            out.push_str(&printable(&format!("{verb} {leftover}")));
            out.push('\n');
        }
    }
    if found.is_empty() {
        out.push_str("nothing to remove\n");
    }
    // A reader that has gone away has seen enough.
    io::stdout().write_all(out.as_bytes()).ok();
    for one in unremoved {
        say::failure(Exit::Machine, &format!("could not remove {one}"));
    }
    if unremoved.is_empty() {
        Exit::Passed
    } else {
        Exit::Machine
    }
}
