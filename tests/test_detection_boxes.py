"""Boxes, non-maximum suppression and average precision against cases worked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spikesim as ss
from spikesim.detection import (
    Detections,
    Truth,
    average_precision,
    iou,
    mean_average_precision,
    nms,
)

EMPTY = np.empty((0, 4))


def truth(*boxes: Any, classes: Any = None) -> Truth:
    kinds = np.zeros(len(boxes), int) if classes is None else np.asarray(classes)
    return Truth(np.asarray(boxes, float), kinds)


def found(*boxes: Any, scores: Any, classes: Any = None) -> Detections:
    kinds = np.zeros(len(boxes), int) if classes is None else np.asarray(classes)
    return Detections(np.asarray(boxes, float), np.asarray(scores, float), kinds)


# --- Overlap --------------------------------------------------------------------------------------


def test_iou_by_hand():
    a = [[0, 0, 4, 4]]
    b = [
        [0, 0, 4, 4],  # the same
        [2, 0, 6, 4],  # 8 of 24
        [1, 1, 3, 3],  # inside: 4 of 16
        [4, 0, 8, 4],  # touching
        [9, 9, 10, 10],  # far
        [2, 2, 5, 6],  # 4 of 16 + 12 − 4
    ]
    assert iou(a, b).tolist() == [[1, 8 / 24, 4 / 16, 0, 0, 4 / 24]]
    assert iou(b, a).T.tolist() == iou(a, b).tolist()
    assert iou(EMPTY, b).shape == (0, 6)


@pytest.mark.parametrize(
    ("boxes", "says"),
    [
        ([[0, 0, 4]], r"iou: boxes has shape \(1, 3\), expected \(boxes, 4\)"),
        ([[0, 0, 0, 4]], r"iou: box 0 is \[0.0, 0.0, 0.0, 4.0\], expected finite x0 < x1"),
        ([[0, 0, 1, 1], [0, 0, np.nan, 1]], "iou: box 1 is .*nan"),
        ([[0, 0, np.inf, 1]], "iou: box 0 is .*inf"),
    ],
)
def test_what_is_no_box_is_refused(boxes: Any, says: str):
    with pytest.raises((ss.errors.InputError, ss.errors.ShapeError), match=says):
        iou(boxes, [[0, 0, 1, 1]])


def test_detections_and_truths_are_checked():
    box = [[0, 0, 1, 1]]
    with pytest.raises(ss.errors.ShapeError, match=r"scores has shape \(2,\), expected \(1,\)"):
        found(*box, scores=[0.5, 0.5])
    with pytest.raises(ss.errors.InputError, match="score 0 is NaN"):
        found(*box, scores=[np.nan])
    with pytest.raises(ss.errors.ShapeError, match=r"classes has shape \(2,\), expected \(1,\)"):
        truth(*box, classes=[0, 1])
    for bad in (-1, 0.5):
        with pytest.raises(ss.errors.InputError, match="expected whole numbers from 0"):
            truth(*box, classes=[bad])


# --- Non-maximum suppression ----------------------------------------------------------------------


def test_nms_by_hand():
    # IoU of neighbours 8/24 = 1/3, of the first and the third 0.
    boxes = [[0, 0, 4, 4], [2, 0, 6, 4], [4, 0, 8, 4]]
    # The middle one is surest and removes both; when it is not, the outer ones remove it.
    assert nms(boxes, [0.5, 0.9, 0.7], iou_threshold=0.3).tolist() == [1]
    assert nms(boxes, [0.8, 0.5, 0.7], iou_threshold=0.3).tolist() == [0, 2]
    # A box that was removed removes none: 0 takes 1, and 2 stays.
    assert nms(boxes, [0.9, 0.8, 0.1], iou_threshold=0.3).tolist() == [0, 2]
    assert nms(boxes, [0.5, 0.9, 0.7], iou_threshold=0.4).tolist() == [1, 2, 0]


def test_nms_at_the_threshold_and_on_ties():
    half = [[0, 0, 4, 4], [0, 0, 4, 2]]
    assert nms(half, [0.9, 0.8], iou_threshold=0.5).tolist() == [0, 1]  # more than, not as much as
    same = [[0, 0, 4, 4]] * 3 + [[8, 8, 9, 9]]
    assert nms(same, [0.5, 0.5, 0.5, 0.5]).tolist() == [0, 3]


def test_nms_keeps_classes_apart():
    boxes = [[0, 0, 4, 4]] * 4
    assert nms(boxes, [0.1, 0.2, 0.3, 0.4], [0, 1, 0, 1]).tolist() == [3, 2]
    assert nms(boxes, [0.1, 0.2, 0.3, 0.4]).tolist() == [3]
    assert nms(EMPTY, []).tolist() == []


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_nms_refuses_a_threshold(threshold: float):
    with pytest.raises(
        ss.errors.InputError, match=r"iou_threshold is .*, expected a number from 0"
    ):
        nms([[0, 0, 1, 1]], [1.0], iou_threshold=threshold)


# --- Average precision ----------------------------------------------------------------------------


def ap(detections: Detections, answer: Truth, **options: Any) -> float:
    return mean_average_precision([detections], [answer], **options).mean


A, B, C = [0, 0, 4, 4], [10, 0, 14, 4], [20, 0, 24, 4]


def test_perfect_detections_have_ap_1():
    assert ap(found(A, B, C, scores=[0.2, 0.9, 0.5]), truth(C, A, B)) == 1


def test_a_miss_costs_its_recall():
    assert ap(found(A, B, scores=[0.9, 0.8]), truth(A, B, C)) == 2 / 3
    assert ap(found(scores=[]), truth(A)) == 0


def test_the_order_of_scores_matters():
    wrong = [40, 0, 44, 4]
    # Surest of all: precision 1/2, 2/3 where the recall is 1/2, 1; from the right 2/3 each.
    assert ap(found(wrong, A, B, scores=[0.9, 0.8, 0.7]), truth(A, B)) == pytest.approx(2 / 3)
    # Between: 1 at recall 1/2, then 2/3.
    assert ap(found(wrong, A, B, scores=[0.8, 0.9, 0.7]), truth(A, B)) == pytest.approx(5 / 6)
    # Last: of no consequence.
    assert ap(found(wrong, A, B, scores=[0.6, 0.9, 0.7]), truth(A, B)) == 1


def test_the_envelope_is_monotone_from_the_right():
    # right, wrong, wrong, right, right: precision 1, ., ., 2/4, 3/5; envelope 1, 3/5, 3/5.
    score = average_precision(np.linspace(1, 0.2, 5), np.array([1, 0, 0, 1, 1], bool), 4)
    assert score == pytest.approx((1 + 3 / 5 + 3 / 5) / 4)


def test_a_box_is_matched_once_and_by_the_surest():
    near = [0, 0, 4, 3]  # IoU 3/4 with A
    twice = found(A, near, B, scores=[0.5, 0.9, 0.7], classes=[0, 0, 0])
    # near is right, then B, then A once more, which is wrong but last.
    assert ap(twice, truth(A, B)) == 1
    # With the repetition before B: right, wrong, right.
    twice = found(A, near, B, scores=[0.8, 0.9, 0.7])
    assert ap(twice, truth(A, B)) == pytest.approx((1 + 2 / 3) / 2)


def test_duplicates_leave_ap_unchanged_after_nms():
    once = found(A, B, [40, 0, 44, 4], scores=[0.9, 0.7, 0.8])
    boxes = np.repeat(once.boxes, 3, axis=0)
    scores = np.repeat(once.scores, 3)
    kept = nms(boxes, scores)
    thinned = Detections(boxes[kept], scores[kept], np.zeros(len(kept), int))
    assert len(thinned) == 3
    assert ap(thinned, truth(A, B)) == ap(once, truth(A, B)) == pytest.approx(5 / 6)
    # Without it every repetition is a mistake.
    all_of_them = Detections(boxes, scores, np.zeros(9, int))
    assert ap(all_of_them, truth(A, B)) < 5 / 6


def test_a_detection_belongs_to_the_box_it_overlaps_most():
    left, right = [0, 0, 4, 4], [2, 0, 6, 4]
    # IoU 3/5 with right, 1/3 with left: it may not have left when right is taken.
    near_right = [3, 0, 7, 4]
    low = {"iou_threshold": 0.1}
    assert ap(found(right, near_right, scores=[0.9, 0.8]), truth(left, right), **low) == 0.5


def test_the_threshold_is_a_least_overlap():
    half = found([0, 0, 4, 2], scores=[0.9])
    assert ap(half, truth(A), iou_threshold=0.5) == 1
    assert ap(half, truth(A), iou_threshold=0.51) == 0


def test_the_mean_is_over_the_classes_that_occur():
    result = mean_average_precision(
        [found(A, B, C, scores=[0.9, 0.8, 0.7], classes=[2, 5, 7]), found(scores=[])],
        [truth(A, B, classes=[2, 3]), truth(C, classes=[2])],
    )
    assert result.classes == {2: 0.5, 3: 0.0}
    assert result.mean == 0.25
    assert str(result) == "mAP@0.5 0.2500 over 2 classes"


def test_images_share_one_ranking():
    # Image 0 is wrong at 0.9, image 1 right at 0.8: precision 1/2 at recall 1/2.
    result = mean_average_precision(
        [found(B, scores=[0.9]), found(A, scores=[0.8])], [truth(A), truth(A)]
    )
    assert result.mean == 0.25


def test_equal_scores_count_together():
    wrong = [40, 0, 44, 4]
    for order in ([wrong, A], [A, wrong]):
        assert ap(found(*order, scores=[0.5, 0.5]), truth(A)) == 0.5


def test_average_precision_refuses():
    with pytest.raises(ss.errors.InputError, match="truths is without boxes"):
        ap(found(A, scores=[1]), truth())
    with pytest.raises(ss.errors.ShapeError, match="detections has 0 images, expected 1"):
        mean_average_precision([], [truth(A)])
    with pytest.raises(ss.errors.InputError, match="total is 0, expected at least 1"):
        average_precision(np.array([0.5]), np.array([False]), 0)
    with pytest.raises(ss.errors.InputError, match="at least the 2 detections that are right"):
        average_precision(np.array([0.5, 0.4]), np.array([True, True]), 1)
    with pytest.raises(ss.errors.ShapeError, match="right has shape"):
        average_precision(np.array([0.5]), np.array([True, False]), 1)


# --- Whatever is drawn ----------------------------------------------------------------------------


@st.composite
def scenes(draw: Any) -> tuple[list[Detections], list[Truth]]:
    """A few images; detections are truths that were moved, and others; scores repeat."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    detections, truths = [], []
    for _ in range(draw(st.integers(1, 4))):
        n_truths, n_false = draw(st.integers(0, 4)), draw(st.integers(0, 4))
        corners = random.uniform(0, 20, (n_truths + n_false, 2))
        boxes = np.concatenate([corners, corners + random.uniform(2, 8, corners.shape)], axis=1)
        kinds = random.integers(0, 2, len(boxes))
        truths.append(Truth(boxes[:n_truths], kinds[:n_truths]))
        moved = boxes + random.uniform(-0.9, 0.9, boxes.shape)
        scores = random.integers(0, 5, len(boxes)) / 4
        detections.append(Detections(moved, scores, kinds))
    if not sum(map(len, truths)):
        truths[0] = Truth(np.array([[0.0, 0.0, 1.0, 1.0]]), np.array([0]))
    return detections, truths


@given(scenes(), st.integers(0, 2**32))
def test_ap_lies_in_0_to_1_and_no_order_changes_it(scene: Any, seed: int):
    detections, truths = scene
    result = mean_average_precision(detections, truths)
    assert 0 <= result.mean <= 1
    assert all(0 <= value <= 1 for value in result.classes.values())
    random = np.random.default_rng(seed)
    images = random.permutation(len(truths))
    shuffled = [detections[i].select(random.permutation(len(detections[i]))) for i in images]
    answers = []
    for i in images:
        order = random.permutation(len(truths[i]))
        answers.append(Truth(truths[i].boxes[order], truths[i].classes[order]))
    again = mean_average_precision(shuffled, answers)
    assert again.mean == pytest.approx(result.mean, abs=1e-12)


@given(scenes())
def test_ap_falls_with_the_threshold(scene: Any):
    values = [mean_average_precision(*scene, iou_threshold=t).mean for t in (0.0, 0.3, 0.6, 0.9)]
    # The box a detection belongs to stays; the surest that reaches it comes later or not at all.
    assert values == sorted(values, reverse=True)


@given(scenes(), st.sampled_from([0.0, 0.2, 0.45, 0.8, 1.0]))
def test_nms_is_idempotent_and_leaves_no_rivals(scene: Any, threshold: float):
    for d in scene[0]:
        kept = nms(d.boxes, d.scores, d.classes, iou_threshold=threshold)
        rest = d.select(kept)
        again = nms(rest.boxes, rest.scores, rest.classes, iou_threshold=threshold)
        assert again.tolist() == list(range(len(rest)))
        assert (np.diff(rest.scores) <= 0).all()
        overlap = iou(rest.boxes, rest.boxes) > threshold
        rivals = overlap & (rest.classes[:, None] == rest.classes)
        assert not (rivals & ~np.eye(len(rest), dtype=bool)).any()
        # And whatever is gone has a rival among those that stayed, as sure or surer.
        gone = np.setdiff1d(np.arange(len(d)), kept)
        for i in gone:
            beats = (iou(d.boxes[i : i + 1], rest.boxes)[0] > threshold) & (
                rest.scores >= d.scores[i]
            )
            assert (beats & (rest.classes == d.classes[i])).any()
