"""`SEM`: a soft winner-take-all that learns the causes of its inputs."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from spikesim import knobs
from spikesim._core import Sem
from spikesim._inputs import prepare
from spikesim.errors import InputError, ShapeError
from spikesim.learn._checks import counted, labels_of, machine, number, whole
from spikesim.learn._estimator import Estimator
from spikesim.learn._files import Arrays
from spikesim.simulator import Progress, progress_bar

__all__ = ["SEM"]


class SEM(Estimator):
    """Neurons of which one fires for each sample, with the probability that it caused it.

    A neuron's log odds are its bias plus the weights of the inputs that spike; the softmax of
    them says how likely it fires (S13.12). The neuron that fired moves its weights by
    `eta·(y·c·e^(-w) - 1)`, whose fixed point is `log(c·P(y = 1 | it fires))`: STDP that carries out
    expectation maximisation. Biases keep all neurons at work (S13.13).

    Sources: Nessler, Pfeiffer, Buesing and Maass, "Bayesian computation emerges in generic
    cortical microcircuits through spike-timing-dependent plasticity", PLoS Comput. Biol. (2013);
    the homeostasis of Habenschuss, Bill and Nessler, NIPS (2012).

    Args:
        n_neurons: Number of neurons K.
        eta: Rate of the weights, above 0, at most 1.
        eta_bias: Rate of the biases; 0 for none.
        c: Of the rule; weights settle at log(c·P).
        w_min: Lower bound of the weights, in units of log odds below log(c), which is the upper
            one: no input is less likely than e^w_min.
        epochs: Passes of `fit` over the samples.
        threshold: A pixel above this share of the largest magnitude of X's sample is on, any
            other off (S13.11).
        seed: Of the weights at the start and of who fires.
        threads: Of `transform`; None: SPIKESIM_THREADS, or one for each core.
        level: SIMD level; None: SPIKESIM_LEVEL, or the best this CPU has.

    Attributes:
        weights_: (K, 2n) float32: for each pixel an on and an off synapse.
        bias_: (K,) float32.
        seen_: Samples learned.
        fired_: (K,) how often each neuron has fired.
        label_shares_: (K, classes) float64, with labels: what a neuron says of the class.
        classes_: (classes,) int64, with labels.

    Raises:
        InputError: on use, for parameters that mean nothing.

    Example:
        >>> import numpy as np
        >>> x = np.array([[1.0, 0.0], [0.0, 1.0]] * 20)
        >>> SEM(2, epochs=3).fit(x).transform(x).shape
        (40, 2)
    """

    def __init__(
        self,
        n_neurons: int = 100,
        eta: float = 0.05,
        eta_bias: float = 1.0,
        c: float = 1.0,
        w_min: float = -5.0,
        epochs: int = 5,
        threshold: float = 0.5,
        seed: int = 0,
        threads: int | None = None,
        level: str | None = None,
    ) -> None:
        self.n_neurons = n_neurons
        self.eta = eta
        self.eta_bias = eta_bias
        self.c = c
        self.w_min = w_min
        self.epochs = epochs
        self.threshold = threshold
        self.seed = seed
        self.threads = threads
        self.level = level

    # --- learning -------------------------------------------------------------------------------

    def fit(
        self, X: Any, y: Any = None, progress: Progress = False, *, resume: bool = False
    ) -> Self:
        """Learns from the samples in their order, `epochs` times; with labels, what neurons mean.

        Args:
            X: (N, ...), any real type; no scale of a sample matters.
            y: (N,) whole numbers; None: neurons get no labels.
            progress: Show a bar on stderr, or call this function with (samples done, in all).
            resume: go on where an interrupted `fit` of the same samples, or a file, has stopped.

        Raises:
            InputError, ShapeError: bad samples, labels or parameters.
            KeyboardInterrupt: Ctrl-C; what was learned so far stays, and `resume` goes on.
        """
        fresh = not resume or getattr(self, "weights_", None) is None
        pixels = self._pixels(X, fresh)
        labels = None if y is None else labels_of("SEM", y, len(pixels))
        if fresh:
            self._start(pixels.shape[1])
        total = self.epochs * len(pixels)
        if self.seen_ > total:
            raise InputError(
                f"fit: samples seen are {self.seen_}, expected at most {total} to resume"
            )
        with progress_bar(progress, total - self.seen_) as tell:
            count = counted(tell)
            while self.seen_ < total:
                self._learn(pixels[self.seen_ % len(pixels) :], count)
        if labels is not None:
            self._assign(pixels, labels)
        return self

    def partial_fit(self, X: Any, y: None = None, progress: Progress = False) -> Self:
        """Goes on learning, once through X; labels come from `assign`.

        Raises:
            InputError, ShapeError, KeyboardInterrupt: as in `fit`.
        """
        if y is not None:
            raise InputError("partial_fit: y is given, expected None; assign(X, y) takes labels")
        fresh = getattr(self, "weights_", None) is None
        pixels = self._pixels(X, fresh)
        if fresh:
            self._start(pixels.shape[1])
        with progress_bar(progress, len(pixels)) as tell:
            self._learn(pixels, counted(tell))
        return self

    def assign(self, X: Any, y: Any) -> Self:
        """Sets what each neuron says of the class: the shares of its probability on labelled data.

        Raises:
            NotFittedError: nothing has been learned.
            InputError, ShapeError: bad samples or labels.
        """
        self._require("weights_", "fit or partial_fit")
        pixels = self._pixels(X)
        self._assign(pixels, labels_of("SEM", y, len(pixels)))
        return self

    # --- using it -------------------------------------------------------------------------------

    def transform(self, X: Any) -> NDArray[np.float32]:
        """The probability (N, K) float32 of each neuron to fire.

        Raises:
            NotFittedError: nothing has been learned.
            InputError, ShapeError: bad samples.
        """
        self._require("weights_", "fit or partial_fit")
        return self._engine().transform(self._pixels(X))

    def predict(self, X: Any) -> NDArray[np.int64]:
        """The class (N,) int64 that the neurons think most likely; of equals, the lowest.

        Raises:
            NotFittedError: neurons have no labels.
            InputError, ShapeError: bad samples.
        """
        shares = self._require("label_shares_", "fit with labels or assign")
        scores = self.transform(X).astype(np.float64) @ shares
        return np.asarray(self.classes_[scores.argmax(axis=1)])

    def score(self, X: Any, y: Any) -> float:
        """Share of the samples whose class is predicted right."""
        return float((self.predict(X) == labels_of("SEM", y, len(np.asarray(X)))).mean())

    # --- inside ---------------------------------------------------------------------------------

    def _check(self) -> None:
        whole("SEM", "n_neurons", self.n_neurons, 1, 1 << 20)
        number("SEM", "eta", self.eta, 1e-9, 1.0)
        number("SEM", "eta_bias", self.eta_bias, 0.0, 1e3)
        number("SEM", "c", self.c, 1e-6, 1e6)
        number("SEM", "w_min", self.w_min, -60.0, -1e-3)
        whole("SEM", "epochs", self.epochs, 1)
        number("SEM", "threshold", self.threshold, 0.0, 1.0)
        whole("SEM", "seed", self.seed, 0, 2**63 - 1)
        machine("SEM", self.threads, self.level)

    def _bounds(self) -> tuple[float, float]:
        upper = math.log(self.c)
        return float(np.float32(upper + self.w_min)), float(np.float32(upper))

    def _pixels(self, X: Any, fresh: bool = False) -> NDArray[np.bool_]:
        """(N, n) on or off."""
        self._check()
        array = X if hasattr(X, "ndim") else np.asarray(X)
        if array.ndim < 2 or 0 in array.shape:
            raise ShapeError(f"SEM: X has shape {tuple(array.shape)}, expected (N, ...), none 0")
        values, *_ = prepare(array, tuple(array.shape[1:]), 1, "N")
        flat = values.reshape(len(values), -1)
        weights = None if fresh else getattr(self, "weights_", None)
        if weights is not None and len(weights) != self.n_neurons:
            raise InputError(
                f"SEM: n_neurons is {self.n_neurons}, expected {len(weights)} as it has learned"
            )
        if weights is not None and 2 * flat.shape[1] != weights.shape[1]:
            raise ShapeError(
                f"SEM: X has {flat.shape[1]} values a sample, expected {weights.shape[1] // 2}"
            )
        most = np.abs(flat).max(axis=1, keepdims=True)
        return np.ascontiguousarray(flat > np.float32(self.threshold) * most)

    def _start(self, inputs: int) -> None:
        lower, upper = self._bounds()
        generator = np.random.Generator(np.random.Philox(key=[self.seed, 1 << 32]))
        noise = 0.1 * generator.standard_normal((self.n_neurons, 2 * inputs))
        weights = np.log(0.5 * self.c) + noise
        self.weights_: NDArray[np.float32] = weights.clip(lower, upper).astype(np.float32)
        self.bias_ = np.zeros(self.n_neurons, np.float32)
        self.seen_ = 0
        self.fired_ = np.zeros(self.n_neurons, np.uint64)
        self.label_shares_: NDArray[np.float64] | None = None
        self.classes_ = np.zeros(0, np.int64)

    def _engine(self) -> Sem:
        settings = knobs.read()
        neurons, synapses = self.weights_.shape
        core = Sem(
            neurons,
            synapses // 2,
            self.eta,
            self.eta_bias,
            self.c,
            *self._bounds(),
            self.seed,
            self.level or settings.level,
            self.threads or settings.threads,
        )
        core.set_state(self.weights_, self.bias_, self.seen_)
        return core

    def _learn(self, pixels: NDArray[np.bool_], count: Any) -> None:
        core = self._engine()
        self.label_shares_ = None
        try:
            core.learn(pixels, count)
        finally:
            self.weights_, self.bias_, self.seen_, fired = core.state()
            self.fired_ = self.fired_ + fired

    def _assign(self, pixels: NDArray[np.bool_], labels: NDArray[np.int64]) -> None:
        odds = self._engine().transform(pixels).astype(np.float64)
        self.classes_ = np.unique(labels)
        mass = np.stack([odds[labels == c].sum(axis=0) for c in self.classes_], axis=1)
        total = mass.sum(axis=1, keepdims=True)
        self.label_shares_ = np.divide(mass, total, out=np.zeros_like(mass), where=total > 0)

    # --- files ----------------------------------------------------------------------------------

    def _params_to_json(self) -> dict[str, Any]:
        """All but threads and level, which change no bit."""
        params = super()._params_to_json()
        return {k: v for k, v in params.items() if k not in ("threads", "level")}

    def _state(self) -> tuple[Arrays, dict[str, Any]]:
        weights = self._require("weights_", "fit or partial_fit")
        arrays: Arrays = {"weights": weights, "bias": self.bias_, "fired": self.fired_}
        if self.label_shares_ is not None:
            arrays |= {"label_shares": self.label_shares_, "classes": self.classes_}
        return arrays, {"seen": self.seen_}

    def _set_state(self, arrays: Arrays, values: dict[str, Any]) -> None:
        self._check()
        weights, bias, fired = arrays["weights"], arrays["bias"], arrays["fired"]
        lower, upper = self._bounds()
        k = (self.n_neurons,)
        if weights.ndim != 2 or weights.shape[:1] != k or weights.shape[1] % 2:
            raise InputError(f"weights has shape {weights.shape}")
        if bias.shape != k or fired.shape != k or not weights.dtype == bias.dtype == np.float32:
            raise InputError("bias or fired does not fit the weights")
        if not bool(((weights >= lower) & (weights <= upper)).all() and np.isfinite(bias).all()):
            raise InputError("weights leave their bounds")
        seen = whole("SEM", "seen", values["seen"], 0, 2**63)
        if fired.dtype != np.uint64:
            raise InputError(f"fired is of {fired.dtype}")
        shares, classes = arrays.get("label_shares"), arrays.get("classes", np.zeros(0, np.int64))
        if shares is not None and shares.shape != (*k, len(classes)):
            raise InputError(f"label_shares has shape {shares.shape}")
        self.weights_, self.bias_, self.fired_, self.seen_ = weights, bias, fired, seen
        self.label_shares_, self.classes_ = shares, classes
