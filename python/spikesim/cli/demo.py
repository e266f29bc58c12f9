"""``spikesim demo``: the main job on the embedded model and real images."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from spikesim.cli.measure import median_seconds
from spikesim.cli.output import Json, joules, print_facts, print_json, steps

if TYPE_CHECKING:
    from spikesim.network import Network
    from spikesim.result import Result
    from spikesim.simulator import Simulator

PROFILE = "horowitz45-fp32"


def demo(json: Json = False) -> None:
    """Run the embedded model on 360 real images: accuracy, agreement, speed and energy."""
    import spikesim as ss
    from spikesim import data, energy

    images = data.load("digits")
    net = ss.load(data.digits_model())
    x = data.Preprocessing.of(net.meta).apply(images.x, sample_ndim=len(net.input_shape))
    n, n_steps = len(x), int(net.meta["n_steps"])
    sim = net.compile()
    torch_is_here = find_spec("torch") is not None

    with steps(3 if torch_is_here else 1, "running") as progress:
        result = sim.run(x, n_steps=n_steps, record=("spikes",))
        seconds = median_seconds(lambda: sim.run(x, n_steps=n_steps), repeats=15, at_most=1.0)
        progress.advance()
        agreement = speedup = None
        if torch_is_here:
            agreement = agreement_with_reference(net, x, n_steps, result)
            progress.advance()
            speedup = _dense_seconds(net, x, n_steps, sim) / seconds
            progress.advance()

    spent = result.energy(PROFILE)
    ann = energy.ann_baseline(net, n_samples=n, profile=PROFILE)
    report: dict[str, Any] = {
        "n": n,
        "accuracy": float(np.mean(result.predictions == images.y)),
        "agreement": agreement,
        "images_per_s": n / seconds,
        "speedup_over_dense": speedup,
        "spikes": result.counts.spikes / n,
        "synops": result.counts.synops / n,
        "energy_j": spent.joules_per_sample,
        "ann_energy_j": ann.joules_per_sample,
        "n_steps": n_steps,
        "level": sim.level,
        "threads": sim.threads,
        "energy_profile": PROFILE,
        "energy_interval_j": [spent.low / n, spent.high / n],
        "ann_energy_interval_j": [ann.low / n, ann.high / n],
        "energy_not_modelled": list(spent.not_modelled),
    }
    if json:
        print_json(report)
    else:
        _show(report)


def agreement_with_reference(net: Network, x: NDArray[Any], n_steps: int, result: Result) -> float:
    """|A∩B| / |A∪B| over all spikes (layer, step, sample, neuron) of engine and reference.

    The model's weights lie on a grid on which sums are exact in any order, so torch's own, quicker
    sums tell the same. Should a torch build's convolutions do more than reorder, the reference's
    order, which is the definition, decides.
    """
    quick = _agreement(net, x, n_steps, result, "torch")
    return quick if quick == 1.0 else _agreement(net, x, n_steps, result, "ordered")


def _agreement(
    net: Network, x: NDArray[Any], n_steps: int, result: Result, sums: Literal["torch", "ordered"]
) -> float:
    import spikesim as ss

    dense = ss.reference.run(net, x, n_steps=n_steps, record=("spikes",), sums=sums)
    both = either = 0
    for name, raster in dense.spikes.items():
        ours = result.spikes[name].to_dense() != 0
        theirs = raster != 0
        both += int(np.count_nonzero(ours & theirs))
        either += int(np.count_nonzero(ours | theirs))
    return both / either if either else 1.0


def _dense_seconds(net: Network, x: NDArray[Any], n_steps: int, sim: Simulator) -> float:
    """Median time of the dense reference in torch's own quickest sums, with as many threads."""
    import torch

    import spikesim as ss

    before = torch.get_num_threads()
    torch.set_num_threads(sim.threads)
    try:
        return median_seconds(
            lambda: ss.reference.run(net, x, n_steps=n_steps, record=(), sums="torch"),
            repeats=5,
            at_most=1.0,
        )
    finally:
        torch.set_num_threads(before)


def _show(report: dict[str, Any]) -> None:
    absent = "not measured: torch is not installed"
    agreement, speedup = report["agreement"], report["speedup_over_dense"]
    ratio = report["ann_energy_j"] / report["energy_j"]
    print_facts(
        "A convolutional spiking network on handwritten digits it never saw",
        [
            ("images", f"{report['n']}, {report['n_steps']} steps each"),
            ("accuracy", f"{report['accuracy']:.2%}"),
            (
                "agreement with the dense reference",
                absent if agreement is None else f"{agreement:.6f} of all spikes",
            ),
            (
                "speed",
                f"{report['images_per_s']:,.0f} images/s "
                f"({report['level']}, {report['threads']} threads)",
            ),
            ("against the dense reference", absent if speedup is None else f"{speedup:.1f} x"),
            ("spikes an image", f"{report['spikes']:.0f}"),
            ("synaptic operations an image", f"{report['synops']:,.0f}"),
            (
                "energy an image",
                f"{joules(report['energy_j'])}, as an ANN {joules(report['ann_energy_j'])} "
                f"({ratio:.1f} x); {report['energy_profile']}, arithmetic only",
            ),
        ],
    )
