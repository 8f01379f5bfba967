"""A small checkpoint, and a local server with the wire format of the hub."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from forks import Popen

# What the hub's client imports, but not the client itself.
PRELOAD = (
    "kronos.zoo",
    "asyncio",
    "concurrent.futures",
    "filelock",
    "httpx2",
    "numpy",
    "safetensors",
    "tqdm.auto",
    "yaml",
)
MODEL_CONFIG = {
    **{"s1_bits": 4, "s2_bits": 4, "n_layers": 1, "d_model": 16, "n_heads": 2, "ff_dim": 32},
    **{"ffn_dropout_p": 0.0, "attn_dropout_p": 0.0, "resid_dropout_p": 0.0, "token_dropout_p": 0.0},
    "learn_te": True,
}
TOKENIZER_CONFIG = {
    **{"d_in": 6, "d_model": 16, "n_heads": 2, "ff_dim": 32, "n_enc_layers": 2, "n_dec_layers": 2},
    **{"ffn_dropout_p": 0.0, "attn_dropout_p": 0.0, "resid_dropout_p": 0.0, "s1_bits": 4, "s2_bits": 4},
    **{"beta": 0.05, "gamma0": 1.0, "gamma": 1.1, "zeta": 0.05, "group_size": 4},
}


def write_checkpoint(folder: Path, kind: str) -> Path:
    """Write a checkpoint with the tensors that the zoo examines."""
    folder.mkdir(parents=True)
    config = MODEL_CONFIG if kind == "model" else TOKENIZER_CONFIG
    (folder / "config.json").write_text(json.dumps(config))
    name, shape = ("embedding.emb_s1.weight", (16, 16)) if kind == "model" else ("embed.weight", (16, 6))
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    save_file({name: values, "padding": np.zeros(50_000, np.float32)}, folder / "model.safetensors")
    return folder


@pytest.fixture
def forecasting_folder(tmp_path: Path) -> Path:
    """A folder with the parts model/ and tokenizer/."""
    for kind in ("model", "tokenizer"):
        write_checkpoint(tmp_path / "checkpoint" / kind, kind)
    return tmp_path / "checkpoint"


@pytest.fixture
def model_folder(forecasting_folder: Path) -> Path:
    return forecasting_folder / "model"


@dataclass
class Repo:
    """A repository of the local hub, with faults to simulate."""

    files: dict[str, bytes]
    commit: str = "a" * 40
    gated: bool = False
    private: bool = False
    cut_at: int | None = None  # close the connection after this many bytes
    stall_at: int | None = None  # stop sending after this many bytes, with the connection open


@dataclass
class Hub:
    """The local hub: its repositories and the requests it has received."""

    repos: dict[str, Repo] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    url: str = ""
    stalled: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)

    def offer(self, repo: str, folder: Path, **how: Any) -> Repo:
        """Serve a folder's files as a repository."""
        files = {
            str(path.relative_to(folder).as_posix()): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }
        self.repos[repo] = Repo(files, **how)
        return self.repos[repo]

    def downloads(self) -> list[str]:
        return [request for request in self.requests if request.startswith("GET") and "/resolve/" in request]


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            """Log nothing."""

        def do_HEAD(self) -> None:
            self.respond()

        def do_GET(self) -> None:
            self.respond()

        def respond(self) -> None:
            path = self.path.split("?")[0]
            hub.requests.append(f"{self.command} {path}")
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path):
                self.describe(found[1], found[2], found[3])
            elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                self.resolve(found[1], found[2], found[3])
            else:
                self.send_error_code(404, "")

        def send_error_code(self, status: int, code: str) -> None:
            body = json.dumps({"error": code}).encode()
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
                self.send_header("X-Error-Message", code)
            self.finish_with(body)

        def finish_with(self, body: bytes, status: int | None = None) -> None:
            if status is not None:
                self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def repo(self, name: str, revision: str | None) -> Repo | None:
            repo = hub.repos.get(name)
            if repo is None or repo.private:
                self.send_error_code(401, "RepoNotFound")
                return None
            if revision not in (None, "main", repo.commit):
                self.send_error_code(404, "RevisionNotFound")
                return None
            return repo

        def describe(self, name: str, what: str | None, revision: str | None) -> None:
            repo = self.repo(name, revision)
            if repo is None:
                return
            if what == "tree":
                body: Any = [
                    {"type": "file", "path": file, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for file, data in repo.files.items()
                ]
            else:
                siblings = [{"rfilename": file} for file in repo.files]
                body = {"id": name, "modelId": name, "sha": repo.commit, "siblings": siblings, "tags": []}
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.finish_with(json.dumps(body).encode())

        def resolve(self, name: str, revision: str, file: str) -> None:
            repo = self.repo(name, revision)
            if repo is None:
                return
            if repo.gated:
                self.send_error_code(403, "GatedRepo")
            elif file not in repo.files:
                self.send_error_code(404, "EntryNotFound")
            else:
                self.send_file(repo, repo.files[file])

        def send_file(self, repo: Repo, data: bytes) -> None:
            start = 0
            if found := re.fullmatch(r"bytes=(\d+)-\d*", self.headers.get("Range", "")):
                start = int(found[1])
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", repo.commit)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            if self.command == "HEAD":
                return
            stop = min(limit for limit in (repo.cut_at, repo.stall_at, len(data)) if limit is not None)
            self.wfile.write(data[start : max(stop, start)])
            self.wfile.flush()
            if stop < len(data):
                if repo.stall_at is not None:
                    hub.stalled.set()
                    hub.closing.wait(60)
                self.close_connection = True

    return Handler


@pytest.fixture
def hub() -> Iterator[Hub]:
    """An empty local hub."""
    served = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(served))
    server.daemon_threads = True
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield served
    served.closing.set()
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass(frozen=True)
class Client:
    """Runs Python in processes of their own, since the hub's client reads its environment at import."""

    url: str
    home: Path

    def environment(self, **extra: str) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HF_", "KRONOS_")) and "proxy" not in name.lower()
        }
        ours = {"HF_ENDPOINT": self.url, "HF_HOME": str(self.home), "HF_HUB_DISABLE_XET": "1"}
        return {**inherited, **ours, **extra}

    def start(self, code: str, **extra: str) -> Popen:
        program = (
            "import sys\nassert 'huggingface_hub' not in sys.modules, 'it has read another environment'\n"
            "from kronos.errors import CheckpointError\nfrom kronos.zoo import *\n" + textwrap.dedent(code)
        )
        return Popen(
            [sys.executable, "-c", program],
            preload=PRELOAD,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment(**extra),
        )

    def run(self, code: str, **extra: str) -> str:
        """Run a program and return its output; fail on a traceback."""
        process = self.start(code, **extra)
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        return output.strip()

    def error_of(self, call: str, **extra: str) -> str:
        """Run a call that must raise a CheckpointError and return its message."""
        return self.run(
            f"""
            try:
                {call}
            except CheckpointError as error:
                print(error)
            else:
                raise SystemExit("no error was raised")
            """,
            **extra,
        )


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Client:
    """A client of the local hub with an empty cache."""
    return Client(hub.url, tmp_path / "hf")


@pytest.fixture
def checkpoint_writer() -> Callable[[Path, str], Path]:
    return write_checkpoint
