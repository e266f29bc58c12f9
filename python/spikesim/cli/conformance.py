"""``spikesim info MODEL --conformance``: the model against the library it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from spikesim.errors import InputError

if TYPE_CHECKING:
    from spikesim.conformance import ConformanceReport
    from spikesim.network import Network

#: Exit code where the two differ beyond rounding, or a population was not proved.
DIFFERS = 1

Asked = Annotated[
    bool,
    typer.Option("--conformance", help="Run the model and the original, and say where they part."),
]
Against = Annotated[
    str | None,
    typer.Option(
        help="What to compare with: snntorch, spikingjelly, norse, sinabs, torch, or a .npz of "
        "recorded traces; default: the library that the model names."
    ),
]
TracesOf = Annotated[
    str | None, typer.Option(help="Which source, where a .npz has traces of several.")
]
Steps = Annotated[int | None, typer.Option(help="Steps of the seeded inputs; default: 32.")]
Samples = Annotated[int | None, typer.Option(help="Number of seeded inputs; default: 4.")]
Seed = Annotated[int | None, typer.Option(help="Seed of the inputs; default: 0.")]
Allow = Annotated[
    list[str] | None,
    typer.Option(help="What proves nothing and is to pass: silent, not-recorded; repeatable."),
]


@dataclass
class Options:
    """What was asked for; None: not given."""

    against: str | None
    traces_of: str | None
    steps: int | None
    samples: int | None
    seed: int | None
    allow: list[str] | None

    def check(self, asked: bool, net: Network | None) -> ConformanceReport | None:
        """The report, where one was asked for.

        Raises:
            InputError: Options of a check that was not asked for, or a check of nothing.
        """
        if not asked:
            given = [name for name, value in vars(self).items() if value not in (None, [])]
            if given:
                option = given[0].replace("_", "-")
                raise InputError(f"info: --{option} is given alone, expected it with --conformance")
            return None
        if net is None:
            raise InputError("info: MODEL is missing, expected one with --conformance")
        from spikesim import conformance

        return conformance.check(
            net,
            self.against,
            n_steps=self.steps,
            samples=self.samples,
            seed=self.seed,
            traces_of=self.traces_of,
            allow=[verdict.replace("-", " ") for verdict in self.allow or ()],
        )
