"""ANNs: read, evaluated, and emitted as spiking networks.

A torch module is read by the walker of `from_torch` with activations in place of neurons (`read`).
What comes out is an `Ann`: a graph with its batch normalisations folded, evaluated in torch for
calibration. A method of conversion is a choice of `Setting` for each activation; `emit` makes the
spiking network of them.
"""

from spikesim.convert.ann.activation import Activation
from spikesim.convert.ann.emit import Setting, emit
from spikesim.convert.ann.graph import Ann
from spikesim.convert.ann.read import read

__all__ = ["Activation", "Ann", "Setting", "emit", "read"]
