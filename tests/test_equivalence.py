"""The engine is equal to the dense reference: every spike, membrane, output and count, to the bit.

Exact cases lie on a dyadic grid: their sums are the same in any order, ties at the threshold are
common, and the reference with torch's own sums has to agree as well. Free cases have any floats;
there the order of the sums (S2) decides the last bits and only the ordered reference knows it.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, note

from engines import Engine, Reference, differences, same
from strategies import Case, cases


@given(cases(exact=True))
def test_references_agree_where_sums_are_exact(case: Case) -> None:
    ordered = Reference(case.net).run(*case.run_args())
    same(ordered, Reference(case.net, sums="torch").run(*case.run_args()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@given(cases(exact=False))
def test_the_reference_is_the_same_on_cuda(case: Case) -> None:
    on_gpu = Reference(case.net, device="cuda").run(*case.run_args())
    same(on_gpu, Reference(case.net).run(*case.run_args()))


@given(cases(exact=True))
def test_engine_equals_reference_on_exact_sums(case: Case) -> None:
    engine = Engine(case.net).run(*case.run_args())
    same(engine, Reference(case.net).run(*case.run_args()))
    by_torch = differences(engine, Reference(case.net, sums="torch").run(*case.run_args()))
    note("against torch's own sums")
    assert not by_torch, "\n".join(by_torch)


@given(cases(exact=False))
def test_engine_equals_reference_on_any_floats(case: Case) -> None:
    same(Engine(case.net).run(*case.run_args()), Reference(case.net).run(*case.run_args()))
