"""A torch module as an `Ann`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikesim import ops
from spikesim.convert.ann.activation import SOFTMAX, SPIKING, Activation, Activations
from spikesim.convert.ann.graph import Ann, Evaluator
from spikesim.convert.build import Builder
from spikesim.convert.walk import convert
from spikesim.errors import UnsupportedError
from spikesim.network import Network
from spikesim.train.qcfs import QCFS

CURRENT_POOLS: dict[type, type] = {
    ops.CurrentMaxPool1d: ops.SpikeMaxPool1d,
    ops.CurrentMaxPool2d: ops.SpikeMaxPool2d,
}
RATE_POOLS: dict[type, type] = {
    ops.CurrentMaxPool1d: ops.RateMaxPool1d,
    ops.CurrentMaxPool2d: ops.RateMaxPool2d,
}
SPIKE_POOLS = (*CURRENT_POOLS.values(), *RATE_POOLS.values())


def read(module: nn.Module, input_shape: tuple[int, ...]) -> Ann:
    """The ANN that a torch module computes in eval mode.

    Args:
        module: the model; it is left as it was.
        input_shape: of one sample.

    Returns:
        An `Ann` with the nodes' names of `from_torch`: the paths of `named_modules()`.

    Raises:
        UnsupportedError: a forward that can't be traced, a layer or an activation that no
            spiking network has; activations are named all at once.
    """
    builder = Builder(input_shape, None)
    builder.activations = Activations()
    net = convert(module, builder, None)
    found = builder.activations.found
    net, softmax = _without_softmax(net, found)
    _refuse_others(found)
    if not found:
        raise UnsupportedError(
            f"{type(module).__name__}: has no activation, expected at least one ReLU, leaky ReLU "
            "or QCFS; a network without any needs no spikes"
        )
    net, pools = _behind_activations(net, found)
    raw, net = net, net.fold()
    unfolded = {
        node.name: _why_unfolded(net, node.name) for node in net.nodes if node.kind == "batch_norm"
    }
    order = {node.name: found[node.name] for node in net.nodes if node.name in found}
    return Ann(net, order, unfolded, softmax, pools, raw, _folded(raw, net))


def _folded(raw: Network, net: Network) -> tuple[tuple[str, str, Any], ...]:
    """The batch normalisations that went into the layer before them."""
    left, inputs = {node.name for node in net.nodes}, _edges(raw)
    found = []
    for node in raw.nodes:
        if node.kind == "batch_norm" and node.name not in left:
            op: Any = node.op
            factor = op.weight.astype(np.float64) / np.sqrt(op.running_var + np.float64(op.eps))
            found.append((inputs[node.name][0], node.name, factor))
    return tuple(found)


def check_same(ann: Ann, module: nn.Module, x: Tensor) -> None:
    """Refuses a graph that does not compute what its module does.

    QCFS is compared without its stairs: where a value lies on an edge, rounding alone decides.

    Raises:
        UnsupportedError: the outputs on `x` (N, *input_shape) differ by more than rounding.
    """
    was = [(m, m.training) for m in module.modules()]
    stairs = [m for m in module.modules() if isinstance(m, QCFS)]
    hooks = [m.register_forward_hook(_ramp) for m in stairs]
    like = next((p for p in module.parameters() if p.is_floating_point()), x)
    try:
        module.eval()
        with torch.no_grad():
            truth = module(x.to(like.device, like.dtype))
    finally:
        for hook in hooks:
            hook.remove()
        for child, training in was:
            child.training = training
    if not isinstance(truth, Tensor):
        raise UnsupportedError(
            f"{type(module).__name__}: gives a {type(truth).__name__}, expected a tensor; wrap it "
            "in a module that gives the one output that is wanted"
        )
    truth = truth.to(x.device, x.dtype)
    ramps = {
        name: replace(one, kind="relu", ceiling=one.most)
        for name, one in ann.activations.items()
        if one.kind == "qcfs"
    }
    smooth = replace(ann, activations={**ann.activations, **ramps})
    mine = Evaluator(smooth)(x, [ann.net.output])[ann.net.output]
    if ann.softmax is not None:
        # What was left out is put back: only for the comparison.
        apply: Any = torch.log_softmax if ann.softmax.startswith("log") else torch.softmax
        mine = apply(mine, 1)
    scale = 1.0 + float(truth.abs().max())
    if truth.shape != mine.shape or float((truth - mine).abs().max()) > 1e-3 * scale:
        raise UnsupportedError(
            f"{type(module).__name__}: the graph that was read gives other outputs than the "
            "module, expected the same; the forward depends on more than its input"
        )


def _ramp(module: Any, given: tuple[Tensor, ...], _: Tensor) -> Tensor:
    """A QCFS with infinitely many levels."""
    (z,) = given
    return z.clamp(0.0, float(module.scale()))


def rebuilt(
    net: Network, order: list[str], inputs: dict[str, list[str]], new: dict[str, Any]
) -> Network:
    """A network of the same nodes in another order with other edges; `new`: operations that
    are others."""
    out = Network(net.input_shape, dt=net.dt, meta=net.meta)
    for name in order:
        out.add(new.get(name) or net.node(name).op, name, inputs[name])
    return out


def _edges(net: Network) -> dict[str, list[str]]:
    inputs: dict[str, list[str]] = {node.name: [] for node in net.nodes[1:]}
    for src, dst, _ in net.edges:
        inputs[dst].append(src)
    return inputs


def _without_softmax(net: Network, found: dict[str, Activation]) -> tuple[Network, str | None]:
    """Leaves out a softmax at the end: the largest output stays the largest."""
    last = found.get(net.output)
    if last is None or last.kind not in SOFTMAX:
        return net, None
    inputs = _edges(net)
    sources = inputs.pop(last.name)
    if len(sources) != 1:
        return net, None
    del found[last.name]
    out = rebuilt(net, list(inputs), inputs, {})
    out.output = sources[0]
    out.readout = None
    return out, last.kind


def _refuse_others(found: dict[str, Activation]) -> None:
    wrong = [one for one in found.values() if one.kind not in SPIKING]
    if wrong:
        named = ", ".join(
            f"{one.name} ({one.kind}{'' if one.where is None else f' at {one.where}'})"
            for one in wrong
        )
        raise UnsupportedError(
            f"{wrong[0].name}: {wrong[0].kind} is not supported, expected ReLU, ReLU6, leaky ReLU "
            f"or QCFS; no population of neurons stands for {named}: train the network with "
            "another activation"
        )


def _behind_activations(
    net: Network, found: dict[str, Activation]
) -> tuple[Network, dict[str, str]]:
    """Puts each maximum pool of currents behind the activation that follows it."""
    inputs = _edges(net)
    consumers: dict[str, list[str]] = {}
    for name, sources in inputs.items():
        for src in sources:
            consumers.setdefault(src, []).append(name)
    order = list(inputs)
    new: dict[str, Any] = {}
    pools: dict[str, str] = {}
    for pool in list(order):
        op = net.node(pool).op
        if type(op) in SPIKE_POOLS:
            pools[pool] = "spikes"
        if type(op) not in CURRENT_POOLS:
            continue
        after = consumers.get(pool, [])
        if len(after) != 1 or after[0] not in found or inputs[after[0]] != [pool]:
            pools[pool] = "currents"
            continue
        act = after[0]
        pools[pool] = "moved"
        spec: Any = op
        # Of values below zero padding must not win, as silence does over spikes.
        signed = found[act].kind == "leaky_relu"
        new[pool] = (RATE_POOLS if signed else CURRENT_POOLS)[type(op)](
            spec.kernel_size, spec.stride, spec.padding, spec.ceil_mode
        )
        inputs[act], inputs[pool] = inputs[pool], [act]
        for name in inputs:
            if name != pool:
                inputs[name] = [pool if src == act else src for src in inputs[name]]
        order.remove(act)
        order.insert(order.index(pool), act)
    if not new:
        return net, pools
    output = next((p for p in new if net.output in inputs[p]), net.output)
    out = rebuilt(net, order, inputs, new)
    out.output = output
    return out, pools


def _why_unfolded(net: Network, name: str) -> str:
    (source, *more) = _edges(net)[name]
    node = net.node(source)
    if more:
        return "it has several inputs"
    if node.kind not in ("linear", "conv1d", "conv2d"):
        return f"it stands after {source} ({node.kind}), not directly after a layer with weights"
    return f"{source} feeds other nodes, too"
