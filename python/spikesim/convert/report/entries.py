"""What a conversion has to say in words: what it could not do, and what it found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from spikesim.errors import InputError

Severity = Literal["error", "warning", "info"]

SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True)
class Unconverted:
    """A part of the ANN that the network does not have.

    Attributes:
        name: Of the module or call, as torch names it.
        kind: Its class or function, such as "torch.nn.functional.relu".
        where: `file:line`, or "" where that is not known.
        why: What stands in the way.
        advice: What to do.
    """

    name: str
    kind: str
    where: str
    why: str
    advice: str

    def __str__(self) -> str:
        where = f" at {self.where}" if self.where else ""
        return f"{self.name} ({self.kind}){where}: {self.why}; {self.advice}"


@dataclass(frozen=True)
class Finding:
    """Something that a user of the converted network should know.

    Attributes:
        severity: "error": the network is not the ANN's; "warning": it loses accuracy; "info".
        name: Layer, module or "network".
        what: What was found, with its numbers.
        advice: What to do; "" where there is nothing to be done.
    """

    severity: Severity
    name: str
    what: str
    advice: str = ""

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise InputError(
                f"report: severity is {self.severity!r}, expected {', '.join(SEVERITIES)}"
            )

    def __str__(self) -> str:
        advice = f"; {self.advice}" if self.advice else ""
        return f"{self.severity}: {self.name}: {self.what}{advice}"
