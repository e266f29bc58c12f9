"""The table of docs/semantics.md: the fields of a row make that library's own cell.

Each cell is driven by random currents, the library's own code on one side and the fields on the
other, and has to fire in the same steps; membranes may differ by rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import spikesim as ss
from engines import Engine, Reference

Array = NDArray[np.float32]
Cell = Callable[[torch.Tensor], tuple[Array | None, Array | None]]

THETA, LEAK, RESET, TAU, BETA, ALPHA = 0.8, 0.1, -0.2, 4.0, 0.85, 0.7
STEPS, SAMPLES, NEURONS = 80, 3, 20


@dataclass
class Row:
    """One row: the library's cell, (T, N, n) currents in, spikes and membranes out; the fields."""

    cell: Callable[[], Cell]
    fields: dict[str, Any]


def stepped(
    step: Callable[[torch.Tensor], tuple[torch.Tensor | None, torch.Tensor | None]],
) -> Cell:
    """A cell that is called once a step."""

    def run(x: torch.Tensor) -> tuple[Array | None, Array | None]:
        out = [[None if y is None else y.clone() for y in step(now)] for now in x]
        columns = zip(*out, strict=True)
        return tuple(None if c[0] is None else torch.stack(c).numpy() for c in columns)  # type: ignore[return-value, arg-type]

    return run


def spikingjelly(name: str, **options: Any) -> Callable[[], Cell]:
    def make() -> Cell:
        from spikingjelly.activation_based import neuron

        node = getattr(neuron, name)(v_threshold=THETA, **options)
        return stepped(lambda x: (node(x), node.v))

    return make


def snntorch(name: str, **options: Any) -> Callable[[], Cell]:
    def make() -> Cell:
        import snntorch as snn

        cell = getattr(snn, name)(threshold=THETA, **options)
        return snntorch_cell(cell)

    return make


def snntorch_cell(cell: Any) -> Cell:
    """A cell that takes and returns its states, the membrane last."""
    start = cell.reset_mem()
    state = list(start if isinstance(start, tuple) else [start])

    def step(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        spikes, *state[:] = cell(x, *state)
        return spikes, state[-1]

    return stepped(step)


def norse(name: str, parameters: str, fires: bool = True, **options: Any) -> Callable[[], Cell]:
    def make() -> Cell:
        import norse.torch as library

        values = {k: torch.tensor(v) if isinstance(v, float) else v for k, v in options.items()}
        cell = getattr(library, name)(p=getattr(library, parameters)(**values))
        state: list[Any] = [None]

        def step(x: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
            out, state[0] = cell(x, state[0])
            return (out if fires else None), state[0].v

        return stepped(step)

    return make


def sinabs(name: str, fires: bool = True, **options: Any) -> Callable[[], Cell]:
    def make() -> Cell:
        import sinabs.activation as activation
        import sinabs.layers as layers

        named = {k: getattr(activation, v)() if k == "reset_fn" else v for k, v in options.items()}
        if fires:
            named["spike_threshold"] = torch.tensor(THETA)
        layer = getattr(layers, name)(**named)

        def run(x: torch.Tensor) -> tuple[Array | None, Array | None]:
            out = layer(x.transpose(0, 1)).transpose(0, 1).detach().numpy()
            return (out, None) if fires else (None, out)

        return run

    return make


HARD = {"reset": "to_value", "v_reset": RESET, "v0": RESET}
LATE_SUBTRACT = {"alpha_mem": BETA, "fires": ">", "reset_timing": "next_step_after"}
ZERO = {"reset": "to_value", "v_reset": 0.0}
CUBA = {"synapse": "decay_first", "alpha_syn": ALPHA, "w_in": 1.0}
DECAYS = {"alpha": 0.9, "beta": 0.6}
DOUBLE = {
    "synapse": "alpha",
    "alpha_syn": 0.9,
    "alpha_inh": 0.6,
    "w_in": 1.0,
    "gain": float(np.log(0.9) / (np.log(0.6) - np.log(0.9)) + 1),
    "alpha_mem": 0.0,
    "fires": ">",
    "reset_timing": "next_step_after",
}
DT = 1e-3
NORSE_BOX = {
    "alpha_mem": 1 - DT * 150,
    "gain": DT * 150,
    "v_leak": LEAK,
    "fires": ">",
    "reset": "to_value",
    "v_reset": RESET,
    "v0": LEAK,
}
NORSE_CUBA = {"synapse": "decay_first", "alpha_syn": 1 - DT * 300, "w_in": 1.0}
LI = {"spikes": "none"}
MULTI = {"spikes": "multi"}
BETA_SINABS = float(np.exp(-1 / TAU))
SINABS_LIF = {"alpha_mem": BETA_SINABS, "gain": 1 - BETA_SINABS, **MULTI}
SINABS_SYN = {"synapse": "decay_after", "alpha_syn": float(np.exp(-1 / 3.0)), "w_in": 1.0}

ROWS: dict[str, Row] = {
    "SpikingJelly IF soft": Row(spikingjelly("IFNode", v_reset=None), {}),
    "SpikingJelly IF hard": Row(spikingjelly("IFNode", v_reset=RESET), HARD),
    "SpikingJelly LIF decay_input soft": Row(
        spikingjelly("LIFNode", tau=TAU, decay_input=True, v_reset=None),
        {"alpha_mem": 1 - 1 / TAU, "gain": 1 / TAU},
    ),
    "SpikingJelly LIF decay_input hard": Row(
        spikingjelly("LIFNode", tau=TAU, decay_input=True, v_reset=RESET),
        {"alpha_mem": 1 - 1 / TAU, "gain": 1 / TAU, "v_leak": RESET, **HARD},
    ),
    "SpikingJelly LIF soft": Row(
        spikingjelly("LIFNode", tau=TAU, decay_input=False, v_reset=None),
        {"alpha_mem": 1 - 1 / TAU},
    ),
    "SpikingJelly LIF hard": Row(
        spikingjelly("LIFNode", tau=TAU, decay_input=False, v_reset=RESET),
        {"alpha_mem": 1 - 1 / TAU, "v_leak": RESET, **HARD},
    ),
    "SpikingJelly ParametricLIF": Row(
        spikingjelly("ParametricLIFNode", init_tau=TAU, decay_input=True, v_reset=None),
        {"alpha_mem": 1 - 1 / TAU, "gain": 1 / TAU},
    ),
    "SpikingJelly CUBALIF soft": Row(
        spikingjelly("CUBALIFNode", c_decay=ALPHA, v_decay=BETA, v_reset=None),
        {**CUBA, "alpha_mem": BETA},
    ),
    "SpikingJelly CUBALIF hard": Row(
        spikingjelly("CUBALIFNode", c_decay=ALPHA, v_decay=BETA, v_reset=RESET),
        {**CUBA, "alpha_mem": BETA, **HARD},
    ),
    "snnTorch Leaky subtract": Row(
        snntorch("Leaky", beta=BETA, reset_mechanism="subtract"), LATE_SUBTRACT
    ),
    "snnTorch Leaky zero": Row(
        snntorch("Leaky", beta=BETA, reset_mechanism="zero"),
        {"alpha_mem": BETA, "fires": ">", "reset_timing": "next_step_before", **ZERO},
    ),
    "snnTorch Leaky none": Row(
        snntorch("Leaky", beta=BETA, reset_mechanism="none"),
        {"alpha_mem": BETA, "fires": ">", "reset": "none"},
    ),
    "snnTorch Leaky subtract no delay": Row(
        snntorch("Leaky", beta=BETA, reset_mechanism="subtract", reset_delay=False),
        {**LATE_SUBTRACT, "reset_timing": "same_step_guarded"},
    ),
    "snnTorch Leaky zero no delay": Row(
        snntorch("Leaky", beta=BETA, reset_mechanism="zero", reset_delay=False),
        {"alpha_mem": BETA, "fires": ">", **ZERO},
    ),
    "snnTorch Synaptic subtract": Row(
        snntorch("Synaptic", alpha=ALPHA, beta=BETA, reset_mechanism="subtract"),
        {**LATE_SUBTRACT, **CUBA},
    ),
    "snnTorch Synaptic zero": Row(
        snntorch("Synaptic", alpha=ALPHA, beta=BETA, reset_mechanism="zero"),
        {**LATE_SUBTRACT, **CUBA, **ZERO},
    ),
    "snnTorch Synaptic subtract no delay": Row(
        snntorch("Synaptic", alpha=ALPHA, beta=BETA, reset_mechanism="subtract", reset_delay=False),
        {**LATE_SUBTRACT, **CUBA, "reset_timing": "same_step_guarded"},
    ),
    "snnTorch Synaptic zero no delay": Row(
        snntorch("Synaptic", alpha=ALPHA, beta=BETA, reset_mechanism="zero", reset_delay=False),
        {"alpha_mem": BETA, "fires": ">", **CUBA, **ZERO},
    ),
    "snnTorch Alpha subtract": Row(snntorch("Alpha", **DECAYS, reset_mechanism="subtract"), DOUBLE),
    "snnTorch Alpha zero": Row(
        snntorch("Alpha", **DECAYS, reset_mechanism="zero"), {**DOUBLE, **ZERO}
    ),
    "snnTorch Alpha none": Row(
        snntorch("Alpha", **DECAYS, reset_mechanism="none"), {**DOUBLE, "reset": "none"}
    ),
    "snnTorch Lapicque": Row(
        snntorch("Lapicque", R=5.0, C=1.5, time_step=1.0, reset_mechanism="subtract"),
        {**LATE_SUBTRACT, "alpha_mem": 1 - 1 / 7.5, "gain": 1 / 1.5},
    ),
    "Norse IAFCell": Row(
        norse("IAFCell", "IAFParameters", v_th=THETA, v_reset=RESET), {"fires": ">", **HARD}
    ),
    "Norse LIFBoxCell": Row(
        norse(
            "LIFBoxCell",
            "LIFBoxParameters",
            tau_mem_inv=150.0,
            v_leak=LEAK,
            v_th=THETA,
            v_reset=RESET,
        ),
        NORSE_BOX,
    ),
    "Norse LIFCell": Row(
        norse(
            "LIFCell",
            "LIFParameters",
            tau_mem_inv=150.0,
            tau_syn_inv=300.0,
            v_leak=LEAK,
            v_th=THETA,
            v_reset=RESET,
        ),
        {**NORSE_BOX, **NORSE_CUBA},
    ),
    "Norse LIBoxCell": Row(
        norse("LIBoxCell", "LIBoxParameters", fires=False, tau_mem_inv=150.0, v_leak=LEAK),
        {**NORSE_BOX, **LI},
    ),
    "Norse LICell": Row(
        norse(
            "LICell",
            "LIParameters",
            fires=False,
            tau_mem_inv=150.0,
            tau_syn_inv=300.0,
            v_leak=LEAK,
        ),
        {**NORSE_BOX, **NORSE_CUBA, **LI},
    ),
    "Sinabs IAF": Row(sinabs("IAF"), MULTI),
    "Sinabs IAF min_v_mem": Row(sinabs("IAF", min_v_mem=-0.3), {**MULTI, "v_min": -0.3}),
    "Sinabs IAF MembraneReset": Row(sinabs("IAF", reset_fn="MembraneReset"), {**MULTI, **ZERO}),
    "Sinabs LIF": Row(sinabs("LIF", tau_mem=TAU), SINABS_LIF),
    "Sinabs LIF tau_syn": Row(
        sinabs("LIF", tau_mem=TAU, tau_syn=3.0, norm_input=False),
        {**SINABS_LIF, **SINABS_SYN, "gain": 1.0},
    ),
    "Sinabs ExpLeak": Row(
        sinabs("ExpLeak", fires=False, tau_mem=TAU), {"alpha_mem": BETA_SINABS, **LI}
    ),
}


def currents(seed: int = 5) -> Array:
    """Bursts and pauses of both signs, mostly up."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0.35, 0.5, (STEPS, SAMPLES, NEURONS)) * (rng.random((STEPS, 1, NEURONS)) < 0.7)
    return x.astype(np.float32)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.filterwarnings("ignore")
def test_fields_make_the_librarys_cell(run: Any, row: str) -> None:
    x = currents() / np.float32(ROWS[row].fields.get("gain", 1))  # so that it fires
    with torch.no_grad():
        fired, membrane = ROWS[row].cell()(torch.from_numpy(x))
    net = ss.Network((NEURONS,))
    net.add(ss.Neuron(v_threshold=THETA, **ROWS[row].fields), name="n")
    outcome = run(net).run(x)
    if fired is not None:
        assert 0.01 < (fired != 0).mean() < 0.99
        assert np.array_equal(outcome.spikes["n"], fired)
    if membrane is not None:
        assert np.allclose(outcome.v["n"], membrane, rtol=0, atol=2e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mechanism", ["subtract", "zero"])
def test_snntorch_rleaky(run: Any, mechanism: str) -> None:
    import snntorch as snn

    torch.manual_seed(0)
    cell = snn.RLeaky(
        beta=BETA, linear_features=NEURONS, threshold=THETA, reset_mechanism=mechanism
    )
    weight, bias = (p.detach().numpy() for p in cell.recurrent.parameters())
    x = currents()
    spikes, membrane = cell.init_rleaky()
    fired = []
    with torch.no_grad():
        for now in torch.from_numpy(x):
            spikes, membrane = cell(now, spikes, membrane)
            fired.append(spikes.numpy())
    fields = LATE_SUBTRACT if mechanism == "subtract" else {**LATE_SUBTRACT, **ZERO}
    net = ss.Network((NEURONS,))
    net.add(ss.Neuron(v_threshold=THETA, **fields), name="n")
    net.add(ss.Linear(weight, bias), name="back", inputs=[("n", 1)])
    net.connect("back", "n")
    assert np.array_equal(run(net).run(x).spikes["n"], np.stack(fired))


@pytest.mark.filterwarnings("ignore")
def test_sinabs_lif_recurrent(run: Any) -> None:
    import sinabs.layers as layers

    torch.manual_seed(0)
    back = torch.nn.Linear(NEURONS, NEURONS)
    cell = layers.LIFRecurrent(
        tau_mem=TAU, rec_connect=back, spike_threshold=torch.tensor(THETA), norm_input=False
    )
    weight, bias = (p.detach().numpy() for p in back.parameters())
    x = currents()
    with torch.no_grad():
        fired = cell(torch.from_numpy(x).transpose(0, 1)).transpose(0, 1).numpy()
    net = ss.Network((NEURONS,))
    net.add(ss.Neuron(v_threshold=THETA, **{**SINABS_LIF, "gain": 1.0}), name="n")
    net.add(ss.Linear(weight, bias), name="back")
    net.connect("back", "n", delay=1)
    net.output = "n"
    assert np.array_equal(run(net).run(x).spikes["n"], fired)


@given(data=st.data(), mechanism=st.sampled_from(["subtract", "zero", "none"]))
@pytest.mark.filterwarnings("ignore")
def test_snntorch_alpha_is_the_same_to_the_bit(data: st.DataObject, mechanism: Any) -> None:
    # The library does the same operations in the same order, so any floats will do.
    import snntorch as snn

    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), label="seed"))
    size = data.draw(st.sampled_from([(), (NEURONS,)]), label="parameters")
    beta = rng.uniform(0.05, 0.9, size).astype(np.float32)
    alpha = (beta + rng.uniform(0.05, 0.95, size) * (0.99 - beta)).astype(np.float32)
    theta = rng.uniform(0.2, 1.5, size).astype(np.float32)
    cell = snn.Alpha(
        torch.tensor(alpha), torch.tensor(beta), torch.tensor(theta), reset_mechanism=mechanism
    )
    x = rng.normal(0.3, 0.7, (40, 2, NEURONS)).astype(np.float32)
    log_alpha, log_beta = torch.log(cell.alpha), torch.log(cell.beta)
    gain = (log_alpha / (log_beta - log_alpha) + 1).numpy()
    with torch.no_grad():
        fired, membrane = snntorch_cell(cell)(torch.from_numpy(x))
    fields = {**DOUBLE, "alpha_syn": alpha, "alpha_inh": beta, "gain": gain}
    fields["reset"] = {"zero": "to_value"}.get(mechanism, mechanism)
    net = ss.Network((NEURONS,))
    net.add(ss.Neuron(v_threshold=theta, **fields), name="n")
    for engine in (Reference, Engine):
        outcome = engine(net).run(x)
        assert np.array_equal(outcome.spikes["n"], fired)
        assert np.array_equal(outcome.v["n"], membrane)
