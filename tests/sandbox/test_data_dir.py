"""A client's name opens the files below the data folder, and nothing else."""

import os
import threading
import unicodedata
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kronos.errors import KronosError
from kronos.sandbox import DataDirectory, FileNotListed

INSIDE, OUTSIDE = b"inside", b"outside"
posix = pytest.mark.skipif(os.name != "posix", reason="needs links and pipes of POSIX")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with files, next to a folder that must not be accessible."""
    above = tmp_path_factory.mktemp("places")
    inside = above / "data"
    for path in ("a.csv", "deep/er/b.parquet", "我的/开盘.CSV", "50%2e.csv", "a b'<script>.csv", "xy:z.tsv"):
        (inside / path).parent.mkdir(parents=True, exist_ok=True)
        (inside / path).write_bytes(INSIDE)
    for path in (".hidden.csv", ".git/c.csv", "notes.md", "model.pkl", "no_ending", "bell\a.csv", "line\n.csv"):
        (inside / path).parent.mkdir(parents=True, exist_ok=True)
        (inside / path).write_bytes(b"hidden")
    (inside / "cafe\u0301.csv").write_bytes(INSIDE)  # as macOS stores it
    (inside / "folder.csv").mkdir()
    (above / "secret.csv").write_bytes(OUTSIDE)
    (above / "data2").mkdir()
    (above / "data2" / "secret.csv").write_bytes(OUTSIDE)
    (inside / "link.csv").symlink_to(above / "secret.csv")
    (inside / "inward.csv").symlink_to(inside / "a.csv")
    (inside / "linked").symlink_to(above / "data2")
    (inside / "gone.csv").symlink_to(above / "nowhere.csv")
    os.mkfifo(inside / "pipe.csv")
    return inside


def rejection(folder: DataDirectory, text: str) -> str:
    with pytest.raises(FileNotListed) as caught:
        folder.open(text)
    return str(caught.value)


def test_files_are_listed_in_order_with_size_and_time(root: Path) -> None:
    os.utime(root / "a.csv", (1_700_000_000, 1_700_000_000))
    listed = DataDirectory(root).files()
    paths = [
        "50%2e.csv",
        "a b'<script>.csv",
        "a.csv",
        "caf\u00e9.csv",
        "deep/er/b.parquet",
        "xy:z.tsv",
        "我的/开盘.CSV",
    ]
    assert [file.path for file in listed] == paths
    first = next(file for file in listed if file.path == "a.csv")
    assert (first.name, first.size, first.modified) == ("a.csv", 6, "2023-11-14T22:13:20+00:00")


def test_listed_files_can_be_opened(root: Path) -> None:
    folder = DataDirectory(root)
    for file in folder.files():
        stream, name = folder.open(file.path)
        with stream:
            assert (stream.read(), name) == (INSIDE, file.name)


def test_decomposed_names_are_listed_composed_and_opened_by_either_form(tmp_path: Path) -> None:
    (tmp_path / unicodedata.normalize("NFD", "비트코인")).mkdir()
    names = [unicodedata.normalize("NFD", name) for name in ("café.csv", "비트코인/Å.csv")]
    for name in names:
        (tmp_path / name).write_bytes(INSIDE)
    folder = DataDirectory(tmp_path)
    listed = [file.path for file in folder.files()]
    assert listed == [unicodedata.normalize("NFC", name) for name in names]
    for path in (*listed, *names):
        stream, name = folder.open(path)
        with stream:
            assert stream.read() == INSIDE
        assert name == unicodedata.normalize("NFC", path).split("/")[-1]


def test_a_file_under_both_forms_of_its_name_is_listed_once(tmp_path: Path) -> None:
    (tmp_path / "caf\u00e9.csv").write_bytes(INSIDE)
    (tmp_path / "cafe\u0301.csv").write_bytes(b"other")
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("the file system compares names by NFC")
    folder = DataDirectory(tmp_path)
    assert [file.path for file in folder.files()] == ["caf\u00e9.csv"]
    stream, _ = folder.open("caf\u00e9.csv")
    with stream:
        assert stream.read() == INSIDE


def test_missing_folder_is_empty(tmp_path: Path) -> None:
    folder = DataDirectory(tmp_path / "absent")
    assert folder.files() == []
    assert "a.csv" in rejection(folder, "a.csv")


def test_listing_is_limited_in_number_and_depth(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*"12345678")
    deep.mkdir(parents=True)
    (deep / "too_deep.csv").touch()
    (deep.parent / "deep.csv").touch()
    for number in range(30):
        (tmp_path / f"{number:02}.csv").touch()
    folder = DataDirectory(tmp_path)
    assert [file.name for file in folder.files(3)] == ["00.csv", "01.csv", "02.csv"]
    assert "1/2/3/4/5/6/7/deep.csv" in [file.path for file in folder.files()]
    assert len(folder.files()) == 31
    rejection(folder, "1/2/3/4/5/6/7/8/too_deep.csv")


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "..", "/", "../secret.csv", "deep/../../secret.csv", "deep/../a.csv", "./a.csv", "deep/./er/b.parquet",
        "..%2fsecret.csv", "%2e%2e/secret.csv", "%2e%2e%2fsecret.csv", "..%5csecret.csv", "..%c0%afsecret.csv",
        "/etc/passwd", "//server/share/a.csv", "\\\\server\\share\\a.csv", "\\\\?\\C:\\a.csv", "C:\\a.csv", "c:a.csv",
        "C:/a.csv", "..\\secret.csv", "deep\\er\\b.parquet", "a.csv\0", "a.csv\0.md", "\0", "a.csv\n", "a\r.csv",
        "bell\a.csv", "line\n.csv", "\x7fa.csv", "\u202eva.csv", "a\u200b.csv", "\ud800.csv",
        "．．/secret.csv", "․․/secret.csv", "..／secret.csv", "..∕secret.csv", "ａ.csv", "а.csv",
        "x" * 300 + ".csv", "x" * 100_000 + ".csv", "d/" * 5_000 + "a.csv", "a.csv/", "a.csv/.", "a.csv/b.csv",
        "deep//er/b.parquet", "~/a.csv", "~root/a.csv", "$HOME/a.csv", "file:a.csv", "file:///etc/a.csv",
        ".hidden.csv", ".git/c.csv", "notes.md", "model.pkl", "no_ending", "deep", "folder.csv", ".csv", "a.csv ",
        "a.csv.", "a.csv::$DATA", "CON.csv", "absent.csv", "{}.csv", "{0.__class__}.csv", "%s.csv",
        "link.csv", "inward.csv", "linked/secret.csv", "gone.csv", "pipe.csv",
    ],
)  # fmt: skip
def test_other_names_are_rejected_with_the_same_message(root: Path, text: str) -> None:
    message = rejection(DataDirectory(root), text)
    assert message.startswith("There is no data file '")
    assert message.endswith("'; GET /api/data-files lists them.")
    assert message.isprintable()
    assert len(message) < 200
    assert str(root.parent) not in message


def test_message_ends_with_how_to_list_the_files(root: Path) -> None:
    folder = DataDirectory(root, listing="list_candles tells which there are")
    for text in ("absent.csv", "../secret.csv", "link.csv"):
        assert rejection(folder, text) == f"There is no data file '{text}'; list_candles tells which there are."


def test_files_outside_are_rejected_like_missing_ones(root: Path) -> None:
    folder = DataDirectory(root)
    for existing, missing in (("../secret.csv", "../nobody.csv"), ("linked/secret.csv", "linked/nobody.csv")):
        assert rejection(folder, existing).replace("secret", "nobody") == rejection(folder, missing)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.one_of(
        st.text(),
        st.lists(
            st.sampled_from(
                ["..", ".", "", "a.csv", "secret.csv", "linked", "deep", "\\", "%2e%2e", "\0", "~", "data2"]
            )
        ).map("/".join),
        st.text().map(lambda text: text + ".csv"),
    )
)
def test_no_text_opens_a_file_outside(root: Path, text: str) -> None:
    try:
        stream, _ = DataDirectory(root).open(text)
    except KronosError as error:
        assert str(root.parent) not in str(error)  # noqa: PT017  (most texts are rejected, some are valid)
    else:
        with stream:
            assert stream.read() == INSIDE


@posix
def test_root_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(root)
    assert DataDirectory(tmp_path / "data").files() == DataDirectory(root).files()


@posix
def test_link_swapped_in_during_open_leads_nowhere(tmp_path: Path) -> None:
    root, outside = tmp_path / "data", tmp_path / "outside"
    for folder, content in ((root / "real", INSIDE), (outside, OUTSIDE)):
        folder.mkdir(parents=True)
        (folder / "a.csv").write_bytes(content)
    (root / "other").symlink_to(outside)
    done, swaps = threading.Event(), []

    def swap() -> None:
        while not done.is_set():
            (root / "real").rename(root / "aside")
            (root / "other").rename(root / "real")
            (root / "real").rename(root / "other")
            (root / "aside").rename(root / "real")
            swaps.append(1)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        seen = set()
        for _ in range(2_000):
            try:
                stream, _ = DataDirectory(root).open("real/a.csv")
            except FileNotListed:
                continue
            with stream:
                seen.add(stream.read())
            assert {file.path for file in DataDirectory(root).files()} <= {"real/a.csv", "aside/a.csv"}
    finally:
        done.set()
        swapper.join()
    assert swaps
    assert OUTSIDE not in seen


@posix
def test_no_handle_is_left_open(root: Path) -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    folder = DataDirectory(root)
    for text in ("pipe.csv", "linked/secret.csv", "deep/absent/b.csv", "folder.csv"):
        rejection(folder, text)
    folder.files()
    assert len(list(Path("/dev/fd").iterdir())) == before


@posix
def test_paths_are_contained_without_handles_of_folders(root: Path) -> None:
    with mock.patch("kronos.sandbox.data_dir._POSIX", False):
        folder = DataDirectory(root)
        stream, _ = folder.open("deep/er/b.parquet")
        stream.close()
        for text in ("link.csv", "linked/secret.csv", "gone.csv", "folder.csv", "../secret.csv", "xy:z.tsv"):
            rejection(folder, text)
        assert "linked/secret.csv" not in [file.path for file in folder.files()]
