//! Attacks a server for the time, measures and judges.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::subject::Subject;

/// The environment variable that says how long each server is attacked, in seconds.
const VARIABLE: &str = "SOAK_SECONDS";

/// How long where it does not.
const DEFAULT_SECONDS: u64 = 5;

/// Connections opened and closed, or users that come and go, in a soak of [`FULL`].
const FULL_COUNT: u64 = 100_000;

/// The length of a whole soak.
const FULL: Duration = Duration::from_mins(10);

/// No single event takes longer, on a busy machine and under attack.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Tells attackers and those who behave to come to an end.
pub(crate) type Stop = tokio_util::sync::CancellationToken;

/// What those who behave said, and what they heard of each other.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Talk {
    pub(crate) said: u64,
    pub(crate) heard: u64,
    /// Messages said again since no sign of them came.
    pub(crate) again: u64,
}

/// What an attack was made of.
pub(crate) type Done = Vec<(&'static str, u64)>;

/// How long each server is attacked.
pub(crate) fn length() -> Duration {
    let seconds = std::env::var(VARIABLE).map_or(DEFAULT_SECONDS, |text| text.parse().unwrap());
    Duration::from_secs(seconds)
}

/// How many connections are opened and closed in that time at least.
pub(crate) fn quota() -> u64 {
    FULL_COUNT * length().as_secs() / FULL.as_secs()
}

/// Runs one soak at a time: each is measured, and wants the machine for itself.
pub(crate) fn alone(test: impl Future<Output = ()>) {
    static ONE: Mutex<()> = Mutex::new(());
    // A soak that failed before is no reason not to run this one.
    let _one = ONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test);
}

/// Lets `behave` and `attack` meet at the server until the time is over, and both come to their
/// end; prints the figures and fails when the server did not stand it.
pub(crate) async fn soak(
    server: &Subject,
    max_kib: u64,
    behave: impl Future<Output = Talk> + Send + 'static,
    attack: impl Future<Output = Done> + Send + 'static,
    stop: Stop,
) {
    let begin = Instant::now();
    let empty_kib = server.memory_kib("VmRSS:");
    let mut behave = tokio::spawn(behave);
    let mut attack = tokio::spawn(attack);
    tokio::select! {
        () = sleep(length()) => {}
        early = &mut behave => panic!("{}: those who behave ended early: {early:?}", server.name),
        early = &mut attack => panic!("{}: the attack ended early: {early:?}", server.name),
    }
    server.assert_running();
    stop.cancel();
    let talk = timeout(PATIENCE, behave)
        .await
        .expect("the talk's end in time");
    let talk = talk.expect("no message lost");
    // The rest of what it owes takes as long again at most.
    let done = timeout(length() + PATIENCE, attack).await;
    let done = done.expect("the attack's end in time").expect("an attack");
    server.assert_running();
    let (end_kib, peak_kib) = (server.memory_kib("VmRSS:"), server.memory_kib("VmHWM:"));
    let mut text = format!("{}, {:.0?}:", server.name, begin.elapsed());
    for (what, count) in &done {
        write!(text, " {count} {what},").unwrap();
    }
    let Talk { said, heard, again } = talk;
    report(&format!(
        "{text} {said} messages said by those who behave ({again} of them again), {heard} heard, none lost; \
         resident {empty_kib} KiB before, {end_kib} after, {peak_kib} at most ({max_kib} allowed)"
    ));
    assert!(said > 0 && heard >= said, "nobody talked");
    assert!(peak_kib <= max_kib, "{}: too much memory", server.name);
    server.gives_back().await;
    server.assert_running();
}

fn report(line: &str) {
    // Shown without `--nocapture` too, which only concerns the macros.
    let _ = writeln!(std::io::stdout(), "\n{line}");
}
