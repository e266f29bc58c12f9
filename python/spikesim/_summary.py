"""What `print(net)` shows: a row for each node, then the totals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spikesim.network import Network, Node

_HEAD = ("name", "kind", "output", "parameters", "")


def table(net: Network) -> str:
    """The summary of a network: name, kind, output shape and parameters of each node, what its
    neurons mean, where inputs come from if not from the node before, and the totals."""
    nodes = net.nodes
    inputs: dict[str, list[str]] = {node.name: [] for node in nodes}
    for src, dst, delay in net.edges:
        inputs[dst].append(f"{src} (delay {delay})" if delay else src)
    rows = [_HEAD]
    for before, node in zip((None, *nodes), nodes, strict=False):
        notes = [_note(node)]
        if before is not None and inputs[node.name] != [before.name]:
            notes.append("from " + ", ".join(inputs[node.name]))
        text = "; ".join(note for note in notes if note)
        rows.append((node.name, node.kind, str(node.shape), f"{node.parameters:,}", text))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {shape:<{widths[2]}}  "
        f"{parameters:>{widths[3]}}  {note}".rstrip()
        for name, kind, shape, parameters, note in rows
    ]
    rule = "─" * max(len(line) for line in lines)
    return "\n".join([lines[0], rule, *lines[1:], rule, _totals(net, nodes), *_open(net)])


def _open(net: Network) -> list[str]:
    """What the file that the network came from did not say."""
    lines = []
    account = net.meta.get("nir")
    assumed = account.get("assumed") if isinstance(account, dict) else None
    if isinstance(account, dict) and isinstance(assumed, dict) and assumed:
        taken = ", ".join(f"{name} {value}" for name, value in assumed.items())
        lines.append(f"not in the NIR file, assumed (profile {account.get('profile')}): {taken}")
    return lines + [f"not known: {question}" for question in net.unsettled]


def _totals(net: Network, nodes: tuple[Node, ...]) -> str:
    neurons = sum(math.prod(node.shape) for node in nodes if node.kind == "neuron")
    parameters = sum(node.parameters for node in nodes)
    dt = "not given" if net.dt is None else f"{net.dt:g} s"
    return (
        f"{len(nodes)} nodes, {parameters:,} parameters, {neurons:,} neurons · dt {dt} · "
        f"readout {net.readout} of {net.output} {net.output_shape}"
    )


def _note(node: Node) -> str:
    """What a neuron means; the geometry of a window."""
    if node.kind == "neuron":
        return node.semantics
    op = node.op
    words = []
    kernel = getattr(op, "kernel_size", None)
    if kernel is None and node.kind.startswith("conv"):
        kernel = op.arrays()["weight"].shape[2:]
    if kernel is not None:
        words.append("×".join(map(str, kernel if isinstance(kernel, tuple) else (kernel,))))
    for name, default in (("stride", None), ("padding", 0), ("dilation", 1), ("groups", 1)):
        value = getattr(op, name, default)
        if value != default and not (name == "stride" and value in (1, (1, 1))):
            shown = _short(value)
            if shown != str(default):
                words.append(f"{name} {shown}")
    gate = getattr(op, "gate", None)
    if gate is not None:
        words.append(f"gate {gate}")
    delay = getattr(op, "delay", None)
    if delay is not None and delay.size:
        least, most = int(delay.min()), int(delay.max())
        words.append(f"delay {least}" if least == most else f"delay {least}…{most}")
    return " ".join(words)


def _short(value: object) -> str:
    """(2, 2) as 2, ((1, 1), (1, 1)) as 1; anything else as it is."""
    while isinstance(value, tuple) and len(set(value)) == 1:
        value = value[0]
    return str(value)
