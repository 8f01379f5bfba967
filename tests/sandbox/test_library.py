"""Files, uploads and the sample by their references: read once, stored completely or not at all."""

import hashlib
import io
import json
import os
import pickle
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kronos.candles import Candles, read_candles
from kronos.errors import DataError, KronosError, ParameterError, StorageError
from kronos.sandbox import SAMPLES, FileLibrary, FileNotListed, FileOptions, ReadLimits, Upload, parse
from kronos.sandbox.reader import parse_staged

LIMITS = ReadLimits(bytes=1 << 20, rows=1000, seconds=60)
PARSE = "kronos.sandbox.library.parse_staged"


def csv(rows: int = 30, price: float = 100) -> bytes:
    frame = pd.DataFrame({"timestamps": pd.date_range("2024-01-01", periods=rows, freq="h"), "open": price})
    return frame.assign(high=price, low=price, close=price, volume=1.0).to_csv(index=False).encode()


class Counting:
    """The real parser with counters of calls and of concurrent calls, or a fixed result."""

    def __init__(self) -> None:
        self.calls, self.running, self.most, self.lock = 0, 0, 0, threading.Lock()
        self.gate: threading.Event | None = None
        self.read: Candles | None = None

    def __call__(self, *args: object) -> Candles:
        with self.lock:
            self.calls += 1
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            if self.gate is not None:
                assert self.gate.wait(60)
            return self.read if self.read is not None else parse_staged(*args)  # type: ignore[arg-type]
        finally:
            with self.lock:
                self.running -= 1


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    counter = Counting()
    monkeypatch.setattr(PARSE, counter)
    return counter


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Candles:
    path = tmp_path_factory.mktemp("ready") / "ready.csv"
    path.write_bytes(csv())
    return read_candles(path)


@pytest.fixture
def quick(counting: Counting, ready: Candles) -> Counting:
    """Parser with a fixed result, for tests of everything around it."""
    counting.read = ready
    return counting


@pytest.fixture
def library(tmp_path: Path) -> FileLibrary:
    (tmp_path / "data").mkdir()
    return FileLibrary(tmp_path / "data", tmp_path / "uploads", LIMITS)


def file_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def rejection(library: FileLibrary, content: bytes, name: str, kind: type[KronosError] = DataError) -> str:
    with pytest.raises(kind) as caught:
        library.add(io.BytesIO(content), name)
    return str(caught.value)


def test_data_file_is_read_once_and_named_by_its_stem(tmp_path: Path, library: FileLibrary, counting: Counting) -> None:
    (tmp_path / "data" / "btc_1h.csv").write_bytes(csv())
    got = library.candles("btc_1h.csv")
    expected = read_candles(tmp_path / "data" / "btc_1h.csv", symbol="btc_1h")
    pd.testing.assert_frame_equal(got.frame, expected.frame, check_exact=True)
    assert (got.symbol, got.source, got.findings) == ("btc_1h", "btc_1h.csv", expected.findings)
    assert library.candles("btc_1h.csv") is got
    assert counting.calls == 1
    assert [file.path for file in library.files()] == ["btc_1h.csv"]


def test_other_content_or_options_are_other_results(tmp_path: Path, library: FileLibrary, quick: Counting) -> None:
    path = tmp_path / "data" / "a.csv"
    path.write_bytes(csv())
    library.candles("a.csv")
    library.candles("a.csv", FileOptions(timezone="UTC"))
    path.write_bytes(csv(price=101))
    library.candles("a.csv")
    assert quick.calls == 3


@pytest.mark.slow
def test_upload_is_stored_by_its_digest_and_read_by_its_reference(
    tmp_path: Path, library: FileLibrary, counting: Counting
) -> None:
    content = csv()
    upload = library.add(io.BytesIO(content), "../C:\\evil/simulated_x.csv")
    digest = hashlib.sha256(content).hexdigest()
    assert (upload.id, upload.reference, upload.name) == (digest, f"upload:{digest}", "simulated_x.csv")
    assert upload.size == len(content)
    assert pd.Timestamp(upload.uploaded).tz is not None
    assert library.uploads() == [upload]
    assert file_names(tmp_path / "uploads") == [digest, f"{digest}.json"]
    for path in (tmp_path / "uploads").iterdir():
        assert os.name != "posix" or stat.S_IMODE(path.stat().st_mode) == 0o600
    got = library.candles(upload.reference)
    assert (got.symbol, got.source, got.simulated) == ("simulated_x", "simulated_x.csv", True)
    assert counting.calls == 1
    again = FileLibrary(tmp_path / "data", tmp_path / "uploads", LIMITS)
    assert again.uploads() == [upload]
    pd.testing.assert_frame_equal(again.candles(upload.reference).frame, got.frame)


def test_same_content_is_the_same_upload(tmp_path: Path, library: FileLibrary, quick: Counting) -> None:
    first = library.add(io.BytesIO(csv()), "a.csv")
    assert library.add(io.BytesIO(csv()), "b.txt") == first
    assert len(file_names(tmp_path / "uploads")) == 2


def test_later_label_of_simulated_candles_is_kept(library: FileLibrary, quick: Counting) -> None:
    first = library.add(io.BytesIO(csv()), "a.csv")
    labelled = library.add(io.BytesIO(csv()), "simulated_a.csv")
    assert (labelled.id, labelled.name, labelled.uploaded) == (first.id, "simulated_a.csv", first.uploaded)
    assert library.add(io.BytesIO(csv()), "a.csv") == labelled
    assert library.uploads() == [labelled]


@pytest.mark.slow
def test_unreadable_uploads_are_rejected_and_leave_nothing(tmp_path: Path, library: FileLibrary) -> None:
    messages = [
        rejection(library, b"date,open\n1,2\n", "a.csv"),
        rejection(library, b"PAR1 nothing", "a.parquet"),
        rejection(library, b"", "a.csv"),
    ]
    assert library.uploads() == []
    assert file_names(tmp_path / "uploads") == []
    for message in messages:
        assert message.startswith("a.")
        assert str(tmp_path) not in message


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (pickle.dumps([1]), "a.csv", "is a pickle"),
        (pickle.dumps([1]), "a.parquet", "is a pickle"),
        (b"\x7fELF\0\0", "a.csv", "is neither text nor"),
        (b"\x89PNG\r\n\x1a\n\0", "a.csv", "is neither text nor"),
        (csv(), "a.pkl", "extension"),
        (csv(), "a", "extension"),
        (csv(), "", "extension"),
        (csv(), ".csv", "extension"),
        (csv(), "a.csv/", "extension"),
        (csv(), "<b>\n'.exe", "extension"),
        (b"1" * (LIMITS.bytes + 1), "a.csv", "1 MiB"),
    ],
)
def test_obviously_invalid_uploads_start_no_process(
    tmp_path: Path, library: FileLibrary, quick: Counting, content: bytes, name: str, words: str
) -> None:
    message = rejection(library, content, name)
    assert words in message
    assert message.isprintable()
    assert quick.calls == 0
    assert not (tmp_path / "uploads").exists() or file_names(tmp_path / "uploads") == []


def test_no_more_than_the_limit_is_read(library: FileLibrary) -> None:
    class Endless:
        given = 0

        def read(self, n: int, /) -> bytes:
            self.given += n
            return b"1" * n

    stream = Endless()
    with pytest.raises(DataError, match="1 MiB"):
        library.add(stream, "a.csv")
    assert stream.given == LIMITS.bytes + 1


def test_interrupted_stream_leaves_nothing(tmp_path: Path, library: FileLibrary) -> None:
    class Broken:
        def read(self, n: int, /) -> bytes:
            raise EOFError("the client has disconnected")

    with pytest.raises(EOFError):
        library.add(Broken(), "a.csv")
    assert file_names(tmp_path / "uploads") == []


def test_names_are_stored_as_printable_text(library: FileLibrary, quick: Counting) -> None:
    odd = "dir/\0..\\\n<script>alert('1')\"\u202e{0}%s‮\ud800 .csv"
    upload = library.add(io.BytesIO(csv()), odd)
    assert upload.name == "<script>alert('1')\"{0}%s .csv"
    assert library.uploads() == [upload]


def test_long_name_keeps_its_extension(library: FileLibrary, quick: Counting) -> None:
    upload = library.add(io.BytesIO(csv()), "x" * 5000 + ".csv")
    assert upload.name == "x" * 116 + ".csv"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(name=st.one_of(st.text(), st.text().map(lambda text: text + ".CSV")))
def test_no_name_of_an_upload_reaches_the_disk(
    tmp_path: Path, library: FileLibrary, quick: Counting, name: str
) -> None:
    try:
        upload = library.add(io.BytesIO(csv()), name)
    except DataError:
        return
    assert file_names(tmp_path / "uploads") == [upload.id, f"{upload.id}.json"]
    assert len(upload.name) <= 120
    assert upload.name.isprintable()
    assert not {"/", "\\"} & set(upload.name)
    assert library.uploads() == [upload]
    library.remove(upload.id)


def test_upload_is_removed_completely(tmp_path: Path, library: FileLibrary, quick: Counting) -> None:
    upload = library.add(io.BytesIO(csv()), "a.csv")
    library.remove(upload.id)
    assert file_names(tmp_path / "uploads") == []
    with pytest.raises(FileNotListed, match="There is no upload"):
        library.candles(upload.reference)
    with pytest.raises(FileNotListed, match="There is no upload"):
        library.remove(upload.id)
    library.add(io.BytesIO(csv()), "a.csv")
    assert quick.calls == 2


@pytest.mark.parametrize(
    "id",
    ["", "a", "../data/a.csv", "A" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n", "0" * 64 + ".json", "０" * 64, "0" * 64],
)
def test_invalid_ids_are_rejected(tmp_path: Path, library: FileLibrary, quick: Counting, id: str) -> None:
    (tmp_path / "data" / "a.csv").write_bytes(csv())
    kept = library.add(io.BytesIO(csv()), "a.csv")
    for act in (library.remove, lambda id: library.candles(f"upload:{id}")):
        with pytest.raises(FileNotListed) as caught:
            act(id)
        assert str(caught.value).isprintable()
    assert library.uploads() == [kept]
    assert (tmp_path / "data" / "a.csv").exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reference=st.one_of(st.text(), st.text().map("upload:{}".format), st.text().map("sample:{}".format)))
def test_any_reference_is_rejected_in_one_line(tmp_path: Path, library: FileLibrary, reference: str) -> None:
    with pytest.raises(KronosError) as caught:
        library.candles(reference)
    assert str(tmp_path) not in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("reference", ["upload:{}", "upload:../a.csv", "sample:simulated_btc_1h", "../uploads/{}"])
def test_library_without_uploads_only_knows_the_data_folder(
    tmp_path: Path, library: FileLibrary, quick: Counting, reference: str
) -> None:
    kept = library.add(io.BytesIO(csv()), "a.csv")
    alone = FileLibrary(tmp_path / "data", None, LIMITS, listing="see the list")
    named = reference.format(kept.id)
    with pytest.raises(FileNotListed) as caught:
        alone.candles(named)
    assert str(caught.value) == f"There is no data file '{named}'; see the list."
    assert alone.uploads() == []
    for act in (lambda: alone.add(io.BytesIO(csv()), "a.csv"), lambda: alone.remove(kept.id)):
        with pytest.raises(ParameterError, match="Uploads are not available"):
            act()
    assert library.uploads() == [kept]
    assert file_names(tmp_path) == ["data", "uploads"]
    assert file_names(tmp_path / "data") == []


@pytest.mark.skipif(os.name != "posix", reason="file names on Windows have no colons")
def test_library_without_uploads_reads_names_with_colons(tmp_path: Path, quick: Counting) -> None:
    for name in ("upload:a.csv", "sample:a.csv"):
        (tmp_path / name).write_bytes(csv())
    alone = FileLibrary(tmp_path, None, LIMITS)
    assert [alone.candles(file.path).symbol for file in alone.files()] == ["sample:a", "upload:a"]


def test_quota_is_enforced(tmp_path: Path, quick: Counting) -> None:
    library = FileLibrary(tmp_path / "data", tmp_path / "uploads", LIMITS, quota=10_000)
    first, _ = (library.add(io.BytesIO(csv(price=price)), "a.csv") for price in (1, 2))
    message = rejection(library, csv(price=3), "a.csv", StorageError)
    assert "quota" in message
    assert str(tmp_path) not in message
    assert library.add(io.BytesIO(csv(price=1)), "a.csv") == first  # a known content needs no space
    assert len(file_names(tmp_path / "uploads")) == 4
    library.remove(first.id)
    library.add(io.BytesIO(csv(price=3)), "a.csv")


def test_upload_changed_on_the_disk_is_rejected(tmp_path: Path, library: FileLibrary, quick: Counting) -> None:
    upload = library.add(io.BytesIO(csv()), "a.csv")
    (tmp_path / "uploads" / upload.id).write_bytes(csv(price=7))
    again = FileLibrary(tmp_path / "data", tmp_path / "uploads", LIMITS)
    with pytest.raises(DataError, match=r"^a\.csv has changed"):
        again.candles(upload.reference)


@pytest.mark.parametrize("document", ["", "[]", "{}", '{"name": "no_ending", "uploaded": ""}', "\xff"])
def test_damaged_description_is_not_listed_and_repaired_by_a_new_upload(
    tmp_path: Path, library: FileLibrary, quick: Counting, document: str
) -> None:
    upload = library.add(io.BytesIO(csv()), "a.csv")
    (tmp_path / "uploads" / f"{upload.id}.json").write_text(document, "latin-1")
    assert library.uploads() == []
    assert library.add(io.BytesIO(csv()), "b.csv").name == "b.csv"
    assert [kept.name for kept in library.uploads()] == ["b.csv"]


def test_leftovers_of_a_crash_are_removed_after_a_day(tmp_path: Path, library: FileLibrary, quick: Counting) -> None:
    for name, age in ((".kronos-old", 100_000), (".kronos-new", 0)):
        (tmp_path / "uploads" / name).mkdir(parents=True)
        (tmp_path / "uploads" / name / "half").touch()
        then = (tmp_path / "uploads" / name).stat().st_mtime - age
        os.utime(tmp_path / "uploads" / name, (then, then))
    upload = library.add(io.BytesIO(csv()), "a.csv")
    assert file_names(tmp_path / "uploads") == [".kronos-new", upload.id, f"{upload.id}.json"]
    assert library.uploads() == [upload]


def test_folder_that_cannot_be_created_is_reported_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = rejection(FileLibrary(tmp_path, tmp_path / "file" / "uploads", LIMITS), csv(), "a.csv", StorageError)
    assert str(tmp_path) not in message


def test_sample_is_read_without_a_process(library: FileLibrary, quick: Counting) -> None:
    (name,) = SAMPLES
    candles = library.candles(f"sample:{name}")
    assert (candles.symbol, candles.timezone, candles.simulated, len(candles)) == ("BTC simulated", "UTC", True, 600)
    assert library.candles(f"sample:{name}", FileOptions(symbol="X", calendar="24/7")).symbol == "X"
    assert quick.calls == 0
    with pytest.raises(ParameterError, match="leave out"):
        library.candles(f"sample:{name}", FileOptions(timezone="UTC"))
    with pytest.raises(FileNotListed, match=f"sample:{name}"):
        library.candles("sample:../simulated_btc_1h")


def test_concurrent_requests_share_one_read(tmp_path: Path, library: FileLibrary, quick: Counting) -> None:
    (tmp_path / "data" / "a.csv").write_bytes(csv())
    quick.gate = threading.Event()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(library.candles, "a.csv") for _ in range(8)]
        uploads = pool.submit(library.add, io.BytesIO(csv()), "a.csv")
        quick.gate.set()
        results = [future.result() for future in asked]
        assert isinstance(uploads.result(), Upload)
    assert quick.calls == 1
    assert all(result is results[0] for result in results)


def test_at_most_two_files_are_read_at_a_time(tmp_path: Path, library: FileLibrary, quick: Counting) -> None:
    for number in range(6):
        (tmp_path / "data" / f"{number}.csv").write_bytes(csv(price=number + 1))
    quick.gate = threading.Event()
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(library.candles, f"{number}.csv") for number in range(6)]
        while quick.running < 2:
            threading.Event().wait(0.01)
        quick.gate.set()
        for future in asked:
            future.result()
    assert (quick.calls, quick.most) == (6, 2)


def test_errors_are_not_cached(tmp_path: Path, library: FileLibrary, ready: Candles) -> None:
    (tmp_path / "data" / "a.csv").write_bytes(csv())
    with mock.patch(PARSE, side_effect=DataError("Once.")), pytest.raises(DataError, match=r"Once\."):
        library.candles("a.csv")
    with mock.patch(PARSE, return_value=ready):
        assert len(library.candles("a.csv")) == len(ready)


def test_least_recently_used_result_is_evicted(tmp_path: Path, library: FileLibrary, quick: Counting) -> None:
    for number in range(17):
        (tmp_path / "data" / f"{number}.csv").write_bytes(csv(price=number + 1))
        library.candles(f"{number}.csv")
        library.candles("0.csv")
    assert quick.calls == 17
    library.candles("1.csv")
    assert quick.calls == 18


def test_description_of_an_upload_is_json(tmp_path: Path, library: FileLibrary, quick: Counting) -> None:
    upload = library.add(io.BytesIO(csv()), "a.csv")
    document = json.loads((tmp_path / "uploads" / f"{upload.id}.json").read_text("utf-8"))
    assert document == {"name": "a.csv", "size": upload.size, "uploaded": upload.uploaded}


@pytest.mark.slow
def test_parse_and_library_return_the_same_candles(tmp_path: Path, library: FileLibrary) -> None:
    (tmp_path / "data" / "a.csv").write_bytes(csv())
    direct = parse(tmp_path / "data" / "a.csv", limits=LIMITS)
    assert direct.symbol is None
    pd.testing.assert_frame_equal(library.candles("a.csv").frame, direct.frame)
