"""``python -m spikesim``: the same as the command ``spikesim``."""

from spikesim.cli import main

main()
