"""The ways of running a network, behind one face, so that a test can demand the same of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import spikesim as ss

ARRAYS = ("spikes", "v", "current")
TABLES = ("synops", "synops_with_zeros", "macs", "neuron_updates", "spikes")


@dataclass
class Outcome:
    """Dense results: (T, N, *shape) by population, (T, N) counts by layer."""

    output: NDArray[np.float32]
    predictions: NDArray[np.int64]
    spikes: dict[str, NDArray[np.float32]]
    v: dict[str, NDArray[np.float32]]
    current: dict[str, NDArray[np.float32]]
    counts: dict[str, dict[str, NDArray[np.int64]]]


class Reference:
    """spikesim.reference, keeping the state between runs."""

    def __init__(
        self,
        net: ss.Network,
        sums: str = "ordered",
        device: str = "cpu",
        precision: str = "f32",
        clips: Any = None,
    ) -> None:
        self.options = {"precision": precision, "clips": clips}
        self.net = net
        self.sums = sums
        self.device = device
        self.state: Any = None

    def run(
        self, x: Any, n_steps: int | None = None, reset: bool = True, layout: str | None = None
    ) -> Outcome:
        result = ss.reference.run(
            self.net,
            x,
            n_steps,
            device=self.device,
            layout=layout,
            record=ARRAYS,
            sums=self.sums,  # type: ignore[arg-type]
            state=None if reset else self.state,
            **self.options,
        )
        self.state = result.state
        return Outcome(
            result.output,
            result.predictions,
            result.spikes,
            result.v,
            result.current,
            result.counts,
        )


class Engine:
    """net.compile().run."""

    def __init__(self, net: ss.Network, **options: Any) -> None:
        self.net = net
        self.batch_size = options.pop("batch_size", None)
        self.sim = net.compile(**options)

    def run(
        self, x: Any, n_steps: int | None = None, reset: bool = True, layout: str | None = None
    ) -> Outcome:
        result = self.sim.run(
            x,
            n_steps=n_steps,
            record=ARRAYS,
            layout=layout,
            reset=reset,
            batch_size=self.batch_size,
        )
        populations = [n.name for n in self.net.nodes if isinstance(n.op, ss.Neuron)]
        firing = [n for n in populations if self.net.node(n).op.spikes != "none"]
        return Outcome(
            output=result.output,
            predictions=result.predictions,
            spikes={name: result.spikes[name].to_dense() for name in firing},
            v={name: result.v[name] for name in populations},
            current={name: result.current[name] for name in populations},
            counts={
                table: {k: v.astype(np.int64) for k, v in result.counts.table(table).items()}
                for table in TABLES
            },
        )


class Torch:
    """to_torch(net), in eval mode; it does not count."""

    def __init__(self, net: ss.Network, module: Any = None) -> None:
        self.net = net
        self.module = ss.to_torch(net) if module is None else module

    def run(
        self, x: Any, n_steps: int | None = None, reset: bool = True, layout: str | None = None
    ) -> Outcome:
        x = torch.from_numpy(np.array(x, np.float32))
        x = x[:, None] if layout == "T" else x
        with torch.no_grad():
            result = self.module.run(x, n_steps, reset=reset, record=ARRAYS)
        output = result.output.numpy()
        flat = output.reshape(len(output), -1)
        best = flat.argmin(1) if self.net.readout == "first_spike" else flat.argmax(1)
        arrays = {
            field: {name: value.numpy() for name, value in getattr(result, field).items()}
            for field in ARRAYS
        }
        return Outcome(output, best, **arrays, counts={})


def in_turn(parts: Sequence[Outcome], axis: int) -> Outcome:
    """Outcomes put together in time (0) or samples (1); the readout only for samples."""

    def together(dictionaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {k: np.concatenate([d[k] for d in dictionaries], axis) for k in dictionaries[0]}

    return Outcome(
        output=np.concatenate([p.output for p in parts]) if axis else parts[-1].output,
        predictions=np.concatenate([p.predictions for p in parts])
        if axis
        else parts[-1].predictions,
        **{name: together([getattr(p, name) for p in parts]) for name in ARRAYS},
        counts={table: together([p.counts[table] for p in parts]) for table in TABLES},
    )


def differences(a: Outcome, b: Outcome) -> list[str]:
    """Where two outcomes differ, in words; the sign of a zero is no difference (S2.1), nor is a
    count that only one of them has."""
    found = _array("output", a.output, b.output) + _array(
        "predictions", a.predictions, b.predictions
    )
    for field in ARRAYS:
        found += _arrays(field, getattr(a, field), getattr(b, field))
    for table in TABLES if a.counts and b.counts else ():
        found += _arrays(f"counts.{table}", a.counts[table], b.counts[table])
    return found


def same(a: Outcome, b: Outcome) -> None:
    """Demands equality in every entry."""
    found = differences(a, b)
    assert not found, "\n".join(found)


def _arrays(name: str, a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    if a.keys() != b.keys():
        return [f"{name}: keys {sorted(a)} and {sorted(b)}"]
    return [line for key in a for line in _array(f"{name}[{key!r}]", a[key], b[key])]


def _array(name: str, a: NDArray[Any], b: NDArray[Any]) -> list[str]:
    if a.shape != b.shape or a.dtype != b.dtype:
        return [f"{name}: {a.dtype}{a.shape} and {b.dtype}{b.shape}"]
    unequal = ~((a == b) | ((a != a) & (b != b)))
    if not unequal.any():
        return []
    first = tuple(int(i[0]) for i in np.nonzero(unequal))
    return [
        f"{name}: {int(unequal.sum())} of {a.size} differ, first {first}: {a[first]}, {b[first]}"
    ]
