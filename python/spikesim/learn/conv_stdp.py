"""`ConvSTDP`: convolutional layers that learn by STDP one after the other, and a read-out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from spikesim import knobs
from spikesim._core import ConvNet
from spikesim._inputs import prepare
from spikesim.errors import InputError, ShapeError, UnsupportedError
from spikesim.learn._checks import counted, labels_of, machine, number, whole
from spikesim.learn._estimator import Estimator, _plain
from spikesim.learn._files import Arrays
from spikesim.learn.conv_layers import DoG, LatencyPool, Pixels, STDPConv
from spikesim.learn.readout import LinearReadout, fit_linear
from spikesim.simulator import Progress, progress_bar

__all__ = ["ConvSTDP"]

#: Images between two looks at the convergence index. Batches end there too.
CHECK_EVERY = 500

_FEATURES = ("spike", "latency", "potential")
_KINDS = {kind.__name__: kind for kind in (DoG, Pixels, STDPConv, LatencyPool)}
#: Longest batch: Ctrl-C is answered between batches.
_MOST_BATCH = 4096


class ConvSTDP(Estimator):
    """Convolutional spiking network that learns without labels, with a linear read-out.

    Images become spikes (`encoder`); layers learn in their order, each with those before it
    frozen; what the last layer gives is read out by scikit-learn's LinearSVC. The rules are S13
    of docs/semantics.md; `spikesim.learn.reference.conv_stdp` carries them out plainly, and the
    engine equals it to the bit, whatever the level and the number of threads.

    Source: Kheradpisheh, Ganjtabesh, Thorpe and Masquelier, "STDP-based spiking deep
    convolutional neural networks for object recognition", Neural Networks 99 (2018).

    Args:
        layers: `STDPConv` and `LatencyPool`, the first nearest to the input.
        encoder: `DoG` (None: its defaults) or `Pixels`.
        features: What `transform` gives for each neuron of the last layer: "spike", 1 where it
            spiked; "latency", 1 for the first bin down to 1/bins for the last, 0 for silence;
            "potential", what all input left in the last convolution, the largest of each window
            of a pool after it (S13.10).
        batch_size: Images whose winners are found with the same weights (S13.8); 1 is online.
            Batches of several images use several threads.
        C: Of the LinearSVC.
        seed: Of the weights at the start and of the read-out.
        warm_start: `fit` goes on from what has been learned instead of starting anew.
        threads: Number of threads; None: SPIKESIM_THREADS, or one for each core.
        level: SIMD level; None: SPIKESIM_LEVEL, or the best this CPU has.

    Attributes:
        weights_: Layer index to its weights, (maps, channels, kernel, kernel) float32.
        seen_: Layer index to the number of images it has learned from.
        convergence_: (layer, images, mean of w(1 - w)) at every 500th image and in the end.
        image_shape_: (channels, rows, columns).
        classes_: (K,) int64, with a read-out.

    Raises:
        InputError: on use, for parameters that mean nothing.

    Example:
        >>> import numpy as np
        >>> images = np.random.default_rng(0).random((20, 12, 12))
        >>> layers = [STDPConv(4, kernel=3, threshold=3, k=2, n_images=20), LatencyPool(2)]
        >>> ConvSTDP(layers, seed=1).fit(images).transform(images).shape
        (20, 100)
    """

    def __init__(
        self,
        layers: Sequence[STDPConv | LatencyPool],
        encoder: DoG | Pixels | None = None,
        features: str = "spike",
        batch_size: int = 1,
        C: float = 2.4,
        seed: int = 0,
        warm_start: bool = False,
        threads: int | None = None,
        level: str | None = None,
    ) -> None:
        self.layers = layers
        self.encoder = encoder
        self.features = features
        self.batch_size = batch_size
        self.C = C
        self.seed = seed
        self.warm_start = warm_start
        self.threads = threads
        self.level = level

    # --- learning -------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None, progress: Progress = False) -> Self:
        """Trains the layers one after the other, then, with labels, the read-out.

        Each layer takes the images in their order, from the first one again after the last,
        until it has seen its `n_images` or converged to its `tol`.

        Args:
            X: (N, rows, columns) or (N, channels, rows, columns), any real type; no scale of the
                values matters.
            y: (N,) whole numbers; None: no read-out.
            progress: Show a bar on stderr, or call this function with (images done, in all).

        Raises:
            InputError: bad images, labels or parameters.
            ShapeError: images of another shape, or y that does not fit X.
            KeyboardInterrupt: Ctrl-C; whole batches stay learned, and `warm_start` goes on.
        """
        images = self._images(X, fresh=not self.warm_start)
        labels = None if y is None else labels_of("ConvSTDP", y, len(images))
        if not (self.warm_start and hasattr(self, "weights_")):
            self._start(images.shape[1:])
        self._learn(images, progress, cycle=True)
        if labels is not None:
            self._fit_readout(images, labels, progress)
        return self

    def partial_fit(self, X: Any, y: None = None, progress: Progress = False) -> Self:
        """Lets the first layer that is not done learn from X; images left over go to the next.

        With one piece after the other this does what `fit` does with all of them, as long as
        the pieces end where batches do. Images that find every layer done teach nothing.

        Args:
            X: As in `fit`.
            y: None; the read-out can't be learned in pieces, `fit_readout` takes all at once.
            progress: As in `fit`.

        Raises:
            UnsupportedError: y is given.
            InputError, ShapeError, KeyboardInterrupt: as in `fit`.
        """
        if y is not None:
            raise UnsupportedError(
                "partial_fit: labels are not supported, the read-out is not learned in pieces; "
                "use fit_readout"
            )
        fresh = not hasattr(self, "weights_")
        images = self._images(X, fresh)
        if fresh:
            self._start(images.shape[1:])
        self._learn(images, progress, cycle=False)
        return self

    def fit_readout(self, X: Any, y: Any, progress: Progress = False) -> Self:
        """Fits the read-out alone to the features of labelled images.

        Args:
            X: As in `fit`.
            y: (N,) whole numbers of at least two classes.
            progress: As in `fit`.

        Raises:
            NotFittedError: no layer has learned yet.
            InputError, ShapeError: bad images or labels.
            MissingExtraError: scikit-learn is not installed.
        """
        self._require("weights_", "fit or partial_fit")
        images = self._images(X)
        self._fit_readout(images, labels_of("ConvSTDP", y, len(images)), progress)
        return self

    @property
    def done_(self) -> bool:
        """Whether every layer has learned what it was to learn."""
        self._require("weights_", "fit or partial_fit")
        return self._current() is None

    def convergence(self, layer: int) -> float:
        """Mean of w(1 - w) of a convolution's weights; it falls towards 0 as they settle.

        Args:
            layer: Index into `layers`.

        Raises:
            InputError: no convolution there.
            NotFittedError: nothing has been learned.
        """
        weights = self._require("weights_", "fit or partial_fit")
        if layer not in weights:
            raise InputError(f"convergence: layer is {layer!r}, expected one of {list(weights)}")
        w = weights[layer].astype(np.float64)
        return float((w * (1.0 - w)).mean())

    # --- using it -------------------------------------------------------------------------------

    def transform(self, X: Any, progress: Progress = False) -> NDArray[np.float32]:
        """Features of images.

        Args:
            X: As in `fit`.
            progress: As in `fit`.

        Returns:
            (N, n) float32, (map, row, column) in C order; `features` says what.

        Raises:
            NotFittedError: no layer has learned yet.
            InputError, ShapeError: bad images.
            KeyboardInterrupt: Ctrl-C.
        """
        self._require("weights_", "fit or partial_fit")
        images = self._images(X)
        with self._engine() as core, progress_bar(progress, len(images)) as tell:
            return core.transform(images, self.features, counted(tell))

    def predict(self, X: Any, progress: Progress = False) -> NDArray[np.int64]:
        """The class of each image, (N,) int64.

        Raises:
            NotFittedError: there is no read-out yet.
            InputError, ShapeError: bad images.
        """
        return self._readout().predict(self.transform(X, progress))

    def decision_function(self, X: Any, progress: Progress = False) -> NDArray[np.float64]:
        """The scores (N, K) float64 of the classes."""
        return self._readout().scores(self.transform(X, progress))

    def score(self, X: Any, y: Any, progress: Progress = False) -> float:
        """Share of the images whose class is predicted right.

        Raises:
            NotFittedError, InputError, ShapeError: as in `predict`.
        """
        labels = labels_of("ConvSTDP", y, len(np.asarray(X)))
        return float((self.predict(X, progress) == labels).mean())

    # --- inside ---------------------------------------------------------------------------------

    def _readout(self) -> LinearReadout:
        readout = self._require("readout_", "fit with labels or fit_readout")
        assert isinstance(readout, LinearReadout)
        return readout

    @property
    def classes_(self) -> NDArray[np.int64]:
        """The classes of the read-out."""
        return self._readout().classes

    def _check(self) -> None:
        """The parameters, as they are now."""
        if not isinstance(self.layers, Sequence) or not self.layers:
            raise InputError("ConvSTDP: layers is empty or no list, expected at least one layer")
        for n, layer in enumerate(self.layers):
            if not isinstance(layer, (STDPConv, LatencyPool)):
                raise InputError(
                    f"ConvSTDP: layers[{n}] is a {type(layer).__name__}, expected STDPConv or "
                    "LatencyPool"
                )
        if not any(isinstance(layer, STDPConv) for layer in self.layers):
            raise InputError("ConvSTDP: layers has no STDPConv, expected at least one")
        if not isinstance(self.encoder, (DoG, Pixels, type(None))):
            raise InputError(
                f"ConvSTDP: encoder is a {type(self.encoder).__name__}, expected DoG or Pixels"
            )
        if self.features not in _FEATURES:
            raise InputError(
                f"ConvSTDP: features is {self.features!r}, expected one of {', '.join(_FEATURES)}"
            )
        whole("ConvSTDP", "batch_size", self.batch_size, 1, _MOST_BATCH)
        whole("ConvSTDP", "seed", self.seed, 0, 2**31 - 1)
        number("ConvSTDP", "C", self.C, 1e-12)
        machine("ConvSTDP", self.threads, self.level)

    def _images(self, X: Any, fresh: bool = False) -> NDArray[np.float32]:
        """(N, channels, rows, columns) float32 of the shape that was learned."""
        self._check()
        array = X if hasattr(X, "ndim") else np.asarray(X)
        if array.ndim not in (3, 4):
            raise ShapeError(
                f"ConvSTDP: X has shape {tuple(array.shape)}, expected (N, rows, columns) or "
                "(N, channels, rows, columns)"
            )
        shape = tuple(array.shape[1:])
        values, *_ = prepare(array, shape, 1, "N")
        if values.ndim == 3:
            values = values[:, None]
        if 0 in values.shape:
            raise ShapeError(f"ConvSTDP: X has shape {tuple(array.shape)}, expected no empty axis")
        known = None if fresh else getattr(self, "image_shape_", None)
        if known is not None and values.shape[1:] != tuple(known):
            raise ShapeError(
                f"ConvSTDP: X has images of shape {values.shape[1:]}, expected {tuple(known)} as "
                "it has learned"
            )
        return values

    def _convs(self) -> Iterator[tuple[int, STDPConv]]:
        for n, layer in enumerate(self.layers):
            if isinstance(layer, STDPConv):
                yield n, layer

    def _make(self, image_shape: tuple[int, ...]) -> ConvNet:
        settings = knobs.read()
        encoder = DoG() if self.encoder is None else self.encoder
        return ConvNet(
            list(image_shape),
            encoder.filter,
            encoder.center,
            encoder.min_response,
            encoder.bins,
            json.dumps([layer.spec() for layer in self.layers]),
            self.level or settings.level,
            self.threads or settings.threads,
        )

    @contextmanager
    def _engine(self) -> Iterator[ConvNet]:
        """The engine with the weights as they are; what it learned is taken back in any case."""
        learned, now = list(self.weights_), [n for n, _ in self._convs()]
        if learned != now:
            raise InputError(
                f"ConvSTDP: layers has convolutions at {now}, expected {learned} as it has learned"
            )
        core = self._make(self.image_shape_)
        for n, _ in self._convs():
            core.set_weight(n, self.weights_[n], self.seen_[n])
        try:
            yield core
        finally:
            for n, _ in self._convs():
                self.weights_[n], self.seen_[n] = core.weight(n)

    def _start(self, image_shape: tuple[int, ...]) -> None:
        core = self._make(image_shape)
        weights = {}
        for n, layer in self._convs():
            shape = core.weight(n)[0].shape
            generator = np.random.Generator(np.random.Philox(key=[self.seed, n]))
            drawn = generator.normal(layer.weight_mean, layer.weight_std, shape)
            weights[n] = drawn.clip(0.0, 1.0).astype(np.float32)
        self.image_shape_ = image_shape
        self.weights_: dict[int, NDArray[np.float32]] = weights
        self.seen_ = dict.fromkeys(weights, 0)
        self.convergence_: list[tuple[int, int, float]] = []
        self.readout_: LinearReadout | None = None

    def _finished(self, n: int, layer: STDPConv) -> bool:
        if self.seen_[n] >= layer.n_images:
            return True
        looks = [index for at, _, index in self.convergence_ if at == n]
        return layer.tol is not None and bool(looks) and looks[-1] < layer.tol

    def _current(self) -> int | None:
        return next((n for n, layer in self._convs() if not self._finished(n, layer)), None)

    def _learn(self, images: NDArray[np.float32], progress: Progress, cycle: bool) -> None:
        """Feeds images to the layers that are not done; `cycle`: as often as it takes."""
        left = sum(layer.n_images - self.seen_[n] for n, layer in self._convs())
        at = 0
        with progress_bar(progress, left if cycle else len(images)) as tell:
            count = counted(tell)
            while (n := self._current()) is not None and (cycle or at < len(images)):
                seen = self.seen_[n]
                begin = seen % len(images) if cycle else at
                layer = self.layers[n]
                assert isinstance(layer, STDPConv)
                upto = min(int(layer.n_images), (seen // CHECK_EVERY + 1) * CHECK_EVERY)
                piece = images[begin : begin + upto - seen]
                with self._engine() as core:
                    core.learn(n, piece, self.batch_size, count)
                at = begin + len(piece)
                self.readout_ = None
                if self.seen_[n] == upto:
                    self.convergence_.append((n, upto, self.convergence(n)))

    def _fit_readout(
        self, images: NDArray[np.float32], labels: NDArray[np.int64], progress: Progress
    ) -> None:
        features = self.transform(images, progress)
        self.readout_ = fit_linear(features, labels, self.C, self.seed)

    # --- files ----------------------------------------------------------------------------------

    def _params_to_json(self) -> dict[str, Any]:
        """All but threads and level, which change no bit, and warm_start."""
        params = super()._params_to_json()
        for name in ("threads", "level", "warm_start"):
            del params[name]
        params["layers"] = [_described(layer) for layer in self.layers]
        params["encoder"] = _described(DoG() if self.encoder is None else self.encoder)
        return params

    @classmethod
    def _params_from_json(cls, params: dict[str, Any]) -> dict[str, Any]:
        layers = [_made(layer) for layer in params["layers"]]
        return params | {"layers": layers, "encoder": _made(params["encoder"])}

    def _state(self) -> tuple[Arrays, dict[str, Any]]:
        weights = self._require("weights_", "fit or partial_fit")
        arrays: Arrays = {f"weight.{n}": weight for n, weight in weights.items()}
        if self.readout_ is not None:
            arrays |= {f"readout.{name}": a for name, a in vars(self.readout_).items()}
        values = {
            "image_shape": list(self.image_shape_),
            "seen": [self.seen_[n] for n in weights],
            "convergence": self.convergence_,
        }
        return arrays, values

    def _set_state(self, arrays: Arrays, values: dict[str, Any]) -> None:
        self._check()
        shape = tuple(whole("image_shape", "axis", n, 1) for n in values["image_shape"])
        core = self._make(shape)
        weights, seen = {}, {}
        for (n, _), images in zip(self._convs(), values["seen"], strict=True):
            weight = arrays[f"weight.{n}"]
            if not bool(((weight >= 0) & (weight <= 1)).all()):
                raise InputError(f"weight.{n} leaves 0 to 1")
            core.set_weight(n, weight, whole("seen", f"of layer {n}", images, 0))
            weights[n], seen[n] = weight, images
        readout = None
        if "readout.coef" in arrays:
            readout = LinearReadout(*(arrays[f"readout.{f}"] for f in _READOUT))
            k, wide = readout.coef.shape
            if not (len(readout.classes) == len(readout.intercept) == k) or wide != _size(core):
                raise InputError(f"readout.coef has shape {readout.coef.shape}")
        looks = [(int(n), int(images), float(at)) for n, images, at in values["convergence"]]
        self.image_shape_, self.weights_, self.seen_ = shape, weights, seen
        self.convergence_, self.readout_ = looks, readout


_READOUT = tuple(field.name for field in dataclasses.fields(LinearReadout))


def _size(core: ConvNet) -> int:
    return int(np.prod(core.shapes()[-1]))


def _described(part: Any) -> dict[str, Any]:
    fields = {name: _plain(value) for name, value in dataclasses.asdict(part).items()}
    return {"kind": type(part).__name__} | fields


def _made(described: dict[str, Any]) -> Any:
    fields = dict(described)
    return _KINDS[fields.pop("kind")](**fields)
