"""Who turns a ReLU ANN into a spiking network in `conversion.py`, and runs it.

Every converter gets the same module, the same calibration images and the same test images. It
answers with its output after each number of steps, from its library's own loop over time, the
state reset for every batch, and with the spikes that it took.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.metadata
import importlib.util
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

BATCH = 100


@dataclass(frozen=True)
class Answer:
    """What a converter says.

    Attributes:
        output: by number of steps T, (N, classes): the sum or mean over the first T steps.
        spikes: by T, spikes of all neurons in the first T steps, a sample.
        chosen: by T, what `auto` took.
    """

    output: dict[int, NDArray[Any]]
    spikes: dict[int, float]
    chosen: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Converter:
    """One library with one set of options.

    Attributes:
        library: the name of its package.
        name: what it does.
        kind: "single" or "multi": how many spikes a neuron may fire in a step.
        answer: runs it: (module, calibration images, test images, numbers of steps).
    """

    library: str
    name: str
    kind: str
    answer: Callable[[nn.Module, Tensor, Tensor, Sequence[int]], Answer]

    @property
    def version(self) -> str:
        """Of its library."""
        return importlib.metadata.version(self.library)


class Tally:
    """Spikes of a library's neuron layers, step by step."""

    def __init__(self, model: nn.Module, kinds: tuple[type, ...]) -> None:
        self.values: list[Tensor] = []
        layers = [module for module in model.modules() if isinstance(module, kinds)]
        if not layers:
            raise RuntimeError("nothing was converted: there is no layer of neurons")
        for module in layers:
            module.register_forward_hook(self._note)

    def _note(self, module: nn.Module, args: Any, out: Tensor) -> None:
        self.values.append(out)

    def take(self) -> list[Tensor]:
        """What the layers gave since the last time."""
        values, self.values = self.values, []
        return values


def relus(model: nn.Module) -> int:
    """How many ReLU modules a model has: what is left after a conversion was not converted."""
    return sum(type(module) is nn.ReLU for module in model.modules())


# --- SpikingJelly ---------------------------------------------------------------------------------


def spikingjelly(recipe: Callable[[Any, list[Tensor]], Any], delay: bool = False) -> Any:
    """A recipe of `ann2snn`, run single-step as its examples do.

    Args:
        recipe: (the module ann2snn, batches for calibration) → the recipe.
        delay: the readout begins at `estimate_delay_start`, as the library's ImageNet example has
            it, for each T anew.
    """

    def answer(model: nn.Module, x_cal: Tensor, x: Tensor, steps: Sequence[int]) -> Answer:
        from spikingjelly.activation_based import ann2snn, functional, neuron

        batches = list(x_cal.split(BATCH))
        with quiet():
            made = recipe(ann2snn, batches)
            snn = ann2snn.Converter(made, device="cpu").convert(copy.deepcopy(model)).eval()
            starts = {
                n: ann2snn.estimate_delay_start(snn, batches, "cpu", n) if delay else 0
                for n in steps
            }
        if relus(snn):
            raise RuntimeError(f"{relus(snn)} ReLUs were left as they are")
        tally = Tally(snn, (neuron.BaseNode,))
        parts: dict[int, list[Tensor]] = {n: [] for n in steps}
        spikes = dict.fromkeys(steps, 0.0)
        for batch in x.split(BATCH):
            functional.reset_net(snn)
            so_far, count, sums = torch.zeros(()), 0.0, [torch.zeros(())]
            for step in range(1, max(steps) + 1):
                so_far = so_far + snn(batch)
                sums.append(so_far)
                count += sum(float(out.sum(dtype=torch.float64)) for out in tally.take())
                if step in parts:
                    parts[step].append(so_far - sums[starts[step]])
                    spikes[step] += count
        return gathered(parts, spikes, len(x))

    return answer


def rate_coding(mode: str | float, **options: Any) -> Callable[[Any, list[Tensor]], Any]:
    """The RateCodingRecipe; thresholds are moving averages over the batches."""

    def recipe(ann2snn: Any, batches: list[Tensor]) -> Any:
        return ann2snn.RateCodingRecipe(dataloader=batches, mode=mode, **options)

    return recipe


def local_threshold_balancing(passes: int) -> Callable[[Any, list[Tensor]], Any]:
    """LocalThresholdBalancing; thresholds start at 0 and climb batch by batch, so that few batches
    leave them low: `passes` over the calibration images let them settle.
    """

    def recipe(ann2snn: Any, batches: list[Tensor]) -> Any:
        return ann2snn.LocalThresholdBalancingRecipe(dataloader=batches * passes)

    return recipe


# --- Sinabs ---------------------------------------------------------------------------------------


def sinabs(
    prepare: Callable[[nn.Sequential, Tensor], nn.Module] | None = None,
    gain: float = 1.0,
    spike: str = "MultiSpike",
    **options: Any,
) -> Any:
    """`from_model`.

    Args:
        prepare: what is done to the (copied) module before, with the calibration images.
        gain: the input is multiplied with it, and the biases too (`bias_rescaling` = 1/gain):
            Sinabs' way to finer steps. Needs a module without BatchNorm.
        spike: "MultiSpike", the library's default, or "SingleSpike".
        options: of `from_model`.
    """

    def answer(model: nn.Module, x_cal: Tensor, x: Tensor, steps: Sequence[int]) -> Answer:
        import sinabs.activation
        import sinabs.layers
        from sinabs.from_torch import from_model

        n_steps = max(steps)
        ann: Any = copy.deepcopy(model)
        if prepare is not None:
            ann = prepare(ann, x_cal)
        with quiet():
            network = from_model(
                ann,
                num_timesteps=n_steps,
                spike_fn=getattr(sinabs.activation, spike),
                bias_rescaling=1.0 / gain,
                **options,
            )
        snn = network.spiking_model.eval()
        if relus(snn):
            raise RuntimeError(f"{relus(snn)} ReLUs were left as they are")
        tally = Tally(snn, (sinabs.layers.StatefulLayer,))
        parts: dict[int, list[Tensor]] = {n: [] for n in steps}
        spikes = dict.fromkeys(steps, 0.0)
        for batch in x.split(BATCH):
            sinabs.reset_states(snn)
            out = snn((batch * gain).repeat_interleave(n_steps, 0))
            so_far = out.unflatten(0, (len(batch), n_steps)).cumsum(1)
            counts = sum(
                layer.unflatten(0, (len(batch), n_steps)).flatten(2).sum((0, 2)).double()
                for layer in tally.take()
            )
            for n in steps:
                parts[n].append(so_far[:, n - 1])
                spikes[n] += float(counts[:n].sum())
        return gathered(parts, spikes, len(x))

    return answer


def folded(model: nn.Sequential, x_cal: Tensor) -> nn.Sequential:
    """Every BatchNorm inside the layer before it; a ReLU keeps its place."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

    layers: list[Any] = []
    for module in model.eval():
        if isinstance(module, nn.BatchNorm2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], module)
        elif isinstance(module, nn.BatchNorm1d):
            layers[-1] = fuse_linear_bn_eval(layers[-1], module)
        else:
            layers.append(module)
    return nn.Sequential(*layers)


def library_normalised(model: nn.Sequential, x_cal: Tensor) -> nn.Sequential:
    """`sinabs.utils.normalize_weights`, as its help tells to; biases are not carried along with
    the layers before (99th percentile, the library's default).
    """
    from sinabs.utils import normalize_weights

    model = folded(model, x_cal)
    named = list(model.named_children())
    outputs = [name for name, module in named if isinstance(module, nn.ReLU)]
    weighted = [name for name, module in named if isinstance(module, nn.Conv2d | nn.Linear)]
    normalize_weights(model, x_cal, outputs, weighted[: len(outputs)])
    return model


def normalised(percentile: float, height: float = 1.0) -> Any:
    """Rueckauer's data-based normalisation done before, the library having none that keeps the
    ANN's function: W·λ_before/λ, b/λ, so that `height` spikes a step are the percentile.
    """

    def prepare(model: nn.Sequential, x_cal: Tensor) -> nn.Sequential:
        model = folded(model, x_cal)
        scales, value = [], x_cal
        with torch.no_grad():
            for module in model:
                value = module(value)
                if isinstance(module, nn.ReLU):
                    scales.append(float(np.percentile(value.numpy(), percentile)) / height)
            before, after = 1.0, iter([*scales, 1.0])
            for module in model:
                if isinstance(module, nn.Conv2d | nn.Linear):
                    scale = next(after)
                    module.weight *= before / scale
                    if module.bias is not None:
                        module.bias /= scale
                    before = scale
        return model

    return prepare


# --- spikesim -------------------------------------------------------------------------------------


def spikesim(method: str, **options: Any) -> Any:
    """`ss.convert`, for each number of steps anew; the Rust core runs what it gives."""

    def answer(model: nn.Module, x_cal: Tensor, x: Tensor, steps: Sequence[int]) -> Answer:
        import spikesim as ss

        output, spikes, chosen = {}, {}, {}
        for n in steps:
            net, report = ss.convert(
                model,
                calibration=x_cal.numpy(),
                method=method,
                n_steps=n,
                n_calibration=len(x_cal),
                validation=x_cal[:32].numpy(),
                steps=[1],
                **options,
            )
            if method == "auto":
                taken = net.meta["source"]["options"]
                named = {k: taken[k] for k in ("v0", "percentile", "ridge") if k in taken}
                chosen[n] = f"{report.method} {named}"
            result = net.compile().run(x.numpy(), n_steps=n, batch_size=BATCH)
            output[n] = np.asarray(result.output)
            spikes[n] = result.counts.spikes / len(x)
        return Answer(output, spikes, chosen)

    return answer


# --- Together -------------------------------------------------------------------------------------


def gathered(parts: dict[int, list[Tensor]], spikes: dict[int, float], n: int) -> Answer:
    """Batches joined; a value that is not finite is an error, never a prediction."""
    output = {step: torch.cat(tensors).numpy() for step, tensors in parts.items()}
    for step, values in output.items():
        if len(values) != n or not np.isfinite(values).all():
            raise RuntimeError(f"the output at T = {step} is not {n} rows of finite numbers")
    return Answer(output, {step: total / n for step, total in spikes.items()})


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the libraries' progress bars."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield


HALF = {"channel_wise": True, "half_threshold": True}

CONVERTERS: tuple[Converter, ...] = (
    Converter("spikesim", "auto", "single", spikesim("auto")),
    Converter("spikesim", "calibrated", "single", spikesim("calibrated")),
    *(
        Converter(
            "spikesim",
            f"calibrated, {most} spikes a step",
            "multi",
            spikesim("calibrated", max_spikes=most),
        )
        for most in (4, 16)
    ),
    *(
        Converter("spikingjelly", f"RateCoding {mode}", "single", spikingjelly(rate_coding(mode)))
        for mode in ("Max", "99.9%", "99%", 0.5, 0.25)
    ),
    *(
        Converter(
            "spikingjelly",
            f"RateCoding {mode} channel-wise, half",
            "single",
            spikingjelly(rate_coding(mode, **HALF)),
        )
        for mode in ("Max", "99.9%", "99%", "97%", 0.5)
    ),
    Converter(
        "spikingjelly",
        "RateCoding 99.9% channel-wise, half, delayed",
        "single",
        spikingjelly(rate_coding("99.9%", **HALF), delay=True),
    ),
    *(
        Converter(
            "spikingjelly",
            f"LocalThresholdBalancing {passes} passes",
            "single",
            spikingjelly(local_threshold_balancing(passes)),
        )
        for passes in (1, 8, 64)
    ),
    Converter(
        "spikingjelly",
        "LocalThresholdBalancing 64 passes, delayed",
        "single",
        spikingjelly(local_threshold_balancing(64), delay=True),
    ),
    Converter("sinabs", "from_model", "multi", sinabs()),
    Converter("sinabs", "from_model SingleSpike", "single", sinabs(spike="SingleSpike")),
    *(
        Converter(
            "sinabs",
            f"from_model spike_threshold {theta}",
            "multi",
            sinabs(spike_threshold=torch.tensor(theta)),
        )
        for theta in (0.5, 2.0)
    ),
    Converter(
        "sinabs",
        "normalize_weights, SingleSpike",
        "single",
        sinabs(library_normalised, spike="SingleSpike"),
    ),
    *(
        Converter(
            "sinabs",
            f"normalised {percentile} %, SingleSpike",
            "single",
            sinabs(normalised(percentile), spike="SingleSpike"),
        )
        for percentile in (99.9, 99.0)
    ),
    *(
        Converter("sinabs", f"from_model input x {gain:g}", "multi", sinabs(folded, gain=gain))
        for gain in (2.0, 4.0, 16.0)
    ),
)


def installed() -> Iterator[Converter]:
    """Those whose library is here."""
    for converter in CONVERTERS:
        if importlib.util.find_spec(converter.library) is not None:
            yield converter
