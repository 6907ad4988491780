"""A stand-in for the model hub on this machine: the few answers of its protocol that a download and an upload need."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "a" * 40


class Hub:
    """Models by id with their files. ``gated`` ids refuse their files; without ``go_on`` half of a large file is held back."""

    def __init__(self) -> None:
        self.models: dict[str, dict[str, bytes]] = {}
        self.gated: set[str] = set()
        self.go_on = threading.Event()
        self.go_on.set()
        self.ranges: list[str] = []
        self.paths: list[str] = []
        self.url = ""
        self.token = ""
        self.private: dict[str, bool] = {}
        self.blobs: dict[str, bytes] = {}


class Handler(BaseHTTPRequestHandler):
    """Answers for the hub of its server."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        """Headers alone."""
        self._answer(body=False)

    def do_GET(self) -> None:
        """Headers and body."""
        self._answer(body=True)

    def do_POST(self) -> None:
        """What an upload asks for: a repository, how each file is to come, and the commit."""
        asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.split("?")[0].strip("/")
        if self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self._send(401, {}, b"{}", body=True)
        elif path == "api/repos/create":
            told = json.loads(asked)
            name = f"{told['organization']}/{told['name']}"
            self.hub.models.setdefault(name, {})
            self.hub.private.setdefault(name, told["visibility"] == "private")
            self._json({"url": f"{self.hub.url}/{name}"})
        elif path == "api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif path.endswith("/preupload/main"):
            files = [
                {"path": f["path"], "uploadMode": _mode(f["path"]), "shouldIgnore": False}
                for f in json.loads(asked)["files"]
            ]
            self._json({"files": files})
        elif path.endswith(".git/info/lfs/objects/batch"):
            objects = json.loads(asked)["objects"]
            hrefs = [{"upload": {"href": f"{self.hub.url}/blobs/{one['oid']}"}} for one in objects]
            self._json({"objects": [{**one, "actions": href} for one, href in zip(objects, hrefs, strict=True)]})
        else:
            self._commit("/".join(path.split("/")[2:4]), [json.loads(line) for line in asked.splitlines()])

    def do_PUT(self) -> None:
        """A large file, by its hash."""
        self.hub.blobs[self.path.rpartition("/")[2]] = self.rfile.read(int(self.headers["Content-Length"]))
        self._send(200, {}, b"", body=True)

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            told = line["value"]
            if line["key"] == "file":
                self.hub.models[name][told["path"]] = base64.b64decode(told["content"])
            elif line["key"] == "lfsFile":
                self.hub.models[name][told["path"]] = self.hub.blobs[told["oid"]]
        self._json({"commitUrl": f"{self.hub.url}/{name}/commit/{COMMIT}", "commitOid": COMMIT, "success": True})

    def _json(self, told: dict[str, Any]) -> None:
        self._send(200, {"Content-Type": "application/json"}, json.dumps(told).encode(), body=True)

    def _answer(self, *, body: bool) -> None:
        self.hub.paths.append(self.path)
        parts = self.path.split("?")[0].strip("/").split("/")
        name = "/".join(parts[2:4] if parts[0] == "api" else parts[:2])
        files = self.hub.models.get(name)
        if files is None:
            self._send(404, {"X-Error-Code": "RepoNotFound"}, b"{}", body)
        elif parts[0] == "api":
            told = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": file} for file in files]}
            self._send(200, {"Content-Type": "application/json"}, json.dumps(told).encode(), body)
        elif name in self.hub.gated:
            self._send(403, {"X-Error-Code": "GatedRepo"}, b"{}", body)
        else:
            self._file(files["/".join(parts[4:])], body)

    def _file(self, data: bytes, body: bool) -> None:
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        asked = self.headers.get("Range", "")
        if not (asked and body):
            self._send(200, headers, data, body)
            return
        self.hub.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").split("-")[0])
        headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._send(206, headers, data[start:], body)

    def _send(self, code: int, headers: dict[str, str], data: bytes, body: bool) -> None:
        self.send_response(code)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if not body:
            return
        half = len(data) // 2
        self.wfile.write(data[:half])
        self.wfile.flush()
        if half > 1 << 20:
            self.hub.go_on.wait(60)
        self.wfile.write(data[half:])

    def handle_one_request(self) -> None:
        """A client that was killed is no error of the server."""
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True


def _mode(path: str) -> str:
    return "lfs" if path.endswith((".safetensors", ".bin")) else "regular"


@contextmanager
def running_hub() -> Iterator[Hub]:
    """The stand-in at ``url``."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        hub.go_on.set()
        server.shutdown()
        server.server_close()
