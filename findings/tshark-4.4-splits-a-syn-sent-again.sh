#!/usr/bin/env bash
# Wireshark 4.4 takes a SYN that is sent again for a new stream where its sender has sent a RST in between.
#
# Version: tshark 4.4.19-0+deb13u1 (Debian 13); 4.0.17 keeps one stream. A SYN that reaches a TIME-WAIT connection, or a
# peer whose other end has restarted, is answered by an ACK with the old connection's numbers; the RST that answers that
# ends the old connection and leaves its sender in SYN-SENT, which sends the same SYN again (RFC 9293, figure 9). All of
# it is one attempt, with one sequence number, and one expects one stream. 4.4 gives the attempt's beginning a stream of
# its own and the rest another: who follows the stream of the first SYN misses the connection.
#
# Seen, as the stream of each packet:
#
#     SYN, SYN again, SYN-ACK, ACK:                 0 0 0 0
#     SYN, old ACK, RST, SYN again, SYN-ACK, ACK:   0 0 0 1 1 1
#
# The script fails when that changes. It needs mmdebstrap and root, for a Debian in a temporary folder.
set -euo pipefail

readonly VERSION=4.4.19-0+deb13u1
readonly LIMIT_SECONDS=300

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
timeout "$LIMIT_SECONDS" mmdebstrap --quiet --variant=apt --include="tshark=$VERSION" trixie "$work/debian" >"$work/log" 2>&1 || {
    tail -n 20 "$work/log" >&2
    exit 1
}

cat >"$work/captures.py" <<'PYTHON'
import struct
import sys

RAW_IP = 101
CLIENT, SERVER = (bytes([192, 0, 2, 1]), 40000), (bytes([192, 0, 2, 2]), 80)
SYN, RST, ACK = 2, 4, 16


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF


def packet(source, target, seq, ack, flags):
    fields = [source[1], target[1], seq, ack, 5 << 4, flags, 60000, 0, 0]
    pseudo = source[0] + target[0] + struct.pack("!BBH", 0, 6, 20)
    fields[7] = checksum(pseudo + struct.pack("!HHIIBBHHH", *fields))
    ip = [0x45, 0, 40, 1, 0x4000, 64, 6, 0, source[0], target[0]]
    ip[7] = checksum(struct.pack("!BBHHHBBH4s4s", *ip))
    return struct.pack("!BBHHHBBH4s4s", *ip) + struct.pack("!HHIIBBHHH", *fields)


def capture(file, packets):
    with open(file, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, RAW_IP))
        for number, data in enumerate(packets):
            out.write(struct.pack("<IIII", 1_700_000_000, 10_000 * number, len(data), len(data)) + data)


syn = packet(CLIENT, SERVER, 1000, 0, SYN)
old = [packet(SERVER, CLIENT, 777_000, 555_000, ACK), packet(CLIENT, SERVER, 555_000, 0, RST)]
rest = [packet(SERVER, CLIENT, 9000, 1001, SYN | ACK), packet(CLIENT, SERVER, 1001, 9001, ACK)]
capture(sys.argv[1] + "/plain.pcap", [syn, syn, *rest])
capture(sys.argv[1] + "/answered.pcap", [syn, *old, syn, *rest])
PYTHON
mkdir "$work/debian/captures"
python3 "$work/captures.py" "$work/debian/captures"

streams() {
    chroot "$work/debian" tshark -r "/captures/$1.pcap" -T fields -e tcp.stream 2>/dev/null | paste -s -d ' '
}
{
    printf 'SYN, SYN again, SYN-ACK, ACK:                 %s\n' "$(streams plain)"
    printf 'SYN, old ACK, RST, SYN again, SYN-ACK, ACK:   %s\n' "$(streams answered)"
} >"$work/seen"

cat "$work/seen"
diff - "$work/seen" <<'SEEN'
SYN, SYN again, SYN-ACK, ACK:                 0 0 0 0
SYN, old ACK, RST, SYN again, SYN-ACK, ACK:   0 0 0 1 1 1
SEEN
