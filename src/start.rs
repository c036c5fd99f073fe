//! What the programs do before they begin.

use std::io::{self, IsTerminal as _};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

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
