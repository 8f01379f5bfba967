import hashlib
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronos.errors import DataError
from kronos.provenance import frame_digest, now_utc, sha256_file, versions


def frame(values=(1.0, 2.0, 3.0), unit="ns", tz=None, name="close"):
    index = pd.date_range("2024-01-01", periods=len(values), freq="h", tz=tz).as_unit(unit)
    return pd.DataFrame({name: list(values)}, index=index)


def test_file_digests_equal_hashlib(tmp_path):
    (tmp_path / "file").write_bytes(b"abc" * 100_000)
    assert sha256_file(tmp_path / "file") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_missing_files_raise(tmp_path):
    with pytest.raises(DataError, match="Cannot read"):
        sha256_file(tmp_path / "absent")


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_the_resolution_of_the_index_does_not_matter(unit):
    assert frame_digest(frame(unit=unit)) == frame_digest(frame())


def test_the_memory_layout_does_not_matter():
    values = np.arange(12.0).reshape(4, 3)
    first = pd.DataFrame(values, columns=list("abc"))
    second = pd.DataFrame({column: values[:, i].astype("float32") for i, column in enumerate("abc")})
    assert frame_digest(first) == frame_digest(second) == frame_digest(first.copy(deep=True))


@pytest.mark.parametrize(
    "second",
    [
        frame((1.0, 2.0, 3.5)),
        frame((1.0, 2.0)),
        frame(tz="UTC"),
        frame(tz="Asia/Shanghai"),
        frame(name="open"),
        frame().iloc[::-1],
        frame().reset_index(drop=True),
        frame().assign(more=0.0),
        frame().astype(str),
    ],
)
def test_other_changes_change_the_digest(second):
    assert frame_digest(second) != frame_digest(frame())


def test_minus_zero_and_missing_values():
    assert frame_digest(frame((0.0, 1.0))) == frame_digest(frame((-0.0, 1.0)))
    assert frame_digest(frame((np.nan, 1.0))) == frame_digest(frame((-np.nan, 1.0)))
    assert frame_digest(frame((np.nan, 1.0))) != frame_digest(frame((0.0, 1.0)))


def test_the_digest_is_stable():
    """Stored results are identified by it, so it must not change with sessions or versions of pandas."""
    assert (
        frame_digest(frame(tz="UTC").assign(name=["a", "b", "ü"]))
        == "9f8756f7d81d32bb84bfa46b831e524edca57e3a5a5faec42fac13d6e1ea9eee"
    )


@given(
    st.lists(st.text(max_size=4), min_size=2, max_size=2),
    st.lists(st.text(max_size=4), min_size=2, max_size=2),
)
def test_neighbouring_texts_are_not_confused(first, second):
    digests = {frame_digest(pd.DataFrame({"a": texts})) for texts in (first, second)}
    assert len(digests) == (1 if first == second else 2)


def test_versions_of_all_packages():
    found = versions()
    assert found["python"].startswith("3.")
    assert {"kronos", "numpy", "pandas", "torch"} <= found.keys()


def test_versions_import_nothing():
    program = (
        "import sys; from kronos.provenance import versions; versions();"
        "print({'numpy', 'pandas', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_now_utc_is_iso_8601_to_the_second():
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", now_utc())
    assert abs(pd.Timestamp(now_utc()) - pd.Timestamp.now(tz="UTC")) < pd.Timedelta(minutes=1)
