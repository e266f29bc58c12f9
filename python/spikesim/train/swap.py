"""Other activations in a module that is there: ReLU out, QCFS in."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import nn

from spikesim.errors import InputError, UnsupportedError
from spikesim.train.qcfs import QCFS

_AVERAGE: dict[type[nn.Module], type[nn.Module]] = {
    nn.MaxPool1d: nn.AvgPool1d,
    nn.MaxPool2d: nn.AvgPool2d,
    nn.MaxPool3d: nn.AvgPool3d,
    nn.AdaptiveMaxPool1d: nn.AdaptiveAvgPool1d,
    nn.AdaptiveMaxPool2d: nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool3d: nn.AdaptiveAvgPool3d,
}


def swap_activations(
    module: nn.Module,
    make: Callable[[], nn.Module] = QCFS,
    of: type[nn.Module] | Sequence[type[nn.Module]] = (nn.ReLU,),
    max_pools: str | None = None,
) -> tuple[nn.Module, list[str]]:
    """A copy of a module with other activations, and maybe with average pools for max pools.

    Only activations that are modules can be swapped: a `torch.relu(x)` in a forward stays what it
    is. An activation module that stands under several names is replaced by a new one under each,
    so that each has parameters of its own; one that a forward calls several times is one name,
    and its calls go on sharing one new module (and its λ).

    Args:
        module: what to copy; left as it is.
        make: makes one new activation, a new module at each call; default `QCFS()` with L = 4.
        of: classes to be replaced, exactly these and none derived from them.
        max_pools: "avg": `nn.MaxPool…` and `nn.AdaptiveMaxPool…` become average pools of the
            same geometry, whose padding does not count in the average; None: they stay.

    Returns:
        The new module, and the names (as in `named_modules()`) of what was replaced, in order;
        the name of `module` itself is "".

    Raises:
        InputError: there is nothing to replace, or `make` gives no new module.
        UnsupportedError: a max pool that no average pool stands for; an unknown `max_pools`.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
        >>> swapped, names = ss.train.swap_activations(net, lambda: ss.train.QCFS(L=8))
        >>> names
        ['1']
    """
    if max_pools not in (None, "avg"):
        raise UnsupportedError(
            f"swap_activations: max_pools is {max_pools!r}, expected None or 'avg'"
        )
    classes = (of,) if isinstance(of, type) else tuple(of)
    # A root of its own, so that a module that is itself an activation has a parent as well.
    root = nn.ModuleDict({"module": copy.deepcopy(module)})
    replaced: list[str] = []
    activations = 0
    made: set[int] = set()
    for parent, child, name in list(_places(root)):
        old = getattr(parent, child)
        if type(old) in classes:
            new = make()
            if not isinstance(new, nn.Module) or id(new) in made:
                what = "the same module again" if id(new) in made else f"a {type(new).__name__}"
                raise InputError(
                    f"swap_activations: make gave {what} for {name or 'the module'}, "
                    "expected a new module at each call"
                )
            made.add(id(new))
            activations += 1
        elif max_pools == "avg" and type(old) in _AVERAGE:
            new = _average(name, old)
        else:
            continue
        setattr(parent, child, _like(new, old, root))
        replaced.append(name)
    if not activations:
        names = ", ".join(cls.__name__ for cls in classes) or "class"
        raise InputError(
            f"swap_activations: {type(module).__name__} has no {names} module, expected at least "
            "one; functional activations can't be swapped, make them modules"
        )
    return root["module"], replaced


def _places(root: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """Every module under the root as (parent, name there, full name); a shared parent once."""
    for name, parent in root.named_modules():
        for child, old in parent._modules.items():
            if old is not None:
                path = f"{name}.{child}" if name else child
                yield parent, child, path.removeprefix("module").removeprefix(".")


def _average(name: str, pool: Any) -> nn.Module:
    if pool.return_indices:
        raise UnsupportedError(
            f"{name}: return_indices is True, expected False; an average has no indices"
        )
    if not hasattr(pool, "kernel_size"):
        return _AVERAGE[type(pool)](pool.output_size)
    dilation = pool.dilation if isinstance(pool.dilation, tuple) else (pool.dilation,)
    if set(dilation) != {1}:
        raise UnsupportedError(f"{name}: dilation is {pool.dilation}, expected 1 to be averaged")
    return _AVERAGE[type(pool)](
        pool.kernel_size,
        pool.stride,
        pool.padding,
        ceil_mode=pool.ceil_mode,
        # A max pool does not see its padding; the average is that of what it does see.
        count_include_pad=False,
    )


def _like(new: nn.Module, old: nn.Module, root: nn.Module) -> nn.Module:
    """In the mode of the old one, and where the numbers of the whole are."""
    neighbour = next(root.parameters(), None)
    if neighbour is not None:
        new = new.to(neighbour.device)
        if neighbour.is_floating_point():
            new = new.to(neighbour.dtype)
    return new.train(old.training)
