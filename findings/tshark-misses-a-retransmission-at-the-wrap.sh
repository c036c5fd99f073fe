#!/usr/bin/env bash
# Wireshark does not see a retransmission where the repeated segment ends at sequence number 2^32, which is 0.
#
# Version: tshark 4.0.17-0+deb12u3 (Debian 12). One segment of 100 bytes is sent, sent again 297 ms later, and acknowledged. As
# sequence numbers are taken modulo 2^32 (RFC 9293, 3.4), one expects the same analysis wherever the connection's initial
# number stands. But where the byte after the segment has the number 0, the repeat has no `tcp.analysis.retransmission`, nor
# any other flag: zero seems to stand for 'nothing was sent yet'. One number earlier or later it has.
#
# Seen, as the frames with `tcp.analysis.retransmission`:
#
#     the segment ends at 4294967295: frame 5
#     the segment ends at 0: none
#     the segment ends at 1: frame 5
#
# The script fails when that changes. It needs mmdebstrap and root, for a Debian in a temporary folder.
set -euo pipefail

readonly VERSION=4.0.17-0+deb12u3
readonly LIMIT_SECONDS=300

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
timeout "$LIMIT_SECONDS" mmdebstrap --quiet --variant=apt --include="tshark=$VERSION" bookworm "$work/debian" >"$work/log" 2>&1 || {
    tail -n 20 "$work/log" >&2
    exit 1
}

cat >"$work/captures.py" <<'PYTHON'
import struct
import sys


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF


def packet(back, seq, ack, flags, payload=b""):
    ends = [(bytes([192, 0, 2, 1]), 40000), (bytes([192, 0, 2, 2]), 80)]
    (source, sport), (target, dport) = ends[back], ends[not back]
    head = [sport, dport, seq % 2**32, ack % 2**32, 5 << 4, flags, 60000, 0, 0]
    pseudo = source + target + struct.pack("!BBH", 0, 6, 20 + len(payload))
    head[7] = checksum(pseudo + struct.pack("!HHIIBBHHH", *head) + payload)
    tcp = struct.pack("!HHIIBBHHH", *head) + payload
    ip = [0x45, 0, 20 + len(tcp), 1, 0x4000, 64, 6, 0, source, target]
    ip[7] = checksum(struct.pack("!BBHHHBBH4s4s", *ip))
    return struct.pack("!BBHHHBBH4s4s", *ip) + tcp


SYN, ACK, PSH = 2, 16, 8
RAW_IP = 101
end = int(sys.argv[1])
isn = end - 101
data = (False, isn + 1, 5001, PSH | ACK, bytes(100))
segments = [
    (0, (False, isn, 0, SYN)),
    (1, (True, 5000, isn + 1, SYN | ACK)),
    (2, (False, isn + 1, 5001, ACK)),
    (3, data),
    (300, data),
    (301, (True, 5001, isn + 101, ACK)),
]
out = sys.stdout.buffer
out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, RAW_IP))
for ms, segment in segments:
    raw = packet(*segment)
    out.write(struct.pack("<IIII", 1_700_000_000, ms * 1000, len(raw), len(raw)) + raw)
PYTHON

for end in 4294967295 4294967296 4294967297; do
    python3 "$work/captures.py" "$end" >"$work/debian/capture.pcap"
    frames=$(chroot "$work/debian" tshark -r /capture.pcap -Y tcp.analysis.retransmission -T fields -e frame.number 2>/dev/null)
    printf 'the segment ends at %s: %s\n' "$((end % 4294967296))" "${frames:+frame }${frames:-none}"
done | tee "$work/seen"

diff "$work/seen" - <<'SEEN'
the segment ends at 4294967295: frame 5
the segment ends at 0: none
the segment ends at 1: frame 5
SEEN
