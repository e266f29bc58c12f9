"""What a `ConvSTDP` is made of, as values: encoders, convolutions that learn, pools.

Each is checked when it is made. docs/semantics.md S13 says what they do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import InputError
from spikesim.learn._checks import number, whole

__all__ = ["DoG", "LatencyPool", "Pixels", "STDPConv"]

#: Times are bytes, and one byte is kept for "never".
MOST_BINS = 254
_MOST_MAPS = 1 << 15


@dataclass(frozen=True)
class DoG:
    """On and off cells: a difference of Gaussians, and the rank of each response as its time.

    The strongest responses of an image spike first, in bins of equal count (S13.1, S13.2).

    Attributes:
        sigma1: Width of the positive Gaussian, in pixels.
        sigma2: Width of the negative one; the on map responds to bright centres if it is larger.
        size: Rows and columns of the filter, odd.
        min_response: Responses above it spike, in units of the image's largest magnitude, so that
            no scale of the images matters.
        bins: Time steps.

    Raises:
        InputError: a value out of range.

    Example:
        >>> DoG(bins=10).filter.shape
        (7, 7)
    """

    sigma1: float = 1.0
    sigma2: float = 2.0
    size: int = 7
    min_response: float = 0.01
    bins: int = 15

    def __post_init__(self) -> None:
        number("DoG", "sigma1", self.sigma1, 1e-3)
        number("DoG", "sigma2", self.sigma2, 1e-3)
        number("DoG", "min_response", self.min_response, 0.0)
        whole("DoG", "bins", self.bins, 1, MOST_BINS)
        if whole("DoG", "size", self.size, 1, 255) % 2 == 0:
            raise InputError(f"DoG: size is {self.size}, expected an odd number")
        if self.sigma1 == self.sigma2:
            raise InputError(f"DoG: sigma1 and sigma2 are both {self.sigma1}, expected two widths")

    @property
    def filter(self) -> NDArray[np.float32]:
        """(size, size) float32: two Gaussians of sum 1, made in float64, subtracted, rounded."""
        offset = np.arange(self.size) - self.size // 2
        square = offset[:, None] ** 2 + offset**2

        def gaussian(sigma: float) -> NDArray[np.float64]:
            values = np.exp(-square / (2.0 * sigma * sigma))
            return np.asarray(values / values.sum())

        return (gaussian(self.sigma1) - gaussian(self.sigma2)).astype(np.float32)

    @property
    def center(self) -> float:
        """Nothing is taken from a response."""
        return 0.0


@dataclass(frozen=True)
class Pixels:
    """The pixels themselves as on and off cells, for a first layer that learns its own filters.

    Attributes:
        center: Brighter pixels spike in the on map, darker ones in the off map (S13.1), in units
            of the image's largest magnitude; with 0 and images that are nowhere negative the
            off map is silent.
        min_response: Distances from `center` above it spike, in the same units.
        bins: Time steps.

    Raises:
        InputError: a value out of range.

    Example:
        >>> Pixels(center=0.5).filter
        array([[1.]], dtype=float32)
    """

    center: float = 0.0
    min_response: float = 0.01
    bins: int = 15

    def __post_init__(self) -> None:
        number("Pixels", "center", self.center, -math.inf)
        number("Pixels", "min_response", self.min_response, 0.0)
        whole("Pixels", "bins", self.bins, 1, MOST_BINS)

    @property
    def filter(self) -> NDArray[np.float32]:
        """One weight of 1."""
        return np.ones((1, 1), np.float32)


@dataclass(frozen=True)
class STDPConv:
    """A convolution of integrate-and-fire neurons that spike once and learn (S13.3 – S13.9).

    Source: Kheradpisheh et al., "STDP-based spiking deep convolutional neural networks for
    object recognition", Neural Networks 99 (2018).

    Attributes:
        maps: Feature maps.
        kernel: Rows and columns of the kernel; stride 1.
        threshold: A neuron fires when its potential reaches it.
        k: Neurons that learn from an image, at most.
        radius: Around a winner no other neuron within this many rows and columns wins.
        padding: Places of silence around the input.
        a_plus: Rate of potentiation at the start.
        a_minus: Rate of depression at the start; its ratio to `a_plus` stays.
        a_max: What `a_plus` grows to.
        double_every: Images after which both rates double; 0 for never.
        lateral: Whether a spike silences the other maps at its place also when the layer is not
            learning. While it learns, it always does.
        n_images: Images from which `fit` lets the layer learn.
        tol: The layer stops to learn when its convergence index, the mean of w(1 - w), falls
            below; None for never.
        weight_mean: Mean of the weights at the start.
        weight_std: Their standard deviation; they are cut to 0 ... 1.

    Raises:
        InputError: a value out of range.

    Example:
        >>> STDPConv(32, kernel=5, threshold=10, k=5, radius=2, padding=2).maps
        32
    """

    maps: int
    kernel: int
    threshold: float
    k: int = 1
    radius: int = 0
    padding: int = 0
    a_plus: float = 0.004
    a_minus: float = 0.003
    a_max: float = 0.15
    double_every: int = 500
    lateral: bool = False
    n_images: int = 10_000
    tol: float | None = None
    weight_mean: float = 0.8
    weight_std: float = 0.05

    def __post_init__(self) -> None:
        where = "STDPConv"
        whole(where, "maps", self.maps, 1, _MOST_MAPS)
        whole(where, "kernel", self.kernel, 1, 255)
        whole(where, "k", self.k, 1, _MOST_MAPS)
        whole(where, "radius", self.radius, 0)
        whole(where, "padding", self.padding, 0, 255)
        whole(where, "double_every", self.double_every, 0)
        whole(where, "n_images", self.n_images, 0)
        # A potential of 0 must be below the threshold in float32 too: neurons fire on input only.
        number(where, "threshold", self.threshold, 1e-30, 1e30)
        number(where, "a_plus", self.a_plus, 1e-12, 1.0)
        number(where, "a_minus", self.a_minus, 0.0, 1.0)
        number(where, "a_max", self.a_max, self.a_plus, 1.0)
        if self.a_max * (self.a_minus / self.a_plus) > 1.0:
            raise InputError(
                f"{where}: a_minus grows to {self.a_max * (self.a_minus / self.a_plus):g} with "
                "a_plus, expected at most 1; lower a_max or a_minus"
            )
        number(where, "weight_mean", self.weight_mean, 0.0, 1.0)
        number(where, "weight_std", self.weight_std, 0.0)
        if self.tol is not None:
            number(where, "tol", self.tol, 0.0)
        if not isinstance(self.lateral, bool):
            raise InputError(f"{where}: lateral is {self.lateral!r}, expected True or False")

    def spec(self) -> dict[str, Any]:
        """What the engine takes."""
        rule = {
            "a_plus": float(self.a_plus),
            "a_minus": float(self.a_minus),
            "a_max": float(self.a_max),
            "double_every": int(self.double_every),
        }
        return {
            "kind": "conv",
            "maps": int(self.maps),
            "kernel": int(self.kernel),
            "padding": int(self.padding),
            "threshold": float(np.float32(self.threshold)),
            "lateral": self.lateral,
            "winners": int(self.k),
            "radius": int(self.radius),
            "rule": rule,
        }

    def rates(self, seen: int) -> tuple[np.float32, np.float32]:
        """(a_plus, a_minus) after `seen` images, made in float64 and rounded once (S13.9)."""
        if self.double_every == 0:
            return np.float32(self.a_plus), np.float32(self.a_minus)
        a_plus = min(self.a_plus * 2.0 ** min(seen // self.double_every, 1000), self.a_max)
        return np.float32(a_plus), np.float32(a_plus * (self.a_minus / self.a_plus))


@dataclass(frozen=True)
class LatencyPool:
    """The earliest spike of each window, map by map (S13.5).

    Attributes:
        kernel: Rows and columns of the window.
        stride: Rows and columns between windows; None for `kernel`.
        padding: Places of silence around the input, fewer than `kernel`.

    Raises:
        InputError: a value out of range.

    Example:
        >>> LatencyPool(2).stride is None
        True
    """

    kernel: int
    stride: int | None = None
    padding: int = 0

    def __post_init__(self) -> None:
        whole("LatencyPool", "kernel", self.kernel, 1, 65_535)
        if self.stride is not None:
            whole("LatencyPool", "stride", self.stride, 1, 65_535)
        if whole("LatencyPool", "padding", self.padding, 0) >= self.kernel:
            raise InputError(
                f"LatencyPool: padding is {self.padding}, expected less than the kernel of "
                f"{self.kernel}"
            )

    @property
    def step(self) -> int:
        """Rows and columns between windows."""
        return self.kernel if self.stride is None else self.stride

    def spec(self) -> dict[str, Any]:
        """What the engine takes."""
        kind = {"kind": "pool"}
        return kind | {
            "kernel": int(self.kernel),
            "stride": int(self.step),
            "padding": int(self.padding),
        }
