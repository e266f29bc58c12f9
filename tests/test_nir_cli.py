"""NIR on the command line: what was assumed is a line on stderr, stdout stays one object."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("h5py")

import spikesim as ss
from spikesim.cli.app import run
from test_cli import answer, complaint
from test_nir_damage import W, added, h5py, instead, plain

pytestmark = pytest.mark.filterwarnings("ignore::spikesim.nir.NirAssumption")

INTEGRATORS = (("input", "fc"), ("fc", "new"), ("new", "lif"), ("lif", "output"))


@pytest.fixture
def lif(tmp_path: Path) -> str:
    return str(plain(tmp_path / "lif.nir"))


@pytest.fixture
def integrate(tmp_path: Path) -> str:
    """A file whose IF nobody can run without knowing what a step adds."""
    path = plain(tmp_path / "if.nir")
    with h5py.File(path, "r+") as file:
        added("IF", *INTEGRATORS, r=np.ones(2), v_threshold=np.ones(2))(file)
    return str(path)


@pytest.fixture
def data(tmp_path: Path) -> str:
    path = tmp_path / "x.npz"
    np.savez(path, x=np.ones((7, 2, 3), np.float32), layout="TN")
    return str(path)


def test_info(lif: str, capsys: pytest.CaptureFixture[str]) -> None:
    report = answer(capsys, "info", lif, "--nir", "norse,dt=0.002,tau=seconds")
    assert [layer["name"] for layer in report["layers"]] == ["input", "fc", "lif"]
    assert report["dt"] == 0.002
    assert report["meta"]["nir"]["profile"] == "norse"
    assert report["unsettled"] == []
    assert run(["info", lif]) == 0
    out, err = capsys.readouterr()
    assert err.startswith(f'spikesim: {lif}: does not say everything; profile "nir" assumes dt=')
    assert err.count("\n") == 1
    assert "assumed (profile nir): dt 0.0001" in out


def test_run(lif: str, data: str, capsys: pytest.CaptureFixture[str]) -> None:
    report = answer(capsys, "run", lif, data, "--nir", "spikingjelly,dt=0.005,reset=subtract")
    net = ss.load(lif, nir=ss.NirOptions("spikingjelly", dt=0.005, reset="subtract"))
    result = net.compile().run(np.ones((7, 2, 3), np.float32))
    assert report["spikes_per_sample"] == result.counts.spikes / 2
    assert report["spikes_per_sample"] > 0


def test_a_question_left_open_stops_a_run_and_nothing_else(
    integrate: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = answer(capsys, "info", integrate)
    (question,) = report["unsettled"]
    assert question.startswith('new: if_gain is not known, expected "dt"')
    assert run(["run", integrate, data, "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == f"spikesim: {question}"
    with pytest.warns(ss.NirAssumption):
        net = ss.load(integrate)
    assert f"not known: {question}" in str(net)
    for copy in (net, net.copy(), net.fold()):
        for use in (
            copy.compile,
            lambda c=copy: ss.reference.run(c, np.ones((1, 1, 3))),
            lambda c=copy: c.save(tmp_path / "x.spikesim"),
            lambda c=copy: c.save(tmp_path / "x.nir"),
            lambda c=copy: c.__reduce__(),
        ):
            with pytest.raises(ss.errors.GraphError, match=r'"dt" .* or "one"'):
                use()  # type: ignore[operator]
    assert answer(capsys, "run", integrate, data, "--nir", "nir,if_gain=one")["n"] == 2


@pytest.mark.parametrize(
    ("nir", "expected"),
    [
        ("torch", 'profile is \'torch\', expected one of "nir", "snntorch"'),
        ("nir,dt", "option is 'dt', expected key=value with key one of dt, integration"),
        ("nir,r=1", "option is 'r=1', expected key=value"),
        ("nir,tau=1", 'tau is \'1\', expected one of "seconds", "dt*tau"'),
        ("nir,dt=1,dt=2", "option dt is there twice"),
        ("nir,dt=x", "dt is 'x', expected a number of seconds above 0"),
        ("nir,dt=-1", "dt is -1.0, expected a number of seconds above 0"),
        ("nir,dt=nan", "dt is nan, expected a number of seconds"),
        ("nir,integration=rk4", 'integration is \'rk4\', expected one of "euler", "exponential"'),
        ("nir,if_gain=2", 'if_gain is \'2\', expected one of "dt", "one"'),
        ("nir,reset=zero", "reset is 'zero', expected one of \"to_value\""),
        ("nir,reset_timing=late", "reset_timing is 'late', expected one of"),
        ("nir,fires==", "fires is '=', expected one of"),
        ("nir,spikes=2", "spikes is '2', expected one of"),
        ("nir,spike_amplitude=big", "spike_amplitude is 'big', expected a number or \"1/dt\""),
        ("nir,spike_amplitude=0", "spike_amplitude is 0, expected"),
        ("nir,v0=rest", "v0 is 'rest', expected a number or one of \"zero\""),
        ("nir,feedback=both", "feedback is 'both', expected one of"),
        ("nir,readout=max", "readout is 'max', expected one of"),
    ],
)
def test_bad_options_are_one_line(
    nir: str, expected: str, lif: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in complaint(capsys, "info", lif, "--nir", nir)


def test_bad_files_are_one_line(
    lif: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File(lif, "r+") as file:
        instead(file, W, data=np.full((2, 3), np.nan))
    assert "weight has a NaN" in complaint(capsys, "info", lif)
    bundle = str(ss.data.digits_model())
    assert "is no NIR" in complaint(capsys, "info", bundle, "--nir", "nir")
    assert "no such" in complaint(capsys, "info", str(tmp_path / "none.nir")).lower()
