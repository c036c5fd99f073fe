//! What a whole run of one cell costs beside the same by hand: `cargo bench -p rig --bench whole`.
//!
//! Runs one cell of `rig/benches/cells.yaml` with the real rig on a real engine, images already built, and
//! `rig/benches/by_hand.sh`, which does the same by docker's commands, by turns. Prints the medians and their ratio,
//! which docs/performance.md keeps. Another rig that `RIG_BENCH_BESIDE` names has its turn as well.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Turns of each.
const TURNS: usize = 9;

/// Goal for the time of a run, that of the script being 1.
const GOAL: f64 = 0.35;

/// Names another rig, such as one of an earlier state, to be measured beside this one.
const BESIDE: &str = "RIG_BENCH_BESIDE";

/// Clock ticks a second in /proc/PID/stat (proc(5)); Linux tells users no other number.
const TICKS: f64 = 100.0;

/// The image of hosts in the script.
const HOSTS: &str = "rig-bench/tcpdump:latest";

/// What is measured, and what it took.
struct Measured {
    what: String,
    command: Box<dyn Fn(&Path) -> Command>,
    elapsed: Vec<f64>,
    processor: Vec<f64>,
}

fn main() {
    let benches = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
    build_tcpdump_image();
    let mut all = vec![rig("rig run", PathBuf::from(env!("CARGO_BIN_EXE_rig")))];
    if let Some(other) = std::env::var_os(BESIDE) {
        all.push(rig("the other rig", PathBuf::from(other)));
    }
    // Builds the images: not counted.
    for one in &mut all {
        one.turn();
        one.elapsed.clear();
        one.processor.clear();
    }
    let nodes = said("docker", &["images", "--quiet", "rig/chat"]);
    let nodes = nodes.lines().next().expect("an image of the programs");
    let (script, nodes) = (benches.join("by_hand.sh"), nodes.to_owned());
    all.push(Measured::new("by hand", move |folder| {
        let mut command = Command::new(&script);
        command.args([HOSTS, &nodes]).arg(folder);
        command
    }));
    for _ in 0..TURNS {
        for one in &mut all {
            one.turn();
        }
    }
    said("docker", &["rmi", HOSTS]);
    let by_hand = median(&all[all.len() - 1].elapsed);
    for one in &all {
        let elapsed = median(&one.elapsed);
        print(&format!(
            "{}: {elapsed:.2} s, {:.2} s of a processor for its own processes; by hand = 1: {:.2}",
            one.what,
            median(&one.processor),
            elapsed / by_hand,
        ));
    }
    let ratio = median(&all[0].elapsed) / by_hand;
    print(&format!("ratio: {ratio:.2} (goal: at most {GOAL})"));
}

fn rig(what: &str, program: PathBuf) -> Measured {
    let matrix = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/cells.yaml");
    Measured::new(what, move |folder| {
        let mut command = Command::new(&program);
        command
            .arg("run")
            .arg(&matrix)
            .args(["--filter", "copy=c01", "--out"])
            .arg(folder.join("evidence"));
        command
    })
}

impl Measured {
    fn new(what: &str, command: impl Fn(&Path) -> Command + 'static) -> Self {
        Self {
            what: what.to_owned(),
            command: Box::new(command),
            elapsed: Vec::new(),
            processor: Vec::new(),
        }
    }

    /// Runs it once, from the start of its process to the end.
    fn turn(&mut self) {
        let folder = tempfile::tempdir().expect("a folder for what it writes");
        let mut command = (self.command)(folder.path());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let (before, began) = (processor_of_children(), Instant::now());
        let status = command.status().expect("it starts");
        let elapsed: Duration = began.elapsed();
        assert!(status.success(), "{} ends well", self.what);
        self.elapsed.push(elapsed.as_secs_f64());
        self.processor.push(processor_of_children() - before);
    }
}

/// Seconds of a processor that ended children took, theirs included.
fn processor_of_children() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("proc is there");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    // cutime and cstime are the fields 16 and 17; the first behind the name is the third.
    let fields = fields.split_whitespace().skip(13).take(2);
    let ticks: f64 = fields
        .map(|ticks| ticks.parse::<f64>().expect("a number"))
        .sum();
    ticks / TICKS
}

/// An image of this machine's tcpdump and its libraries, and of nothing else.
fn build_tcpdump_image() {
    let folder = tempfile::tempdir().expect("a folder for a context");
    let program = said("sh", &["-c", "command -v tcpdump"]);
    let program = program.trim();
    let libraries = said("ldd", &[program]);
    let libraries = libraries
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    for file in libraries.chain([program]) {
        let to = folder.path().join(file.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("it is made");
        std::fs::copy(file, to).expect("it is copied");
    }
    // It takes the name of its user from there.
    std::fs::create_dir_all(folder.path().join("etc")).expect("it is made");
    std::fs::write(
        folder.path().join("etc/passwd"),
        "root:x:0:0:root:/:/bin/sh\n",
    )
    .expect("it is written");
    let dockerfile = format!("FROM scratch\nCOPY . /\nENTRYPOINT [\"{program}\"]\n");
    std::fs::write(folder.path().join("Dockerfile"), dockerfile).expect("it is written");
    let context = folder.path().to_str().expect("a plain path");
    said("docker", &["build", "--quiet", "--tag", HOSTS, context]);
}

/// What a program prints; it must end well.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect("it starts");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {complaint}"
    );
    String::from_utf8(output.stdout).expect("text")
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn print(line: &str) {
    println!("{line}");
}
