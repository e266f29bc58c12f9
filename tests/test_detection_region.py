"""The region layer: decode by hand, encode and decode back, the loss; tiny_yolo; the picture."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spikesim as ss
from spikesim.detection import Detections, Region, Targets, Truth, fit_anchors

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from spikesim.detection import region_loss  # noqa: E402

ONE = Region(anchors=[(6, 10)], num_classes=2, stride=8)
TWO = Region(anchors=[(6, 10), (16, 12)], num_classes=3, stride=8)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


# --- Decode ---------------------------------------------------------------------------------------


def test_decode_by_hand():
    output = np.full((1, 7, 2, 3), -20.0)  # nothing anywhere
    # Cell row 1, column 2: tx, ty, tw, th, to and two classes.
    output[0, :, 1, 2] = [0.0, math.log(3), math.log(2), 0.0, 1.0, 2.0, 0.5]
    (found,) = ONE.decode(output)
    # Centre (0.5 + 2)·8, (0.75 + 1)·8; size 6·2, 10.
    assert found.boxes == pytest.approx(np.array([[14, 9, 26, 19]] * 2))
    share = math.exp(2) / (math.exp(2) + math.exp(0.5))
    assert found.scores == pytest.approx([sigmoid(1) * share, sigmoid(1) * (1 - share)])
    assert found.classes.tolist() == [0, 1]


def test_channels_are_anchor_after_anchor():
    output = np.zeros((1, TWO.channels, 1, 1))
    output[0, [4, 12], 0, 0] = -20, 20  # to of each anchor
    output[0, 8 + 5 + 1, 0, 0] = 30
    (found,) = TWO.decode(output, score_threshold=0.5)
    assert found.classes.tolist() == [1]
    assert found.boxes.tolist() == [[4 - 8, 4 - 6, 4 + 8, 4 + 6]]


def test_decode_drops_unsure_scores_and_rivals_of_a_class():
    output = np.zeros((1, ONE.channels, 1, 2))
    output[0, 0, 0] = 20, -20  # both centres on the edge between the cells
    output[0, 4, 0] = 1.0, 2.0
    output[0, 5, 0] = 20.0
    (found,) = ONE.decode(output)
    assert found.scores == pytest.approx([sigmoid(2)])
    (found,) = ONE.decode(output, iou_threshold=1.0)
    assert found.scores == pytest.approx([sigmoid(2), sigmoid(1)])
    (found,) = ONE.decode(output, iou_threshold=1.0, score_threshold=0.8)
    assert found.scores == pytest.approx([sigmoid(2)])


def test_extreme_outputs_overflow_nowhere():
    output = np.full((1, ONE.channels, 1, 1), 1e30)
    with np.errstate(all="raise", under="ignore"):
        (found,) = ONE.decode(output)
        ONE.decode(-output)
    assert np.isfinite(found.boxes).all()
    assert found.scores.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (np.zeros((1, 8, 2, 2)), r"output has shape \(1, 8, 2, 2\), expected \(N, 7, rows"),
        (np.zeros((7, 2, 2)), r"output has shape \(7, 2, 2\)"),
        (np.full((1, 7, 2, 2), np.nan), "output is not finite"),
    ],
)
def test_decode_refuses(output: Any, says: str):
    with pytest.raises((ss.errors.ShapeError, ss.errors.InputError), match=says):
        ONE.decode(output)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"anchors": []}, "anchors has shape"),
        ({"anchors": [(1, 0)]}, "expected sizes above 0"),
        ({"num_classes": 0}, "num_classes is 0, expected a whole number from 1"),
        ({"stride": 2.5}, "stride is 2.5, expected a whole number from 1"),
    ],
)
def test_a_region_is_checked(fields: dict[str, Any], says: str):
    with pytest.raises(ss.errors.InputError, match=says):
        Region(**{"anchors": [(1, 1)], "num_classes": 1, "stride": 1, **fields})


def test_a_region_goes_through_json():
    assert Region.of(json.loads(json.dumps(TWO.spec()))) == TWO
    with pytest.raises(ss.errors.InputError, match="expected anchors, num_classes and stride"):
        Region.of({"anchors": [[1, 1]]})


# --- Encode ---------------------------------------------------------------------------------------


@st.composite
def scenes(draw: Any) -> list[Truth]:
    """Images of 40 x 48; at most one box is centred in a cell of 8, some on an edge."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    truths = []
    for _ in range(draw(st.integers(1, 3))):
        n = draw(st.integers(0, 6))
        cells = random.permutation(30)[:n]
        inside = random.integers(0, 5, (n, 2)) / 4 * random.choice([1, 0.37])
        inside = np.minimum(inside, 1 - 1e-12)  # the cell's own edge belongs to the next
        centres = (np.stack([cells % 6, cells // 6], 1) + inside) * 8
        sizes = random.uniform(1, 30, (n, 2))
        boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)
        truths.append(Truth(boxes, random.integers(0, 3, n)))
    return truths


@given(scenes())
def test_decode_gives_back_what_was_encoded(truths: list[Truth]):
    output = TWO.encode(truths, grid=(5, 6))
    found = TWO.decode(output, score_threshold=0.5, iou_threshold=1.0)
    for d, truth in zip(found, truths, strict=True):
        assert len(d) == len(truth)
        by_box = np.lexsort(d.boxes.round(4).T), np.lexsort(truth.boxes.round(4).T)
        assert np.abs(d.boxes[by_box[0]] - truth.boxes[by_box[1]]).max(initial=0) < 1e-6
        assert d.classes[by_box[0]].tolist() == truth.classes[by_box[1]].tolist()


def test_places_by_hand():
    truth = Truth(np.array([[10.0, 6.0, 18.0, 16.0], [0.0, 30.0, 16.0, 42.0]]), np.array([2, 0]))
    targets = TWO.targets([Truth(np.empty((0, 4)), np.empty(0)), truth], (6, 6))
    assert targets.shape == (2, 2, 6, 6)
    assert targets.image.tolist() == [1, 1]
    assert targets.anchor.tolist() == [0, 1]
    assert (targets.row.tolist(), targets.column.tolist()) == ([1, 4], [1, 1])
    assert targets.offsets.tolist() == [[6 / 8, 3 / 8], [0, 4 / 8]]
    assert targets.sizes == pytest.approx(np.array([[math.log(8 / 6), 0], [0, 0]]))
    assert targets.classes.tolist() == [2, 0]


def test_a_second_box_in_a_cell_takes_the_other_anchor_and_a_third_is_refused():
    box = [4.0, 3.0, 10.0, 13.0]
    targets = TWO.targets([Truth(np.array([box, box]), np.array([0, 1]))], (2, 2))
    assert targets.anchor.tolist() == [0, 1]
    with pytest.raises(ss.errors.InputError, match=r"more boxes centred in cell \(1, 0\) than"):
        TWO.targets([Truth(np.array([box] * 3), np.zeros(3))], (2, 2))


def test_a_centre_on_the_last_edge_is_in_the_last_cell_and_beyond_it_nowhere():
    edge = Truth(np.array([[12.0, 12.0, 20.0, 20.0]]), np.array([0]))
    assert ONE.targets([edge], (2, 2)).row.tolist() == [1]
    with pytest.raises(ss.errors.InputError, match="expected its centre inside 1 x 2 cells of 8"):
        ONE.targets([edge], (1, 2))
    with pytest.raises(ss.errors.InputError, match="image 0 has class 2, expected 0 to 1"):
        ONE.targets([Truth(edge.boxes, np.array([2]))], (2, 2))


def test_anchors_are_the_centres_of_two_groups():
    small, large = np.array([4.0, 8.0]), np.array([20.0, 16.0])
    sizes = np.concatenate([small + d for d in (-1, 0, 1)] + [large + d for d in (-2, 2)])
    sizes = sizes.reshape(-1, 2)
    truth = Truth(np.concatenate([np.zeros_like(sizes), sizes], axis=1), np.zeros(len(sizes)))
    assert fit_anchors([truth], 2) == [[4.0, 8.0], [20.0, 16.0]]
    with pytest.raises(ss.errors.InputError, match="count is 6, expected from 1 to 5"):
        fit_anchors([truth], 6)
    with pytest.raises(ss.errors.InputError, match="count is 1, expected from 1 to 0"):
        fit_anchors([], 1)


# --- Loss -----------------------------------------------------------------------------------------


def loss_of(output: Any, targets: Targets, **weights: float) -> float:
    return float(region_loss(torch.as_tensor(output), targets, ONE, **weights))


def test_the_loss_by_hand():
    truth = Truth(np.array([[9.0, 5.0, 15.0, 15.0]]), np.array([1]))  # offsets 0.5, 0.25
    targets = ONE.targets([truth], (2, 2))
    output = np.zeros((1, 7, 2, 2))
    output[0, :, 1, 1] = [0, 0, 0.5, -1, 2, 0, math.log(3)]
    box = 0.25**2 + 0.5**2 + 1  # of tx none, ty, tw, th
    kind = -math.log(3 / 4)
    objectness = 5 * -math.log(sigmoid(2)) + 3 * math.log(2)
    assert loss_of(output, targets) == pytest.approx(5 * box + kind + objectness)
    assert loss_of(output, targets, box_weight=0, positive_weight=1) == pytest.approx(
        kind - math.log(sigmoid(2)) + 3 * math.log(2)
    )


def test_the_loss_is_a_mean_over_boxes():
    truth = Truth(np.array([[9.0, 5.0, 15.0, 15.0]]), np.array([1]))
    output = np.random.default_rng(0).normal(size=(1, 7, 2, 2))
    once = loss_of(output, ONE.targets([truth], (2, 2)))
    twice = loss_of(np.concatenate([output, output]), ONE.targets([truth, truth], (2, 2)))
    assert twice == pytest.approx(once)


def test_the_loss_of_what_was_encoded_is_almost_nothing():
    truth = Truth(np.array([[9.0, 5.0, 15.0, 15.0], [17.0, 3.0, 30.0, 9.0]]), np.array([1, 2]))
    output = torch.from_numpy(TWO.encode([truth], (4, 4)))
    assert float(region_loss(output, TWO.targets([truth], (4, 4)), TWO)) < 1e-6


def test_the_gradient_is_that_of_the_loss_and_finite_without_boxes():
    truth = Truth(np.array([[9.0, 5.0, 15.0, 15.0]]), np.array([1]))
    targets = ONE.targets([truth], (2, 2))
    output = torch.randn(1, 7, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda o: region_loss(o, targets, ONE), output)
    nothing = ONE.targets([Truth(np.empty((0, 4)), np.empty(0))], (2, 2))
    extreme = torch.full((1, 7, 2, 2), 80.0, requires_grad=True)
    for where in (targets, nothing):
        (gradient,) = torch.autograd.grad(region_loss(extreme, where, ONE), extreme)
        assert torch.isfinite(gradient).all()
        assert gradient.abs().sum() > 0


def test_descent_on_the_loss_finds_the_boxes():
    truths = [
        Truth(np.array([[2.0, 3.0, 9.0, 13.0], [17.0, 15.0, 30.0, 29.0]]), np.array([0, 2])),
        Truth(np.array([[12.0, 8.0, 18.0, 17.0]]), np.array([1])),
    ]
    targets = TWO.targets(truths, (4, 4))
    output = torch.zeros((2, TWO.channels, 4, 4), requires_grad=True)
    optimizer = torch.optim.Adam([output], 0.3)
    losses = []
    for _ in range(60):
        loss = region_loss(output, targets, TWO)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.02 * losses[0]
    found = TWO.decode(output.detach().numpy(), score_threshold=0.5)
    assert ss.detection.mean_average_precision(found, truths, iou_threshold=0.9).mean == 1


def test_the_loss_refuses():
    targets = ONE.targets([Truth(np.empty((0, 4)), np.empty(0))], (2, 2))
    with pytest.raises(ss.errors.ShapeError, match=r"expected \(1, 7, 2, 2\), as the targets"):
        loss_of(np.zeros((2, 7, 2, 2)), targets)
    with pytest.raises(ss.errors.InputError, match="box_weight is -1, expected a number from 0"):
        loss_of(np.zeros((1, 7, 2, 2)), targets, box_weight=-1)


# --- The network ----------------------------------------------------------------------------------


@pytest.mark.parametrize("downsample", ["stride", "max", "avg"])
def test_tiny_yolo_has_an_output_for_every_anchor_and_cell(downsample: str):
    model = ss.models.tiny_yolo(3, 2, widths=(4, 8, 8), strides=(1, 2, 2), downsample=downsample)
    assert model(torch.zeros(2, 1, 16, 24)).shape == (2, 16, 4, 6)
    assert not model.training
    names = [name for name, _ in model.named_children()]
    pool = downsample != "stride"
    assert names == [
        *("conv1", "bn1", "act1", "conv2", "bn2", "act2"),
        *(("pool2",) if pool else ()),
        *("conv3", "bn3", "act3"),
        *(("pool3",) if pool else ()),
        "head",
    ]
    assert all(m.negative_slope == 0.1 for m in model if isinstance(m, nn.LeakyReLU))


def test_tiny_yolo_is_seeded_and_leaves_the_global_generator():
    before = torch.random.get_rng_state()
    a, b, c = (ss.models.tiny_yolo(widths=(4,), strides=(2,), seed=s) for s in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(a.head.weight, b.head.weight)
    assert not torch.equal(a.head.weight, c.head.weight)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"downsample": "min"}, "downsample is 'min'"),
        ({"widths": (4,)}, "strides has 5 entries, expected 1"),
        ({"strides": (1, 2, 2, 3, 1)}, r"strides are \(1, 2, 2, 3, 1\), expected 1 or 2"),
        ({"num_anchors": 0}, "num_anchors has 0, expected at least 1"),
        ({"slope": 1.0}, "slope is 1.0"),
    ],
)
def test_tiny_yolo_refuses(options: dict[str, Any], says: str):
    with pytest.raises((ss.errors.InputError, ss.errors.UnsupportedError), match=says):
        ss.models.tiny_yolo(**options)


# --- The picture ----------------------------------------------------------------------------------


def test_draw_has_a_box_for_each_detection_that_is_sure():
    pytest.importorskip("matplotlib")
    truth = Truth(np.array([[1.0, 2.0, 5.0, 7.0]]), np.array([0]))
    found = Detections(
        np.array([[1, 2, 5, 6], [0, 0, 9, 9]]), np.array([0.9, 0.1]), np.array([1, 0])
    )
    nothing = Detections(np.empty((0, 4)), np.empty(0), np.empty(0))
    images = np.zeros((2, 1, 10, 10), np.float32)
    figure = ss.detection.draw(images, [found, nothing], [truth, truth], names=["a", "b"])
    first, second = figure.axes
    assert [patch.get_bbox().extents.tolist() for patch in first.patches] == [
        [0.5, 1.5, 4.5, 6.5],
        [0.5, 1.5, 4.5, 5.5],
    ]
    assert [text.get_text() for text in first.texts] == ["b 0.90"]
    assert len(second.patches) == 1
    with pytest.raises(ss.errors.ShapeError, match="truths has 1 images, expected 2"):
        ss.detection.draw(images, truths=[truth])
    with pytest.raises(ss.errors.ShapeError, match="images has shape"):
        ss.detection.draw(images[0])
