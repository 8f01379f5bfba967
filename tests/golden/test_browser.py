"""The cases that the browser's package is tested with are what this package computes; see `golden.browser_cases`."""

import json
import math

import pytest

from golden.browser_cases import FILES, FOLDER

ROUNDING = 1e-9  # relative: sums differ in the last digits between processors
# Prices of the bundled model, which computes in float32; a token may differ where a draw is at the border of two.
PRICES = 1e-5
UPDATE = "run PYTHONPATH=src:tests python -m golden.browser_cases, and the tests in web/"


def differences(actual, expected, tolerance, place=""):
    """Places at which JSON values differ by more than rounding."""
    if isinstance(expected, dict) and isinstance(actual, dict) and actual.keys() == expected.keys():
        pairs = [(actual[key], expected[key], f"{place}.{key}") for key in expected]
    elif isinstance(expected, list) and isinstance(actual, list) and len(actual) == len(expected):
        pairs = [(*pair, f"{place}[{i}]") for i, pair in enumerate(zip(actual, expected, strict=True))]
    elif isinstance(expected, float) and isinstance(actual, float):
        return [] if math.isclose(actual, expected, rel_tol=tolerance, abs_tol=tolerance) else [place]
    else:
        return [] if actual == expected else [place]
    return [found for one, other, where in pairs for found in differences(one, other, tolerance, where)]


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_cases_of_the_browser_are_what_python_computes(name):
    computed = json.loads(json.dumps(FILES[name](), allow_nan=False))
    stored = json.loads((FOLDER / name).read_text("utf-8"))
    different = differences(computed, stored, PRICES if name == "bundled.json" else ROUNDING)
    assert not different, f"{name} is out of date at {different[:3]}: {UPDATE}"


def test_every_file_has_cases():
    assert {path.name for path in FOLDER.iterdir()} == set(FILES)
