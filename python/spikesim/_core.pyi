"""The compiled part of spikesim. Its calls are coarse and its arguments already checked for type:
`spikesim.Network` and `spikesim.Simulator` are what to use."""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Conductance",
    "ConductanceModel",
    "ConvNet",
    "DiehlCook",
    "Graph",
    "Learner",
    "Sem",
    "Simulator",
    "Stream",
    "__version__",
    "_panic",
    "available_threads",
    "levels",
    "load_arrays",
    "poisson_rasters",
    "save_arrays",
]

__version__: str

@final
class Graph:
    """A network. Calls raise the classes of `spikesim.errors`."""

    def __new__(cls, input_shape: list[int]) -> Graph: ...
    def add(
        self,
        name: str,
        spec_json: str,
        arrays: dict[str, NDArray[np.float32]],
        inputs: list[str],
        delays: list[int] | None = None,
    ) -> None: ...
    def connect(self, src: str, dst: str, delay: int) -> None: ...
    def set_output(self, name: str) -> None: ...
    def output(self) -> str: ...
    def set_readout(self, name: str | None) -> None: ...
    def readout(self) -> str: ...
    @property
    def dt(self) -> float | None: ...
    def set_dt(self, dt: float | None) -> None: ...
    @property
    def meta_json(self) -> str: ...
    def set_meta_json(self, text: str) -> None: ...
    def nodes(self) -> list[tuple[str, str, list[int], list[int]]]: ...
    def node(self, name: str) -> tuple[str, str, list[int], list[int]]: ...
    def arrays(self, name: str) -> dict[str, NDArray[np.float32]]: ...
    def array_shapes(self, name: str) -> list[tuple[str, list[int]]]: ...
    def edges(self) -> list[tuple[str, str, int]]: ...
    def validate(self) -> None: ...
    def fold(self) -> Graph: ...
    def save(self, path: str | PathLike[str]) -> None: ...
    @staticmethod
    def load(path: str | PathLike[str]) -> Graph: ...
    def to_bytes(self) -> bytes: ...
    @staticmethod
    def from_bytes(bytes: bytes) -> Graph: ...
    def clone(self) -> Graph: ...
    def __len__(self) -> int: ...

@final
class Simulator:
    """A compiled network and its state."""

    def __new__(
        cls,
        graph: Graph,
        level: str | None = None,
        threads: int | None = None,
        clips: Mapping[str, Sequence[float] | NDArray[np.float32]] | None = None,
    ) -> Simulator: ...
    @property
    def precision(self) -> str: ...
    @property
    def level(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def weight_bytes(self) -> int: ...
    def populations(self) -> list[tuple[str, list[int]]]: ...
    def run(
        self,
        x: NDArray[np.float32],
        samples: int,
        steps: int,
        constant: bool,
        record: dict[str, tuple[bool, bool, bool]],
        batch_size: int | None,
        resume: bool,
        progress: Callable[[int], None] | None = None,
    ) -> dict[str, Any]: ...
    def reset(self) -> None: ...
    def state(self) -> dict[str, NDArray[Any]]: ...
    def load_state(self, arrays: dict[str, NDArray[Any]]) -> None: ...

@final
class Learner:
    """A network that learns, and its state."""

    def __new__(cls, graph: Graph, spec_json: str, level: str | None = None) -> Learner: ...
    def samples(self) -> int: ...
    def run(
        self,
        x: NDArray[np.float32],
        samples: int,
        steps: int,
        constant: bool,
        reward: NDArray[np.float32] | None,
        each_step: bool,
        reset: bool,
        spikes: bool,
        v: bool,
        control: Callable[[int], None] | None = None,
    ) -> dict[str, Any]: ...
    def network(self, thresholds: bool) -> Graph: ...
    def state(self) -> dict[str, NDArray[Any]]: ...
    def load_state(self, arrays: dict[str, NDArray[Any]]) -> None: ...

def levels() -> list[str]: ...
def available_threads() -> int: ...
def _panic(route: str) -> None: ...
def save_arrays(
    path: str | PathLike[str],
    texts: dict[str, str],
    entries: list[tuple[str, str, list[int], bytes]],
) -> None: ...
def load_arrays(
    path: str | PathLike[str],
) -> tuple[dict[str, str], list[tuple[str, str, list[int], bytes]]]: ...

@final
class DiehlCook:
    """Diehl and Cook's network; what it has learned."""

    def __new__(cls, config: str, level: str | None = None) -> DiehlCook: ...
    @property
    def level(self) -> str: ...
    @property
    def seen(self) -> int: ...
    @property
    def counts(self) -> tuple[int, int, int, int, int]: ...
    def weights(self) -> NDArray[np.float32]: ...
    def theta(self) -> NDArray[np.float32]: ...
    def restore(
        self,
        weights: NDArray[np.float32],
        theta: NDArray[np.float32],
        seen: int,
        counts: tuple[int, ...],
    ) -> None: ...
    def train(
        self, x: NDArray[Any], factors: NDArray[np.float32], batch: bool, threads: int
    ) -> tuple[tuple[int, int, int, int, int], NDArray[np.int64], NDArray[np.uint32]]: ...
    def respond(
        self, x: NDArray[Any], threads: int
    ) -> tuple[tuple[int, int, int, int, int], NDArray[np.int64], NDArray[np.uint32]]: ...

def poisson_rasters(
    chances: NDArray[np.float32],
    steps: int,
    seed: int,
    first: int | None = None,
    level: str | None = None,
) -> NDArray[np.uint8]: ...

@final
class ConvNet:
    """An encoder and layers of convolutional STDP, with their weights."""

    def __new__(
        cls,
        image: list[int],
        filter: NDArray[np.float32],
        center: float,
        min_response: float,
        bins: int,
        layers_json: str,
        level: str | None = None,
        threads: int | None = None,
    ) -> ConvNet: ...
    def shapes(self) -> list[list[int]]: ...
    def weight(self, layer: int) -> tuple[NDArray[np.float32], int]: ...
    def set_weight(self, layer: int, weight: NDArray[np.float32], seen: int) -> None: ...
    def learn(
        self,
        layer: int,
        x: NDArray[np.float32],
        batch_size: int,
        progress: Callable[[int], None] | None = None,
    ) -> int: ...
    def winners(
        self, layer: int, x: NDArray[np.float32]
    ) -> list[list[tuple[int, int, int, int, float]]]: ...
    def transform(
        self,
        x: NDArray[np.float32],
        features: str,
        progress: Callable[[int], None] | None = None,
    ) -> NDArray[np.float32]: ...
    def spikes(self, x: NDArray[np.float32], upto: int) -> tuple[NDArray[np.uint16], ...]: ...

@final
class Sem:
    """Neurons of which one fires for each sample, in proportion to e^u."""

    def __new__(
        cls,
        neurons: int,
        inputs: int,
        eta: float,
        eta_bias: float,
        c: float,
        w_min: float,
        w_max: float,
        seed: int,
        level: str | None = None,
        threads: int | None = None,
    ) -> Sem: ...
    def state(
        self,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], int, NDArray[np.uint64]]: ...
    def set_state(
        self, weight: NDArray[np.float32], bias: NDArray[np.float32], seen: int
    ) -> None: ...
    def learn(
        self, x: NDArray[np.bool_], progress: Callable[[int], None] | None = None
    ) -> None: ...
    def transform(self, x: NDArray[np.bool_]) -> NDArray[np.float32]: ...

@final
class Conductance:
    """Diehl and Cook's network with conductances: its weights, thresholds and state."""

    def __new__(
        cls,
        weights: NDArray[np.float32],
        theta: NDArray[np.float32],
        params: dict[str, float],
        level: str | None = None,
    ) -> Conductance: ...
    def weights(self) -> NDArray[np.float32]: ...
    def theta(self) -> NDArray[np.float32]: ...
    def normalize(self, all: bool) -> None: ...
    def run(
        self,
        offsets: NDArray[np.uint32],
        indices: NDArray[np.uint32],
        learn: bool,
        record: bool,
    ) -> dict[str, Any]: ...
    def respond(
        self,
        offsets: NDArray[np.uint32],
        indices: NDArray[np.uint32],
        steps: int,
        threads: int,
    ) -> NDArray[np.uint32]: ...
    def state(
        self,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], int]: ...
    def restore(
        self,
        state: NDArray[np.float32],
        inputs: NDArray[np.int64],
        neurons: NDArray[np.int64],
        step: int,
    ) -> None: ...

@final
class ConductanceModel:
    """Diehl and Cook's network with conductances as `DiehlCook` is: it draws its own spikes."""

    def __new__(cls, config: str, level: str | None = None) -> ConductanceModel: ...
    @property
    def seen(self) -> int: ...
    @property
    def counts(self) -> tuple[int, int, int, int, int]: ...
    def weights(self) -> NDArray[np.float32]: ...
    def theta(self) -> NDArray[np.float32]: ...
    def state(
        self,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], int]: ...
    def restore(
        self,
        weights: NDArray[np.float32],
        theta: NDArray[np.float32],
        seen: int,
        counts: tuple[int, ...],
    ) -> None: ...
    def restore_state(
        self,
        state: NDArray[np.float32],
        inputs: NDArray[np.int64],
        neurons: NDArray[np.int64],
        step: int,
    ) -> None: ...
    def train(
        self, x: NDArray[Any], factors: NDArray[np.float32], batch: bool, threads: int
    ) -> tuple[tuple[int, int, int, int, int], NDArray[np.int64], NDArray[np.uint32]]: ...
    def respond(
        self, x: NDArray[Any], threads: int
    ) -> tuple[tuple[int, int, int, int, int], NDArray[np.int64], NDArray[np.uint32]]: ...

@final
class Stream:
    """A stream under way on a simulator."""

    def __new__(
        cls, simulator: Simulator, resume: bool, window: int | None, spikes: bool
    ) -> Stream: ...
    @property
    def report(self) -> list[tuple[str, str]]: ...
    def layers(self) -> list[tuple[str, bool]]: ...
    def step(
        self, values: NDArray[np.float32]
    ) -> tuple[
        NDArray[np.float32],
        NDArray[np.uint64],
        dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]],
    ]: ...
    def step_events(
        self, index: NDArray[np.int64], values: NDArray[np.float32] | None = None
    ) -> tuple[
        NDArray[np.float32],
        NDArray[np.uint64],
        dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]],
    ]: ...
