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


def test_files_hash_as_everywhere_else(tmp_path):
    (tmp_path / "file").write_bytes(b"abc" * 100_000)
    assert sha256_file(tmp_path / "file") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="Cannot read"):
        sha256_file(tmp_path / "absent")


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_the_resolution_of_the_index_does_not_count(unit):
    assert frame_digest(frame(unit=unit)) == frame_digest(frame())


def test_the_layout_in_memory_does_not_count():
    values = np.arange(12.0).reshape(4, 3)
    one = pd.DataFrame(values, columns=list("abc"))
    other = pd.DataFrame({column: values[:, i].astype("float32") for i, column in enumerate("abc")})
    assert frame_digest(one) == frame_digest(other) == frame_digest(one.copy(deep=True))


@pytest.mark.parametrize(
    "other",
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
def test_everything_else_counts(other):
    assert frame_digest(other) != frame_digest(frame())


def test_minus_zero_and_missing_values():
    assert frame_digest(frame((0.0, 1.0))) == frame_digest(frame((-0.0, 1.0)))
    assert frame_digest(frame((np.nan, 1.0))) == frame_digest(frame((-np.nan, 1.0)))
    assert frame_digest(frame((np.nan, 1.0))) != frame_digest(frame((0.0, 1.0)))


def test_a_digest_that_stays():
    """The same in every session and with every version of pandas: results are recognised by it for years."""
    assert (
        frame_digest(frame(tz="UTC").assign(name=["a", "b", "ü"]))
        == "9f8756f7d81d32bb84bfa46b831e524edca57e3a5a5faec42fac13d6e1ea9eee"
    )


@given(
    st.lists(st.text(max_size=4), min_size=2, max_size=2),
    st.lists(st.text(max_size=4), min_size=2, max_size=2),
)
def test_texts_do_not_run_into_each_other(one, other):
    digests = {frame_digest(pd.DataFrame({"a": texts})) for texts in (one, other)}
    assert len(digests) == (1 if one == other else 2)


def test_versions_name_what_results_depend_on():
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


def test_the_time_is_utc_to_the_second():
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", now_utc())
    assert abs(pd.Timestamp(now_utc()) - pd.Timestamp.now(tz="UTC")) < pd.Timedelta(minutes=1)
