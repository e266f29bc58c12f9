"""The libraries of spiking networks in torch, each in the mode that it is fastest in."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from row import Contestant, Counts, Row, close


class Torch(Contestant):
    """A library whose model is called once a step."""

    package = "torch"

    def __init__(self, row: Row) -> None:
        super().__init__(row)
        self.neurons: list[nn.Module] = []

        def make() -> nn.Module:
            self.neurons.append(self.neuron())
            return self.neurons[-1]

        self.model = row.with_neurons(make)
        self.x = self.laid_out(torch.contiguous_format)

    def settle(self) -> None:
        """Chooses the layout of images in memory that is faster here."""
        self.run()
        if self.row.x.ndim != 4:
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
        self.x = self.laid_out(layout)

    def laid_out(self, layout: torch.memory_format) -> torch.Tensor:
        """The input."""
        if self.row.x.ndim != 4:
            return self.row.x
        return self.row.x.contiguous(memory_format=layout)

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
            for name, module in self.model.named_modules()
            if any(module is neuron for neuron in self.neurons)
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
            nn.MaxPool2d: layer.MaxPool2d,
            nn.AdaptiveAvgPool2d: layer.AdaptiveAvgPool2d,
            nn.Flatten: layer.Flatten,
        }
        for module in self.model.modules():
            if type(module) in stateless:
                module.__class__ = stateless[type(module)]
                module.step_mode = "s"
        functional.set_step_mode(self.model, "m")

    @classmethod
    def bytes_needed(cls, row: Row) -> int:
        return in_one_call(row)

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
        for module in self.neurons:
            module.reset_mem()


class Sinabs(Torch):
    """Sinabs, its squeezing neurons: layers see (N·T, ...) at once."""

    name, package, options = "sinabs squeeze", "sinabs", ""

    def neuron(self) -> nn.Module:
        from sinabs import activation, layers

        made: nn.Module = layers.IAFSqueeze(
            batch_size=self.row.batch, spike_fn=activation.SingleSpike
        )
        return made

    @classmethod
    def bytes_needed(cls, row: Row) -> int:
        return in_one_call(row)

    def laid_out(self, layout: torch.memory_format) -> torch.Tensor:
        x = self.row.x.repeat_interleave(self.row.n_steps, 0)
        return x.contiguous(memory_format=layout) if x.ndim == 4 else x

    def reset(self) -> None:
        for module in self.neurons:
            module.reset_states()

    # Its states may be set anew only outside inference mode.
    @torch.no_grad()
    def run(self) -> NDArray[Any]:
        self.reset()
        out = self.model(self.x)
        out = out.reshape(self.row.batch, self.row.n_steps, *out.shape[1:]).sum(1)
        return np.asarray(out.numpy())


class NorseNeuron(nn.Module):
    """Norse's IAF with its state kept from call to call."""

    def __init__(self) -> None:
        super().__init__()
        from norse.torch.functional import iaf

        self.start = iaf.IAFFeedForwardState(v=torch.zeros(()))
        self.parameters_of = iaf.IAFParameters()
        self.step, self.state = iaf.iaf_feed_forward_step, self.start

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One step."""
        spikes, self.state = self.step(x, self.state, self.parameters_of)
        return spikes


class Norse(Torch):
    """Norse, which has no integrate-and-fire neuron with reset by subtraction: its IAF resets to 0.

    It is held against spikesim's network with that reset, on the same weights.
    """

    name, package = "norse (reset to 0)", "norse"

    def neuron(self) -> nn.Module:
        return NorseNeuron()

    def reset(self) -> None:
        for module in self.neurons:
            module.state = module.start

    def verify(self, reference: Contestant) -> bool | None:
        sim = self.row.hard.compile(threads=self.row.threads)
        found = sim.run(self.row.x.numpy(), n_steps=self.row.n_steps)
        spikes = {k: int(table.sum()) for k, table in found.counts.table("spikes").items()}
        if spikes != self.check():
            return False
        return close(self.run(), np.asarray(found.output), self.row.tolerance)


def in_one_call(row: Row) -> int:
    """Bytes of a library that takes all steps in one call."""
    values = 3 * row.n_steps * row.largest + 2 * row.neurons
    return row.weight_bytes + 4 * row.batch * values
