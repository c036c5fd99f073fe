#!/usr/bin/env bash
# close() on a connection with unread data sends a RST, unless both FINs have been exchanged before it.
#
# Version: Linux 6.18.44. A close() over data that the program has not read aborts the connection (RFC 2525, 2.17), and so
# a server that calls shutdown(SHUT_WR) and then close(), as Python's socketserver does for every request, resets a client
# that sent more than was read. But when the client's FIN comes between the two calls the connection has gone to TIME-WAIT
# and the socket no longer belongs to it: close() sends nothing, the unread bytes are thrown away in silence, and the
# client, whose bytes were all acknowledged, sees an end without a fault. Which it is depends on who is scheduled first.
#
# Seen on the wire, S the server and C the client, after `second` has come to the server, which never reads it:
#
#     shutdown, close               S:FIN C:ACK S:RST
#     shutdown, C's FIN, close      S:FIN C:ACK C:FIN S:ACK
#
# The script fails when that changes.
set -euo pipefail

readonly WITHIN_SECONDS=20

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

cat >"$work/seen.py" <<'PYTHON'
import select
import socket
import struct
import time

FLAGS = ((0x04, "RST"), (0x01, "FIN"), (0x02, "SYN"), (0x10, "ACK"))
TCP_INFO_STATES = {1: "ESTABLISHED", 4: "FIN-WAIT-1", 5: "FIN-WAIT-2", 7: "CLOSE"}


def state(of):
    return TCP_INFO_STATES.get(of.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0], "other")


def until(condition):
    """Waits for what the kernel does in a moment of its own, at most a few seconds."""
    for _ in range(5_000):
        if condition():
            return
        time.sleep(0.001)
    raise SystemExit("the kernel did not get there")


def ready(of):
    return select.select([of], [], [], 0)[0] != []


def exchange(client_closes):
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    wire.bind(("lo", 0x0800))
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    port = listener.getsockname()[1]
    client.sendall(b"first")
    assert server.recv(5) == b"first"
    client.sendall(b"second")
    until(lambda: ready(server))
    server.shutdown(socket.SHUT_WR)
    until(lambda: state(server) == "FIN-WAIT-2")
    if client_closes:
        assert client.recv(16) == b""
        client.shutdown(socket.SHUT_WR)
        until(lambda: state(server) == "CLOSE")
    server.close()
    wire.settimeout(0.5)
    told, fin_seen = [], False
    try:
        while True:
            packet, address = wire.recvfrom(65535)
            ip = (packet[0] & 15) * 4
            source, target = struct.unpack_from("!HH", packet, ip)
            # Loopback shows each packet twice: as it leaves and as it comes.
            if packet[9] != 6 or port not in (source, target) or address[2] == socket.PACKET_OUTGOING:
                continue
            flags = next(name for bit, name in FLAGS if packet[ip + 13] & bit)
            fin_seen = fin_seen or flags == "FIN"
            if fin_seen:
                told.append(("S:" if source == port else "C:") + flags)
    except TimeoutError:
        pass
    return " ".join(told)


print("shutdown, close               " + exchange(False))
print("shutdown, C's FIN, close      " + exchange(True))
PYTHON
timeout "$WITHIN_SECONDS" python3 "$work/seen.py" >"$work/seen"

cat "$work/seen"
diff - "$work/seen" <<'SEEN'
shutdown, close               S:FIN C:ACK S:RST
shutdown, C's FIN, close      S:FIN C:ACK C:FIN S:ACK
SEEN
