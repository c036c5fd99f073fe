#!/usr/bin/env bash
# Listing the TCP connections of an empty network namespace takes the kernel a millisecond.
#
# Version: Linux 6.18.44. Network namespaces share one hash table of connections, whose size goes by the machine's memory
# (net.ipv4.tcp_ehash_entries: 262,144 buckets with 24 GB), and sock_diag(7) walks all of it for each dump and each family,
# though the namespace has no socket at all. Sockets that listen are in another table, which is not walked where they are
# the only ones asked for: their list takes a fiftieth of that. So a program that waits for a connection by asking every few
# milliseconds keeps a good part of a processor busy, and one that waits for a listener does not.
#
# Seen here, in a namespace made for it, the fastest of 50 dumps of AF_INET:
#
#     states asked for          time      sockets
#     LISTEN                    15 us     0
#     ESTABLISHED               1,000 us  0
#
# The script fails when connections take less than ten times as long as listeners. It needs root, for the namespace.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

cat >"$work/dump.py" <<'PYTHON'
import socket
import struct
import time

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST_DUMP = 0x301
NLMSG_DONE = 3
STATES = {"LISTEN": 1 << 10, "ESTABLISHED": 1 << 1}
TIMES = 50
LEAST_RATIO = 10


def dump(diag, states):
    """Asks for the TCP sockets of IPv4 in these states and counts them."""
    request = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, states) + bytes(48)
    header = struct.pack("=IHHII", 16 + len(request), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, 1, 0)
    diag.send(header + request)
    found = 0
    while True:
        answer = diag.recv(65536)
        at = 0
        while at < len(answer):
            length, kind = struct.unpack_from("=IH", answer, at)
            if kind == NLMSG_DONE:
                return found
            found += 1
            at += (length + 3) & ~3


def fastest(diag, states):
    times = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        found = dump(diag, states)
        times.append(time.perf_counter() - begun)
    return min(times) * 1e6, found


diag = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG)
diag.settimeout(5)
took = {name: fastest(diag, states) for name, states in STATES.items()}
for name, (microseconds, found) in took.items():
    print(f"{name:<12} {microseconds:8.0f} us, {found} sockets")
assert all(found == 0 for _, found in took.values()), "the namespace is not empty"
assert took["ESTABLISHED"][0] >= LEAST_RATIO * took["LISTEN"][0], "connections are listed as fast as listeners"
PYTHON

sysctl net.ipv4.tcp_ehash_entries
unshare --net python3 "$work/dump.py"
echo "as stated: an empty namespace's connections take as long as the machine's table is large"
