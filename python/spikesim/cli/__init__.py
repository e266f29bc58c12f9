"""The command line: ``spikesim VERB``, one file a verb."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Runs the command line and exits: 0 done, 2 bad input (one line on stderr), 130 Ctrl-C."""
    from spikesim.cli.app import run

    # A letter that the terminal or file can't have is shown as "?", not a reason to fail.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:]))
