"""A web server on this machine that hands out files and misbehaves as it is told."""

from __future__ import annotations

import hashlib
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SO_LINGER, SOL_SOCKET

SLOW = 1.0  # seconds that a slow answer takes


class FaultyServer:
    """Files by name; `faults` are used up one per request, then everything goes well.

    Faults: ``truncate`` (ends early), ``reset`` (the connection is cut in the middle), ``slow``
    (half, and then nothing for a while), ``wrong`` (other bytes), ``page`` (a web page), or a
    status such as ``"404"``.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: list[str] = []
        self.ranges: list[str] = []  # what was asked for, one entry per request
        self.marks = True  # whether versions are marked, so that a download can go on
        self.url = ""


@contextmanager
def serving() -> Iterator[FaultyServer]:
    """Run the server in a thread."""
    faulty = FaultyServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, faulty)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # whoever hangs up in the middle is what is tested

    server = Server(("127.0.0.1", 0), Handler)
    faulty.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield faulty
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answer(handler: BaseHTTPRequestHandler, faulty: FaultyServer) -> None:
    """Answer one request, with the next fault."""
    faulty.ranges.append(handler.headers.get("Range", ""))
    fault = faulty.faults.pop(0) if faulty.faults else ""
    content = faulty.files.get(handler.path.strip("/"))
    if fault.isdigit() or content is None:
        handler.send_error(int(fault or 404))
    elif fault == "page":
        send(handler, b"<html>Please log in</html>", 200, {"Content-Type": "text/html"})
    else:
        hand_out(handler, faulty, content, fault)


def hand_out(
    handler: BaseHTTPRequestHandler, faulty: FaultyServer, content: bytes, fault: str
) -> None:
    """Send a file or the rest of it."""
    headers = {"Content-Type": "application/octet-stream"}
    mark = f'"{hashlib.sha256(content).hexdigest()[:8]}"'
    if faulty.marks:
        headers["ETag"] = mark
    start, status = 0, 200
    wanted = handler.headers.get("Range")
    if wanted and handler.headers.get("If-Range") == mark:
        start, status = int(wanted.removeprefix("bytes=").rstrip("-")), 206
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
    body = content[start:]
    if fault == "wrong":
        body = bytes(255 - byte for byte in body)
    whole = len(body)
    if fault in {"truncate", "reset", "slow"}:
        body = body[: whole // 2]
    send(handler, body, status, headers, whole)
    if fault == "slow":
        time.sleep(SLOW)
    if fault == "reset":
        time.sleep(0.1)  # what was sent must have arrived
        # Without lingering, closing sends a reset.
        handler.connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()


def send(
    handler: BaseHTTPRequestHandler,
    body: bytes,
    status: int,
    headers: dict[str, str],
    length: int | None = None,
) -> None:
    """Send an answer that claims to have `length` bytes."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)
    handler.wfile.flush()
