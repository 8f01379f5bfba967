"""Python processes that start at once, forked from one that has done the slow imports.

`Popen` and `run` have the interface of subprocess, for commands that begin with sys.executable. Each process has its
own environment, folder, streams, session, signals and exit status; only the modules of ``preload`` are there already.
What a test says of imports, of the start of the interpreter or of its encodings needs a process of subprocess.
"""

from __future__ import annotations

import atexit
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

FORECASTING = ("kronos.cli.forecast", "kronos.inference", "pydantic_settings", "rich.rule", "rich.table")
TRAINING = (*FORECASTING, "kronos.cli.train", "kronos.evaluation", "kronos.training", "torch._dynamo")
EVALUATING = (*TRAINING, "arch.univariate", "kronos.evaluation.report", "kronos.training.report")
SERVING = (*FORECASTING, "kronos.cli.serve", "kronos.serve.server", "kronos.sandbox", "uvloop")
NUMBER = struct.Struct("i")


class Server:
    """The process that imports and forks; one for each test process, started when first needed."""

    current: Server | None = None

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="forks-")
        self.address = str(Path(self.folder.name, "socket"))
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("KRONOS_", "HF_"))}
        command = [sys.executable, __file__, self.address]
        root = Path(__file__).resolve().parents[1]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=root
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"
        atexit.register(self.close)

    @classmethod
    def get(cls) -> Server:
        if cls.current is None:
            cls.current = cls()
        return cls.current

    def close(self) -> None:
        """Ends the process, which waits for the end of its input; its children live on, as those of a shell do."""
        self.process.communicate()
        self.folder.cleanup()


class Popen(subprocess.Popen):
    """A process forked by the server; only those arguments of subprocess.Popen that its method below uses."""

    def __init__(self, args: Sequence[Any], *, preload: Sequence[str] = FORECASTING, **options: Any) -> None:
        self.preload = preload
        super().__init__([str(arg) for arg in args], **options)

    if sys.platform == "linux":  # elsewhere, a new process as usual

        def _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *others):
            *_, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, _, _, _, _, _, new_session, _ = others
            assert args[0] == sys.executable
            assert preexec_fn is None
            request = {
                "arguments": args[1:],
                "environment": dict(os.environ if env is None else env),
                "folder": str(cwd or Path.cwd()),
                "session": new_session,
                "preload": list(self.preload),
            }
            message = json.dumps(request).encode()
            self._link = socket.socket(socket.AF_UNIX)
            self._link.connect(Server.get().address)
            streams = [own if fd == -1 else fd for own, fd in enumerate((p2cread, c2pwrite, errwrite))]
            socket.send_fds(self._link, [NUMBER.pack(len(message))], streams)
            self._link.sendall(message)
            self.pid = NUMBER.unpack(_receive(self._link, NUMBER.size))[0]
            self._child_created = True
            self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)

        def _internal_poll(self, *_: Any, **__: Any) -> int | None:
            if self.returncode is None and select.select([self._link], [], [], 0)[0]:
                self._end()
            return self.returncode

        def _wait(self, timeout: float | None) -> int:
            if self.returncode is None:
                if not select.select([self._link], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(self.args, timeout)
                self._end()
            return self.returncode

        def _end(self) -> None:
            self.returncode = NUMBER.unpack(_receive(self._link, NUMBER.size))[0]
            self._link.close()


def run(
    args: Sequence[Any],
    *,
    capture_output: bool = False,
    check: bool = False,
    timeout: float | None = None,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """Run a command to its end, as subprocess.run does."""
    if capture_output:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Popen(args, **options) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


def _receive(link: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = link.recv(size - len(data))
        if not part:
            raise ConnectionError("the process that forks has ended")
        data += part
    return data


# --- in the process that forks ---------------------------------------------------------------------------------------


def _serve(address: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wake, woken = os.pipe()
    for end in (wake, woken):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    links: dict[int, socket.socket] = {}
    while True:
        ready = select.select([listener, wake, 0], [], [])[0]
        if 0 in ready and not os.read(0, 1):
            return
        if wake in ready:
            os.read(wake, 4096)
            for pid in list(links):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    with links.pop(pid) as link, suppress(OSError):
                        link.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))
        if listener in ready:
            link = listener.accept()[0]
            size, streams, _, _ = socket.recv_fds(link, NUMBER.size, 3)
            request = json.loads(_receive(link, NUMBER.unpack(size)[0]))
            for name in request["preload"]:
                importlib.import_module(name)
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                for one in (listener, link, *links.values()):
                    one.close()
                os.close(wake)
                os.close(woken)
                _become(request, streams)
            for fd in streams:
                os.close(fd)
            links[pid] = link
            link.sendall(NUMBER.pack(pid))


def _become(request: dict[str, Any], streams: Sequence[int]) -> None:
    """Run the request in this forked process as a new interpreter would, and exit."""
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if request["session"]:
            os.setsid()
        for own, fd in enumerate(streams):
            os.dup2(fd, own)
            os.close(fd)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.stdin = sys.__stdin__ = _text(0, "rb")
        sys.stdout = sys.__stdout__ = _text(1, "wb", line_buffering=os.isatty(1))
        sys.stderr = sys.__stderr__ = _text(2, "wb", line_buffering=True, errors="backslashreplace")
        status = _run(request["arguments"])
    finally:
        with suppress(Exception):
            sys.stderr.flush()
        os._exit(status)


def _text(fd: int, mode: str, **options: Any) -> io.TextIOWrapper:
    encoding = os.environ.get("PYTHONIOENCODING", "utf-8")
    return io.TextIOWrapper(open(fd, mode, closefd=False), encoding=encoding, **options)


def _run(arguments: list[str]) -> int:
    """Run ``-m module``, ``-c code`` or a script, and all that is registered for the exit; return the status."""
    first, *rest = arguments
    search = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    try:
        if first == "-m":
            name, *rest = rest
            sys.argv = [name, *rest]
            sys.path[:1] = [str(Path.cwd()), *search]
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        elif first == "-c":
            code, *rest = rest
            sys.argv = ["-c", *rest]
            sys.path[:1] = ["", *search]
            main = sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(code, "<string>", "exec"), main.__dict__)
        else:
            sys.argv = [first, *rest]
            sys.path[:1] = [str(Path(first).resolve().parent), *search]
            runpy.run_path(first, run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(end.code + "\n")
    except KeyboardInterrupt:
        sys.excepthook(*sys.exc_info())
        status = -signal.SIGINT
    except BaseException:  # noqa: BLE001 the interpreter catches all
        sys.excepthook(*sys.exc_info())
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError):  # closed
            stream.flush()
    if status == -signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    return status


if __name__ == "__main__":
    _serve(sys.argv[1])
