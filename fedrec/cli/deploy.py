"""``fedrec deploy``: a federation of merchants on machines of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="The folder, as 'fedrec deploy init' made it.")]
Host = Annotated[
    list[str] | None,
    typer.Option(
        "--host",
        metavar="NAME/ADDRESS",
        help="How merchants reach the server; several may be given. Default: localhost.",
    ),
]


def _say(line: str) -> None:
    typer.echo(line)


@app.command("init", context_settings={"allow_extra_args": True})
def init(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new directory.")],
    merchants: Annotated[
        str, typer.Option(metavar="NAME...", help="Names of the merchants: --merchants a b c.")
    ],
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The experiment (TOML).")
    ] = None,
    items: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The shared item list, JSON lines with an id. Default: silo.items."
        ),
    ] = None,
    host: Host = None,
    port: Annotated[int, typer.Option(help="Port of the server.")] = 9092,
) -> None:
    """Make certificates, keys, scripts and a folder to hand to each merchant."""
    from fedrec.config import load_config
    from fedrec.deploy.folders import Federation, init_federation
    from fedrec.errors import ConfigError

    names = tuple(" ".join([merchants, *context.args]).replace(",", " ").split())
    loaded = load_config(config)
    if config is None and len(names) > 2:
        loaded = loaded.with_({"clients.unit": "merchant", "secure.mode": "malicious-server"})
    listed = items or (Path(loaded.silo.items) if loaded.silo.items else None)
    if listed is None:
        raise ConfigError(
            "--items is missing: the list of items that all merchants number alike, JSON lines "
            'such as {"id": "4006381333931"}'
        )
    plan = Federation(names, loaded, listed, tuple(host or ["localhost"]), port)
    fingerprint = init_federation(directory, plan)
    typer.echo(f"{directory}: a federation of {len(names)} merchants, server {plan.address}")
    if fingerprint:
        typer.echo(f"fingerprint of the identities: {fingerprint}")
    if loaded.secure.mode == "off":
        typer.echo("secure.mode = 'off': the server sees the update of every merchant")
    typer.echo(f"next: read {directory / 'README.txt'}")


@app.command("renew")
def renew(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Has authority/ and server/.")],
    host: Host = None,
) -> None:
    """Give the server a new key and certificate."""
    from fedrec.deploy import folders

    folders.renew(directory, tuple(host or ["localhost"]))
    typer.echo(f"{directory / folders.SERVER}: new key and certificate; restart the SuperLink")


@app.command("check")
def check(folder: Folder = Path(".")) -> None:
    """Say what is wrong with a folder, and what to do; exit code 1 if anything is."""
    from fedrec.deploy.checks import check_folder

    findings = check_folder(folder)
    for finding in findings:
        colour = typer.colors.GREEN if finding.good else typer.colors.RED
        typer.secho(f"{'ok  ' if finding.good else 'FAIL'} {finding.told}", fg=colour)
        if not finding.good:
            typer.echo(f"     {finding.todo}")
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)


@app.command("link")
def link(folder: Folder = Path(".")) -> None:
    """Run the SuperLink of a server's folder until it ends."""
    from fedrec.deploy.processes import run_link

    raise typer.Exit(run_link(folder, _say))


@app.command("node")
def node(folder: Folder = Path(".")) -> None:
    """Run the node of a merchant's folder until it ends."""
    from fedrec.deploy.processes import run_node

    raise typer.Exit(run_node(folder, _say))
