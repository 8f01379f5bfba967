import errno
import os
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kronos.atomic import atomic_folder, atomic_path, write_bytes, write_text
from kronos.errors import KronosError, StorageError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=5000))
def test_what_is_written_is_read(tmp_path, data):
    write_bytes(tmp_path / "file", data)
    assert (tmp_path / "file").read_bytes() == data
    assert names(tmp_path) == ["file"]


def test_text_keeps_its_line_ends(tmp_path):
    write_text(tmp_path / "a.txt", "é\n\r\n")
    assert (tmp_path / "a.txt").read_bytes() == b"\xc3\xa9\n\r\n"


def test_a_failing_block_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.csv"
    write_text(target, "old")

    def fail():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.csv"]


def test_readers_see_the_old_file_until_the_end(tmp_path):
    target = tmp_path / "a.csv"
    write_text(target, "old")
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
        assert temporary.parent == tmp_path
        assert temporary.name.endswith("a.csv")
    assert target.read_text() == "new"


def test_missing_folders_are_made(tmp_path):
    write_text(tmp_path / "a" / "b" / "c.txt", "x")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "x"


def test_writing_nothing_is_an_error(tmp_path):
    def nothing():
        with atomic_path(tmp_path / "a"):
            pass

    with pytest.raises(StorageError, match="Nothing was written"):
        nothing()
    assert names(tmp_path) == []


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
def test_new_files_get_the_usual_permissions(tmp_path):
    (tmp_path / "usual").write_text("x")
    write_text(tmp_path / "ours", "x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_folder_in_the_way(tmp_path):
    with pytest.raises(StorageError, match="a folder of that name"):
        write_text(tmp_path, "x")


def test_a_file_where_a_folder_should_be(tmp_path):
    write_text(tmp_path / "file", "x")
    with pytest.raises(StorageError, match="is a file, not a folder"):
        write_text(tmp_path / "file" / "below", "x")


def test_a_name_that_is_too_long(tmp_path):
    with pytest.raises(StorageError, match="too long"):
        write_text(tmp_path / ("n" * 300), "x")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_full_or_read_only_disk_is_said_in_a_sentence(tmp_path, code):
    def fill():
        with atomic_path(tmp_path / "big.bin") as temporary:
            temporary.write_bytes(b"half")
            raise OSError(code, os.strerror(code))

    with pytest.raises(StorageError, match=r"Cannot write .*big\.bin: .*\.$"):
        fill()
    assert names(tmp_path) == []


def test_other_peoples_errors_pass(tmp_path):
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


def test_a_folder_appears_whole(tmp_path):
    fill(tmp_path / "deep" / "data", "new")
    assert (tmp_path / "deep" / "data" / "a.txt").read_text() == "new"
    assert names(tmp_path / "deep") == ["data"]


def test_a_failing_block_leaves_the_old_folder_and_nothing_else(tmp_path):
    fill(tmp_path / "data", "old")
    with pytest.raises(RuntimeError, match="stop"):
        fill(tmp_path / "data", "half", replace=True)
    assert (tmp_path / "data" / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["data"]


def test_a_folder_is_replaced_only_when_asked(tmp_path):
    fill(tmp_path / "data", "old")
    with pytest.raises(StorageError, match="something of that name exists"):
        fill(tmp_path / "data", "new")
    assert (tmp_path / "data" / "a.txt").read_text() == "old"
    fill(tmp_path / "data", "new", replace=True)
    assert (tmp_path / "data" / "a.txt").read_text() == "new"
    assert names(tmp_path) == ["data"]


def test_a_file_in_the_way_of_a_folder_stays(tmp_path):
    write_text(tmp_path / "data", "mine")
    with pytest.raises(StorageError, match="choose another folder"):
        fill(tmp_path / "data", "new", replace=True)
    assert (tmp_path / "data").read_text() == "mine"


def test_an_empty_folder_is_no_obstacle(tmp_path):
    (tmp_path / "data").mkdir()
    fill(tmp_path / "data", "new")
    assert (tmp_path / "data" / "a.txt").read_text() == "new"
