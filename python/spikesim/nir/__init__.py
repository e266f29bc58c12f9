"""NIR files: the field's common format, read with what each library means by it, and written.

h5py is imported when a file is read or written, not before.
"""

from __future__ import annotations

from spikesim.nir.load import load
from spikesim.nir.options import NirAssumption, NirOptions
from spikesim.nir.write import save

__all__ = ["NirAssumption", "NirOptions", "load", "save"]
