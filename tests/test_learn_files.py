"""A `Learner` in a file: it goes on to the same bits, and no other takes it for its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

import spikesim as ss
from learn_nets import cases as learning_cases
from spikesim import _core, learn
from spikesim.errors import FormatError, InputError


def net(threshold: float = 0.8, seed: int = 3, outputs: int = 5) -> ss.Network:
    rng = np.random.default_rng(seed)
    made = ss.Network((6,))
    made.add(ss.Linear(rng.uniform(0, 0.5, (outputs, 6))), name="fc")
    made.add(ss.LIF(v_threshold=threshold, alpha_mem=0.9), name="lif")
    return made


def learner(rate: float = 0.02, seed: int = 5, k: int = 2, **of_net: Any) -> learn.Learner:
    rules = {"fc": learn.TripletSTDP(0.01, rate, 0.02, 0.01, 5, 7, 11, 13)}
    parts = [learn.KWTA(k, None, per_sample=False), learn.SoftWTA(0.25)]
    adapts = {"lif": learn.AdaptiveThreshold(0.01)}
    return learn.Learner(net(**of_net), rules, {"lif": parts}, adapts, seed)


def spikes(seed: int, samples: int) -> np.ndarray:
    return np.random.default_rng(seed).random((20, samples, 6)) < 0.4


def same(a: learn.Learner, b: learn.Learner) -> None:
    one, other = a.state_dict(), b.state_dict()
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.dtype == other[name].dtype
        assert array.tobytes() == other[name].tobytes(), name


def test_it_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    path = tmp_path / "half"
    whole = learner()
    whole.run(spikes(0, 4), reset=False)
    whole.save(path)
    loaded, resumed = learn.Learner.load(path), learner().resume(path)
    last = whole.run(spikes(1, 3), record="v", reset=False)
    assert last.weight_updates > 0
    for other in (loaded, resumed):
        assert other.samples == 4
        more = other.run(spikes(1, 3), record="v", reset=False)
        assert more.v["lif"].tobytes() == last.v["lif"].tobytes()
        same(other, whole)
        # The network as it was given, too, is the file's.
        assert (other.network(False).node("lif").op.v_threshold == np.float32(0.8)).all()
        assert (other.network().node("fc").op.weight == whole.network().node("fc").op.weight).all()
    assert list(tmp_path.iterdir()) == [path]


@given(learning_cases(exact=False))
def test_any_learner_goes_on_from_its_file(tmp_path_factory: Any, case: Any) -> None:
    path = tmp_path_factory.mktemp("learner") / "file"
    first = case.learner()
    first.run(case.x, reward=case.reward, reset=False)
    first.save(path)
    others = [learn.Learner.load(path), case.learner().resume(path)]
    for one in (first, *others):
        one.run(case.x, reward=case.reward, reset=False)
    for other in others:
        same(other, first)


@pytest.mark.parametrize(
    ("args", "what"),
    [
        ({"seed": 6}, "seed is 5, expected 6 as this model has it"),
        ({"rate": 0.5}, r"rules\[0\]\.rule\.on_pre\.pair is -0.02, expected -0.5"),
        ({"k": 1}, r"wta\[0\]\.parts\[0\]\.k is 2, expected 1"),
        ({"threshold": 0.5}, r"node\.lif\.v_threshold is '\w+', expected '\w+'"),
        ({"outputs": 4}, r"node\.fc\.weight is"),
    ],
)
def test_another_configuration_is_refused_by_name(
    tmp_path: Path, args: dict[str, Any], what: str
) -> None:
    path = tmp_path / "file"
    learner().save(path)
    other = learner(**args)
    before = other.state_dict()
    with pytest.raises(InputError, match=what) as caught:
        other.resume(path)
    assert "\n" not in str(caught.value)
    for name, array in other.state_dict().items():
        assert array.tobytes() == before[name].tobytes()


def test_a_network_of_other_nodes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    learner().save(path)
    other = net()
    other.add(ss.Linear(np.zeros((1, 5))), name="more")
    with pytest.raises(InputError, match=r"nodes is \['input', 'fc', 'lif'\], expected .*'more'"):
        learn.Learner(other).resume(path)


def test_a_network_changed_later_is_not_the_learners(tmp_path: Path) -> None:
    path, given = tmp_path / "file", net()
    first = learn.Learner(given)
    given.add(ss.Linear(np.zeros((1, 5))), name="more")
    first.save(path)
    assert [n.name for n in learn.Learner.load(path).network().nodes] == ["input", "fc", "lif"]


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    learner().save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError):
            learn.Learner.load(path)
    learn.DiehlCook(4, 2).fit(np.ones((2, 4)), [0, 1]).save(path)
    with pytest.raises(FormatError, match="class is 'DiehlCook', expected Learner"):
        learn.Learner.load(path)


@pytest.mark.parametrize("damage", ["network", "no network", "no weight", "shape", "rules"])
def test_files_that_do_not_hold_together_are_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "file"
    learner().save(path)
    texts, entries = _core.load_arrays(path)
    kept = {name: (name, *entry) for name, *entry in entries}
    if damage == "network":
        kept["network"] = ("network", "uint8", [3], b"abc")
    elif damage == "no network":
        del kept["network"]
    elif damage == "no weight":
        del kept["state/learn/weight0"]
    elif damage == "shape":
        kept["state/learn/weight0"] = ("state/learn/weight0", "float32", [1], bytes(4))
    else:
        texts["params"] = texts["params"].replace('"triplet"', '"tripled"')
    _core.save_arrays(path, texts, list(kept.values()))
    with pytest.raises(FormatError) as caught:
        learn.Learner.load(path)
    assert str(path) in str(caught.value)
