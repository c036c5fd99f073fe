//! Runs that meet trouble: each matrix in `trouble/` is run, and told as the golden file beside it
//! says, and nothing of it is left on the engine. A new case is one new file.

use libtest_mimic::Trial;
use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::thread;

use nix::unistd::geteuid;

use crate::engine::{engine, left_by, nameless_layers};
use crate::evidence::{Folder, run_id, run_json};
use crate::support::{rig, workspace_file};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial!(async fn each_trouble_is_told_once_with_its_place_and_leaves_nothing),
        trial!(fn an_engine_that_is_down),
        trial!(fn an_engine_that_forbids_access),
        trial!(fn an_engine_of_others),
        trial!(fn a_filter_that_fits_nothing),
        trial!(fn a_folder_that_holds_something_else),
    ]
}

/// How many of the matrices run at the same time.
const JOBS: usize = 2;

/// Settings for the golden files beside the matrices.
fn golden() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("trouble");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

/// What a command did, as its golden file holds it.
fn told(output: &Output) -> String {
    let code = output.status.code();
    let code = code.map_or_else(
        || output.status.to_string(),
        |code| format!("exit code {code}"),
    );
    let part = |name: &str, bytes: &[u8]| match bytes {
        [] => String::new(),
        bytes => format!("--- {name}\n{}", String::from_utf8_lossy(bytes)),
    };
    format!(
        "{code}\n{}{}",
        part("stdout", &output.stdout),
        part("stderr", &output.stderr)
    )
}

fn folder() -> PathBuf {
    workspace_file("tests/engine/trouble")
}

/// The names of the matrices.
fn matrices() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".yaml").map(str::to_owned)
        })
        .collect();
    names.sort();
    assert!(!names.is_empty());
    names
}

/// Runs a matrix of the folder.
fn run(name: &str, out: &Path, prepare: impl FnOnce(&mut assert_cmd::Command)) -> Output {
    let mut command = rig();
    command
        .current_dir(folder())
        .args(["run", "--jobs", "1"])
        .arg(format!("{name}.yaml"))
        .arg("--out")
        .arg(out);
    prepare(&mut command);
    command.output().unwrap()
}

/// Compares with the golden file.
fn assert_told(name: &str, output: &Output, out: &Path) {
    let mut settings = golden();
    let out = out.to_str().unwrap();
    for (pattern, name) in [
        // Making an image depends on what other tests have made before.
        (
            r"(?m)^image (agent|chat|display|peers|python|windows): .*\n",
            "",
        ),
        // What a build prints is told now and then, by the clock.
        (
            r"(?m)^image (build-fails|file-missing): +(--->|Step \d|[^bc ]).*\n",
            "",
        ),
        (out, "[out]"),
        (r"(?m)^run [0-9a-z]+ of ", "run [id] of "),
        (r"(rig/[a-z-]+):[0-9a-f]{16}", "$1:[digest]"),
        (r"\b[0-9a-f]{12}\b", "[container or layer]"),
        (
            r"(?m)^ +---> (Running in|Using cache|$).*\n?|^.*Removing intermediate.*\n",
            "",
        ),
        (r"\(\d+(\.\d+)?(ns|us|ms|s)\)", "([time])"),
        // The table is as wide as the time.
        (r"(?m)^[─═]+$", "[line]"),
        (r" +time \n", " [time]\n"),
        (r" +\d+(\.\d+)?(ns|us|ms|s) \n", " [time]\n"),
        (r"198\.1[89]\.\d+\.(\d+):\d{5}\b", "[net].$1:[port]"),
        (r"198\.1[89]\.\d+\.", "[net]."),
        // A timer that happens to run.
        (r" timer [a-z-]+ \d+ms", ""),
        (r"(could not be pulled|pull [^ ]+:1): .*", "$1: [why]"),
        (r"frames? \d+(, \d+)*", "frame [number]"),
        // Each row of a ladder: time and frame number.
        (r"(?m)^( +x?) +\d+\.\d{6} +\d+  ", "$1 [time] [frame] "),
        // How data is cut into segments and acknowledged is the kernels' business.
        (r"(?m)^ +\[time\] \[frame\] .* (\.\.\.|\[ACK\])$\n", ""),
        (r"history [A-Za-z]+", "history [history]"),
        // Where data is cut into segments, and whether a FIN comes with the last of it, is a matter of time.
        (r"(?m)^ {8}\[time\] \[frame\] [<>] DATA .*\n", ""),
        (r"\[FIN, (PSH, )?ACK\]", "[FIN, ACK]"),
    ] {
        settings.add_filter(pattern, name);
    }
    settings.bind(|| insta::assert_snapshot!(name, told(output)));
}

async fn each_trouble_is_told_once_with_its_place_and_leaves_nothing() {
    let client = engine().await;
    let temp = Folder::new();
    let names = Mutex::new(matrices().into_iter());
    let outputs = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(|| {
                loop {
                    let Some(name) = names.lock().unwrap().next() else {
                        return;
                    };
                    let output = run(&name, &temp.path().join(&name), |_| ());
                    outputs.lock().unwrap().push((name, output));
                }
            });
        }
    });
    let mut outputs = outputs.into_inner().unwrap();
    outputs.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (name, output) in &outputs {
        let run = run_id(&String::from_utf8_lossy(&output.stderr));
        assert_eq!(left_by(&client, &run).await, Vec::<String>::new(), "{name}");
        let image = name.strip_prefix("image-").unwrap_or("chat");
        if image != "chat" {
            assert_eq!(
                nameless_layers(&client, image).await,
                Vec::<String>::new(),
                "{name}"
            );
        }
    }
    for (name, output) in &outputs {
        assert_told(name, output, &temp.path().join(name));
    }
    let out = temp.path().join("image-build-fails");
    assert_nothing_ran(&out, "make image `build-fails`");
}

/// The reports of a run that could not begin: an error in every cell, with the reason.
fn assert_nothing_ran(out: &Path, why: &str) {
    let report = run_json(out);
    assert_eq!(report["counts"]["error"], 1, "{report}");
    let told = report["cells"][0]["trouble"]["message"].as_str().unwrap();
    assert!(told.contains(why), "{told}");
    for file in ["junit.xml", "index.html"] {
        let text = fs::read_to_string(out.join(file)).unwrap();
        assert!(text.contains(why), "{file}: {text}");
    }
}

fn an_engine_that_is_down() {
    let temp = tempfile::tempdir().unwrap();
    let output = run("never-heard", &temp.path().join("out"), |command| {
        command.env("DOCKER_HOST", "unix:///no/such/engine.sock");
    });
    assert_eq!(output.status.code(), Some(3));
    assert_told("engine-is-down", &output, temp.path());
    assert_nothing_ran(&temp.path().join("out"), "reach a container engine");
}

fn an_engine_that_forbids_access() {
    let temp = tempfile::tempdir().unwrap();
    let socket = temp.path().join("engine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    // Ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            assert_ne!(stream.read(&mut request).unwrap(), 0);
            let body = r#"{"message":"access denied by policy"}"#;
            write!(
                stream,
                "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\n\
                 connection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
            .unwrap();
        }
    });
    let output = run("never-heard", &temp.path().join("out"), |command| {
        command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
    });
    assert_eq!(output.status.code(), Some(3));
    assert_told("engine-forbids-access", &output, temp.path());
}

/// An engine's socket that the user may not open, as on a machine where they are not in its group.
fn an_engine_of_others() {
    const NOBODY: u32 = 65534;
    let temp = tempfile::tempdir().unwrap();
    let path = |name: &str| temp.path().join(name);
    fs::set_permissions(temp.path(), Permissions::from_mode(0o755)).unwrap();
    let _listener = UnixListener::bind(path("engine.sock")).unwrap();
    fs::set_permissions(path("engine.sock"), Permissions::from_mode(0o000)).unwrap();
    let home = path("home");
    fs::create_dir(&home).unwrap();
    // What another user can read and run.
    fs::copy(rig().get_program(), path("rig")).unwrap();
    fs::copy(folder().join("never-heard.yaml"), path("never-heard.yaml")).unwrap();
    let mut command = Command::new(path("rig"));
    command
        .current_dir(temp.path())
        .args([
            "run",
            "--jobs",
            "1",
            "never-heard.yaml",
            "--out",
            "home/out",
        ])
        .env(
            "DOCKER_HOST",
            format!("unix://{}", path("engine.sock").display()),
        )
        .env("HOME", &home);
    if geteuid().is_root() {
        chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_told("engine-of-others", &output, temp.path());
}

fn a_filter_that_fits_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let out = temp.path().join("out");
    let output = run("port-in-use", &out, |command| {
        command.args(["--filter", "time=third"]);
    });
    assert_eq!(output.status.code(), Some(2));
    assert_told("filter-fits-nothing", &output, temp.path());
    assert!(!out.exists());
}

fn a_folder_that_holds_something_else() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("thesis.txt"), "precious").unwrap();
    let output = run("port-in-use", temp.path(), |_| ());
    assert_eq!(output.status.code(), Some(2));
    assert_told("out-is-foreign", &output, temp.path());
    assert_eq!(
        fs::read(temp.path().join("thesis.txt")).unwrap(),
        b"precious"
    );
}
