"""The command line as a whole: its commands, and how it ends.

Every error a user can cause is one line on stderr and exit code 2; Ctrl-C is
130.  TensorFlow, pandas and matplotlib are imported by the commands that need
them, inside their functions.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import click
import typer

from fedrec import __version__
from fedrec.cli import (
    align,
    audience,
    audit,
    bench,
    calibrate,
    config,
    contribution,
    data,
    deploy,
    doctor,
    estimate,
    identities,
    link,
    new,
    recommend,
    report,
    run,
)
from fedrec.errors import FedrecError

app = typer.Typer(
    name="fedrec",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Federated recommender systems, measured honestly.",
)
app.command("run")(run.run)
app.command("compare")(run.compare)
app.command("audit")(audit.audit)
app.command("contribution")(contribution.contribution)
app.command("report")(report.report)
app.command("recommend")(recommend.recommend)
app.command("audience")(audience.audience)
app.add_typer(data.app, name="data", help="List, download and describe data sets.")
align.app.command("cards")(link.cards)
align.app.command("link")(link.link)
app.add_typer(align.app, name="align", help="Match catalogues of merchants privately.")
app.command("config")(config.config)
app.command("calibrate")(calibrate.calibrate)
app.command("identities")(identities.identities)
app.command("bench")(bench.bench)
app.command("estimate")(estimate.estimate)
app.add_typer(deploy.app, name="deploy", help="Set up, check and run a federation of merchants.")
app.command("new")(new.new)
app.command("doctor")(doctor.doctor)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"fedrec {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Federated recommender systems, measured honestly."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit the process.

    Args:
        arguments: words after ``fedrec``; None: those of the process.

    Raises:
        SystemExit: always; 0, 2 for an error of the user, 130 for Ctrl-C.
    """
    try:
        code = app(arguments, prog_name="fedrec", standalone_mode=False)
    except FedrecError as error:
        _say("error: ", str(error), typer.colors.RED)
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _say("", "interrupted", typer.colors.YELLOW)
        code = 130
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code if isinstance(code, int) else 0)


def _say(label: str, text: str, color: str) -> None:
    """Print one message on stderr; red or yellow on a terminal."""
    typer.secho(f"{label}{text}", fg=color, err=True)
