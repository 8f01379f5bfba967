"""Figures of trainings."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.image import imread

from kronos.errors import ParameterError
from kronos.plotting.svg import inline_svg
from kronos.plotting.training import Labels, plot_learning_rate, plot_loss, plot_measures, save_sheet


def words(figure: Figure) -> list[str]:
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [text.get_text() for text in (*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels())]
    return found


def lines(figure: Figure) -> list[tuple[list[float], list[float]]]:
    return [tuple(map(list, line.get_data())) for line in figure.axes[0].get_lines()]


def steps(count: int = 30) -> pd.DataFrame:
    at = np.arange(1, count + 1) * 10
    loss = 4 + np.exp(-at / 100)
    return pd.DataFrame({"step": at, "loss": loss, "s1": loss / 2, "learning_rate": 4e-5 * at / at[-1]})


EPOCHS = pd.DataFrame(
    {
        "epoch": [1, 2, 3],
        "step": [100, 200, 300],
        "validation_loss": [5.0, 4.25, 4.5],
        "validation_codes_used_s1": [0.4, 0.5, 0.6],
    }
)


def test_plot_loss_has_training_validation_and_best_epoch():
    figure = plot_loss(steps(), EPOCHS, title="Loss", subtitle="nats")
    assert {"Loss", "nats", "training", "validation", "training steps", "best: epoch 2, 4.25"} <= set(words(figure))
    training, validation, best = lines(figure)
    assert training == (steps()["step"].tolist(), steps()["loss"].tolist())
    assert validation == ([100, 200, 300], [5.0, 4.25, 4.5])
    assert best[0] == [200, 200]


def test_first_steps_do_not_extend_the_axis():
    many = steps(500)
    many.loc[:5, "loss"] = 1e4
    low, high = plot_loss(many, EPOCHS, title="Loss").axes[0].get_ylim()
    assert (low > 3, high < 6) == (True, True)


def test_first_epoch_does_not_extend_the_axis():
    at = np.arange(31)
    epochs = pd.DataFrame({"epoch": at, "step": 100 * at, "validation_loss": 4 + 1 / (1 + at)})
    epochs.loc[0, "validation_loss"] = 1e4
    figure = plot_loss(steps(3), epochs, title="Loss")
    low, high = figure.axes[0].get_ylim()
    assert (low > 3, high < 6) == (True, True)
    line = figure.axes[0].get_lines()[1]
    assert line.get_clip_box().ymax < figure.bbox.ymax, "lines are clipped below the title"


def test_many_steps_are_smoothed():
    figure = plot_loss(steps(2000), EPOCHS, title="Loss")
    original, smoothed, *_ = lines(figure)
    assert len(original[0]) == 2000
    assert len(smoothed[0]) == 40
    assert np.interp(smoothed[0], *original) == pytest.approx(smoothed[1], abs=0.15)


def test_part_without_steps_uses_training_values_of_epochs():
    epochs = EPOCHS.assign(train_coarse=[3.0, 2.0, 1.0], validation_coarse=[3.5, 2.5, 1.5])
    training, validation, _ = lines(plot_loss(steps(), epochs, "coarse", title="Coarse"))
    assert (training[1], validation[1]) == ([3.0, 2.0, 1.0], [3.5, 2.5, 1.5])


def test_plot_learning_rate_and_measures():
    assert "4e−5" in words(plot_learning_rate(steps(), title="Learning rate"))
    figure = plot_measures(EPOCHS, {"validation_codes_used_s1": "coarse", "missing": "fine"}, title="Codes")
    assert "coarse" in words(figure)
    assert "fine" not in words(figure)


@pytest.mark.parametrize(
    "draw", [lambda t, e: plot_loss(t, e, title="x"), lambda t, e: plot_learning_rate(t, title="x")]
)
def test_empty_log(draw):
    nothing = pd.DataFrame({"step": []})
    assert "No data in the log." in words(draw(nothing, nothing))


def test_translated_labels():
    labels = Labels("训练", "验证", "最佳：第 {epoch} 轮，{value}", "步", "无")
    assert {"训练", "验证", "最佳：第 2 轮，4.25", "步"} <= set(
        words(plot_loss(steps(), EPOCHS, title="损失", words=labels))
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("palette", ["green-up", "red-up", "colour-blind"])
def test_svg_and_png_in_every_theme_and_palette(theme, palette, tmp_path):
    look = {"theme": theme, "palette": palette}
    figures = [plot_loss(steps(), EPOCHS, title="Loss", **look), plot_learning_rate(steps(), title="Rate", **look)]
    svg = inline_svg(figures[0], "loss", "Loss of training and validation", theme=theme, palette=palette)
    assert "var(--forecast" in svg
    assert "validation" in svg
    path = save_sheet([*figures, figures[0]], tmp_path / "curves.png", columns=2)
    pixels = imread(path)
    assert pixels.shape == (2 * 472, 2 * 720, 4)
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_invalid_arguments(tmp_path):
    with pytest.raises(ParameterError, match="at least one"):
        save_sheet([], tmp_path / "curves.png")
    with pytest.raises(ParameterError, match="sepia"):
        plot_loss(steps(), EPOCHS, title="x", theme="sepia")


NUMBERS = st.one_of(st.floats(width=32), st.sampled_from([math.nan, math.inf, 0.0, -1e30, 1e30]))


@pytest.mark.slow
@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(0, 10**9), NUMBERS), max_size=5), st.lists(NUMBERS, max_size=4))
def test_any_log_can_be_drawn(logged, validated):
    table = pd.DataFrame(logged, columns=["step", "loss"]).assign(learning_rate=lambda t: t["loss"])
    epochs = pd.DataFrame({"epoch": range(len(validated)), "step": range(len(validated)), "validation_loss": validated})
    for figure in (
        plot_loss(table, epochs, title="$x_1$ <b>"),
        plot_measures(epochs, {"validation_loss": "$y"}, title="y"),
        plot_learning_rate(table, title="z"),
    ):
        inline_svg(figure, "k", "title")
