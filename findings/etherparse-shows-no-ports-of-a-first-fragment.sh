#!/usr/bin/env bash
# etherparse shows the transport header of whole packets alone: that of a first fragment is passed over.
#
# Version: etherparse 0.21.0, `LaxSlicedPacket`. The first fragment of a datagram begins with its UDP header (RFC 791,
# section 3.2), which is why packet filters take ports from it, and tcpdump prints them. The lax reader is for packets that are
# not all there: of one that the capture has cut off after the UDP header it gives the ports. So one expects the same of a
# first fragment, in which the header is whole. It gives no transport header there; whoever counts datagrams by port
# with it misses all those that are longer than the path's MTU.
#
# Seen, of a datagram from port 7 to port 9:
#
#     whole: UDP 7 -> 9
#     cut off by the capture: UDP 7 -> 9
#     first fragment: no transport header, 100 bytes of UDP behind the IP header
#     later fragment: no transport header, 100 bytes of UDP behind the IP header
#
# The script fails when that changes. It needs cargo.
set -euo pipefail

readonly VERSION=0.21.0
readonly LIMIT_SECONDS=300

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
mkdir "$work/src"
cat >"$work/Cargo.toml" <<TOML
[package]
name = "ports"
version = "0.0.0"
edition = "2021"

[dependencies]
etherparse = "=$VERSION"

[workspace]
TOML
cat >"$work/src/main.rs" <<'RUST'
use etherparse::{IpFragOffset, IpNumber, Ipv4Header, LaxNetSlice, LaxSlicedPacket, TransportSlice, UdpHeader};

/// Behind the IP header: the UDP header and what follows it.
const BYTES: usize = 100;

fn packet(more: bool, offset: u16) -> Vec<u8> {
    let mut ip = Ipv4Header::new(BYTES as u16, 64, IpNumber::UDP, [10, 0, 0, 1], [10, 0, 0, 2]).unwrap();
    ip.more_fragments = more;
    ip.fragment_offset = IpFragOffset::try_new(offset).unwrap();
    let mut bytes = Vec::new();
    ip.write(&mut bytes).unwrap();
    let udp = UdpHeader { source_port: 7, destination_port: 9, length: 3000, checksum: 0 };
    bytes.extend(udp.to_bytes());
    bytes.resize(20 + BYTES, b'x');
    bytes
}

fn tell(what: &str, bytes: &[u8]) {
    let read = LaxSlicedPacket::from_ip(bytes).unwrap();
    match (read.transport, read.net) {
        (Some(TransportSlice::Udp(udp)), _) => {
            println!("{what}: UDP {} -> {}", udp.source_port(), udp.destination_port());
        }
        (_, Some(LaxNetSlice::Ipv4(ip))) => {
            let payload = ip.payload();
            assert_eq!(payload.ip_number, IpNumber::UDP);
            println!("{what}: no transport header, {} bytes of UDP behind the IP header", payload.payload.len());
        }
        _ => println!("{what}: nothing"),
    }
}

fn main() {
    let whole = packet(false, 0);
    tell("whole", &whole);
    tell("cut off by the capture", &whole[..40]);
    tell("first fragment", &packet(true, 0));
    tell("later fragment", &packet(true, 100));
}
RUST
cd "$work"
timeout "$LIMIT_SECONDS" cargo run --quiet --target-dir "$work/target" >"$work/seen"

cat "$work/seen"
diff - "$work/seen" <<'SEEN'
whole: UDP 7 -> 9
cut off by the capture: UDP 7 -> 9
first fragment: no transport header, 100 bytes of UDP behind the IP header
later fragment: no transport header, 100 bytes of UDP behind the IP header
SEEN
