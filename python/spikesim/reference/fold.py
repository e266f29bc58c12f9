"""BatchNorm: folded into the layer before it (S2.13), or a channel's own affine map (S2.14)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesim import ops
from spikesim.network import Network

Layer = ops.Linear | ops.Conv1d | ops.Conv2d


def foldable(net: Network) -> dict[str, str]:
    """{BatchNorm node: the layer that takes it in}, in the order of folding."""
    by_name = {node.name: node for node in net.nodes}
    found: dict[str, str] = {}
    for node in net.nodes:
        if not isinstance(node.op, ops.BatchNorm):
            continue
        incoming = [edge for edge in net.edges if edge.dst == node.name]
        if len(incoming) != 1 or incoming[0].delay != 0:
            continue
        source = incoming[0].src
        outgoing = [edge for edge in net.edges if edge.src == source]
        # A BatchNorm that was folded stands for the layer it is in.
        layer = found.get(source, source)
        if isinstance(by_name[layer].op, Layer) and len(outgoing) == 1 and net.output != source:
            found[node.name] = layer
    return found


def affine(norm: ops.BatchNorm) -> tuple[Tensor, Tensor]:
    """Factor and shift of a channel, float64, with no layer before it."""
    scale = _f64(norm.weight) / torch.sqrt(_f64(norm.running_var) + float(norm.eps))
    return scale, _f64(norm.bias) - _f64(norm.running_mean) * scale


def folded(
    layer: Layer, norms: Sequence[ops.BatchNorm]
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Weight and bias of `layer` with `norms` in them, one after the other."""
    weight, bias = layer.weight, layer.bias
    for norm in norms:
        scale = _f64(norm.weight) / torch.sqrt(_f64(norm.running_var) + float(norm.eps))
        by_output = scale.reshape(-1, *(1,) * (weight.ndim - 1))
        before = torch.zeros_like(scale) if bias is None else _f64(bias)
        after = (before - _f64(norm.running_mean)) * scale + _f64(norm.bias)
        weight = (_f64(weight) * by_output).to(torch.float32).numpy()
        bias = after.to(torch.float32).numpy()
    return weight, bias


def _f64(values: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float64))
