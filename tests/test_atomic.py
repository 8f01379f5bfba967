import errno
import os
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kronos.atomic import atomic_folder, atomic_path, recover_folder, remove_temporary_files, write_bytes, write_text
from kronos.errors import KronosError, StorageError


def file_names(folder):
    return sorted(path.name for path in folder.iterdir())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=5000))
def test_written_bytes_are_read_back(tmp_path, data):
    write_bytes(tmp_path / "file", data)
    assert (tmp_path / "file").read_bytes() == data
    assert file_names(tmp_path) == ["file"]


@pytest.mark.usefixtures("real_fsync")
@pytest.mark.skipif(os.name != "posix", reason="folders are not flushed there")
def test_the_file_and_then_its_folder_are_flushed_to_the_disk(tmp_path, monkeypatch):
    flush, flushed = os.fsync, []

    def record(fd):
        flushed.append(stat.S_ISDIR(os.fstat(fd).st_mode))
        flush(fd)

    monkeypatch.setattr(os, "fsync", record)
    write_text(tmp_path / "a.txt", "text")
    assert flushed == [False, True]


def test_line_ends_are_unchanged(tmp_path):
    write_text(tmp_path / "a.txt", "é\n\r\n")
    assert (tmp_path / "a.txt").read_bytes() == b"\xc3\xa9\n\r\n"


def test_failing_blocks_leave_only_the_old_file(tmp_path):
    target = tmp_path / "a.csv"
    write_text(target, "old")

    def fail():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert target.read_text() == "old"
    assert file_names(tmp_path) == ["a.csv"]


def test_readers_see_the_old_file_until_the_end(tmp_path):
    target = tmp_path / "a.csv"
    write_text(target, "old")
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
        assert temporary.parent == tmp_path
        assert temporary.name.endswith("a.csv")
    assert target.read_text() == "new"


def test_missing_folders_are_created(tmp_path):
    write_text(tmp_path / "a" / "b" / "c.txt", "x")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "x"


def test_writing_nothing_raises(tmp_path):
    def nothing():
        with atomic_path(tmp_path / "a"):
            pass

    with pytest.raises(StorageError, match="Nothing was written"):
        nothing()
    assert file_names(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="permissions and links as on POSIX")
def test_permissions_and_links_are_kept(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    write_text(target, "old")
    target.chmod(0o640)
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


@pytest.mark.skipif(os.name != "posix", reason="umask as on POSIX")
def test_new_files_have_default_permissions(tmp_path):
    (tmp_path / "usual").write_text("x")
    write_text(tmp_path / "ours", "x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_folders_of_the_same_name_raise(tmp_path):
    with pytest.raises(StorageError, match="a folder of that name"):
        write_text(tmp_path, "x")


def test_files_in_place_of_a_folder_raise(tmp_path):
    write_text(tmp_path / "file", "x")
    with pytest.raises(StorageError, match="is a file, not a folder"):
        write_text(tmp_path / "file" / "below", "x")


def test_long_names_raise(tmp_path):
    with pytest.raises(StorageError, match="too long"):
        write_text(tmp_path / ("n" * 300), "x")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_full_and_read_only_disks_raise(tmp_path, code):
    def fill():
        with atomic_path(tmp_path / "big.bin") as temporary:
            temporary.write_bytes(b"half")
            raise OSError(code, os.strerror(code))

    with pytest.raises(StorageError, match=r"Cannot write .*big\.bin: .*\.$"):
        fill()
    assert file_names(tmp_path) == []


def test_other_errors_pass(tmp_path):
    def read_something_else():
        with atomic_path(tmp_path / "a"):
            (tmp_path / "absent").read_text()

    with pytest.raises(FileNotFoundError) as caught:
        read_something_else()
    assert not isinstance(caught.value, KronosError)


def fill(target, text, **options):
    with atomic_folder(target, **options) as folder:
        (folder / "a.txt").write_text(text)
        if text == "half":
            raise RuntimeError("stop")


def test_folders_appear_complete(tmp_path):
    fill(tmp_path / "deep" / "data", "new")
    assert (tmp_path / "deep" / "data" / "a.txt").read_text() == "new"
    assert file_names(tmp_path / "deep") == ["data"]


def test_failing_blocks_leave_only_the_old_folder(tmp_path):
    fill(tmp_path / "data", "old")
    with pytest.raises(RuntimeError, match="stop"):
        fill(tmp_path / "data", "half", replace=True)
    assert (tmp_path / "data" / "a.txt").read_text() == "old"
    assert file_names(tmp_path) == ["data"]


def test_folders_are_replaced_on_request_only(tmp_path):
    fill(tmp_path / "data", "old")
    with pytest.raises(StorageError, match="it exists already"):
        fill(tmp_path / "data", "new")
    assert (tmp_path / "data" / "a.txt").read_text() == "old"
    fill(tmp_path / "data", "new", replace=True)
    assert (tmp_path / "data" / "a.txt").read_text() == "new"
    assert file_names(tmp_path) == ["data"]


def test_files_are_not_replaced_by_folders(tmp_path):
    write_text(tmp_path / "data", "mine")
    with pytest.raises(StorageError, match="choose another folder"):
        fill(tmp_path / "data", "new", replace=True)
    assert (tmp_path / "data").read_text() == "mine"


def test_empty_folders_are_replaced(tmp_path):
    (tmp_path / "data").mkdir()
    fill(tmp_path / "data", "new")
    assert (tmp_path / "data" / "a.txt").read_text() == "new"


def killed_replacement(folder, *, kept):
    """The folders that a process leaves when it is killed between the two renames, or before the old one is removed."""
    (folder / ".00aabb11.old-data").mkdir()
    (folder / ".00aabb11.old-data" / "part").write_text("old")
    (folder / ".99aabb11.tmp-data").mkdir()
    (folder / ".99aabb11.tmp-data" / "part").write_text("half")
    (folder / ".99aabb11.tmp-database").mkdir()
    (folder / ".mine.tmp-data").mkdir()
    if kept:
        (folder / "data").mkdir()
        (folder / "data" / "part").write_text("new")


@pytest.mark.parametrize(("kept", "text"), [(False, "old"), (True, "new")])
def test_killed_replacement_is_recovered_and_its_leftovers_removed(tmp_path, kept, text):
    killed_replacement(tmp_path, kept=kept)
    recover_folder(tmp_path / "data")
    assert (tmp_path / "data" / "part").read_text() == text
    others = [".99aabb11.tmp-database", ".mine.tmp-data"]
    assert file_names(tmp_path) == [*others, "data"]
    recover_folder(tmp_path / "data")
    assert file_names(tmp_path) == [*others, "data"]


def test_next_replacement_restores_the_folder_that_a_killed_one_renamed(tmp_path):
    killed_replacement(tmp_path, kept=False)

    def fail():
        with atomic_folder(tmp_path / "data", replace=True) as building:
            (building / "part").write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert (tmp_path / "data" / "part").read_text() == "old"
    with pytest.raises(StorageError, match="exists already"), atomic_folder(tmp_path / "data"):
        pass
    with atomic_folder(tmp_path / "data", replace=True) as building:
        (building / "part").write_text("new")
    assert (tmp_path / "data" / "part").read_text() == "new"


def test_temporary_files_are_removed_and_no_others(tmp_path):
    for name in (".00aabb11.tmp-a.json", "sub/.00aabb11.tmp-b", ".tmp-a", "00aabb11.tmp-a", ".00aabb1x.tmp-a"):
        write_text(tmp_path / name, "x")
    remove_temporary_files(tmp_path)
    assert file_names(tmp_path) == [".00aabb1x.tmp-a", ".tmp-a", "00aabb11.tmp-a", "sub"]
    assert file_names(tmp_path / "sub") == []
