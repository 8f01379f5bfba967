"""Windows: position, dependence on the number alone, variations, and leakage checks."""

import pickle
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from kronos.datasets import WindowDataset, WindowSettings, batches, check_leakage, collate, open_training_data
from kronos.errors import ParameterError
from kronos.normalisation import normalise

SETTINGS = WindowSettings(lookback=40, predict=8, shortest=20, without_volume=0.2, mirrored=0.3)


@pytest.fixture(scope="module")
def data(tmp_path_factory, new_folder):
    folder = new_folder(tmp_path_factory.mktemp("windows") / "candles").several()
    return open_training_data(folder.place, cache=folder.cache, quality="none", windows=SETTINGS)


def train(data, windows=SETTINGS, **changes):
    return WindowDataset(data, "train", windows, **({"samples": 300} | changes))


def same(first, second):
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in first.__slots__)


def series_of(data, row):
    return next(number for number, one in enumerate(data.store.series) if one.start <= row < one.stop)


def test_shape_of_a_sample(data):
    sample = train(data)[0]
    assert (sample.x.shape, sample.x.dtype) == ((48, 6), np.float32)
    assert (sample.stamp.shape, sample.stamp.dtype) == ((48, 5), np.int64)
    assert np.abs(sample.x).max() <= 5
    assert 20 <= sample.known <= 40


def test_sample_depends_only_on_seed_epoch_and_number(data):
    one, other = train(data), train(data)
    order = np.random.default_rng(0).permutation(50)
    shuffled = {int(index): one[int(index)] for index in order}
    assert all(same(shuffled[index], other[index]) for index in range(50))
    assert not np.array_equal(one[0].x, one[1].x)
    assert not np.array_equal(one[0].x, train(data, seed=101)[0].x)
    before = one[7]
    one.set_epoch(3)
    assert one.epoch == 3
    assert not np.array_equal(before.x, one[7].x)
    assert one[7].row == 3 * 300 + 7
    one.set_epoch(0)
    assert same(before, one[7])
    assert same(before, train(data, samples=5_000)[7])


def test_workers_and_processes_give_the_same_batches(data):
    dataset = train(data, samples=64)
    dataset.set_epoch(2)
    alone = list(batches(dataset, 16))
    loaded = list(DataLoader(dataset, batch_size=16, num_workers=2, collate_fn=collate))
    shares = [list(batches(dataset, 16, rank=rank, world=2)) for rank in range(2)]
    assert len(alone) == len(loaded) == len(shares[0]) == 4
    for step, batch in enumerate(alone):
        torch.testing.assert_close(batch.x, loaded[step].x, rtol=0, atol=0)
        both = torch.cat([shares[0][step].x, shares[1][step].x])
        torch.testing.assert_close(batch.x, both, rtol=0, atol=0)
        assert batch.row.tolist() == list(range(128 + 16 * step, 128 + 16 * step + 16))
    [last] = batches(dataset, 16, start=3)
    torch.testing.assert_close(last.x, alone[3].x, rtol=0, atol=0)


def test_dataset_is_pickled_without_candles(data):
    dataset = train(data)
    dataset.set_epoch(1)
    packed = pickle.dumps(dataset)
    assert len(packed) < 50_000
    assert same(pickle.loads(packed)[5], dataset[5])  # noqa: S301 (our own)


def test_incomplete_last_step(data):
    dataset = train(data, samples=21)
    assert [len(batch) for batch in batches(dataset, 8)] == [8, 8, 5]
    assert [len(batch) for batch in batches(dataset, 8, drop_last=True)] == [8, 8]
    shares = [[len(batch) for batch in batches(dataset, 8, rank=rank, world=4)] for rank in range(4)]
    assert shares == [[2, 2, 1], [2, 2, 1], [2, 2, 1], [2, 2, 2]]
    assert [len(one) for one in (next(batches(dataset, 8))[:3], next(batches(dataset, 8))[3:])] == [3, 5]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 9, "world": 2}, "batch_size 9: choose a multiple of 2"),
        ({"rank": 2, "world": 2}, "rank 2"),
        ({"start": -1}, "start -1"),
    ],
)
def test_invalid_batches(data, changes, words):
    with pytest.raises(ParameterError, match=words):
        batches(train(data), **({"batch_size": 8} | changes))


def test_batch_moves_to_a_device(data):
    batch = next(batches(train(data), 4)).to("meta")
    assert {tensor.device.type for tensor in (batch.x, batch.stamp, batch.known, batch.step, batch.row)} == {"meta"}
    assert (batch.x.dtype, batch.stamp.dtype, batch.known.dtype, batch.step.dtype, batch.row.dtype) == (
        torch.float32, torch.int64, torch.int64, torch.float32, torch.int64,
    )  # fmt: skip


@pytest.mark.slow
@settings(max_examples=12)
@given(
    lengths=st.lists(st.integers(40, 160), min_size=1, max_size=4),
    lookback=st.integers(2, 12),
    predict=st.integers(1, 6),
    jumps=st.lists(st.integers(1, 150), max_size=3),
)
def test_windows_stay_within_their_segment(new_folder, walked, lengths, lookback, predict, jumps):
    with tempfile.TemporaryDirectory() as place:
        folder = new_folder(Path(place) / "candles")
        for number, rows in enumerate(lengths):
            frame = walked(number, rows)
            for row in jumps:
                frame.loc[row:, ["open", "high", "low", "close"]] *= 2
            folder.add(f"{number % 2}/{number}.parquet", frame)
        windows = WindowSettings(lookback=lookback, predict=predict)
        found = open_training_data(folder.place, cache=folder.cache, quality="none", windows=windows)
        for part in ("train", "val", "test"):
            fitting = {
                row
                for span in found.spans(part)
                for row in range(span.start, span.stop - windows.total + 1)
                if row + lookback >= span.future
            }
            if not fitting:
                continue
            dataset = WindowDataset(found, part, windows)
            assert dataset.available == len(dataset) == len(fitting)
            drawn = [dataset.window(index).first for index in range(len(dataset))]
            assert set(drawn) <= fitting
            if part != "train":
                assert sorted(drawn) == sorted(fitting)


@pytest.mark.parametrize("normalisation", ["spread", "steps", "changes"])
def test_training_and_forecasting_normalise_alike(data, normalisation):
    dataset = WindowDataset(data, "val", WindowSettings(lookback=40, predict=8, normalisation=normalisation))
    for index in range(0, len(dataset), 40):
        sample, first = dataset[index], dataset.window(index).first
        known = np.array(data.store.candles[first : first + 40])
        expected, scaler = normalise(known, 5, normalisation=normalisation)
        np.testing.assert_array_equal(sample.x[:40], expected)
        np.testing.assert_array_equal(sample.stamp, data.store.stamps[first : first + 48])
        assert sample.step == pytest.approx(np.diff(known[:, 3]).std() / scaler.scale[3], rel=1e-12)


def test_validation_windows_are_fixed_and_evenly_spread(data):
    dataset = WindowDataset(data, "val", SETTINGS, samples=20)
    assert len(dataset) == 20
    rows = [dataset.window(index).first for index in range(20)]
    dataset.set_epoch(5)
    assert rows == [WindowDataset(data, "val", SETTINGS, samples=20, seed=9).window(index).first for index in range(20)]
    assert {dataset[index].known for index in range(20)} == {40}
    assert [dataset[index].row for index in range(20)] == list(range(20))
    every = WindowDataset(data, "val", SETTINGS)
    order = {every.window(index).first: index for index in range(len(every))}
    steps = np.diff([order[row] for row in rows])
    assert steps.max() - steps.min() <= 1
    for row in rows:
        span = next(one for one in data.spans("val") if one.start <= row < one.stop)
        assert span.future - 40 <= row <= span.stop - 48


@pytest.mark.parametrize("weighting", ["sqrt", "size", "equal"])
def test_weighting_of_groups(data, weighting):
    dataset = train(data, WindowSettings(lookback=40, predict=8, weighting=weighting), samples=4_000)
    spans = data.spans("train")
    sizes = Counter()
    for span in spans:
        sizes[span.series] += max(0, len(span) - 47)
    groups = np.array([sizes[0] + sizes[1], sizes[2]], dtype=float)
    shares = groups ** {"sqrt": 0.5, "size": 1, "equal": 0}[weighting]
    drawn = Counter(series_of(data, dataset.window(index).first) for index in range(4_000))
    assert (drawn[0] + drawn[1]) / 4_000 == pytest.approx(shares[0] / shares.sum(), abs=0.03)
    assert drawn[1] / (drawn[0] + drawn[1]) == pytest.approx(sizes[1] / groups[0], abs=0.03)


def test_shares_of_varied_samples(data):
    dataset = train(data, samples=1_000)
    windows = [dataset.window(index) for index in range(1_000)]
    assert np.mean([one.without_volume for one in windows]) == pytest.approx(0.2, abs=0.05)
    assert np.mean([one.mirrored for one in windows]) == pytest.approx(0.3, abs=0.06)
    assert set(np.unique([one.known for one in windows])) == set(range(20, 41))
    muted = next(index for index, one in enumerate(windows) if one.without_volume)
    assert not dataset[muted].x[:, 4:].any()
    loud = next(index for index, one in enumerate(windows) if not one.without_volume)
    assert dataset[loud].x[:, 4:].any()


def test_mirrored_prices_are_valid_candles(data):
    values = {"lookback": 40, "predict": 8, "normalisation": "steps"}
    plain = train(data, WindowSettings(**values))
    turned = train(data, WindowSettings(**values, mirrored=1.0))
    for index in range(20):
        x, mirror = plain[index].x, turned[index].x
        np.testing.assert_array_equal(mirror[:, [0, 3, 4, 5]], np.hstack([-x[:, [0, 3]], x[:, 4:]]))
        np.testing.assert_array_equal(mirror[:, 1], -x[:, 2])
        np.testing.assert_array_equal(mirror[:, 2], -x[:, 1])
        assert (mirror[:, 1] >= mirror[:, [0, 3]].max(axis=1)).all()
        assert (mirror[:, 2] <= mirror[:, [0, 3]].min(axis=1)).all()
        assert mirror[39, 3] == 0  # the last known close
        assert turned[index].step == plain[index].step


def test_aggregated_samples_are_the_resampled_candles(data):
    values = {"lookback": 40, "predict": 8, "normalisation": "changes"}
    dataset = train(data, WindowSettings(**values, aggregated=0.5), samples=400)
    plain = train(data, WindowSettings(**values), samples=400)
    windows = [dataset.window(index) for index in range(400)]
    assert [one.first for one in windows] == [plain.window(index).first for index in range(400)]
    factors = Counter(one.factor for one in windows)
    assert set(factors) == {1, 2, 3, 4}
    assert 0.3 < 1 - factors[1] / 400 < 0.55
    for index, window in enumerate(windows):
        rows = slice(window.first, window.first + 48 * window.factor)
        assert any(span.start <= rows.start and rows.stop <= span.stop for span in data.spans("train"))
        blocks = pd.DataFrame(data.store.candles[rows]).groupby(np.arange(rows.stop - rows.start) // window.factor)
        expected = blocks.agg({0: "first", 1: "max", 2: "min", 3: "last", 4: "sum", 5: "sum"}).to_numpy()
        np.testing.assert_allclose(dataset.candles(window), expected, rtol=1e-12)
        np.testing.assert_array_equal(dataset[index].stamp, data.store.stamps[rows][:: window.factor])


def test_samples_are_not_aggregated_beyond_their_segment(data):
    longest = max(len(span) for span in data.spans("train"))
    settings = WindowSettings(lookback=longest // 2, predict=8, aggregated=1.0)
    dataset = train(data, settings, samples=200)
    assert {dataset.window(index).factor for index in range(200)} == {1}
    dataset[0]


def test_default_number_of_samples(data):
    assert len(train(data, samples=None)) == train(data).available
    assert len(WindowDataset(data, "val", SETTINGS, samples=10**6)) == WindowDataset(data, "val", SETTINGS).available


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"samples": 0}, "samples 0"), ({"seed": -1}, "seed -1")],
)
def test_invalid_datasets(data, changes, words):
    with pytest.raises(ParameterError, match=words):
        train(data, **changes)
    with pytest.raises(IndexError, match="300"):
        train(data)[300]
    with pytest.raises(ParameterError, match="epoch -1"):
        train(data).set_epoch(-1)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"lookback": 1}, "lookback 1"),
        ({"predict": 0}, "predict 0"),
        ({"shortest": 91}, "shortest 91: choose 2–90"),
        ({"clip": 0}, "clip 0"),
        ({"mirrored": 1.5}, "mirrored 1.5"),
        ({"aggregated": -0.1}, "aggregated -0.1"),
        ({"without_volume": float("nan")}, "without_volume nan"),
        ({"normalisation": "zscore"}, "normalisation 'zscore': choose spread, steps"),
        ({"weighting": "log"}, "weighting 'log': choose sqrt, size, equal"),
    ],
)
def test_invalid_settings(values, words):
    with pytest.raises(ParameterError, match=words):
        WindowSettings(**values)


class Noisy(WindowDataset):
    def transform(self, candles, rng):
        return candles * np.exp(rng.normal(0, 1e-3, (len(candles), 1)))


class WholeWindow(WindowDataset):
    def normalise(self, candles, known):
        return super().normalise(candles, len(candles))


class Smoothed(WindowDataset):
    def transform(self, candles, rng):
        candles[:-1] = (candles[:-1] + candles[1:]) / 2
        return candles


class Peeking(WindowDataset):
    def __getitem__(self, index):
        sample = super().__getitem__(index)
        behind = self.window(index).first + len(sample.x)
        sample.x[0, 0] += self.data.store.candles[min(behind, len(self.data.store) - 1), 3]
        return sample


class Shorter(WindowDataset):
    def transform(self, candles, rng):
        return candles[1:]


def test_transform_varies_only_training_samples(data):
    assert not same(Noisy(data, "train", SETTINGS)[0], WindowDataset(data, "train", SETTINGS)[0])
    assert same(Noisy(data, "train", SETTINGS)[0], Noisy(data, "train", SETTINGS)[0])
    assert same(Noisy(data, "val", SETTINGS)[0], WindowDataset(data, "val", SETTINGS)[0])
    with pytest.raises(ParameterError, match=r"Shorter.transform returned candles \[47, 6\] for \[48, 6\]"):
        Shorter(data, "train", SETTINGS)[0]


@pytest.mark.parametrize("part", ["train", "val", "test"])
@pytest.mark.parametrize("normalisation", ["spread", "steps"])
def test_samples_do_not_leak(data, part, normalisation):
    windows = WindowSettings(lookback=40, predict=8, shortest=20, normalisation=normalisation, mirrored=0.5)
    assert check_leakage(WindowDataset(data, part, windows)) == []
    assert check_leakage(WindowDataset(data, part, replace(windows, aggregated=0.8))) == []
    assert check_leakage(Noisy(data, part, windows)) == []


@pytest.mark.parametrize(
    ("kind", "leaks"),
    [
        (WholeWindow, {"earlier normalised candles", "its volatility", "the mean or the scale"}),
        (Smoothed, {"earlier normalised candles"}),
        (Peeking, {"earlier normalised candles"}),
    ],
)
def test_planted_leaks_are_found(data, kind, leaks):
    found = check_leakage(kind(data, "train", SETTINGS))
    assert all(any(what in sentence for sentence in found) for what in leaks)
    assert found[0].startswith("Sample 0: ")
    if kind is WholeWindow:
        assert check_leakage(kind(data, "val", SETTINGS))
        assert check_leakage(kind(data, "train", WindowSettings(lookback=40, predict=8, normalisation="steps")))
    with pytest.raises(ParameterError, match="samples 0"):
        check_leakage(kind(data, "train", SETTINGS), samples=0)
