"""Pictures show the numbers they were given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import spikesim as ss
from spikesim.errors import InputError, ShapeError, SpikesimError
from spikesim.result import SpikeRaster

pytest.importorskip("matplotlib")

RASTER = SpikeRaster(
    step=np.array([0, 0, 2, 3]),
    sample=np.array([0, 1, 0, 0]),
    neuron=np.array([1, 0, 0, 2]),
    count=np.array([1, 1, -1, 2]),
    shape=(4, 2, 3),
)


def test_weights_stand_in_their_tiles() -> None:
    weight = np.arange(5 * 6, dtype=np.float32).reshape(5, 6)
    figure = ss.plot.weights(weight, (2, 3), columns=2, labels="abcde")
    sheet = np.asarray(figure.axes[0].images[0].get_array())
    assert sheet.shape == (3 * 3 - 1, 2 * 4 - 1)
    for i in range(5):
        top, left = i // 2 * 3, i % 2 * 4
        tile = sheet[top : top + 2, left : left + 3]
        np.testing.assert_array_equal(tile, weight[i].reshape(2, 3))
    # The lines between and the place of the sixth are empty.
    blank = np.ma.getmaskarray(figure.axes[0].images[0].get_array())
    assert blank.sum() == sheet.size - 30
    assert [text.get_text() for text in figure.axes[0].texts] == list("abcde")


def test_fields_of_on_and_off_are_their_difference() -> None:
    weight = np.zeros((1, 2, 2, 2))
    weight[0, 0, 0, 0], weight[0, 1, 1, 1] = 0.5, 0.25
    image = ss.plot.fields(weight).axes[0].images[0]
    np.testing.assert_array_equal(np.asarray(image.get_array()), [[0.5, 0.0], [0.0, -0.25]])
    assert image.get_clim() == (-0.5, 0.5)
    mean = ss.plot.fields(np.ones((1, 3, 2, 2))).axes[0].images[0]
    np.testing.assert_array_equal(np.asarray(mean.get_array()), np.ones((2, 2)))


def test_a_raster_has_one_sample_s_spikes() -> None:
    positive, negative = ss.plot.raster(RASTER, dt=1e-3).axes[0].collections
    np.testing.assert_allclose(positive.get_offsets(), [[0, 1], [3, 2]])
    np.testing.assert_allclose(negative.get_offsets(), [[2, 0]])


def test_rates_count_every_spike() -> None:
    (line,) = ss.plot.rates(RASTER).axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), np.array([2, 0, 1, 2]) / 6)
    (line,) = ss.plot.rates(RASTER, sample=0, dt=1e-3).axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), np.array([1, 0, 1, 2]) / 3 * 1000)


WRONG: list[tuple[type[SpikesimError], str, Callable[[], object]]] = [
    (ShapeError, "expected (n_out, 6)", lambda: ss.plot.weights(np.ones((2, 5)), (2, 3))),
    (ShapeError, "expected (n_out, n_in)", lambda: ss.plot.weights(np.ones(6), (2, 3))),
    (ShapeError, "labels has 1", lambda: ss.plot.weights(np.ones((2, 6)), (2, 3), labels="a")),
    (InputError, "columns is 0", lambda: ss.plot.weights(np.ones((2, 6)), (2, 3), columns=0)),
    (InputError, "NaN", lambda: ss.plot.fields(np.full((1, 1, 2, 2), np.nan))),
    (ShapeError, "(out, in, ky, kx)", lambda: ss.plot.fields(np.ones((2, 2)))),
    (InputError, "sample 2", lambda: ss.plot.raster(RASTER, sample=2)),
    (InputError, "dt is 0", lambda: ss.plot.rates(RASTER, dt=0)),
]


@pytest.mark.parametrize(("error", "words", "call"), WRONG, ids=[words for _, words, _ in WRONG])
def test_what_can_not_be_drawn_is_said(
    error: type[SpikesimError], words: str, call: Callable[[], object]
) -> None:
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "begins"), [("a.png", b"\x89PNG"), ("a.SVG", b"<?xml"), ("a.pdf", b"%PDF")]
)
def test_pictures_are_written(tmp_path: Path, name: str, begins: bytes) -> None:
    figure = ss.plot.weights(np.eye(4), (2, 2))
    ss.plot.save(figure, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(begins)
    with pytest.raises(InputError, match=r"b\.gif is of no known kind, expected one of \.png"):
        ss.plot.save(figure, tmp_path / "b.gif")


def test_a_png_has_the_figure_s_colours(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    figure = ss.plot.weights(np.arange(400.0).reshape(4, 100), (10, 10))
    figure.set_layout_engine("none")  # it moves with every drawing
    figure.savefig(tmp_path / "whole.png")
    ss.plot.save(figure, tmp_path / "few.png")
    whole, few = (
        np.asarray(image.open(tmp_path / f"{name}.png").convert("RGB"), np.int64)
        for name in ("whole", "few")
    )
    assert whole.shape == few.shape
    assert np.abs(whole - few).max() <= 8  # of 255
    assert np.abs(whole - few).mean() < 1
