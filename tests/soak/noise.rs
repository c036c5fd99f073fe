//! Hostile names, messages and bytes, from a seed.

use std::fmt::Write as _;

use fastrand::Rng;

/// The seed of every soak: the same bytes each time.
const SEED: u64 = 0x0073_6f61_6b21;

/// What a terminal acts upon, and what stands in the way of those who read names.
const NASTY: [&str; 12] = [
    "\u{1b}[2J\u{1b}[H",
    "\u{1b}]0;owned\u{7}",
    "\u{9b}31m",
    "\u{202e}drowssap",
    "\u{2066}\u{2069}\u{200f}",
    "\u{feff}\u{200b}\u{2060}",
    "\r* the server shuts down: goodbye",
    "\0\0\0",
    "e\u{301}\u{301}\u{301}\u{301}",
    "\u{e0041}\u{e007f}",
    "%n%s{}${text}`id`",
    "<script>alert(1)</script>",
];

/// A long line, in bytes.
const LONG_LINE_BYTES: usize = 1024 * 1024;

/// Commands of telnet in one visit.
const TELNET_COMMANDS: usize = 20_000;

/// A generator of its own for each attacker.
pub(crate) fn rng(attacker: u64) -> Rng {
    Rng::with_seed(SEED ^ attacker.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Bytes that mean nothing.
pub(crate) fn bytes(rng: &mut Rng, max: usize) -> Vec<u8> {
    let count = rng.usize(1..=max);
    (0..count).map(|_| rng.u8(..)).collect()
}

/// A text that is up to no good, without a line end.
pub(crate) fn text(rng: &mut Rng) -> String {
    let parts = rng.usize(1..6);
    (0..parts)
        .map(|_| NASTY[rng.usize(..NASTY.len())])
        .collect()
}

/// Requests over HTTP that are up to no good, several at once.
pub(crate) fn requests(rng: &mut Rng) -> String {
    const PATHS: [&str; 6] = [
        "/",
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/index.html%00.png",
        "//////",
        "/.hidden",
    ];
    let mut requests = String::new();
    for _ in 0..rng.usize(1..6) {
        let method = ["GET", "HEAD", "POST", "CONNECT"][rng.usize(..4)];
        let path = PATHS[rng.usize(..PATHS.len())];
        let length = ["0", "-1", "18446744073709551616", "1000000"][rng.usize(..4)];
        let field = text(rng);
        write!(
            requests,
            "{method} {path} HTTP/1.1\r\nContent-Length: {length}\r\nX-Noise: {field}\r\n\r\n"
        )
        .unwrap();
    }
    requests
}

/// Commands of telnet: requests that want an answer each, and a subnegotiation without end.
pub(crate) fn telnet(rng: &mut Rng) -> Vec<u8> {
    const COMMANDS: [&[u8]; 7] = [
        b"\xff\xfd", // DO, and whatever option follows
        b"\xff\xfb", // WILL
        b"\xff\xf6", // AYT
        b"\xff\xf4", // IP
        b"\xff\xff", // a byte of text
        b"\xff\xf0", // the end of nothing
        b"ciao\r\0",
    ];
    let mut bytes: Vec<u8> = (0..TELNET_COMMANDS)
        .flat_map(|_| COMMANDS[rng.usize(..COMMANDS.len())])
        .copied()
        .collect();
    bytes.extend(b"\xff\xfa");
    bytes
}

/// A line of a mebibyte.
pub(crate) fn long_line(rng: &mut Rng) -> Vec<u8> {
    let fill = [b'x', 0x1b, 0xff, b' '][rng.usize(..4)];
    let mut line = vec![fill; LONG_LINE_BYTES];
    line.push(b'\n');
    line
}
