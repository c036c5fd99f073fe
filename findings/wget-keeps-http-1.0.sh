#!/usr/bin/env bash
# GNU Wget takes every connection for one that is kept, also where the answer is HTTP/1.0 and says nothing about it.
#
# Version: wget 1.21.3-1+deb12u1 (Debian 12). Since an HTTP/1.0 server that does not say `Connection: keep-alive` will close
# (RFC 9112, 9.3), one expects a second connection for the second request. Wget asks on the first one as long as it has not
# seen the server's FIN, and on a second one only when that request has failed. So how many requests such a server's
# connection carries is a race between its FIN and Wget, which a fast loopback hides.
#
# Seen: a server that answers each connection's first request with a 301 in HTTP/1.0, and closes half a second later, gets
#
#     connection 1: GET /first
#     connection 1: GET /second
#     connection 2: GET /second
#
# and Wget ends with code 0. The script fails when that changes.
set -euo pipefail

readonly VERSION=1.21.3-1+deb12u1
readonly WITHIN_SECONDS=20

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
cd "$work"
apt-get download -qq -o APT::Sandbox::User="$(id -un)" "wget=$VERSION" >/dev/null
dpkg-deb -x wget_*.deb wget

cat >server.py <<'PYTHON'
import socket
import sys
import threading

HEADS = {
    b"/first": b"HTTP/1.0 301 Moved Permanently\r\nLocation: /second\r\nContent-Length: 0\r\n\r\n",
    b"/second": b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok\n",
}
done = threading.Event()


def serve(number, peer):
    peer.settimeout(10)
    request = peer.recv(4096)
    path = request.split(b" ")[1]
    print(f"connection {number}: GET {path.decode()}", flush=True)
    peer.sendall(HEADS[path])
    # What comes before the connection is closed is read, to be told, and not answered.
    peer.settimeout(0.5)
    try:
        more = peer.recv(4096)
        if more:
            print(f"connection {number}: GET {more.split(b' ')[1].decode()}", flush=True)
    except TimeoutError:
        pass
    peer.close()
    if path == b"/second":
        done.set()


listener = socket.create_server(("127.0.0.1", 0))
listener.settimeout(10)
print(listener.getsockname()[1], file=sys.stderr, flush=True)
for number in (1, 2):
    peer, _ = listener.accept()
    threading.Thread(target=serve, args=(number, peer)).start()
done.wait(10)
PYTHON
mkfifo port
timeout "$WITHIN_SECONDS" python3 server.py >seen 2>port &
server=$!
read -r number <port
code=0
timeout "$WITHIN_SECONDS" wget/usr/bin/wget -q -O answer --tries=2 "http://127.0.0.1:$number/first" || code=$?
wait "$server"

cat seen
diff - seen <<'SEEN'
connection 1: GET /first
connection 1: GET /second
connection 2: GET /second
SEEN
[[ $code == 0 && $(cat answer) == ok ]]
