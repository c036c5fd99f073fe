//! What the programs do before they begin.

use std::future::Future;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::runtime::Builder;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::operator::Console;

/// The environment variable that says what is logged, as in `CHAT_LOG=debug`.
pub const LOG_VARIABLE: &str = "CHAT_LOG";

/// Sends the log to stderr, at `info` unless `CHAT_LOG` says otherwise.
pub fn log() {
    let mut filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .with_env_var(LOG_VARIABLE)
        .from_env_lossy();
    // It remarks upon every X server that is no desktop's.
    if let Ok(quiet) = "winit=error".parse()
        && std::env::var_os(LOG_VARIABLE).is_none()
    {
        filter = filter.add_directive(quiet);
    }
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_env_filter(filter)
        .init();
}

/// A runtime on one thread, which serves everybody who waits before it looks who has sent something.
pub fn one_thread() -> Builder {
    let mut builder = Builder::new_current_thread();
    builder.event_interval(TASKS_BETWEEN_EVENTS);
    builder
}

/// A runtime on all processors.
pub fn all_processors() -> Builder {
    Builder::new_multi_thread()
}

/// After so many turns of tasks new events are looked for, though there are tasks left.
const TASKS_BETWEEN_EVENTS: u32 = 4096;

/// Runs a server on `runtime` to its end, with a console on stdout that is printed out before. Exit code 0 after
/// a clean end, 1 after an error, which stderr tells under the program's name.
pub fn serve<F: Future<Output = io::Result<()>>>(
    program: &str,
    mut runtime: Builder,
    run: impl FnOnce(Console) -> F,
) -> ExitCode {
    let (console, printing) = Console::stdout();
    let ended = runtime
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
