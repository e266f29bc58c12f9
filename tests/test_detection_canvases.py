"""Canvases of real digits, and the recipe that trains a detector on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import spikesim as ss
from spikesim.detection import Region, iou, make_canvases
from spikesim.detection.canvases import INK, Canvases

DATA = ss.data.load("digits")


def make(count: int = 60, **options: Any) -> Canvases:
    chosen = {"size": 32, "digit_size": (8, 16), "cell": 8, "seed": 3, **options}
    return make_canvases(DATA.x, DATA.y, count, **chosen)


def test_every_bit_of_ink_is_in_one_box_and_every_box_is_tight():
    canvases = make(noise=0.0)
    assert canvases.images.dtype == np.float32
    assert canvases.images.shape == (60, 1, 32, 32)
    for image, truth in zip(canvases.images[:, 0], canvases.truths, strict=True):
        covered = np.zeros(image.shape, int)
        for x0, y0, x1, y1 in truth.boxes.astype(int):
            covered[y0:y1, x0:x1] += 1
            patch = image[y0:y1, x0:x1]
            # Every edge of the box touches ink.
            assert all(edge.any() for edge in (patch[0], patch[-1], patch[:, 0], patch[:, -1]))
            assert 0.6 <= patch.max() <= 1
            assert patch[patch > 0].min() >= INK * 0.6 * 0.999
        assert covered.max() == 1
        assert not image[covered == 0].any()


def test_boxes_do_not_overlap_nor_share_a_cell():
    crowded = make(200, per_image=(4, 9), digit_size=(4, 10), seed=1)
    assert max(map(len, crowded.truths)) > 4
    for truth in crowded.truths:
        apart = iou(truth.boxes, truth.boxes)
        assert np.array_equal(apart, np.eye(len(truth)))
        cells = ((truth.boxes[:, :2] + truth.boxes[:, 2:]) / 2 // 8).astype(int)
        assert len({tuple(cell) for cell in cells}) == len(truth)
        assert truth.boxes.min() >= 0
        assert truth.boxes.max() <= 32


def test_numbers_sizes_and_classes_are_as_asked_for():
    canvases = make(200, per_image=(1, 2), digit_size=(8, 16))
    counts = {len(truth) for truth in canvases.truths}
    assert counts == {1, 2}
    boxes = np.concatenate([truth.boxes for truth in canvases.truths])
    heights = boxes[:, 3] - boxes[:, 1]
    assert heights.max() <= 16
    assert len(set(heights)) >= 6
    assert {int(c) for truth in canvases.truths for c in truth.classes} == set(range(10))


def test_a_digit_at_its_own_size_is_itself():
    canvases = make_canvases(
        DATA.x[7:8],
        [4],
        3,
        size=12,
        digit_size=(8, 8),
        per_image=(1, 1),
        noise=0,
        brightness=(1, 1),
    )
    ink = DATA.x[7, 0] / DATA.x[7].max()
    ink[ink < INK] = 0
    rows, columns = ink.any(1).nonzero()[0], ink.any(0).nonzero()[0]
    tight = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    for image, truth in zip(canvases.images[:, 0], canvases.truths, strict=True):
        x0, y0, x1, y1 = truth.boxes[0].astype(int)
        assert image[y0:y1, x0:x1] == pytest.approx(tight, abs=1e-6)
        assert truth.classes.tolist() == [4]


def test_the_seed_decides_everything_and_labels_follow_their_digits():
    a, b, c = make(20), make(20), make(20, seed=4)
    assert np.array_equal(a.images, b.images)
    assert all(np.array_equal(s.boxes, t.boxes) for s, t in zip(a.truths, b.truths, strict=True))
    assert not np.array_equal(a.images, c.images)
    relabelled = make_canvases(DATA.x, 9 - DATA.y, 20, size=32, digit_size=(8, 16), cell=8, seed=3)
    assert np.array_equal(relabelled.images, a.images)
    for s, t in zip(a.truths, relabelled.truths, strict=True):
        assert (s.classes + t.classes == 9).all()


def test_noise_has_its_spread_and_is_clipped():
    quiet, noisy = make(100, noise=0.0), make(100, noise=0.05)
    # The noise is drawn last: what is placed does not depend on it.
    assert [t.classes.tolist() for t in quiet.truths] == [t.classes.tolist() for t in noisy.truths]
    assert noisy.images.min() == 0
    assert noisy.images.max() <= 1
    inside = (quiet.images > 0.3) & (quiet.images < 0.7)
    assert (noisy.images - quiet.images)[inside].std() == pytest.approx(0.05, rel=0.05)


def test_a_slice_of_canvases():
    canvases = make(10)
    part = canvases[4:7]
    assert len(part) == 3
    assert np.array_equal(part.images, canvases.images[4:7])
    assert part.truths == canvases.truths[4:7]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"count": 0}, "count is 0, expected at least 1"),
        ({"per_image": (0, 2)}, r"per_image is \(0, 2\), expected 1 ≤ fewest ≤ most"),
        ({"digit_size": (9, 8)}, r"digit_size is \(9, 8\), expected 4 ≤"),
        ({"digit_size": (8, 40)}, r"digit_size is \(8, 40\), expected at most the canvas, 32 x 32"),
        ({"brightness": (0.1, 1.0)}, r"brightness is \(0.1, 1.0\), expected 0.1 < least"),
        ({"noise": -1.0}, "noise is -1.0"),
        ({"cell": 0}, "cell is 0"),
    ],
)
def test_canvases_refuse(options: dict[str, Any], says: str):
    with pytest.raises(ss.errors.InputError, match=says):
        make(**options)


def test_canvases_refuse_what_are_no_digits():
    with pytest.raises(ss.errors.ShapeError, match=r"labels has shape \(3,\), expected \(360,\)"):
        make_canvases(DATA.x, [1, 2, 3], 1)
    with pytest.raises(ss.errors.ShapeError, match=r"digits has shape \(2, 3, 8, 8\)"):
        make_canvases(np.ones((2, 3, 8, 8)), [0, 1], 1)
    with pytest.raises(ss.errors.InputError, match="digit 0 is without ink"):
        make_canvases(np.zeros((1, 8, 8)), [0], 1)
    with pytest.raises(ss.errors.InputError, match="values that are not ink"):
        make_canvases(np.full((1, 8, 8), -1.0), [0], 1)


# --- The recipe -----------------------------------------------------------------------------------

torch = pytest.importorskip("torch")

from spikesim.recipes import detection as recipe  # noqa: E402


def test_canvases_for_training_and_for_tests_are_made_of_different_digits():
    x, y = recipe._digits("digits", "train")
    assert len(x) == len(y) == 1797 - 360
    held_out = {image.tobytes() for image in DATA.x[:, 0]}
    assert not held_out & {image.tobytes() for image in x}
    test = recipe.canvases("digits", "test", 5)
    setting = recipe.SETTINGS["digits"]
    assert test.images.shape == (5, 1, setting.size, setting.size)


@pytest.mark.data
def test_canvases_of_mnist(data_dir: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SPIKESIM_DATA", str(data_dir))
    test = recipe.canvases("mnist", "test", 20)
    assert test.images.shape == (20, 1, 48, 48)
    boxes = np.concatenate([truth.boxes for truth in test.truths])
    assert (boxes[:, 3] - boxes[:, 1]).max() <= 28


def test_the_recipe_refuses():
    with pytest.raises(ss.errors.UnsupportedError, match="data is 'coco', expected one of mnist"):
        recipe.train(data="coco")
    with pytest.raises(ss.errors.InputError, match="split is 'valid', expected 'train' or 'test'"):
        recipe.canvases("digits", "valid", 1)
    with pytest.raises(ss.errors.InputError, match="epochs is 0, expected at least 1"):
        recipe.train(data="digits", epochs=0)
    net = ss.Network(input_shape=(1, 8, 8))
    net.add(ss.Conv2d(np.ones((15, 1, 8, 8))))
    with pytest.raises(ss.errors.InputError, match="readout is 'sum', expected 'mean'"):
        recipe.network_predictor(net, 4)


def test_the_recipe_trains_and_scores_a_module_as_it_scores_a_network():
    told: list[tuple[int, int]] = []
    threads = torch.get_num_threads()
    state = torch.random.get_rng_state()
    module, meta = recipe.train(
        data="digits",
        epochs=8,
        seed=1,
        threads=1,
        progress=lambda done, total: told.append((done, total)),
    )
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    region = Region.of(meta["region"])
    test = recipe.canvases("digits", "test", 150)
    trained = recipe.evaluate(recipe.module_predictor(module), test, region)
    untrained = getattr(ss.models, meta["model"])(**meta["arguments"])
    chance = recipe.evaluate(recipe.module_predictor(untrained), test, region)
    assert trained.mean > 0.5
    assert chance.mean < 0.05
    # The sure truth itself scores 1, by the same route.
    grid = tuple(n // region.stride for n in test.images.shape[2:])
    answers = region.encode(test.truths, grid)
    served = iter(np.split(answers, 3))
    assert recipe.evaluate(lambda _: next(served), test, region, batch_size=50).mean == 1
