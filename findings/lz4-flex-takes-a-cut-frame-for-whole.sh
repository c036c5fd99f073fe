#!/usr/bin/env bash
# lz4_flex reads a frame that is cut off between two blocks to its end, without an error.
#
# Version: lz4_flex 0.14.2, its `FrameDecoder`. An LZ4 frame ends with an end mark, four zero bytes, and a checksum where
# the frame has one (LZ4 Frame Format 1.6.4, "EndMark"). So one expects `UnexpectedEof` wherever a file is cut, as from a
# reader of gzip. The decoder takes the end of its source at a place where a block's size would stand for the end of the
# frame: a file that was cut off there, as a full disk or a killed writer leaves it, looks whole. Within a block the error
# comes.
#
# Seen, for a frame of two blocks of 65,536 bytes with a checksum of the content:
#
#     whole: 131072 bytes
#     cut before the end mark: 131072 bytes
#     cut between the blocks: 65536 bytes
#     cut within the second block: error
#
# The script fails when that changes. It needs cargo.
set -euo pipefail

readonly VERSION=0.14.2
readonly LIMIT_SECONDS=300

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
mkdir "$work/src"
cat >"$work/Cargo.toml" <<TOML
[package]
name = "cut"
version = "0.0.0"
edition = "2021"

[dependencies]
lz4_flex = { version = "=$VERSION", default-features = false, features = ["std", "frame", "safe-decode", "safe-encode"] }

[workspace]
TOML
cat >"$work/src/main.rs" <<'RUST'
use std::io::{Read, Write};

use lz4_flex::frame::{BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

const BLOCK: usize = 65_536;

fn frame() -> Vec<u8> {
    let info = FrameInfo::new().block_size(BlockSize::Max64KB).content_checksum(true);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    // What does not repeat is stored as it is, so that blocks have a known length.
    let mut state = 1_u64;
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let bytes: Vec<u8> = (0..2 * BLOCK).map(|_| byte()).collect();
    encoder.write_all(&bytes).unwrap();
    encoder.finish().unwrap()
}

fn tell(what: &str, bytes: &[u8]) {
    let mut out = Vec::new();
    match FrameDecoder::new(bytes).read_to_end(&mut out) {
        Ok(read) => println!("{what}: {read} bytes"),
        Err(_) => println!("{what}: error"),
    }
}

fn main() {
    let frame = frame();
    // Header, size and bytes of each block, end mark, checksum.
    let end_mark = frame.len() - 8;
    let second = end_mark - (4 + BLOCK);
    tell("whole", &frame);
    tell("cut before the end mark", &frame[..end_mark]);
    tell("cut between the blocks", &frame[..second]);
    tell("cut within the second block", &frame[..second + 100]);
}
RUST
cd "$work"
timeout "$LIMIT_SECONDS" cargo run --quiet --target-dir "$work/target" >"$work/seen"

cat "$work/seen"
diff - "$work/seen" <<'SEEN'
whole: 131072 bytes
cut before the end mark: 131072 bytes
cut between the blocks: 65536 bytes
cut within the second block: error
SEEN
