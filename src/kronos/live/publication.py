"""Publishing: the output folder as commits of a git branch, and the head of the record handed to a command.

- Publishing never holds up a cycle: it runs in a thread with a time limit, one at a time, and what a slow remote missed
  goes out with the next commit.
- The repository is the record folder's own and contains only the output folder; no other repository is touched, no
  editor is opened and no password is asked for.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from kronos.atomic import write_text
from kronos.errors import DataError, StorageError
from kronos.live.config import LiveConfig
from kronos.live.entries import format_time

REPOSITORY = "publish.git"
ANCHORED = "anchored.json"
_TIMEOUT = 120.0  # seconds for one git command, or for the anchor command
_IDENTITY = ("Kronos", "kronos@localhost")
_log = logging.getLogger(__name__)
Report = Callable[[str, str], None]


class BackgroundStep:
    """Runs a function in a thread, never twice at the same time.

    Args:
        name: Name in messages.
        function: The function; a `StorageError` is logged and reported.
        report: Called with the name, and with why it failed or an empty text.
    """

    def __init__(self, name: str, function: Callable[[], None], report: Report) -> None:
        self._name, self._function, self._report = name, function, report
        self._thread: threading.Thread | None = None

    def start(self) -> bool:
        """Start it unless it still runs; whether it was started."""
        if self._thread is not None and self._thread.is_alive():
            _log.warning("%s is still running: skipped", self._name)
            return False
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"kronos-{self._name}")
        self._thread.start()
        return True

    def join(self, timeout: float | None = None) -> None:
        """Wait until it ends."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            self._function()
        except StorageError as error:
            _log.error("%s failed: %s", self._name, error)
            self._report(self._name, str(error))
        else:
            self._report(self._name, "")


class GitPublisher:
    """Commits the output folder to a branch and pushes it.

    Args:
        config: The configuration, with ``output.git_remote`` and ``output.git_branch``.
        timeout: Seconds that one git command may take.
    """

    def __init__(self, config: LiveConfig, timeout: float = _TIMEOUT) -> None:
        self._output = config.output.folder.absolute()
        self._repository = (config.record.folder / REPOSITORY).absolute()
        self._remote, self._branch = config.output.git_remote or "", config.output.git_branch
        self._timeout = timeout

    def publish(self) -> None:
        """Commit what has changed and push the branch.

        Raises:
            StorageError: If git is missing, fails or takes too long; the next call tries again.
        """
        if not (self._repository / "HEAD").is_file():
            self._git("init", "--quiet", f"--initial-branch={self._branch}")
        self._remove_stale_locks()
        self._commit()
        try:
            self._push()
        except StorageError:
            if not self._adopt_remote_branch():
                raise
            self._commit()
            self._push()

    def _commit(self) -> None:
        """Commit the output folder if it has changed."""
        self._git("add", "--all", "--force", "--", ".")
        if self._git("status", "--porcelain", "--", "."):
            moment = format_time(pd.Timestamp.now("UTC"))[:16].replace("T", " ")
            self._git("commit", "--quiet", "--no-verify", "--message", f"Forecast of {moment} UTC")

    def _push(self) -> None:
        self._git("push", "--quiet", "--", self._remote, f"HEAD:refs/heads/{self._branch}")

    def _adopt_remote_branch(self) -> bool:
        """Continue the remote's branch where it has commits that this repository lacks; whether it has."""
        try:
            self._git("fetch", "--quiet", "--", self._remote, f"refs/heads/{self._branch}")
        except StorageError:  # no such branch, or no connection: the error of the push says more
            return False
        self._git("reset", "--quiet", "--soft", "FETCH_HEAD")
        return True

    def _git(self, *arguments: str) -> str:
        """Run git on the output folder; its output."""
        name, address = _IDENTITY
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
            "GIT_DIR": str(self._repository),
            "GIT_WORK_TREE": str(self._output),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
            "GIT_EDITOR": "true",
        }
        identity = ("-c", f"user.name={name}", "-c", f"user.email={address}", "-c", "commit.gpgsign=false")
        return run_limited(
            ["git", *identity, "-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", *arguments],
            timeout=self._timeout,
            cwd=self._output,
            environment=environment,
            hidden=self._remote,
        )

    def _remove_stale_locks(self) -> None:
        """Remove the locks of a git that was killed; only this process uses the repository."""
        for lock in self._repository.rglob("*.lock"):
            lock.unlink(missing_ok=True)


class Anchor:
    """Hands the head of the record to a command once a day, so that it is stored where this machine cannot change it.

    Args:
        config: The configuration, with ``record.anchor_command``. The command gets the head as JSON on its standard
            input, and ``{hash}`` in its arguments is replaced by the hash.
    """

    def __init__(self, config: LiveConfig) -> None:
        self._command = config.record.anchor_command or ()
        self._state = config.record.folder / ANCHORED

    def is_due(self, day: str) -> bool:
        """Whether the head of a day, such as ``2026-03-01``, has not been handed over."""
        return bool(self._command) and self._last_day() != day

    def hand_over(self, day: str, seq: int, digest: str) -> None:
        """Run the command.

        Raises:
            StorageError: If it fails or takes too long; the next cycle tries again.
        """
        head = {"day": day, "seq": seq, "hash": digest}
        command = [part.replace("{hash}", digest) for part in self._command]
        run_limited(command, timeout=_TIMEOUT, standard_input=json.dumps(head))
        write_text(self._state, json.dumps(head) + "\n")

    def _last_day(self) -> str | None:
        try:
            day: str = json.loads(self._state.read_text("utf-8"))["day"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return day


def run_limited(
    command: Sequence[str],
    *,
    timeout: float,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    standard_input: str = "",
    hidden: str = "",
) -> str:
    """Run a command in a process group of its own, which is killed when it takes too long.

    Args:
        command: Program and arguments.
        timeout: Seconds.
        cwd: Working folder.
        environment: Variables; those of this process if None.
        standard_input: Text for the command.
        hidden: Text to leave out of messages, such as an address with a password.

    Returns:
        What it printed.

    Raises:
        StorageError: If there is no such program, or it fails or takes too long.
    """
    name = Path(command[0]).name
    try:
        process = subprocess.Popen(
            list(command),
            cwd=cwd,
            env=None if environment is None else dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise StorageError(f"Cannot run {name}: {error.strerror}. Install it, or switch this step off.") from error
    try:
        output, errors = process.communicate(standard_input, timeout=timeout)
    except subprocess.TimeoutExpired:
        _kill_group(process)
        raise StorageError(f"{name} took longer than {timeout:g} s and was stopped.") from None
    if process.returncode:
        lines = _redact(errors.strip() or output.strip(), hidden).splitlines()
        raise StorageError(f"{name} failed: {lines[-1] if lines else f'status {process.returncode}'}")
    return output.strip()


def _kill_group(process: subprocess.Popen[str]) -> None:
    """Kill a process and its children, such as the ssh of git."""
    if os.name == "posix":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _redact(text: str, hidden: str) -> str:
    text = text.replace(hidden, "the remote") if hidden else text
    return re.sub(r"://[^/\s@]+@", "://", text)


def published_heads(folder: Path) -> list[tuple[int, str]]:
    """Read the heads of the record that were published in a folder: each must still be in the chain.

    Raises:
        DataError: If a document is not JSON.
    """
    heads = set()
    for file in sorted(folder.rglob("*.json")):
        try:
            document = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"Cannot read {file}: check that it is a published document.") from error
        head = document.get("head") if isinstance(document, dict) else None
        if isinstance(head, dict) and isinstance(head.get("seq"), int) and isinstance(head.get("hash"), str):
            heads.add((head["seq"], head["hash"]))
    return sorted(heads)
