"""Other processes, and panics: what a user's program must survive."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import spikesim as ss
from spikesim import _core


def network() -> ss.Network:
    rng = np.random.default_rng(0)
    net = ss.Network((1, 12, 12), meta={"labels": ["a", "b"]})
    net.add(ss.Conv2d(rng.normal(0.1, 0.3, (32, 1, 3, 3))), name="conv")
    net.add(ss.LIF(v_threshold=1.0, alpha_mem=0.9), name="lif")
    net.connect("lif", "lif", delay=2)
    return net


def images(n: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return (np.random.default_rng(1).random((n, 1, 12, 12)) < 0.5).astype(np.float32)


class Outputs(Dataset[Any]):
    """Runs the network on image `k`, in whatever process asks."""

    def __init__(self, net: ss.Network, sim: ss.Simulator | None) -> None:
        self.net, self.sim, self.x = net, sim, images(6)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, k: int) -> Any:
        if self.sim is None:
            self.sim = self.net.compile(threads=2)
        return torch.from_numpy(self.sim.run(self.x[k : k + 1], n_steps=4).output[0])


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_data_loader_workers_give_the_same_bits(method: str) -> None:
    net = network()
    sim = net.compile(threads=2)
    expected = sim.run(images(6), n_steps=4).output  # its threads run before the fork
    # A forked worker inherits the simulator; a spawned one gets the network and compiles.
    data = Outputs(net, sim if method == "fork" else None)
    loader = DataLoader(data, batch_size=2, num_workers=2, multiprocessing_context=method)
    for _ in range(2):
        assert np.array_equal(torch.cat(list(loader)).numpy(), expected)


def test_a_network_is_pickled_whole() -> None:
    net = network()
    again = pickle.loads(pickle.dumps(net))
    assert again.meta == net.meta
    assert again.edges == net.edges
    assert str(again) == str(net)
    x = images(2)
    assert np.array_equal(net.compile().run(x, 5).output, again.compile().run(x, 5).output)


def test_a_broken_pickle_is_a_format_error() -> None:
    with pytest.raises(ss.errors.FormatError):
        _core.Graph.from_bytes(b"12345678")


@pytest.mark.parametrize("route", ["attached", "detached", "pool"])
def test_a_panic_becomes_an_internal_error(route: str, capfd: pytest.CaptureFixture[str]) -> None:
    # Every call into the core goes one of these ways.
    with pytest.raises(ss.errors.InternalError, match="on purpose; please report"):
        _core._panic(route)
    assert network().compile().run(images(1), n_steps=2).output.shape == (1, 32, 10, 10)
