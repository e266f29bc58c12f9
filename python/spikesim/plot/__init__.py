"""Pictures of spikes and weights, as matplotlib figures.

    figure = ss.plot.weights(model.weights_, (28, 28))
    ss.plot.save(figure, "fields.png")

Figures are made without pyplot: no window, no global state, nothing to close.
"""

from __future__ import annotations

from spikesim.plot._figure import check_kind, save
from spikesim.plot.fields import fields, weights
from spikesim.plot.spikes import raster, rates

__all__ = ["check_kind", "fields", "raster", "rates", "save", "weights"]
