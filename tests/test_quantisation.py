"""The report on precision i8."""

from __future__ import annotations

import numpy as np
import pytest

import spikesim as ss
from spikesim import data
from spikesim.errors import InputError, UnsupportedError
from spikesim.quantisation import quantise


def two(weight: list[float], **fields: float) -> ss.Network:
    net = ss.Network((len(weight),))
    net.add(ss.Linear(np.array([weight], np.float32)), name="fc")
    net.add(ss.IF(**{"v_threshold": 1.0, **fields}), name="if")
    return net


def test_numbers_by_hand() -> None:
    # s = 1/127: 0.5 is 63.5 and goes to 64, 0.001 to 0.
    (fc,) = (report := quantise(two([1.0, 0.5, 0.001]))).layers
    errors = np.array([0, 64 / 127 - 0.5, 0.001])
    size = np.sqrt(np.mean(np.square([1, 0.5, 0.001])))
    assert fc.weight_rmse == pytest.approx(np.sqrt(np.mean(errors**2)) / size, rel=1e-5)
    assert (fc.zeroed, fc.clipped) == (1 / 3, 0)
    (population,) = report.populations
    assert (population.fraction, population.agreement) == (8, None)
    assert population.threshold_error <= 0.5 / (127 * 256)
    assert report.predictions_agree is None


def test_spikes_are_compared() -> None:
    # In units of 1/127 the weight 0.5 is 64: it reaches 1.0005 after two steps only in i8.
    report = quantise(two([1.0, 0.5], v_threshold=1.0005), np.array([[0.0, 1.0]]), n_steps=2)
    (population,) = report.populations
    assert (population.rate_f32, population.rate_i8, population.agreement) == (0, 0.5, 0)
    assert "if" in str(report)
    assert report.to_dict()["populations"][0]["agreement"] == 0


def test_calibration_cuts_off_a_weight_that_nothing_comes_through() -> None:
    rng = np.random.default_rng(0)
    weight = np.r_[rng.uniform(-0.05, 0.05, 40), 2.0].tolist()
    x = (rng.random((20, 4, 41)) < 0.5).astype(np.float32)
    x[..., -1] = 0
    net = two(weight, v_threshold=1e3)
    report = quantise(net, x, calibrate=True)
    (clip,) = report.clips["fc"]
    assert clip < 2

    def error(clips: object) -> float:
        runs = [net.compile(), net.compile(precision="i8", clips=clips)]  # type: ignore[arg-type]
        a, b = (sim.run(x, record="current").current["if"] for sim in runs)
        return float(np.mean((a - b) ** 2))

    assert error(report.clips) < error(None)


def test_the_embedded_network_loses_nothing() -> None:
    net = ss.load(data.digits_model())
    digits = data.load("digits", None)
    x = data.Preprocessing.of(net.meta).apply(digits.x, 3)
    report = quantise(net, x, n_steps=4)
    assert report.predictions_agree is not None
    assert report.predictions_agree > 0.99
    assert min(p.agreement or 0 for p in report.populations) > 0.85
    runs = [net.compile(precision=p).run(x, n_steps=4).predictions for p in ("f32", "i8")]
    f32, i8 = (float(np.mean(predictions == digits.y)) for predictions in runs)
    assert i8 >= f32 - 0.001


def test_refusals() -> None:
    with pytest.raises(InputError, match="without data"):
        quantise(two([1.0]), calibrate=True)
    net = ss.Network((1,))
    net.add(ss.Neuron(spikes="multi"), name="many")
    with pytest.raises(UnsupportedError, match="many"):
        quantise(net)
    with pytest.raises(InputError, match="clip"):
        two([1.0]).compile(precision="i8", clips={"fc": [1.0, 2.0]})
    with pytest.raises(InputError, match="clip"):
        two([1.0]).compile(precision="i8", clips={"if": [1.0]})
    with pytest.raises(InputError, match="clips"):
        two([1.0]).compile(clips={"fc": [1.0]})


def test_states_go_on_and_are_of_one_precision() -> None:
    net = two([1.0, 0.3])
    x = np.array([[0.4, 1.0]])
    whole = net.compile(precision="i8").run(x, n_steps=6, record="v").v["if"]
    first = net.compile(precision="i8")
    first.run(x, n_steps=2)
    second = net.compile(precision="i8")
    second.load_state_dict(first.state_dict())
    part = second.run(x, n_steps=4, reset=False, record="v").v["if"]
    assert part.tolist() == whole[2:].tolist()
    with pytest.raises(InputError, match="int32, expected float32"):
        net.compile().load_state_dict(first.state_dict())
