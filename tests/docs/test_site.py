"""The documentation site: a strict build, every command and exported name, and no resource of another host."""

import html
import importlib
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from filelock import FileLock

from docs.running import ROOT
from kronos.cli import app
from scripts import cli_reference

pytestmark = pytest.mark.slow
PACKAGES = [path.stem for path in sorted((ROOT / "docs" / "api").glob("*.md")) if path.stem not in ("index", "kronos")]


def build(*options):
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", *map(str, options)],
        cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory, worker_id):
    """The built site; the workers of a parallel run build it once and share it."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    folder = shared / "site"
    with FileLock(shared / "site.lock"):
        if not (folder / "built").is_file():
            done = build("--site-dir", folder)
            assert done.returncode == 0, done.stdout + done.stderr
            (folder / "built").touch()
    return folder


def text_of(page):
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text("utf-8")))


def test_every_command_has_a_page_with_all_its_options(site):
    pages = cli_reference.command_pages(app)
    assert {page.title for page in pages} >= {"kronos", "kronos forecast", "kronos data fetch", "kronos train model"}
    navigation = text_of(site / "index.html")
    for page in pages:
        folder = site / page.path.removesuffix(".md").removesuffix("index")
        shown = text_of(folder / "index.html")
        assert page.title in shown
        assert len(page.words) == 1 or page.title in navigation
        for option in re.findall(r"^\| `(--[a-z-]+)", page.markdown, re.MULTILINE):
            assert option in shown, f"{page.title} {option}"


@pytest.mark.parametrize("package", ["kronos", *(f"kronos.{name}" for name in PACKAGES)])
def test_every_exported_name_is_in_the_reference(site, package):
    shown = (site / "api" / package.removeprefix("kronos.") / "index.html").read_text("utf-8")
    anchors = set(re.findall(r'id="([\w.]+)"', shown))
    for name in importlib.import_module(package).__all__:
        # A function that is called as its module is documented under its full path.
        assert {f"{package}.{name}", f"{package}.{name}.{name}"} & anchors, name


def test_pages_load_nothing_from_another_host(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 50
    for page in pages:
        loaded = re.findall(
            r"""<(?:script|img|iframe|source)[^>]*\ssrc=["']?([^"'\s>]+)|<link[^>]*\srel=["']?(?:stylesheet|icon|preload|preconnect|prefetch)[^>]*\shref=["']?([^"'\s>]+)|<link[^>]*\shref=["']?([^"'\s>]+)["']?[^>]*\srel=["']?(?:stylesheet|icon|preload|preconnect|prefetch)""",
            page.read_text("utf-8"),
        )
        assert loaded, page
        addresses = [address for one in loaded for address in one if re.match("(?:https?:)?//", address)]
        assert not addresses, f"{page.relative_to(site)} loads {addresses}"


def test_files_of_the_repository_that_pages_link_to_are_shown(site):
    shown = text_of(site / "repository" / "examples" / "prediction_example.py" / "index.html")
    assert (ROOT / "examples" / "prediction_example.py").read_text("utf-8").splitlines()[0] in shown
    assert "kronos-nano" in text_of(site / "models" / "kronos-nano" / "index.html")
    for name in ("contributing", "changelog", "security"):
        assert (ROOT / f"{name.upper()}.md").read_text("utf-8").splitlines()[0].strip("# ") in text_of(
            site / name / "index.html"
        )


def test_broken_links_anchors_and_repository_paths_fail_the_build(tmp_path):
    good = ("getting-started.md#install", "../examples/prediction_example.py")
    broken = ("missing.md", "getting-started.md#missing", "../src/kronos/missing.py")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    with (tmp_path / "docs" / "index.md").open("a", encoding="utf-8") as index:
        index.writelines(f"\n[a link]({link})\n" for link in good + broken)
    settings = {
        "INHERIT": str(ROOT / "mkdocs.yml"),
        "docs_dir": "docs",
        "hooks": [str(ROOT / "scripts" / "docs_hooks.py")],
        "watch": [],
        "plugins": ["search"],  # without the API reference, which takes most of the time
    }
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(settings), "utf-8")
    done = build("--config-file", tmp_path / "mkdocs.yml", "--site-dir", tmp_path / "site")
    assert done.returncode != 0
    assert (
        f"{len(broken)} warnings in strict mode" in done.stdout + done.stderr
    )  # one each, and none for the good links
    assert all(link.rpartition("#")[2] in done.stdout + done.stderr for link in broken)
