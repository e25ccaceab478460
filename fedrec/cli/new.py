"""``fedrec new``: a copy of the Flower app, to be edited."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def new(
    directory: Annotated[Path, typer.Argument(help="Directory to create.", show_default=False)],
) -> None:
    """Copy the client and server apps into DIRECTORY, to be edited."""
    from fedrec.engine.apps import copy_app

    copy_app(directory)
    typer.echo(
        f"The apps are in {directory}: edit clients/ and server/, then run them with\n"
        f"  fedrec run EXPERIMENT.toml --app {directory}"
    )
