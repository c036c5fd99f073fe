//! Programs with windows on a real engine: typed at, clicked at, and seen.

use libtest_mimic::Trial;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::BufReader;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use bollard::query_parameters::ListContainersOptionsBuilder;

use crate::engine::{engine, left_by};
use crate::evidence::{Folder, run_id, run_json};
use crate::support::{rig, workspace_file};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial!(async fn windows_are_driven_and_seen_and_nothing_of_them_is_left)]
}

/// Time between two looks for the volumes of displays: the engine has no event for those of a run.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The TCP ports that are registered for X displays.
const X_PORTS: RangeInclusive<u16> = 6000..=6063;

/// The ports of both ends of all sockets of `sockets.json`.
fn ports(marks: &serde_json::Value) -> BTreeSet<u16> {
    let hosts = marks.as_object().unwrap().values();
    let tables = hosts.flat_map(|hosts| hosts.as_object().unwrap().values());
    tables
        .flat_map(|table| table["sockets"].as_array().unwrap())
        .flat_map(|socket| [&socket["local"], &socket["remote"]])
        .map(|end| {
            let (_, port) = end.as_str().unwrap().rsplit_once(':').unwrap();
            port.parse().unwrap()
        })
        .collect()
}

/// The pixels of a picture, three bytes each.
fn pixels(path: &Path) -> (u32, u32, Vec<[u8; 3]>) {
    let decoder = png::Decoder::new(BufReader::new(File::open(path).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut bytes).unwrap();
    assert_eq!(frame.color_type, png::ColorType::Rgb);
    let (pixels, rest) = bytes.as_chunks::<3>();
    assert!(rest.is_empty());
    (frame.width, frame.height, pixels.to_vec())
}

/// The volumes of the displays that are on the engine now, each with the run that it belongs to: the engine may be in use
/// by others.
async fn volumes(client: &bollard::Docker) -> Vec<(String, String)> {
    let filters = HashMap::from([("label", vec!["rig.display"])]);
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filters)
        .build();
    let displays = client.list_containers(Some(options)).await.unwrap();
    let mut volumes = Vec::new();
    for display in displays {
        let run = display.labels.unwrap_or_default().remove("rig.run");
        let mounts = display.mounts.into_iter().flatten();
        let names = mounts.filter_map(|mount| mount.name);
        volumes.extend(names.map(|name| (run.clone().unwrap_or_default(), name)));
    }
    volumes
}

async fn windows_are_driven_and_seen_and_nothing_of_them_is_left() {
    let client = engine().await;
    let temp = Folder::new();
    let out = temp.path().join("out");
    let mut command = rig();
    command
        .arg("run")
        .arg(workspace_file("tests/engine/windows/terminals.yaml"))
        .arg("--out")
        .arg(&out);
    let mut running = tokio::task::spawn_blocking(move || command.output().unwrap());
    let mut seen = BTreeSet::new();
    let output = loop {
        seen.extend(volumes(&client).await);
        if let Ok(output) = tokio::time::timeout(LOOK_EVERY, &mut running).await {
            break output.unwrap();
        }
    };
    let (told, log) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{told}\n{log}");

    let run = run_id(&log);
    assert_eq!(left_by(&client, &run).await, Vec::<String>::new());
    let ours: Vec<_> = seen.iter().filter(|(of, _)| *of == run).collect();
    assert!(!ours.is_empty());
    for (_, volume) in ours {
        let found = client.inspect_volume(volume).await;
        assert!(found.is_err(), "volume {volume} is left");
    }

    let report = run_json(&out);
    let cell = &report["cells"][0];
    assert_eq!(
        cell["screens"],
        serde_json::json!(["screens/after-ciao.png", "screens/carol.png"])
    );
    let folder = out.join(cell["evidence"].as_str().unwrap());
    let mut pictures = Vec::new();
    for screen in ["after-ciao", "carol"] {
        let (width, height, pixels) = pixels(&folder.join(format!("screens/{screen}.png")));
        assert_eq!((width, height), (640, 480), "{screen}");
        let colours: BTreeSet<_> = pixels.iter().collect();
        assert!(colours.len() > 1, "{screen} is all {colours:?}");
        pictures.push(pixels);
    }
    // More was typed at one window than at the other.
    assert_ne!(pictures[0], pictures[1]);
    let page = std::fs::read_to_string(out.join("index.html")).unwrap();
    assert!(
        page.contains("screens&#x2f;after-ciao.png\">after-ciao</a>"),
        "{page}"
    );

    // No X server listens on a port, and no window came to one that way.
    let sockets = std::fs::read_to_string(folder.join("sockets.json")).unwrap();
    let ports = ports(&serde_json::from_str(&sockets).unwrap());
    assert!(!ports.is_empty(), "{sockets}");
    let of_displays = ports.iter().any(|port| X_PORTS.contains(port));
    assert!(!of_displays, "{sockets}");
}
