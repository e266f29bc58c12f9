"""What a network's nodes read and when: the order of a step, what is kept for later steps."""

from __future__ import annotations

from torch import nn

from spikesim.errors import GraphError
from spikesim.network import Network
from spikesim.train.arrivals import Delayed

# Of each node, in the order of its edges: (source, how many steps ago).
Reads = dict[str, list[tuple[str, int]]]


class Plan:
    """What each node reads, an order in which that is there, and how long values are kept."""

    def __init__(self, reads: Reads) -> None:
        self.reads = reads
        self.order = _in_order(reads)
        self.kept: dict[str, int] = {}
        for sources in reads.values():
            for src, ago in sources:
                if ago:
                    self.kept[src] = max(self.kept.get(src, 0), ago)


def lags(module: nn.Module, name: str) -> tuple[int, ...]:
    """How many steps ago a node reads each of its edges, apart from the edge's own delay."""
    try:
        return module.lags() if isinstance(module, Delayed) else (0,)
    except GraphError as error:
        raise GraphError(f"{name}: {error}") from error


def _in_order(reads: Reads) -> list[str]:
    """The nodes, each after those of which it reads the same step."""
    ordered: dict[str, None] = {"input": None}
    for node in reads:
        # Depth first, without recursion: networks are deeper than Python's stack.
        todo, waiting = [node], set()
        while todo:
            name = todo[-1]
            sources = [src for src, ago in reads.get(name, ()) if not ago and src not in ordered]
            if not sources:
                ordered[todo.pop()] = None
            elif name in waiting:
                raise GraphError(f"{name}: stands in a cycle without delay, expected at least one")
            else:
                waiting.add(name)
                todo += sources
    return list(ordered)[1:]


def foldable(net: Network) -> dict[str, list[str]]:
    """{layer: the BatchNorms that the engine folds into it, one after the other}."""
    norms = [node.name for node in net.nodes if node.kind == "batch_norm"]
    if not norms:
        return {}
    left = {node.name for node in net.fold().nodes}
    layers: dict[str, str] = {}
    found: dict[str, list[str]] = {}
    source = {edge.dst: edge.src for edge in net.edges}
    for norm in norms:
        if norm not in left:
            before = source[norm]
            layers[norm] = layers.get(before, before)
            found.setdefault(layers[norm], []).append(norm)
    return found
