"""State dicts: a network's arrays as tensors, and back."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesim.errors import FormatError, GraphError, InputError, ShapeError
from spikesim.network import Network


def state_dict(net: Network, *, neurons: bool = True) -> dict[str, Tensor]:
    """The arrays of a network as torch tensors of their own, under `<node>.<array>`.

    These are the names in files of networks: `fc.weight`, `fc.bias`, `bn.running_mean`,
    `scale.scale`, `lif.v_threshold`, `lif.alpha_mem` (every float field that the population has).
    Nodes of a network that `from_torch` read carry the names of `named_modules()`, so
    `model.load_state_dict(sd, strict=False)` gives a torch model its layers' weights, and
    `to_torch(net).load_state_dict(sd)` takes all.

    Args:
        net: the network.
        neurons: False: without the fields of populations, for a model with neurons of another
            library, which may mean something else by such a name.

    Returns:
        float32 tensors on the CPU.

    Example:
        >>> import numpy as np, spikesim as ss
        >>> net = ss.Network((2,))
        >>> _ = net.add(ss.Linear(np.eye(2)), name="fc")
        >>> list(ss.train.state_dict(net))
        ['fc.weight']
    """
    return {
        f"{node.name}.{key}": torch.tensor(array)
        for node in net.nodes
        if neurons or node.kind != "neuron"
        for key, array in node.op.arrays().items()
    }


def with_weights(net: Network, weights: Mapping[str, Any], *, strict: bool = True) -> Network:
    """The same network with other arrays.

    Args:
        net: the network; it is left as it is.
        weights: tensors or arrays by `<node>.<array>`, as `state_dict` gives them; rounded to
            float32.
        strict: whether every array of the network must be there, and nothing else. False: what is
            missing stays as it is, and what is unknown is left out, as torch does.

    Returns:
        A network of its own.

    Raises:
        InputError: an array that is missing or unknown.
        ShapeError: one of another shape.
        GraphError: one that the network may not have, as NaN or a threshold that is not above 0.
        TypeError: one that is not of real numbers.

    Example:
        >>> import numpy as np, spikesim as ss
        >>> net = ss.Network((2,))
        >>> _ = net.add(ss.Linear(np.eye(2)), name="fc")
        >>> trained = ss.train.with_weights(net, {"fc.weight": 2 * np.eye(2)})
        >>> trained.node("fc").op.weight.tolist()
        [[2.0, 0.0], [0.0, 2.0]]
    """
    own = copy.copy(net)
    bundle = bytearray(own.__reduce__()[1][0])
    places = _places(bundle)
    if strict:
        for key in places:
            if key not in weights:
                raise InputError(f"with_weights: {key} is missing, expected all of the network's")
        for key in weights:
            if key not in places:
                known = ", ".join(list(places)[:4])
                raise InputError(
                    f"with_weights: {key} is no array of the network, expected only its own "
                    f"({known}, …)"
                )
    for key, (shape, start, stop) in places.items():
        if key in weights:
            array = _float32(key, weights[key])
            if array.shape != shape:
                raise ShapeError(f"with_weights: {key} has shape {array.shape}, expected {shape}")
            bundle[start:stop] = array.reshape(-1).view(np.uint8).data
    try:
        # The way of a file: its reader checks what a network made by hand is checked for.
        return Network._of(type(own._graph).from_bytes(bytes(bundle)))
    except FormatError as error:
        problem = str(error).removeprefix("bundle: ")
        raise GraphError(f"with_weights: {problem}") from error


def _places(bundle: bytearray) -> dict[str, tuple[tuple[int, ...], int, int]]:
    """Of each array in a bundle of our own making: shape, first byte, end."""
    (length,) = struct.unpack("<Q", bundle[:8])
    header = json.loads(bundle[8 : 8 + length].decode())
    begin = 8 + length
    return {
        key: (
            tuple(entry["shape"]),
            begin + entry["data_offsets"][0],
            begin + entry["data_offsets"][1],
        )
        for key, entry in header.items()
        if key != "__metadata__"
    }


def _float32(key: str, value: Any) -> NDArray[np.float32]:
    if isinstance(value, Tensor):
        if value.is_complex() or value.is_quantized or value.layout != torch.strided:
            raise TypeError(
                f"with_weights: {key} has dtype {value.dtype}, layout {value.layout}; expected "
                "real, dense numbers"
            )
        value = value.detach().to("cpu", torch.float32).numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"with_weights: {key} has dtype {array.dtype}, expected real numbers")
    with np.errstate(over="ignore"):  # an infinity is reported by its name below
        array = np.ascontiguousarray(array, dtype="<f4").reshape(array.shape)
    if not np.isfinite(array).all():
        raise GraphError(f"with_weights: {key} is not finite, expected finite numbers")
    return array
