"""A chat client on Python's standard library alone: `chat.py HOST PORT`.

What is typed is sent as it comes, and what comes is printed. The end of the input is a FIN, after which the
talk goes on until the server's own. A server that closes first ends the program.
"""

import os
import selectors
import socket
import sys

KEYBOARD = 0
CONNECT_SECONDS = 10
READ_BYTES = 4096


def talk(server: socket.socket) -> None:
    """Carries bytes both ways until the server closes."""
    ready = selectors.DefaultSelector()
    ready.register(server, selectors.EVENT_READ)
    ready.register(KEYBOARD, selectors.EVENT_READ)
    while True:
        for key, _ in ready.select():
            if key.fileobj == KEYBOARD:
                if typed := os.read(KEYBOARD, READ_BYTES):
                    server.sendall(typed)
                else:
                    ready.unregister(KEYBOARD)
                    server.shutdown(socket.SHUT_WR)
            elif heard := server.recv(READ_BYTES):
                sys.stdout.buffer.write(heard)
                sys.stdout.buffer.flush()
            else:
                return


if __name__ == "__main__":
    host, port = sys.argv[1:]
    with socket.create_connection((host, int(port)), CONNECT_SECONDS) as connection:
        connection.settimeout(None)
        talk(connection)
