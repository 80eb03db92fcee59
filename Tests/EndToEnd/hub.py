"""A hub of models on loopback, as Hugging Face's answers: an API, small files by itself, large ones by a redirect to another host."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Serves `files` (name to bytes) as the model `name`. The attributes below break things."""

    def __init__(self, name, files, large=("model.safetensors", "pytorch_model.bin")):
        self.name, self.files, self.large = name, dict(files), large
        self.cut_after = []  # the storage cuts its next answers after so many bytes
        self.digests = {}  # announced instead of the right ones
        self.redirect_to = None  # where large files are said to be
        self.ignores_ranges = False
        self.listing = None  # bytes that are answered instead of the model's list of files
        self.statuses = []  # the hub's next answers about files
        self.asked = []  # (host, method, path, headers)
        self.lock = threading.Lock()
        self.servers = [ThreadingHTTPServer(("127.0.0.1", 0), self.handler(self.hub)), ThreadingHTTPServer(("127.0.0.1", 0), self.handler(self.storage))]
        for server in self.servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
        self.address, self.storage_address = (f"http://127.0.0.1:{server.server_port}" for server in self.servers)

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def requests(self, host, method="GET"):
        with self.lock:
            return [entry for entry in self.asked if entry[0] == host and entry[1] == method]

    def handler(self, answer):
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                with hub.lock:
                    hub.asked.append((answer.__name__, self.command, self.path, dict(self.headers)))
                answer(self)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        return Handler

    def hub(self, request):
        if request.path == f"/api/models/{self.name}/revision/main":
            listing = {"sha": COMMIT, "siblings": [{"rfilename": name} for name in [*self.files, "onnx/model.onnx", "../evil", "README.md"]]}
            return send(request, 200, json.dumps(listing).encode() if self.listing is None else self.listing)
        prefix = f"/{self.name}/resolve/{COMMIT}/"
        name = request.path.removeprefix(prefix)
        if not request.path.startswith(prefix) or name not in self.files:
            return send(request, 404, b"Not Found")
        if self.statuses:
            return send(request, self.statuses.pop(0), b"later")
        data = self.files[name]
        if name in self.large:
            digest = self.digests.get(name) or hashlib.sha256(data).hexdigest()
            headers = {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(data)), "Location": self.redirect_to or f"{self.storage_address}/{name}"}
            return send(request, 302, b"", headers | {"X-Repo-Commit": COMMIT, "ETag": '"something else"'})
        digest = self.digests.get(name) or hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        return send(request, 200, data, {"ETag": f'"{digest}"', "X-Repo-Commit": COMMIT})

    def storage(self, request):
        data = self.files[request.path[1:]]
        start = 0 if self.ignores_ranges else int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if start >= len(data):
            return send(request, 416, b"")
        headers = {"ETag": '"0123456789abcdef0123456789abcdef"'}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        cut = self.cut_after.pop(0) if self.cut_after and request.command == "GET" else None
        return send(request, 206 if start else 200, data[start:], headers, cut)


def send(request, status, body, headers={}, cut=None):
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body if cut is None else body[:cut])
    if cut is not None:
        request.wfile.flush()
        request.close_connection = True
        request.connection.close()
