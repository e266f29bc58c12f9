"""Bad input to conversions: each named in one line; and the forms that good input may have."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import spikesim as ss
from spikesim.convert.ann.data import samples
from spikesim.convert.ann.methods import METHODS
from spikesim.data.dataset import Dataset
from spikesim.errors import GraphError, InputError, ShapeError, SpikesimError, UnsupportedError

Array = NDArray[Any]
CALIBRATED = [name for name in METHODS if name not in ("qcfs", "model", "hybrid")]


def model(act: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16, 8), nn.ReLU() if act is None else act, nn.Linear(8, 3)
    )


def images(count: int = 30) -> Array:
    return np.random.default_rng(0).random((count, 1, 4, 4)).astype(np.float32)


def refused(error: type[SpikesimError], *parts: str, ann: Any = None, **given: Any) -> None:
    """The call raises this, in one line that has all the parts."""
    ann = model() if ann is None else ann
    with pytest.raises(error) as caught:
        ss.convert(ann, **{"calibration": images(), "n_steps": 4, **given})
    text = str(caught.value)
    assert "\n" not in text
    for part in parts:
        assert part in text, text


# --- The module that is a function ---------------------------------------------------------------


def test_it_is_sent_and_copied_as_functions_are() -> None:
    assert pickle.loads(pickle.dumps(ss.convert)) is ss.convert
    assert copy.deepcopy(ss.convert) is ss.convert
    assert next(iter(inspect.signature(ss.convert).parameters)) == "ann"
    assert ss.convert is importlib.reload(ss.convert)
    assert callable(ss.convert)


# --- Data ----------------------------------------------------------------------------------------


def test_no_calibration() -> None:
    refused(InputError, "convert: calibration is missing, expected samples", calibration=None)


@pytest.mark.parametrize("method", ["auto", *CALIBRATED])
def test_a_shape_alone_is_not_enough(method: str) -> None:
    refused(
        InputError,
        "convert: calibration is missing, expected samples",
        calibration=None,
        input_shape=(1, 4, 4),
        method=method,
    )


@pytest.mark.parametrize("empty", [np.zeros((0, 1, 4, 4)), [], iter(())])
def test_no_samples(empty: Any) -> None:
    refused(InputError, "calibration: has no sample, expected at least 1", calibration=empty)


def test_labels_of_the_shape_of_samples_are_no_samples() -> None:
    """One-hot labels as wide as the input: as a second batch they would set the thresholds."""
    x = np.random.default_rng(0).random((20, 6)).astype(np.float32)
    labels = 100 * np.eye(6, dtype=np.float32)[np.arange(20) % 6]
    refused(
        InputError,
        "calibration: is a pair whose second part has shape (20, 6), expected labels (20,)",
        ann=nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6)),
        calibration=(x, labels),
        method="max",
    )
    assert len(samples([x, x])) == 40


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite(value: float) -> None:
    x = images()
    x[2, 0, 1, 3] = value
    refused(InputError, f"calibration: x[2, 0, 1, 3] is {value}, expected a fin", calibration=x)
    refused(InputError, "validation: x[2, 0, 1, 3]", validation=x, method="max")


def test_samples_of_the_wrong_shape() -> None:
    refused(ShapeError, calibration=images().reshape(30, 1, 2, 8)[..., :7])
    refused(ShapeError, "calibration: has shape (30,)", calibration=images()[:, 0, 0, 0])
    refused(
        ShapeError,
        "validation has samples of shape (1, 4, 3), expected (1, 4, 4)",
        validation=images()[..., :3],
        method="max",
    )
    refused(
        ShapeError,
        "calibration has samples of shape (1, 4, 3), expected (1, 4, 4)",
        calibration=images()[..., :3],
        input_shape=(1, 4, 4),
        method="max",
    )
    refused(
        ShapeError,
        "batches have shapes [(1, 4, 3), (1, 4, 4)], expected one",
        calibration=iter([images(), images()[..., :3]]),
    )


@pytest.mark.parametrize("count", [0, 29, 31])
def test_labels_of_the_wrong_length(count: int) -> None:
    labels = np.zeros(count, np.int64)
    refused(
        ShapeError,
        f"calibration: has {count} labels, expected 30, one a sample",
        calibration=(images(), labels),
    )


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_that_no_output_has(label: int) -> None:
    labels = np.arange(30) % 3
    labels[4] = label
    refused(InputError, "convert: labels go from ", calibration=(images(), labels), method="max")


def test_a_data_set_of_spikes() -> None:
    raster = Dataset("spikes", np.zeros((5, 30, 1, 4, 4), np.uint8), np.zeros(30, np.int64), "TN")
    refused(InputError, "calibration: has layout 'TN', expected samples", calibration=raster)


def test_labels_that_are_no_integers() -> None:
    refused(InputError, "labels have dtype float64", calibration=(images(), np.zeros(30)))


@pytest.mark.parametrize("what", [5, "images", {"x": 1}, np.array(["a", "b"])])
def test_what_is_no_data(what: Any) -> None:
    refused(InputError, "calibration: ", calibration=what)


@pytest.mark.parametrize("method", ["auto", *CALIBRATED, "model"])
def test_activations_that_are_all_zero(method: str) -> None:
    silent = model()
    with torch.no_grad():
        silent[1].weight.mul_(-1).abs_().neg_()
        silent[1].bias.fill_(-1)
    refused(InputError, "2: activations are all zero", ann=silent, method=method)


def test_hybrid_needs_labels() -> None:
    refused(InputError, "convert: hybrid needs labels", method="hybrid")


# --- Methods and options -------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["maximum", "", None, 3, ["max"]])
def test_methods_that_there_are_not(method: Any) -> None:
    refused(InputError, "convert: method is", 'expected one of "qcfs", "max"', method=method)


@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_options_that_there_are_not(method: str) -> None:
    if method == "qcfs":
        act: nn.Module = ss.train.QCFS()
        refused(InputError, "has no option 'speed'", ann=model(act), method=method, speed=3)
    else:
        refused(InputError, "has no option 'speed'", method=method, speed=3)


@pytest.mark.parametrize(
    ("method", "option", "value"),
    [
        *[("max", "v0", value) for value in (-0.1, 1.1, float("nan"), "half", None, True, [0.5])],
        *[("max", "reset", value) for value in ("hard", None, 0)],
        *[("max", "max_pool", value) for value in ("max", None)],
        *[("percentile", "percentile", value) for value in (0, -1, 100.1, float("nan"), "99")],
        *[("percentile", "per_channel", value) for value in ("yes", None, 2)],
        *[("rmp", "alpha", value) for value in (0, 1.1, "x")],
        *[("spike_norm", "calibration_steps", value) for value in (0, 2.5, "x", True)],
        *[("spike_norm", "encoding", value) for value in ("rate", None)],
        *[("spike_norm", "junction", value) for value in ("sum", None)],
        *[("spike_norm", "seed", value) for value in (-1, 0.5, "x")],
        *[("calibrated", "max_spikes", value) for value in (0, 256, 1.5)],
        *[("calibrated", "ridge", value) for value in (-1, float("nan"), "x")],
        *[("hybrid", "start", value) for value in ("hybrid", "nothing")],
        *[("hybrid", "epochs", value) for value in (0, 1.5)],
        *[("hybrid", "lr", value) for value in (-1, "x")],
        *[("hybrid", "batch_size", value) for value in (0, 1.5)],
        *[("hybrid", "weight_decay", value) for value in (-1, None)],
        *[("hybrid", "threshold_scale", value) for value in (0, "x")],
        *[("auto", "v0", value) for value in (2, "x")],
    ],
)
def test_values_that_mean_nothing(method: str, option: str, value: Any) -> None:
    refused(InputError, f"convert: {option} is ", ", expected", method=method, **{option: value})


@pytest.mark.parametrize("n_steps", [0, -1, 2.5, "4", True])
def test_numbers_of_steps_that_mean_nothing(n_steps: Any) -> None:
    refused(InputError, "convert: n_steps is ", n_steps=n_steps, method="max")
    refused(InputError, "convert: steps is ", steps=[1, n_steps], method="max")
    refused(InputError, "convert: n_calibration is ", n_calibration=n_steps, method="max")
    net, _ = ss.convert(model(), calibration=images(), method="max", n_steps=4)
    with pytest.raises(InputError, match=r"^doctor: n_steps is"):
        ss.convert.doctor(model(), net, images(), n_steps=n_steps)


def test_steps_and_shapes_that_are_none() -> None:
    refused(InputError, "convert: steps is 5, expected several", steps=5)
    refused(InputError, "convert: input_shape is 5", calibration=None, input_shape=5)
    refused(InputError, "convert: input_shape is '144'", calibration=None, input_shape="144")
    refused(InputError, "convert: input_shape is 4.5", calibration=None, input_shape=(1, 4, 4.5))
    refused(InputError, "convert: input_shape is -4", calibration=None, input_shape=(1, 4, -4))


# --- The ANN -------------------------------------------------------------------------------------


def test_what_is_no_module() -> None:
    refused(InputError, "convert: ann is a function", ann=lambda x: x)
    refused(InputError, "convert: ann is a dict", ann={"a": 1})


def test_relu_with_qcfs() -> None:
    refused(
        UnsupportedError,
        "2: ReLU has no λ, expected QCFS everywhere",
        "put spikesim.train.QCFS in the place of 2 and train",
        method="qcfs",
    )


def test_leaky_relu_calibrated() -> None:
    refused(
        UnsupportedError,
        "2: leaky_relu can't be calibrated",
        'method="channel_wise"',
        ann=model(nn.LeakyReLU(0.1)),
        method="calibrated",
    )
    _, report = ss.convert(model(nn.LeakyReLU(0.1)), calibration=images(), n_steps=8)
    assert report.method in ("percentile", "channel_wise")
    assert any("auto can't use calibrated" in one.what for one in report.findings)


def test_numbers_that_are_nan() -> None:
    broken = model(ss.train.QCFS())
    with torch.no_grad():
        broken[2].lam.fill_(float("nan"))
    refused(GraphError, "2: scale of QCFS is nan, expected a number above 0", ann=broken)
    broken = model()
    with torch.no_grad():
        broken[1].weight[2, 3] = float("nan")
    refused(GraphError, "1: weight[2, 3] is NaN, expected finite numbers", ann=broken)


class Wrapped(nn.Module):
    """A model whose output comes in another form."""

    def __init__(self, form: Any) -> None:
        super().__init__()
        self.body, self.form = model(), form

    def forward(self, x: Tensor) -> Any:
        return self.form(self.body(x))


@pytest.mark.parametrize("form", [lambda y: (y, y), lambda y: [y], lambda y: {"logits": y}])
def test_outputs_that_are_no_tensor(form: Any) -> None:
    refused(UnsupportedError, "expected", ann=Wrapped(form), method="max")


def test_a_forward_is_held_against_its_graph_without_data_too() -> None:
    """relu_ changes the value that is added to it: the graph has relu(z) + z."""

    class Aliases(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            z = self.first(x)
            return self.last(torch.relu_(z) + z)

    given: dict[str, Any] = {"ann": Aliases(), "method": "model"}
    x = np.random.default_rng(0).random((8, 6)).astype(np.float32)
    refused(UnsupportedError, "gives other outputs than the module", calibration=x, **given)
    refused(
        UnsupportedError,
        "gives other outputs than the module",
        calibration=None,
        input_shape=(6,),
        **given,
    )


@pytest.mark.parametrize("method", ["auto", "max", "calibrated", "spike_norm", "model"])
def test_a_max_pool_of_currents(method: str) -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.MaxPool2d(2), nn.Conv2d(2, 2, 1), nn.ReLU())
    refused(UnsupportedError, "1: ", ann=module, method=method)


def test_a_forward_that_reads_values() -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = model()

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.body(x)
            return out if float(out.sum()) > 0 else -out

    refused(UnsupportedError, ann=Reads())


# --- Forms of calibration ------------------------------------------------------------------------


def test_all_forms_give_the_same() -> None:
    x, y = images(), np.arange(30) % 3
    tensor, labels = torch.from_numpy(x), torch.from_numpy(y)
    forms = [
        *(x, tensor, x.astype(np.float64), (x, y), [x, y], (tensor, labels), (x, list(y))),
        *((x, None), Dataset("digits", x, y, None), Dataset("digits", x, None, "N")),
        DataLoader(TensorDataset(tensor, labels), batch_size=7),
        DataLoader(TensorDataset(tensor), batch_size=7),
        iter([x[:11], x[11:]]),
        [(x[:11], y[:11]), (x[11:], y[11:])],
        *(samples(x), samples((x, y))),
    ]
    for place, form in enumerate(forms):
        found = samples(form)
        assert np.array_equal(found.x, x), place
        assert found.x.dtype == np.float32
        if found.y is not None:
            assert np.array_equal(found.y, y), place
            assert found.y.dtype == np.int64
    assert [samples(form).y is None for form in (forms[0], (x, y), (x, None))] == [1, 0, 1]
    loader = DataLoader(TensorDataset(tensor, labels), batch_size=7)
    nets = [
        ss.convert(model(), calibration=form, method="max", n_steps=4)[0]
        for form in (x, (tensor, labels), loader)
    ]
    for net in nets[1:]:
        assert np.array_equal(net.node("3").op.weight, nets[0].node("3").op.weight)  # type: ignore[attr-defined]


def test_a_loader_is_read_no_further_than_needed() -> None:
    taken: list[int] = []

    def batches() -> Any:
        for i in range(5):
            taken.append(i)
            yield images(10)

    assert len(samples(batches(), at_most=15)) == 15
    assert taken == [0, 1]


def test_only_some_samples_are_used() -> None:
    x = images()
    x[1::3] *= 100
    few, _ = ss.convert(model(), calibration=x, method="max", n_steps=4, n_calibration=10)
    same, _ = ss.convert(model(), calibration=x[::3], method="max", n_steps=4)
    more, _ = ss.convert(model(), calibration=x, method="max", n_steps=4)
    thetas = [float(net.node("2").op.v_threshold) for net in (few, same, more)]  # type: ignore[attr-defined]
    assert thetas[0] == thetas[1] < thetas[2]


def test_those_that_are_used_are_of_all_classes() -> None:
    """Data sets are often in the order of their classes: the first samples are of few."""
    x, y = images(3000), np.repeat(np.arange(10), 300)
    for form in ((x, y), Dataset("sorted", x, y, "N"), samples((x, y))):
        chosen = samples(form, at_most=50)
        assert chosen.y is not None
        assert np.bincount(chosen.y).tolist() == [5] * 10
        assert np.array_equal(chosen.x, x[::60])
    assert np.array_equal(samples(iter([x[:40], x[40:]]), at_most=50).x, x[:50])
    late = x.copy()
    late[2700:] *= 100
    net, _ = ss.convert(model(), calibration=late, method="max", n_steps=4)
    assert float(net.node("2").op.v_threshold) > 10  # type: ignore[attr-defined]


def test_validation_is_what_is_measured() -> None:
    y = np.full(9, 2)
    _, report = ss.convert(
        model(), calibration=images(), method="max", n_steps=8, validation=(images(9), y)
    )
    assert report.n_samples == 9
    with torch.no_grad():
        right = model()(torch.from_numpy(images(9))).argmax(1).numpy() == 2
    assert report.ann_accuracy == pytest.approx(right.mean())
    assert [*report.accuracy_by_steps] == [1, 2, 4, 8, 16, 32]


def test_without_data_the_model_is_enough() -> None:
    net, report = ss.convert(model(), method="model", input_shape=(1, 4, 4))
    assert net.meta["n_steps"] == 32
    assert any("nothing was measured" in one.what for one in report.findings)
    assert not report.accuracy_by_steps
    net, report = ss.convert(model(ss.train.QCFS(L=6)), input_shape=(1, 4, 4))
    assert (report.method, report.n_steps) == ("qcfs", 6)


@pytest.mark.parametrize("method", ["auto", "calibrated", "spike_norm", "max"])
def test_progress_is_told(method: str) -> None:
    told: list[tuple[str, int, int]] = []
    ss.convert(
        model(),
        calibration=images(),
        method=method,
        n_steps=4,
        progress=lambda *what: told.append(what),
    )
    stages = {stage for stage, _, _ in told}
    assert {"running", "measuring layers"} <= stages
    if method != "max":
        assert any(stage.startswith("calibrating (") for stage in stages)
    for stage in stages:
        done = [(n, total) for name, n, total in told if name == stage]
        assert done == sorted(done)
        assert done[-1][0] == done[-1][1]


def test_a_bar_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    ss.convert(model(), calibration=images(), method="max", n_steps=4, progress=True)
    assert capsys.readouterr().out == ""


def test_auto_says_what_it_tried_and_takes_the_best() -> None:
    _, report = ss.convert(model(), calibration=images(), n_steps=4)
    tried = [one.what for one in report.findings if one.what.startswith("auto tried")]
    assert [text.split(":")[0] for text in tried] == [
        "auto tried calibrated",
        "auto tried calibrated (ridge=10.0)",
        "auto tried percentile (v0=0.5)",
        "auto tried channel_wise (v0=0.5)",
        *(f"auto tried channel_wise (v0=0.5, percentile={part})" for part in (97.0, 99.0, 100.0)),
    ]
    assert report.method in ("calibrated", "percentile", "channel_wise")
