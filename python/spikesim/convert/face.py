"""The module `spikesim.convert` as something that can be called."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from types import ModuleType

from spikesim.convert.conversion import convert, doctor
from spikesim.convert.report import ConversionReport
from spikesim.convert.torch_module import from_torch, load_snntorch_state
from spikesim.convert.unit import unit_thresholds


class ConvertModule(ModuleType):
    """`spikesim.convert`: a module, and the function `spikesim.convert.conversion.convert`."""

    # What its users' type checkers know of it; the module itself has the same.
    ConversionReport = ConversionReport
    doctor = staticmethod(doctor)
    from_torch = staticmethod(from_torch)
    load_snntorch_state = staticmethod(load_snntorch_state)
    unit_thresholds = staticmethod(unit_thresholds)
    __call__ = staticmethod(convert)

    @property
    def __signature__(self) -> inspect.Signature:
        # Found on the class it would lose its first parameter, as a method's `self`.
        return inspect.signature(convert)

    def __reduce__(self) -> tuple[Callable[[str], ModuleType], tuple[str]]:
        # A function can be sent to another process, and copied.
        return importlib.import_module, (self.__name__,)
