"""What is measured: spikesim, the other libraries on the same weights, and the network's ANN.

A contestant is made once per row and then called. `run` is the timed call and returns the
readout; `check` runs once more, untimed, and returns the spikes of every neuron layer.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import spikesim as ss
from networks import BUILDERS, SHAPES, inputs

Counts = dict[str, int]


class Row:
    """One row of a scenario: a network with its weights, an input, a number of steps."""

    def __init__(self, network: str, rate: float, batch: int, n_steps: int, threads: int) -> None:
        self.network, self.rate, self.batch = network, rate, batch
        self.n_steps, self.threads = n_steps, threads
        self.model = BUILDERS[network](None, rate, n_steps)
        self.x = inputs(network, batch)
        self.net = ss.from_torch(self.model, SHAPES[network])
        self.spiking_output = self.net.readout == "count"

    def with_neurons(self, neuron: Any) -> nn.Sequential:
        """The same weights with another library's neurons."""
        model = BUILDERS[self.network](neuron, None, self.n_steps)
        weights = {
            name: value
            for name, value in self.model.state_dict().items()
            if name.endswith(("weight", "bias"))
        }
        model.load_state_dict(weights, strict=False)
        return model.eval()


class Contestant:
    """One engine on one row."""

    name = ""
    package = ""
    spiking = True
    options = ""

    def __init__(self, row: Row) -> None:
        self.row = row

    def settle(self) -> None:
        """Chooses what is fastest here, before anything is measured."""

    def run(self) -> NDArray[Any]:
        """The timed call: the readout summed over the steps, (N, n_out)."""
        raise NotImplementedError

    def check(self) -> Counts:
        """Spikes by neuron layer."""
        raise NotImplementedError

    @classmethod
    def version(cls) -> str:
        """The version of what is measured."""
        return importlib.metadata.version(cls.package)


class Spikesim(Contestant):
    """The engine."""

    name, package = "spikesim", "spikesim"

    def __init__(self, row: Row) -> None:
        super().__init__(row)
        self.sim = row.net.compile(threads=row.threads)
        self.x = row.x.numpy()

    def run(self) -> NDArray[Any]:
        return np.asarray(self.sim.run(self.x, n_steps=self.row.n_steps).output)

    def check(self) -> Counts:
        counts = self.sim.run(self.x, n_steps=self.row.n_steps).counts
        return {name: int(table.sum()) for name, table in counts.table("spikes").items()}

    @classmethod
    def version(cls) -> str:
        return ss.__version__


class Torch(Contestant):
    """A library whose model is called once a step."""

    package = "torch"

    def __init__(self, row: Row) -> None:
        super().__init__(row)
        self.model = row.with_neurons(self.neuron)
        self.x = row.x

    def settle(self) -> None:
        """Chooses the layout of images in memory that is faster here."""
        if self.x.ndim != 4:
            return
        times = {}
        for layout in (torch.contiguous_format, torch.channels_last):
            self._lay_out(layout)
            self.run()
            begin = time.perf_counter()
            self.run()
            times[layout] = time.perf_counter() - begin
        best = min(times, key=lambda layout: times[layout])
        self._lay_out(best)
        self.options = "channels_last" if best is torch.channels_last else ""

    def _lay_out(self, layout: torch.memory_format) -> None:
        self.model = self.model.to(memory_format=layout)
        self.x = self.row.x.contiguous(memory_format=layout)

    def neuron(self) -> nn.Module:
        """One layer of the library's neurons: IF, threshold 1, reset by subtraction."""
        raise NotImplementedError

    def reset(self) -> None:
        """The neurons back to their start."""
        raise NotImplementedError

    @torch.inference_mode()
    def run(self) -> NDArray[Any]:
        self.reset()
        out = self.model(self.x)
        for _ in range(1, self.row.n_steps):
            out = out + self.model(self.x)
        return np.asarray(out.numpy())

    def check(self) -> Counts:
        counts: Counts = {}

        def count(name: str, out: Any) -> None:
            counts[name] = counts.get(name, 0) + int(out.sum(dtype=torch.float64))

        hooks = [
            module.register_forward_hook(lambda m, _, out, name=name: count(name, out))
            for name, module in self.model.named_children()
            if name.startswith("if")
        ]
        self.run()
        for hook in hooks:
            hook.remove()
        return counts


class SpikingJellySingle(Torch):
    """SpikingJelly, one step a call."""

    name, package = "spikingjelly single-step", "spikingjelly"

    def neuron(self) -> nn.Module:
        from spikingjelly.activation_based import neuron

        made: nn.Module = neuron.IFNode(v_reset=None)
        return made

    def reset(self) -> None:
        from spikingjelly.activation_based import functional

        functional.reset_net(self.model)


class SpikingJellyMulti(SpikingJellySingle):
    """SpikingJelly, all steps a call: its layers see (T·N, ...) at once."""

    name = "spikingjelly multi-step"

    def __init__(self, row: Row) -> None:
        super().__init__(row)
        from spikingjelly.activation_based import functional, layer

        # The layers without state need the library's own classes to take a time axis.
        stateless: dict[type[nn.Module], Any] = {
            nn.Conv2d: layer.Conv2d,
            nn.AvgPool2d: layer.AvgPool2d,
            nn.Flatten: layer.Flatten,
        }
        for name, module in list(self.model.named_children()):
            if type(module) in stateless:
                module.__class__ = stateless[type(module)]
                module.step_mode = "s"
            self.model._modules[name] = module
        functional.set_step_mode(self.model, "m")

    @torch.inference_mode()
    def run(self) -> NDArray[Any]:
        self.reset()
        x = self.x.unsqueeze(0).expand(self.row.n_steps, *self.x.shape)
        return np.asarray(self.model(x).sum(0).numpy())


class SnnTorch(Torch):
    """snnTorch: Leaky without leak. It tests `>`: its threshold lies 2^-23 lower, which no sum of
    these weights can tell from `>=`.
    """

    name, package = "snntorch", "snntorch"

    def neuron(self) -> nn.Module:
        import snntorch

        made: nn.Module = snntorch.Leaky(
            beta=1.0, threshold=1.0 - 2.0**-23, init_hidden=True, reset_mechanism="subtract"
        )
        return made

    def reset(self) -> None:
        for module in self.model.children():
            if hasattr(module, "reset_mem"):
                module.reset_mem()


class Ann(Torch):
    """The same layers with ReLU in the neurons' place, once: what the spiking network replaces.

    It computes something else, so there is nothing to check.
    """

    name = "torch ANN (one pass)"
    spiking = False

    def neuron(self) -> nn.Module:
        return nn.ReLU()

    def reset(self) -> None:
        pass

    @torch.inference_mode()
    def run(self) -> NDArray[Any]:
        return np.asarray(self.model(self.x).numpy())


CONTESTANTS: tuple[type[Contestant], ...] = (
    Spikesim,
    SpikingJellyMulti,
    SpikingJellySingle,
    SnnTorch,
    Ann,
)


def installed() -> Iterator[type[Contestant]]:
    """Those whose library is here."""
    for contestant in CONTESTANTS:
        if importlib.util.find_spec(contestant.package) is not None:
            yield contestant
