"""Publishing by git, the anchor command, and alerts: they fail alone, and never hold up a cycle."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from kronos.errors import StorageError
from kronos.live.alerts import Alerts
from kronos.live.config import AlertsSection
from kronos.live.cycle import CycleResult
from kronos.live.publication import Anchor, BackgroundStep, GitPublisher, published_heads, run_limited
from live.replays import make_config


def git(folder, *arguments):
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def remote(tmp_path):
    folder = tmp_path / "remote.git"
    folder.mkdir()
    git(folder, "init", "--quiet", "--bare")
    return folder


def publisher(tmp_path, remote, timeout=60.0):
    config = make_config(
        tmp_path, output={"folder": str(tmp_path / "page"), "publish": "git", "git_remote": str(remote)}
    )
    config.output.folder.mkdir(exist_ok=True)
    config.record.folder.mkdir(exist_ok=True)
    return config, GitPublisher(config, timeout)


def test_only_the_output_folder_is_committed(tmp_path, remote):
    git(tmp_path, "init", "--quiet")  # the user's own repository around the folder stays as it is
    (tmp_path / "secret.txt").write_text("secret", "utf-8")
    config, step = publisher(tmp_path, remote)
    (config.output.folder / "index.html").write_text("one", "utf-8")
    (config.output.folder / ".gitignore").write_text("*", "utf-8")
    step.publish()
    assert git(remote, "ls-tree", "-r", "--name-only", "gh-pages").split() == [".gitignore", "index.html"]
    assert git(tmp_path, "status", "--porcelain", "--untracked-files=all").count("secret.txt") == 1
    step.publish()  # nothing has changed
    (config.output.folder / "index.html").write_text("two", "utf-8")
    step.publish()
    assert git(remote, "show", "gh-pages:index.html") == "two"
    assert len(git(remote, "log", "--format=%h", "gh-pages").split()) == 2


def test_a_rejecting_remote_is_an_error_and_is_caught_up_later(tmp_path, remote):
    hook = remote / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho no thanks >&2\nexit 1\n", "utf-8")
    hook.chmod(0o755)
    config, step = publisher(tmp_path, remote)
    (config.output.folder / "index.html").write_text("one", "utf-8")
    with pytest.raises(StorageError, match="git failed"):
        step.publish()
    hook.unlink()
    (config.output.folder / "index.html").write_text("two", "utf-8")
    step.publish()
    assert len(git(remote, "log", "--format=%h", "gh-pages").split()) == 2


def test_a_branch_that_others_wrote_is_continued(tmp_path, remote):
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet", "--initial-branch=gh-pages")
    (other / "README").write_text("before", "utf-8")
    git(other, "add", "README")
    git(other, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "first")
    git(other, "push", "--quiet", str(remote), "gh-pages")
    config, step = publisher(tmp_path, remote)
    (config.output.folder / "index.html").write_text("one", "utf-8")
    step.publish()
    assert git(remote, "show", "gh-pages:index.html") == "one"
    assert len(git(remote, "log", "--format=%h", "gh-pages").split()) == 2


@pytest.mark.slow
def test_a_hanging_remote_is_stopped_and_its_address_stays_hidden(tmp_path):
    config, step = publisher(tmp_path, "ssh://me:hunter2@host/repository", timeout=1.0)
    (config.output.folder / "index.html").write_text("one", "utf-8")
    environment = {"GIT_SSH_COMMAND": "sleep 60 #"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(*environment.popitem())
        begun = time.monotonic()
        with pytest.raises(StorageError) as error:
            step.publish()
    assert time.monotonic() - begun < 20
    assert "hunter2" not in str(error.value)


def test_locks_of_a_killed_git_are_removed(tmp_path, remote):
    config, step = publisher(tmp_path, remote)
    (config.output.folder / "index.html").write_text("one", "utf-8")
    step.publish()
    (config.record.folder / "publish.git" / "index.lock").write_text("", "utf-8")
    (config.output.folder / "index.html").write_text("two", "utf-8")
    step.publish()
    assert git(remote, "show", "gh-pages:index.html") == "two"


def test_background_steps_run_one_at_a_time_and_report_failures():
    reports, released = [], []

    def slow():
        while not released:
            time.sleep(0.01)
        raise StorageError("The remote refused.")

    step = BackgroundStep("publishing", slow, lambda *report: reports.append(report))
    assert step.start()
    assert not step.start()
    released.append(True)
    step.join(10)
    assert reports == [("publishing", "The remote refused.")]
    assert step.start()
    step.join(10)


def test_the_head_is_handed_over_once_a_day(tmp_path):
    file = tmp_path / "heads"
    program = f"import sys; open({str(file)!r}, 'a').write(sys.argv[1] + ' ' + sys.stdin.read() + chr(10))"
    config = make_config(
        tmp_path,
        record={"folder": str(tmp_path / "record"), "anchor_command": [sys.executable, "-c", program, "{hash}"]},
    )
    anchor = Anchor(config)
    for day, seq in (("2026-03-01", 10), ("2026-03-01", 11), ("2026-03-02", 35)):
        if anchor.is_due(day):
            anchor.hand_over(day, seq, f"{seq:064x}")
    lines = file.read_text("utf-8").splitlines()
    assert [json.loads(line.partition(" ")[2])["seq"] for line in lines] == [10, 35]
    assert lines[0].startswith(f"{10:064x} ")
    assert not Anchor(config).is_due("2026-03-02")  # after a restart, too


def test_a_failing_command_is_tried_again(tmp_path):
    config = make_config(tmp_path, record={"folder": str(tmp_path), "anchor_command": ["false"], "baselines": "drift"})
    with pytest.raises(StorageError, match="false failed"):
        Anchor(config).hand_over("2026-03-01", 1, "0" * 64)
    assert Anchor(config).is_due("2026-03-01")
    with pytest.raises(StorageError, match="Install it"):
        run_limited(["no-such-program-anywhere"], timeout=5)


def test_published_heads_are_read_from_all_documents(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.json").write_text(json.dumps({"head": {"seq": 3, "hash": "c" * 64}}), "utf-8")
    (tmp_path / "y.json").write_text(json.dumps({"head": {"seq": 2, "hash": "b" * 64}}), "utf-8")
    (tmp_path / "z.json").write_text("[]", "utf-8")
    assert published_heads(tmp_path) == [(2, "b" * 64), (3, "c" * 64)]


class NamedSeries:
    slug = "btcusdt-1h-kronos-nano"


def result(status, reason=""):
    return CycleResult(NamedSeries(), status, reason=reason)


def test_alerts_tell_of_changes_only(httpserver: HTTPServer):
    received = []

    def handler(request):
        received.append(request.get_json())
        return Response(status=204)

    httpserver.expect_request("/hook").respond_with_handler(handler)
    alerts = Alerts(AlertsSection(webhook=httpserver.url_for("/hook")))
    for status in ("forecast", "stand-in", "stand-in", "recorded", "waiting", "forecast", "forecast", "late"):
        alerts.report(result(status, "reason"))
        alerts.close()
    assert [body["event"] for body in received] == ["stand-in", "waiting", "recovered", "late"]
    assert received[0]["series"] == NamedSeries.slug


def test_a_step_that_keeps_failing_is_reported_once_and_when_it_recovers(httpserver: HTTPServer):
    received = []
    httpserver.expect_request("/hook").respond_with_handler(
        lambda request: received.append(request.get_json()) or Response()
    )
    alerts = Alerts(AlertsSection(webhook=httpserver.url_for("/hook")))
    for failure in ("", "The disk is full.", "The disk is full.", "", ""):
        alerts.report_step("page", failure)
        alerts.close()
    assert [(body["event"], body["step"]) for body in received] == [("page failed", "page"), ("recovered", "page")]
    assert received[0]["message"] == "The disk is full."


@pytest.mark.parametrize("status", [500, 404])
def test_a_webhook_that_fails_is_only_logged(httpserver: HTTPServer, caplog, status):
    httpserver.expect_request("/hunter2").respond_with_data("", status=status)
    alerts = Alerts(AlertsSection(webhook=httpserver.url_for("/hunter2")))
    alerts.send("late", "message")
    alerts.close()
    messages = [record.getMessage() for record in caplog.records if record.name.startswith("kronos")]
    assert len(messages) == 1
    assert "not delivered" in messages[0]
    assert "hunter2" not in messages[0]


def test_without_an_address_nothing_is_sent():
    alerts = Alerts(AlertsSection())
    alerts.send("late", "message")
    assert not alerts._threads
