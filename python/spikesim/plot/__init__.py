"""Pictures of spikes and weights, as matplotlib figures.

    figure = ss.plot.weights(model.weights_, (28, 28))
    figure.savefig("fields.png")

Figures are made without pyplot: no window, no global state, nothing to close.
"""

from __future__ import annotations

from spikesim.plot.fields import fields, weights
from spikesim.plot.spikes import raster, rates

__all__ = ["fields", "raster", "rates", "weights"]
