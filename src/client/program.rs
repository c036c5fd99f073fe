//! Runs a talk and reports how it ended.

use std::io::{self, Write as _};

use super::exit::{Exit, Failure};

/// Runs `talk` to its end and prints the line on stderr that a failure deserves, after the name of
/// the `program`.
pub fn run(program: &str, talk: impl Future<Output = Result<(), Failure>>) -> Exit {
    let ended = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::of("failed to start", &error))
        .and_then(|runtime| {
            let ended = runtime.block_on(talk);
            // A name look-up that is still waiting must not hold up the end.
            runtime.shutdown_background();
            ended
        });
    report(program, ended)
}

/// The exit code of a program that has ended so, after the line on stderr that a failure deserves.
pub fn report(program: &str, ended: Result<(), Failure>) -> Exit {
    match ended {
        Ok(()) => Exit::Left,
        Err(failure) => {
            // Without a stderr the exit code has to do.
            let _ = writeln!(io::stderr(), "{program}: {failure}");
            failure.exit
        }
    }
}
