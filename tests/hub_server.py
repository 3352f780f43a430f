"""A Hub for tests, on this machine: answers its client as huggingface.co does, and notes what was asked.

Large files are redirected to another origin, as the Hub does to its content network. Xet is not spoken.
"""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from faceanim_cli.weights.catalogue import CatalogueEntry

REPOSITORY = Path(__file__).resolve().parents[1]
PATIENCE = 240  # seconds that a command may take: more than it ever does, on the busiest machine
COMMIT = "0123456789abcdef0123456789abcdef01234567"

# Runs the command line with a catalogue of the test's own: argv[1] is JSON, the rest are the arguments.
COMMAND = """
import json, sys
from faceanim_cli.weights import catalogue
entries = json.loads(sys.argv.pop(1))
for entry in entries:
    entry["sources"] = tuple(catalogue.HubSource(**source) for source in entry["sources"])
    for part in ("files", "mirrored"):
        entry[part] = tuple(catalogue.EntryFile(**file) for file in entry[part])
found = [catalogue.CatalogueEntry(**entry) for entry in entries]
if found:
    catalogue.CATALOGUE = {entry.name: entry for entry in found}
from faceanim_cli.app import main
main()
"""


@dataclass
class HubFile:
    """A file on the Hub and how it misbehaves."""

    body: bytes
    commit: str = COMMIT
    status: int = 200  # of HEAD and GET; anything else is an error
    failures: int | None = None  # answers with that status so often; None: for ever
    stated: bytes | None = None  # the content whose hash the Hub states, when it lies
    cut_after: int | None = None  # the first download breaks off after so many bytes


@dataclass(frozen=True)
class Request:
    """What the client asked."""

    method: str
    path: str
    range: str | None
    token: str | None
    body: bytes = b""


@dataclass
class Hub:
    """The state of the server: files by URL path below the endpoint, and requests in the order they came."""

    files: dict[str, HubFile] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    endpoint: str = ""
    content_network: str = ""
    down: bool = False  # answers 503 to everything

    def put(self, path: str, body: bytes, **how: object) -> HubFile:
        """Serve ``user/repo/resolve/REVISION/FILE`` (``spaces/...`` for a space)."""
        self.files[path] = HubFile(body, **how)
        return self.files[path]

    def asked(self, method: str, part: str = "") -> list[Request]:
        return [request for request in self.requests if request.method == method and part in request.path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._resolve()

    def do_GET(self) -> None:
        self._resolve()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._note(body)
        if self.headers.get("Authorization") == "Bearer read-only":
            self._answer(403, {"X-Error-Message": "You need write access"})
        elif self.path == "/api/repos/create":
            repo = json.loads(body)
            name = "/".join(filter(None, (repo.get("organization"), repo["name"])))
            self._json({"url": f"{self.hub.endpoint}/{name}"})
        elif "/preupload/" in self.path:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                for file in json.loads(body)["files"]
            ]
            self._json({"files": files})
        elif "/commit/" in self.path:
            self._json({"commitUrl": f"{self.hub.endpoint}/a/b/commit/{COMMIT}", "commitOid": COMMIT})
        else:
            self._json({})

    def _resolve(self) -> None:
        self._note()
        path = unquote(urlsplit(self.path).path).lstrip("/")
        on_content_network = path.startswith("content/")
        file = self.hub.files.get(path.removeprefix("content/"))
        if self.hub.down:
            self._answer(503)
        elif file is None:
            self._answer(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        elif file.status != 200 and file.failures != 0:
            file.failures = None if file.failures is None else file.failures - 1
            code = {"X-Error-Code": "EntryNotFound"} if file.status == 404 else {}
            self._answer(file.status, code)
        elif not on_content_network:
            sha256 = hashlib.sha256(file.body if file.stated is None else file.stated).hexdigest()
            headers = {
                "Location": f"{self.hub.content_network}/content/{path}",
                "X-Repo-Commit": file.commit,
                "ETag": '"of-the-pointer"',
                "X-Linked-Etag": f'"{sha256}"',
                "X-Linked-Size": str(len(file.body)),
                "Accept-Ranges": "bytes",
            }
            self._answer(302, headers)
        else:
            self._send(file)

    def _send(self, file: HubFile) -> None:
        start, size = 0, len(file.body)
        if wanted := self.headers.get("Range"):
            start = int(wanted.removeprefix("bytes=").split("-")[0])
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Content-Length", str(size - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        if file.cut_after is not None:
            self.wfile.write(file.body[start : file.cut_after])
            file.cut_after = None
            self.close_connection = True
        else:
            self.wfile.write(file.body[start:])

    def _note(self, body: bytes = b"") -> None:
        headers = self.headers
        asked = Request(
            self.command, unquote(self.path), headers.get("Range"), headers.get("Authorization"), body
        )
        self.hub.requests.append(asked)

    def _json(self, content: object) -> None:
        self._answer(200, {"Content-Type": "application/json"}, json.dumps(content).encode())

    def _answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def run_hub() -> Iterator[Hub]:
    """A Hub and its content network, on two ports of the loopback interface."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for _ in range(2)]
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True) for server in servers]
    hub.endpoint, hub.content_network = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()


@dataclass(frozen=True)
class Machine:
    """A person's machine: its home of the Hub's cache, and the command line in a process of its own.

    The client reads its environment variables when it is imported, so nothing less than a process tests them.
    """

    home: Path
    hub: Hub
    entries: Sequence[CatalogueEntry] = ()

    def start(self, *arguments: object, **variables: str) -> "subprocess.Popen[str]":
        """Begin a command; environment variables by name."""
        catalogue = json.dumps([dataclasses.asdict(entry) for entry in self.entries])
        path = os.environ.get("PYTHONPATH")
        foreign = ("HF_", "HTTP", "ALL_PROXY", "XDG_")  # proxies and caches of the machine that tests
        environment = {
            **{key: value for key, value in os.environ.items() if not key.upper().startswith(foreign)},
            "HF_ENDPOINT": self.hub.endpoint,
            "HF_HOME": str(self.home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, (str(REPOSITORY), str(REPOSITORY / "models"), path))),
            **variables,
        }
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND, catalogue, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def run(self, *arguments: object, **variables: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of ``faceanim ARGUMENTS``."""
        process = self.start(*arguments, **variables)
        out, err = process.communicate(timeout=PATIENCE)
        return process.returncode, out, err

    def cached(self) -> list[Path]:
        """What lies in the Hub's cache: blobs, and the names in snapshots."""
        folders = [
            folder for part in ("blobs", "snapshots") for folder in self.home.glob(f"hub/[ms]*/{part}")
        ]
        found = [path for folder in folders for path in folder.rglob("*")]
        return [path for path in found if path.is_symlink() or path.is_file()]

    def run_together(self, *commands: Sequence[object], **variables: str) -> list[tuple[int, str, str]]:
        """As :meth:`run`, several at the same time."""
        processes = [self.start(*command, **variables) for command in commands]
        answers = [process.communicate(timeout=PATIENCE) for process in processes]
        return [(process.returncode, *answer) for process, answer in zip(processes, answers, strict=True)]
