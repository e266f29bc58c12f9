"""ANNs as spiking networks, and networks from other libraries' models.

The module itself can be called: `spikesim.convert(ann, calibration=…)` makes a spiking network of
a trained ANN and a report of what it lost; `doctor` examines a network that somebody else
converted, `unit_thresholds` puts thresholds into the weights. `from_torch` reads torch modules with
the neurons of `spikesim.train`, SpikingJelly, snnTorch, Norse or Sinabs; `load_snntorch_state`
fills snnTorch 1.0 models from state dicts of 0.8. torch is imported when they are called, the other
libraries never: a module of theirs brings them along.
"""

import sys

from spikesim.convert.conversion import doctor
from spikesim.convert.face import ConvertModule
from spikesim.convert.report import ConversionReport
from spikesim.convert.torch_module import from_torch, load_snntorch_state
from spikesim.convert.unit import unit_thresholds

__all__ = ["ConversionReport", "doctor", "from_torch", "load_snntorch_state", "unit_thresholds"]

# `spikesim.convert(ann)` beside `spikesim.convert.from_torch`: one name, as users say it.
sys.modules[__name__].__class__ = ConvertModule
