"""The command line: ``spikesim VERB``, one file a verb."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line and exits: 0 done, 2 bad input (one line on stderr), 130 Ctrl-C."""
    from spikesim.cli.app import run

    sys.exit(run(sys.argv[1:]))
