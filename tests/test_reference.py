"""The face of spikesim.reference: options, recordings, state, errors."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import spikesim as ss
from spikesim import reference
from spikesim.errors import GraphError, InputError, MissingExtraError, ShapeError


def small() -> ss.Network:
    net = ss.Network((2,))
    net.add(ss.Linear(np.eye(2)), name="fc")
    net.add(ss.IF(v_threshold=1.0), name="if")
    net.connect("if", "fc", delay=2)
    return net


X = np.array([[0.5, 0.25]])


def test_result_fields() -> None:
    result = reference.run(small(), X, n_steps=3)
    assert result.output.dtype == np.float32
    assert result.output.tolist() == [[1, 0]]
    assert result.predictions.dtype == np.int64
    assert result.predictions.tolist() == [0]
    assert result.spikes["if"].shape == result.v["if"].shape == (3, 1, 2)
    assert result.current == {}
    assert result.n_steps == 3
    assert result.counts["macs"]["fc"].tolist() == [[2], [2], [2]]
    assert all(a.dtype == np.int64 for t in result.counts.values() for a in t.values())


def test_record_is_what_is_kept() -> None:
    result = reference.run(small(), X, n_steps=3, record="current")
    assert (result.spikes, result.v) == ({}, {})
    assert result.current["if"][:, 0].tolist() == [[0.5, 0.25]] * 3
    assert reference.run(small(), X, n_steps=3, record=()).v == {}


def test_layout() -> None:
    result = reference.run(small(), np.repeat(X, 3, axis=0), layout="T")
    assert result.output.tolist() == [[1, 0]]


def test_state_goes_on() -> None:
    whole = reference.run(small(), X, n_steps=6)
    first = reference.run(small(), X, n_steps=2)
    second = reference.run(small(), X, n_steps=4, state=first.state)
    assert np.array_equal(np.concatenate([first.v["if"], second.v["if"]]), whole.v["if"])
    with pytest.raises(ShapeError, match="state"):
        reference.run(small(), np.repeat(X, 2, axis=0), n_steps=1, state=first.state)
    with pytest.raises(InputError, match="state"):
        reference.run(small(), X, n_steps=1, state={})


@pytest.mark.parametrize(
    "options", [{"sums": "fast"}, {"record": ("spike",)}, {"layout": "NT"}, {"device": "abacus"}]
)
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(InputError) as error:
        reference.run(small(), X, n_steps=1, **options)
    assert next(iter(options)) in str(error.value)


def test_a_network_that_means_nothing_is_refused() -> None:
    with pytest.raises(GraphError):
        reference.run(ss.Network((2,)), X, n_steps=1)


def test_without_torch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"install spikesim\[torch\]"):
        reference.run(small(), X, n_steps=1)
