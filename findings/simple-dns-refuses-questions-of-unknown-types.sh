#!/usr/bin/env bash
# simple-dns reads records of a type that it does not know, and refuses whole messages that ask for one.
#
# Version: simple-dns 0.13.0. A server is to treat a type that it does not know as opaque, in questions as in records
# (RFC 3597, sections 2 and 3), so that it can say "no data" of it. The crate has a value for such types, `TYPE::Unknown`,
# and gives their records as bytes. So one expects a question for type 65000, or for a type that was registered after the
# crate was released, to be read as well. `Packet::parse` fails there, and with it everything else that the message
# says: a responder built on it can answer with a format error at best, where the asker awaits an empty answer.
#
# Seen:
#
#     record of type A: read
#     record of type 65000: read
#     question for type A: read
#     question for type 65000: InvalidQType(65000)
#
# The script fails when that changes. It needs cargo.
set -euo pipefail

readonly VERSION=0.13.0
readonly LIMIT_SECONDS=300

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
mkdir "$work/src"
cat >"$work/Cargo.toml" <<TOML
[package]
name = "ask"
version = "0.0.0"
edition = "2021"

[dependencies]
simple-dns = "=$VERSION"

[workspace]
TOML
cat >"$work/src/main.rs" <<'RUST'
use simple_dns::Packet;

/// Header: identifier, flags, and how many questions and answers there are.
fn header(questions: u8, answers: u8) -> Vec<u8> {
    vec![0, 7, 1, 0, 0, questions, 0, answers, 0, 0, 0, 0]
}

/// The name `host`, a type, and the class of the Internet.
fn named(kind: u16) -> Vec<u8> {
    let mut bytes = b"\x04host\x00".to_vec();
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}

fn tell(what: &str, message: &[u8]) {
    match Packet::parse(message) {
        Ok(_) => println!("{what}: read"),
        Err(error) => println!("{what}: {error:?}"),
    }
}

fn main() {
    for (name, kind) in [("A", 1), ("65000", 65_000)] {
        // Time to live, length, and four bytes.
        let record = [header(0, 1), named(kind), vec![0, 0, 0, 9, 0, 4, 10, 0, 0, 1]].concat();
        tell(&format!("record of type {name}"), &record);
    }
    for (name, kind) in [("A", 1), ("65000", 65_000)] {
        tell(&format!("question for type {name}"), &[header(1, 0), named(kind)].concat());
    }
}
RUST
cd "$work"
timeout "$LIMIT_SECONDS" cargo run --quiet --target-dir "$work/target" >"$work/seen"

cat "$work/seen"
diff - "$work/seen" <<'SEEN'
record of type A: read
record of type 65000: read
question for type A: read
question for type 65000: InvalidQType(65000)
SEEN
