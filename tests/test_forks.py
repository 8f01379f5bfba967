"""Forked processes behave as new ones do."""

import signal
import subprocess
import sys

import pytest

import forks

PROGRAMS = {
    "streams": "print(input()); print('é', file=sys.stderr)",
    "status": "sys.exit(3)",
    "sentence": "sys.exit('no such thing')",
    "exception": "import atexit; atexit.register(print, 'at exit'); 1 / 0",
    "arguments": "print(sys.argv, os.getcwd(), os.environ.get('GIVEN'), __name__)",
    "killed": "os.kill(os.getpid(), 9)",
    "terminated": "import signal; signal.raise_signal(signal.SIGTERM)",
    # A process that is started in the background ignores SIGINT, and so would its children.
    "interrupted": "from signal import *; signal(SIGINT, default_int_handler); raise_signal(SIGINT)",
    "thread": "import threading, time; threading.Thread(target=lambda: time.sleep(0.1) or print('late')).start()",
    "session": "print(os.getsid(0) == os.getpid())",
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_forked_process_ends_as_a_new_one(program, tmp_path):
    command = [sys.executable, "-c", f"import os, sys\n{program}", "one", "two words"]
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    options |= {"cwd": tmp_path, "env": {"GIVEN": "yes"}, "start_new_session": True, "encoding": "utf-8"}
    ends = []
    for process in (subprocess.Popen(command, **options), forks.Popen(command, preload=(), **options)):
        out, err = process.communicate("from outside\n", timeout=60)
        ends.append((process.returncode, out, err.splitlines()[-1:]))
    assert ends[0] == ends[1]


def test_forked_process_receives_signals():
    command = [sys.executable, "-c", "print('started', flush=True); import time; time.sleep(60)"]
    with forks.Popen(command, preload=(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "started\n"
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.terminate()
    assert process.returncode == -signal.SIGTERM
