#!/usr/bin/env bash
# The kernel's TCP table shows neither that a Multipath TCP connection is half closed nor what its program has not read.
#
# Version: Linux 6.18.44. /proc/net/tcp, and `ss -t` that reads the same, list the subflows of Multipath TCP (RFC 8684) as TCP
# sockets. As a program whose client has called shutdown(SHUT_WR) is in CLOSE-WAIT, and what it has not read stands in
# its receive queue, one expects to see both there. But a half close is a DATA_FIN, for which no subflow changes its state,
# and payload is moved to the queue of the connection as soon as it comes: both ends are ESTABLISHED with empty queues.
# Who watches for CLOSE-WAIT leaks or for programs that do not read sees nothing of either.
#
# Seen, as state and receive queue of client and server:
#
#     TCP, 7 bytes not read:    client ESTABLISHED 0, server ESTABLISHED 7
#     TCP, half closed:         client FIN-WAIT-2 0, server CLOSE-WAIT 0
#     MPTCP, 7 bytes not read:  client ESTABLISHED 0, server ESTABLISHED 0
#     MPTCP, half closed:       client ESTABLISHED 0, server ESTABLISHED 0
#
# The script fails when that changes. It needs root, for a network namespace of its own.
set -euo pipefail

readonly WITHIN_SECONDS=30

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

cat >"$work/table.py" <<'PYTHON'
import select
import socket
import time

STATES = {1: "ESTABLISHED", 4: "FIN-WAIT-1", 5: "FIN-WAIT-2", 8: "CLOSE-WAIT"}
LISTEN = 10
PROTOCOLS = (("TCP", 0), ("MPTCP", 262))
# Far longer than anything here takes on its way over loopback.
SETTLED_SECONDS = 0.5


def table(port):
    rows = []
    with open("/proc/net/tcp") as lines:
        for line in list(lines)[1:]:
            local, remote, state, queues = line.split()[1:5]
            ports = [int(end.split(":")[1], 16) for end in (local, remote)]
            if port in ports and int(state, 16) != LISTEN:
                who = "server" if ports[0] == port else "client"
                unread = int(queues.split(":")[1], 16)
                rows.append(f"{who} {STATES.get(int(state, 16), state)} {unread}")
    return ", ".join(sorted(rows))


def readable(of):
    assert select.select([of], [], [], 5)[0]


for name, protocol in PROTOCOLS:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    port = listener.getsockname()[1]
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
    client.connect(("127.0.0.1", port))
    server, _ = listener.accept()
    client.sendall(b"hello")
    assert server.recv(5) == b"hello"
    server.sendall(b"hello")
    assert client.recv(5) == b"hello"
    client.sendall(b"nothing")
    readable(server)
    time.sleep(SETTLED_SECONDS)
    print(f"{name + ', 7 bytes not read:':<25} {table(port)}")
    assert server.recv(7) == b"nothing"
    client.shutdown(socket.SHUT_WR)
    readable(server)
    assert server.recv(1) == b""
    time.sleep(SETTLED_SECONDS)
    print(f"{name + ', half closed:':<25} {table(port)}")
PYTHON
timeout "$WITHIN_SECONDS" unshare --net sh -c '
    ip link set lo up
    sysctl -qw net.mptcp.enabled=1
    exec python3 "$0"' "$work/table.py" >"$work/seen"

cat "$work/seen"
diff - "$work/seen" <<'SEEN'
TCP, 7 bytes not read:    client ESTABLISHED 0, server ESTABLISHED 7
TCP, half closed:         client FIN-WAIT-2 0, server CLOSE-WAIT 0
MPTCP, 7 bytes not read:  client ESTABLISHED 0, server ESTABLISHED 0
MPTCP, half closed:       client ESTABLISHED 0, server ESTABLISHED 0
SEEN
