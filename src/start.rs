//! What the programs do before they begin.

use std::future::Future;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::operator::Console;

/// The environment variable that says what is logged, as in `CHAT_LOG=debug`.
pub const LOG_VARIABLE: &str = "CHAT_LOG";

/// Sends the log to stderr, at `info` unless `CHAT_LOG` says otherwise.
pub fn log() {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .with_env_var(LOG_VARIABLE)
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_env_filter(filter)
        .init();
}

/// Runs a server to its end, with a console on stdout that is printed out before. Exit code 0 after
/// a clean end, 1 after an error, which stderr tells under the program's name.
pub fn serve<F: Future<Output = io::Result<()>>>(
    program: &str,
    run: impl FnOnce(Console) -> F,
) -> ExitCode {
    let (console, printing) = Console::stdout();
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(run(console)));
    printing.finish();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a stderr the exit code has to do.
            let _ = writeln!(io::stderr(), "{program}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Raises the soft limit of open files to the hard one and returns what it is then.
///
/// # Errors
/// The limit can be neither read nor set.
pub fn raise_file_limit() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}
