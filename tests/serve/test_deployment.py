"""The container file and the systemd unit of the guide."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from serve.processes import environment

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy"


@pytest.fixture(scope="module")
def container():
    return (DEPLOY / "Containerfile").read_text("utf-8")


@pytest.fixture(scope="module")
def health_check(container):
    command = json.loads(re.search(r"^HEALTHCHECK .*\\\n\s+CMD (\[.*\])$", container, re.MULTILINE)[1])
    assert command[0] == "python"
    return [sys.executable, *command[1:]]


@pytest.mark.parametrize("variable", ["KRONOS_SERVE__PORT", "PORT"])
def test_the_health_check_follows_the_port(live, health_check, variable):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        unused = closed.getsockname()[1]
    for port, healthy in ((urlsplit(live.address).port, True), (unused, False)):
        done = subprocess.run(health_check, env=environment({variable: str(port)}), capture_output=True, check=False)
        assert (done.returncode == 0) == healthy, done.stderr


def test_the_health_check_reads_the_port_as_the_server_does(live, health_check):
    port = str(urlsplit(live.address).port)
    env = environment({"KRONOS_SERVE__PORT": port, "PORT": "1"})
    assert subprocess.run(health_check, env=env, capture_output=True, check=False).returncode == 0


def test_the_container_does_not_run_as_root(container):
    user = re.search(r"^USER (\d+):(\d+)$", container, re.MULTILINE)
    assert min(int(user[1]), int(user[2])) > 0
    assert f"--uid {user[1]}" in container
    assert container.index("USER ") < container.index('CMD ["kronos"')


def test_the_unit_is_restricted():
    unit = (DEPLOY / "kronos-serve.service").read_text("utf-8")
    settings = dict(re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE))
    assert int(settings["LimitNOFILE"]) >= 4096
    assert settings["UMask"] == "0077"
    assert "SystemCallFilter=@system-service" in unit
    assert settings["DynamicUser"] == settings["NoNewPrivileges"] == "yes"
    assert "@resources" not in unit, "readers limit their own memory with setrlimit"
