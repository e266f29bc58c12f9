"""Diehl and Cook's network for unsupervised learning of images, in the Rust core."""

from __future__ import annotations

import json
import time
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim import knobs
from spikesim._core import ConductanceModel as _Conductance
from spikesim._core import DiehlCook as _Core
from spikesim._core import available_threads
from spikesim.errors import InputError, NotFittedError
from spikesim.learn._checks import machine, whole
from spikesim.learn._engines import counted, loaded, named, next_size, restored, saved, taken
from spikesim.learn._estimator import Estimator
from spikesim.learn._files import Arrays
from spikesim.learn._pieces import Pieces, intensities, rasters
from spikesim.learn._settings import configuration
from spikesim.learn.votes import (
    UNKNOWN,
    Answers,
    IntArray,
    Labels,
    NGrams,
    checked_labels,
    decided,
    joined,
)
from spikesim.simulator import Progress, progress_bar

Layout = Literal["N", "TN"]

#: Parameters that what was learned can't do without.
_FIXED = ("n_inputs", "n_neurons", "model")


class DiehlCook(Estimator):
    """Spiking network that learns images without labels, by STDP and winner-take-all.

    Poisson inputs reach all neurons through plastic weights; one neuron wins a step and inhibits
    the others; thresholds adapt, so that all neurons get something to learn (Diehl and Cook,
    "Unsupervised learning of digit recognition using spike-timing-dependent plasticity",
    Front. Comput. Neurosci. 9:99, 2015). Labels serve to name what neurons have learned, never to
    learn. The rules are S12 of docs/semantics.md; every result is the same to the bit on any
    CPU and for any number of threads.

    Args:
        n_inputs: values of a sample.
        n_neurons: excitatory neurons.
        model: "wta": the winner inhibits the others in the next step. "current": it drives an
            inhibitory neuron of its own, which inhibits them a step later. "conductance": the
            paper's two populations with conductances and triplet STDP (S12.c), whose membranes
            are fixed; as the paper runs it with `n_steps=700, dt=0.5, min_spikes=5, lr_end=1`.
        seed: of weights and spikes, 0 to 2^64 - 1.
        epochs: times that `fit` sees the samples, in their order.
        n_steps: steps of a presentation.
        dt: ms of a step.
        max_rate: Hz of an input at full intensity.
        x_max: full intensity; None: 255 for uint8, 1 for bool and floats.
        tc_v: ms, decay of membranes.
        v_threshold: mV above rest, without theta.
        v_reset: mV above rest, after a spike.
        refractory: ms of silence after a spike.
        inhibition: mV taken from the membranes of the others.
        tc_pre: ms, decay of the inputs' traces.
        tc_post: ms, decay of the neurons' traces.
        eta_pre: learning rate at inputs' spikes (depression).
        eta_post: learning rate at neurons' spikes (potentiation).
        lr_end: part of both rates that is left at the end of `fit`, which they reach linearly;
            1 keeps them; "auto": 1 for one epoch, 0.1 for more.
        soft_bound: changes in proportion to what is left to the bounds.
        x_tar: None, or the trace at which a neuron's spike changes nothing: then inputs' spikes
            change no weights, and neurons' spikes change all.
        w_max: largest weight.
        norm: sum of each neuron's weights; "auto": 0.1 an input; None: they are left alone.
        theta_plus: mV by which a spike raises its neuron's threshold; "auto": by size, see
            `spikesim.learn.theta_defaults`.
        tc_theta: ms, decay of the rise; None: none; "auto": by size.
        rest: ms of rest after a presentation, which theta's decay counts.
        min_spikes: fewer spikes present the sample again, at higher rates.
        max_repeats: how often at most.
        rate_step: the rates are raised by this part with each repeat.
        batch_size: samples that learn from the same weights (S12.14), over threads.
        readout: "all", "proportion" or "ngram".
        n_gram: length of the runs of "ngram".
        threads: of frozen samples and batches; None: what the process may use.
        level: instruction set; None: the best the CPU has.
        chunk: steps that membranes run at once; without effect on results.

    Attributes:
        weights_: float32 (n_neurons, n_inputs).
        theta_: float32 (n_neurons,), mV.
        labels_: int64 (n_neurons,), each neuron's class; -1 if it answers to none.
        classes_: int64 (C,).
        samples_seen_: samples learned from, epochs counted.
        counts_: presentations, input_spikes, spikes, synops, weight_updates while learning.

    Example:
        >>> import spikesim as ss
        >>> train, test = ss.data.load("digits", split="train"), ss.data.load("digits")
        >>> model = ss.learn.DiehlCook(64, 50, x_max=16, n_steps=100)
        >>> accuracy = model.fit(train.x, train.y).score(test.x, test.y)
    """

    labels_: IntArray
    classes_: IntArray

    def __init__(
        self,
        n_inputs: int = 784,
        n_neurons: int = 400,
        model: str = "wta",
        seed: int = 0,
        *,
        epochs: int = 1,
        n_steps: int = 250,
        dt: float = 1.0,
        max_rate: float = 63.75,
        x_max: float | None = None,
        tc_v: float = 100.0,
        v_threshold: float = 13.0,
        v_reset: float = 5.0,
        refractory: float = 5.0,
        inhibition: float = 120.0,
        tc_pre: float = 20.0,
        tc_post: float = 20.0,
        eta_pre: float = 1e-4,
        eta_post: float = 1e-2,
        lr_end: float | Literal["auto"] = "auto",
        soft_bound: bool = True,
        x_tar: float | None = None,
        w_max: float = 1.0,
        norm: float | Literal["auto"] | None = "auto",
        theta_plus: float | Literal["auto"] = "auto",
        tc_theta: float | Literal["auto"] | None = "auto",
        rest: float = 150.0,
        min_spikes: int = 3,
        max_repeats: int = 8,
        rate_step: float = 0.5,
        batch_size: int = 1,
        readout: str = "all",
        n_gram: int = 2,
        threads: int | None = None,
        level: str | None = None,
        chunk: int = 8,
    ) -> None:
        self.n_inputs = n_inputs
        self.n_neurons = n_neurons
        self.model = model
        self.seed = seed
        self.epochs = epochs
        self.n_steps = n_steps
        self.dt = dt
        self.max_rate = max_rate
        self.x_max = x_max
        self.tc_v = tc_v
        self.v_threshold = v_threshold
        self.v_reset = v_reset
        self.refractory = refractory
        self.inhibition = inhibition
        self.tc_pre = tc_pre
        self.tc_post = tc_post
        self.eta_pre = eta_pre
        self.eta_post = eta_post
        self.lr_end = lr_end
        self.soft_bound = soft_bound
        self.x_tar = x_tar
        self.w_max = w_max
        self.norm = norm
        self.theta_plus = theta_plus
        self.tc_theta = tc_theta
        self.rest = rest
        self.min_spikes = min_spikes
        self.max_repeats = max_repeats
        self.rate_step = rate_step
        self.batch_size = batch_size
        self.readout = readout
        self.n_gram = n_gram
        self.threads = threads
        self.level = level
        self.chunk = chunk

    # --- learning -------------------------------------------------------------------------------

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        progress: Progress = False,
        *,
        layout: Layout = "N",
        resume: bool = False,
    ) -> Self:
        """Learns from samples, `epochs` times in their order; with `y`, also `assign`s labels.

        Args:
            X: `(N, ...)`, intensities of at least 0; or spikes `(T, N, ...)` with layout "TN",
                which are never repeated.
            y: `(N,)` labels of at least 0; they name neurons and change no weight.
            progress: show a bar on stderr, or call this function with (samples done, in all).
            layout: "N" or "TN".
            resume: go on where an interrupted `fit` of the same samples, or a file, has stopped.

        Raises:
            InputError: a bad parameter, or intensities below 0 or NaN.
            ShapeError: `X` or `y` does not fit.
            DivergenceError: learning left what its rules can hold together.
            KeyboardInterrupt: Ctrl-C; all samples learned from so far are kept.
        """
        x, n = self._samples(X, layout, "fit")
        labels = None if y is None else checked_labels(y, n, "fit")
        if not n:
            raise InputError("fit: X has no samples, expected at least 1")
        total = n * self.epochs
        if not resume or not hasattr(self, "_engine"):
            engine = self._new_engine()
            self._forget()
            self._adopt(engine)
        if self.samples_seen_ > total:
            raise InputError(
                f"fit: samples seen are {self.samples_seen_}, expected at most {total} to resume"
            )
        self._learn(x, n, total, total - self.samples_seen_, progress)
        if labels is not None:
            self._assign(x, labels)
        return self

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        progress: Progress = False,
        *,
        layout: Layout = "N",
        total: int | None = None,
    ) -> Self:
        """Learns from some more samples, once; as pieces of one `fit` if `total` is its number.

        Args:
            X: as in `fit`.
            y: labels, for `assign` on these samples.
            progress: as in `fit`.
            layout: as in `fit`.
            total: samples that will be seen in all, for the learning rates' course; None: they
                stay at what they begin with.

        Raises:
            As `fit`.
        """
        if total is not None:
            whole("partial_fit", "total", total, 1, 1 << 63)
        x, n = self._samples(X, layout, "partial_fit")
        labels = None if y is None else checked_labels(y, n, "partial_fit")
        if not hasattr(self, "_engine"):
            self._adopt(self._new_engine())
        self._learn(x, n, total, n, progress, self.samples_seen_)
        if labels is not None:
            self._assign(x, labels)
        return self

    def assign(
        self, X: ArrayLike, y: ArrayLike, progress: Progress = False, *, layout: Layout = "N"
    ) -> Self:
        """Names what neurons have learned, by labelled samples: use training data only.

        Nothing is learned meanwhile: weights and thetas are frozen.

        Raises:
            NotFittedError: before `fit`.
            InputError, ShapeError: as `fit`.
        """
        x, n = self._samples(X, layout, "assign")
        self._assign(x, checked_labels(y, n, "assign"), progress)
        return self

    # --- answers --------------------------------------------------------------------------------

    def transform(self, X: ArrayLike, *, layout: Layout = "N") -> NDArray[np.int32]:
        """Spikes of each neuron, int32 (N, n_neurons), while nothing is learned."""
        x, _ = self._samples(X, layout, "transform")
        return self._respond(x).counts(self.n_neurons)

    def decision_function(self, X: ArrayLike, *, layout: Layout = "N") -> NDArray[np.float64]:
        """Scores of the classes by `readout`, float64 (N, C)."""
        x, _ = self._samples(X, layout, "predict")
        return self._scores(self._respond(x))

    def predict(self, X: ArrayLike, *, layout: Layout = "N") -> IntArray:
        """Classes, int64 (N,); -1 for a sample to which no labelled neuron answers.

        A sample's spikes are drawn from the seed and its own values: its answer does not depend
        on which others are beside it.

        Raises:
            NotFittedError: before `fit`, or before labels were assigned.
            InputError, ShapeError: as `fit`.
        """
        scores = self.decision_function(X, layout=layout)
        return decided(scores, self.classes_)

    def score(self, X: ArrayLike, y: ArrayLike, *, layout: Layout = "N") -> float:
        """Part of the samples that is classified as labelled."""
        x, n = self._samples(X, layout, "score")
        labels = checked_labels(y, n, "score")
        if not n:
            raise InputError("score: X has no samples, expected at least 1")
        answer = decided(self._scores(self._respond(x)), self.classes_)
        return float((answer == labels).mean())

    # --- what was learned -----------------------------------------------------------------------

    @property
    def weights_(self) -> NDArray[np.float32]:
        """float32 (n_neurons, n_inputs)."""
        return np.ascontiguousarray(self._fitted().weights().T)

    @property
    def theta_(self) -> NDArray[np.float32]:
        """float32 (n_neurons,), mV."""
        return self._fitted().theta()

    @property
    def samples_seen_(self) -> int:
        """Samples learned from, epochs counted."""
        return self._fitted().seen

    @property
    def counts_(self) -> dict[str, int]:
        """Counts of everything done while learning (S12.19)."""
        return counted(self._fitted().counts)

    # --- inside ---------------------------------------------------------------------------------

    def _new_engine(self) -> _Core | _Conductance:
        level = knobs.read().level if self.level is None else self.level
        kind = _Conductance if self.model == "conductance" else _Core
        return kind(json.dumps(configuration(self)), level)

    def _adopt(self, engine: _Core | _Conductance) -> None:
        self._engine, self._told = engine, json.dumps(configuration(self))
        self._fixed = {name: getattr(self, name) for name in _FIXED}

    def _current(self) -> _Core | _Conductance:
        """The engine with the parameters as they are now, `set_params` after learning included."""
        engine = self._fitted()
        if json.dumps(configuration(self)) == self._told:
            return engine
        for name, value in self._fixed.items():
            if getattr(self, name) != value:
                raise InputError(
                    f"DiehlCook: {name} is {getattr(self, name)!r}, expected {value!r} as it has "
                    "learned; fit anew"
                )
        fresh = self._new_engine()
        restored(fresh, taken(engine))
        self._adopt(fresh)
        return fresh

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        if "_engine" in state:
            state["_engine"] = taken(state["_engine"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "_engine" in state:
            kind = _Conductance if self._fixed["model"] == "conductance" else _Core
            self._engine = kind(self._told, knobs.read().level)
            restored(self._engine, state["_engine"])

    def _fitted(self) -> _Core | _Conductance:
        engine: _Core | _Conductance | None = getattr(self, "_engine", None)
        if engine is None:
            raise NotFittedError("DiehlCook: nothing is learned yet, expected fit first")
        return engine

    def _forget(self) -> None:
        for name in ("_engine", "labels_", "classes_", "_labels", "_ngrams"):
            self.__dict__.pop(name, None)

    def _threads(self) -> int:
        given = self.threads if self.threads is not None else knobs.read().threads
        threads = available_threads() if given is None else given
        return whole("DiehlCook", "threads", threads, 1, knobs.MOST_THREADS)

    def _samples(self, X: ArrayLike, layout: Layout, where: str) -> tuple[Pieces, int]:
        # A bad parameter is refused before data are looked at.
        configuration(self)
        machine("DiehlCook", self.threads, self.level)
        if layout == "N":
            return intensities(X, self.n_inputs, (self.max_rate, self.dt, self.x_max), where)
        if layout != "TN":
            raise InputError(f"{where}: layout is {layout!r}, expected N or TN")
        return rasters(X, self.n_inputs, self.n_steps, where)

    def _learn(
        self,
        part: Pieces,
        n: int,
        total: int | None,
        todo: int,
        progress: Progress,
        begin: int = 0,
    ) -> None:
        """Learns from `todo` samples on from where the engine is; sample k is `k - begin` mod n."""
        engine, threads = self._current(), self._threads()
        batch = int(self.batch_size)
        end = engine.seen + todo
        size = batch if batch > 1 else 1
        with progress_bar(progress, todo) as tell:
            while engine.seen < end:
                at = (engine.seen - begin) % n
                last = min(at + size, n, at + end - engine.seen)
                factors = self._factors(engine.seen, last - at, total)
                x = part(at, last)
                clock = time.perf_counter()
                engine.train(x, factors, batch > 1, threads)
                if tell is not None:
                    tell(todo - (end - engine.seen))
                if batch == 1:
                    size = next_size(size, time.perf_counter() - clock)

    def _factors(self, first: int, n: int, total: int | None) -> NDArray[np.float32]:
        """What the learning rates of samples `first`, ... are multiplied by (S12.13)."""
        if total is None:
            return np.ones(n, np.float32)
        k = np.arange(first, first + n, dtype=np.float64)
        lr_end = (1.0 if self.epochs == 1 else 0.1) if self.lr_end == "auto" else self.lr_end
        return (1.0 - (1.0 - lr_end) * np.minimum(k / total, 1.0)).astype(np.float32)

    def _respond(self, part: Pieces, n: int | None = None, progress: Progress = False) -> Answers:
        engine, threads = self._current(), self._threads()
        answers: list[Answers] = []
        done, size = 0, threads
        with progress_bar(progress, n or 0) as tell:
            while True:
                x = part(done, done + size)
                if not len(x):
                    return joined(answers)
                clock = time.perf_counter()
                _counts, start, neurons = engine.respond(x, threads)
                answers.append(Answers(start, neurons))
                done += len(x)
                if tell is not None:
                    tell(done)
                size = next_size(size, time.perf_counter() - clock)

    def _assign(self, part: Pieces, y: IntArray, progress: Progress = False) -> None:
        answers = self._respond(part, len(y), progress)
        labels = Labels.of(answers, y, self.n_neurons)
        self._ngrams = NGrams.of(answers, y, labels.classes, int(self.n_gram))
        self._labels = labels
        self.labels_, self.classes_ = labels.neurons, labels.classes

    def _scores(self, answers: Answers) -> NDArray[np.float64]:
        labels: Labels = self._require("_labels", "fit with y, or assign,")
        if not (labels.neurons != UNKNOWN).any():
            raise NotFittedError(
                "DiehlCook: no neuron has a label, expected some that answered to the samples of "
                "assign; use higher rates or train longer"
            )
        if self.readout == "ngram":
            if self._ngrams.n != self.n_gram:
                raise InputError(
                    f"DiehlCook: n_gram is {self.n_gram}, expected {self._ngrams.n} as labels were "
                    "assigned; assign anew"
                )
            return self._ngrams.vote(answers)
        vote = labels.vote_all if self.readout == "all" else labels.vote_proportion
        return vote(answers)

    # --- files ----------------------------------------------------------------------------------

    def _params_to_json(self) -> dict[str, Any]:
        """All but threads, level and chunk, which change no bit."""
        params = super()._params_to_json()
        return {k: v for k, v in params.items() if k not in ("threads", "level", "chunk")}

    def _state(self) -> tuple[Arrays, dict[str, Any]]:
        arrays, values = saved(self._current())
        if hasattr(self, "_labels"):
            arrays["classes"], arrays["rates"] = self.classes_, self._labels.rates
            arrays["labels"] = self.labels_
            arrays["runs"], arrays["run_counts"] = self._ngrams.runs, self._ngrams.counts
        return arrays, values

    def _set_state(self, arrays: Arrays, values: dict[str, Any]) -> None:
        engine = self._new_engine()
        loaded(engine, arrays, values, (self.n_inputs, self.n_neurons))
        labelled = named(arrays, self.n_neurons) if "labels" in arrays else None
        self._forget()
        self._adopt(engine)
        if labelled is not None:
            self._labels, self._ngrams = labelled
            self.labels_, self.classes_ = arrays["labels"], arrays["classes"]
