"""``spikesim learn MODEL DATA``: learning from spikes, without gradients."""

from __future__ import annotations

import typer

from spikesim.cli.learn.conv_stdp import conv_stdp
from spikesim.cli.learn.diehl_cook import diehl_cook
from spikesim.cli.learn.sem import sem

learn = typer.Typer(
    help="Learn from a data set without gradients, and test on what was held out.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
learn.command("diehl-cook")(diehl_cook)
learn.command("conv-stdp")(conv_stdp)
learn.command("sem")(sem)
