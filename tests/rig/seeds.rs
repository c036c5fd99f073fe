//! What the fuzz targets found worth keeping, run through the bodies of these targets: a file of
//! `seeds/` is one input.

use std::path::{Path, PathBuf};

#[path = "../../fuzz/bodies/capture.rs"]
mod capture;
#[path = "../../fuzz/bodies/packet.rs"]
mod packet;
#[path = "../../fuzz/bodies/pattern.rs"]
mod pattern;

/// The inputs of a target. Each has at least the one that it began with.
fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/rig/seeds");
    let folder = Path::new(folder).join(target);
    let mut seeds = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        seeds.push((path, bytes));
    }
    assert!(!seeds.is_empty(), "{}", folder.display());
    seeds
}

#[test]
fn no_capture_seed_panics() {
    for (_, bytes) in seeds("capture") {
        capture::run(&bytes);
        // The same bytes out of a compressed file.
        for len in [bytes.len(), bytes.len() / 2] {
            capture::run(&super::flows::gzip(&bytes[..len]));
        }
    }
}

#[test]
fn no_packet_seed_panics() {
    for (_, bytes) in seeds("packet") {
        packet::run(&bytes);
    }
}

#[test]
fn no_pattern_seed_panics() {
    for (path, bytes) in seeds("pattern") {
        let text = String::from_utf8(bytes);
        pattern::run(&text.unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    }
}
