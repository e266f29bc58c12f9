"""Which edges of a graph with cycles carry a step of delay.

NIR's edges have no delay, yet a cycle needs one. Which edges close a cycle is told by the way from
the input alone: no name and no order in a file plays a part.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence

from spikesim.errors import GraphError, UnsupportedError

Edges = Sequence[tuple[str, str]]

MAX_ROUNDS = 256
"""Deepest nesting of cycles in cycles."""


def delayed(
    edges: Edges,
    start: str,
    neurons: Collection[str],
    waiting: Collection[str],
    feedback: str,
) -> set[int]:
    """The edges that carry a step so that every cycle has one.

    A strongly connected part of the graph is entered at the nodes that the rest of the graph
    feeds (of these, at those with the fewest populations between them and the input); the edges
    of the part that lead back to where it is entered close its cycles. The same again for what is
    left of the part.

    Args:
        edges: (source, target).
        start: The input.
        neurons: Nodes that are populations.
        waiting: Nodes that pass everything on at least a step later: a cycle through one of them
            needs no more.
        feedback: "entering": the closing edges carry the step. "leaving": the edges that leave
            the populations before them do, so that what lies between acts from the first step.

    Returns:
        Indices of `edges`.

    Raises:
        GraphError: A cycle passes through no population.
        UnsupportedError: Cycles in cycles in cycles without end.
    """
    live = {i for i, (src, _) in enumerate(edges) if src not in waiting}
    depth = _depths(edges, start, neurons)
    closing: set[int] = set()
    result: set[int] = set()
    for part in _cyclic(_nodes(edges), edges, live):
        closes = _closing(part, edges, live, depth)
        closing |= closes
        result |= closes if feedback == "entering" else _leaving(part, edges, live, closes, neurons)
    for part in _cyclic(_nodes(edges), edges, live - result):
        _no_neuron(part)
    return result


def parts(edges: Edges) -> list[set[str]]:
    """The nodes that reach themselves, by the cycles that they have in common."""
    return _cyclic(_nodes(edges), edges, range(len(edges)))


def _no_neuron(part: Collection[str]) -> None:
    names = ", ".join(sorted(part)[:8])
    raise GraphError(f"network: the cycle of {names} passes through no neuron, expected one in it")


def _nodes(edges: Edges) -> list[str]:
    return list(dict.fromkeys(name for edge in edges for name in edge))


def _depths(edges: Edges, start: str, neurons: Collection[str]) -> dict[str, int]:
    """The fewest populations on a way from the input to each node, itself included."""
    out: dict[str, list[str]] = {}
    for src, dst in edges:
        out.setdefault(src, []).append(dst)
    depth = {start: 0}
    queue = deque([start])
    while queue:
        src = queue.popleft()
        for dst in out.get(src, ()):
            steps = depth[src] + (dst in neurons)
            if steps < depth.get(dst, 1 << 62):
                depth[dst] = steps
                if dst in neurons:
                    queue.append(dst)
                else:
                    queue.appendleft(dst)
    return depth


def _closing(part: set[str], edges: Edges, live: set[int], depth: Mapping[str, int]) -> set[int]:
    """The edges of a cyclic part that close its cycles."""
    closes: set[int] = set()
    parts = [part]
    for _ in range(MAX_ROUNDS):
        if not parts:
            return closes
        after: list[set[str]] = []
        for nodes in parts:
            inside = {i for i in live - closes if edges[i][0] in nodes and edges[i][1] in nodes}
            entered = {dst for src, dst in edges if dst in nodes and src not in nodes} or nodes
            least = min(depth.get(name, 0) for name in entered)
            first = {name for name in entered if depth.get(name, 0) == least}
            closes |= {i for i in inside if edges[i][1] in first}
            after += _cyclic(nodes - first, edges, inside - closes)
        parts = after
    raise UnsupportedError(
        f"network: cycles nested more than {MAX_ROUNDS} deep are not supported; put a Delay "
        "into them"
    )


def _leaving(
    part: set[str],
    edges: Edges,
    live: set[int],
    closes: Iterable[int],
    neurons: Collection[str],
) -> set[int]:
    """The edges that leave populations towards `closes`."""
    into: dict[str, list[int]] = {}
    for i in live:
        if edges[i][0] in part and edges[i][1] in part:
            into.setdefault(edges[i][1], []).append(i)
    found: set[int] = set()
    seen: set[str] = set()
    todo = list(closes)
    while todo:
        i = todo.pop()
        src = edges[i][0]
        if src in neurons:
            found.add(i)
        elif src not in seen:
            seen.add(src)
            todo += into.get(src, ())
    return found


def _cyclic(nodes: Iterable[str], edges: Edges, live: Iterable[int]) -> list[set[str]]:
    """The strongly connected parts that have a cycle (Tarjan, with a stack of its own)."""
    out: dict[str, list[str]] = {name: [] for name in nodes}
    selfish: set[str] = set()
    for i in sorted(live):
        src, dst = edges[i]
        if src in out and dst in out:
            out[src].append(dst)
            if src == dst:
                selfish.add(src)
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    on: set[str] = set()
    stack: list[str] = []
    parts: list[set[str]] = []
    for root in out:
        if root in index:
            continue
        path: list[tuple[str, int]] = [(root, 0)]
        while path:
            name, at = path.pop()
            if at == 0:
                index[name] = low[name] = len(index)
                stack.append(name)
                on.add(name)
            elif out[name][at - 1] in on:
                low[name] = min(low[name], low[out[name][at - 1]])
            advanced = False
            for k in range(at, len(out[name])):
                dst = out[name][k]
                if dst not in index:
                    path += [(name, k + 1), (dst, 0)]
                    advanced = True
                    break
                if dst in on:
                    low[name] = min(low[name], index[dst])
            if advanced or low[name] != index[name]:
                continue
            part: set[str] = set()
            while name not in part:
                part.add(stack.pop())
            on -= part
            if len(part) > 1 or name in selfish:
                parts.append(part)
    return parts
