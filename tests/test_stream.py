"""The streaming executor is equal to the batch executor, to the bit, on random networks."""

from __future__ import annotations

from hypothesis import given

from engines import Engine, same
from strategies import Case, cases
from streams import Streamed, seen


@given(cases(exact=True))
def test_stream_equals_batch_on_exact_sums(case: Case) -> None:
    same(Streamed(case.net).run(*case.run_args()), seen(Engine(case.net).run(*case.run_args())))


@given(cases(exact=False))
def test_stream_equals_batch_on_any_floats(case: Case) -> None:
    stream = Streamed(case.net, sparse=True)
    same(stream.run(*case.run_args()), seen(Engine(case.net).run(*case.run_args())))
