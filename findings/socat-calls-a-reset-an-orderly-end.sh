#!/usr/bin/env bash
# socat ends with code 0 and says nothing when its peer answers with a RST.
#
# Version: socat 1.7.4.4-2 (Debian 12). A read that fails with ECONNRESET is an error (RFC 9293, 3.10.7.4), and programs that
# carry bytes tell of it, as netcats do; so one expects a message and another code than after a FIN. socat takes the
# reset for the end of the stream: a script cannot tell an answer that was thrown away from one that was complete. That the
# connection was reset is in the log from level `info` on alone (`-d -d -d`).
#
# Seen, for a server that reads a line and closes, in order or by a RST:
#
#     FIN: code 0, 0 bytes of messages
#     RST: code 0, 0 bytes of messages
#
# The script fails when that changes.
set -euo pipefail

readonly PACKAGES=(socat=1.7.4.4-2 libwrap0=7.6.q-32)
readonly WITHIN_SECONDS=10

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
cd "$work"
apt-get download -qq -o APT::Sandbox::User="$(id -un)" "${PACKAGES[@]}" >/dev/null
for package in *.deb; do dpkg-deb -x "$package" root; done
LD_LIBRARY_PATH=$(dirname "$(find root -name libwrap.so.0)")
export LD_LIBRARY_PATH

cat >server.py <<'PYTHON'
import socket
import struct
import sys

listener = socket.create_server(("127.0.0.1", 0))
listener.settimeout(10)
print(listener.getsockname()[1], flush=True)
peer, _ = listener.accept()
peer.settimeout(10)
peer.recv(100)
if sys.argv[1] == "RST":
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
peer.close()
PYTHON

mkfifo port ends
for ending in FIN RST; do
    timeout "$WITHIN_SECONDS" python3 server.py "$ending" >port &
    server=$!
    read -r number <port
    code=0
    # What socat reads stays open, so that the server is the one who ends.
    timeout "$WITHIN_SECONDS" root/usr/bin/socat - "TCP:127.0.0.1:$number" <ends >answer 2>messages &
    client=$!
    exec 3>ends
    echo hello >&3
    wait "$client" || code=$?
    exec 3>&-
    wait "$server"
    echo "$ending: code $code, $(wc -c <messages) bytes of messages"
done | tee seen
diff - seen <<'SEEN'
FIN: code 0, 0 bytes of messages
RST: code 0, 0 bytes of messages
SEEN
