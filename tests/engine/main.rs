//! End-to-end tests of `rig` on a container engine. Without one they fail, they are never skipped.
//!
//! The tests wait more than they work, so more of them run at a time than there are processors, the longest first.
//! Arguments are those of the standard harness.

#![expect(
    clippy::unwrap_used,
    reason = "what a test cannot get at ends it, in its helpers as well"
)]

#[path = "../support/mod.rs"]
mod support;
#[macro_use]
mod trial;
mod engine;
mod evidence;
mod running;
mod tools;

mod agent;
mod cleanup;
mod documentation;
mod matrices;
mod runs;
mod trouble;
mod windows;
mod wireshark;

use std::process::ExitCode;

use libtest_mimic::Arguments;

/// So many tests run at a time, unless `--test-threads` says otherwise.
const AT_A_TIME: usize = 4;

fn main() -> ExitCode {
    // What failed and where: below it is the harness, whatever RUST_BACKTRACE says.
    std::panic::set_hook(Box::new(|failure| {
        say(&format!("{}: {failure}", trial::current()));
    }));
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_A_TIME);
    let trials = [
        matrices::trials(),
        trouble::trials(),
        documentation::trials(),
        cleanup::trials(),
        runs::trials(),
        agent::trials(),
        windows::trials(),
        wireshark::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit_code()
}

/// Tells who waits for the tests.
#[expect(clippy::print_stderr, reason = "a test's own progress and failures")]
fn say(line: &str) {
    eprintln!("{line}");
}
