"""Precision i8 (S14): the engine is the integer reference, to the bit."""

from __future__ import annotations

import pytest
from hypothesis import given

import spikesim as ss
from engines import Engine, Reference, same
from spikesim.errors import UnsupportedError
from strategies import Case, cases


def equal(case: Case) -> None:
    reference = Reference(case.net, precision="i8").run(*case.run_args())
    same(Engine(case.net, precision="i8").run(*case.run_args()), reference)


@given(cases(exact=True, integers=True))
def test_engine_equals_integer_reference_on_grids(case: Case) -> None:
    equal(case)


@given(cases(exact=False, integers=True))
def test_engine_equals_integer_reference_on_any_floats(case: Case) -> None:
    equal(case)


@given(cases(exact=False))
def test_what_integers_have_no_rule_for_is_refused(case: Case) -> None:
    try:
        case.net.compile(precision="i8")
    except UnsupportedError as error:
        with pytest.raises(UnsupportedError) as caught:
            ss.reference.run(case.net, *case.run_args(), precision="i8")
        message = str(error)
    else:
        return equal(case)
    assert str(caught.value) == message


def test_a_stream_of_integers_is_refused() -> None:
    net = ss.Network((2,))
    net.add(ss.IF(), name="if1")
    with pytest.raises(UnsupportedError, match=r'^stream: precision "i8"'):
        net.compile(precision="i8").stream([])
