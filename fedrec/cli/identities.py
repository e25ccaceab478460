"""``fedrec identities``: who the clients of a secure run are, apart from its server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def identities(
    directory: Annotated[Path, typer.Argument(help="Where the files are or will be.")],
    clients: Annotated[
        int | None,
        typer.Option(min=3, help="Make identities of so many clients; without: show them."),
    ] = None,
    nodes: Annotated[
        int | None, typer.Option(min=1, help="One secret file for each of n nodes, not clients.")
    ] = None,
) -> None:
    """Make the clients' identities and their registry, or show the fingerprint of one.

    Copy registry.txt to every node and to the server, and each secret file to its node
    alone; compare the fingerprints by another way than the server. Point secure.registry
    to the file, or start nodes with registry="..." in their node-config, which binds them.
    """
    from fedrec.errors import ConfigError
    from fedrec.secure.registry import REGISTRY, read_registry, write_identities

    if clients is None:
        if nodes is not None:
            raise ConfigError("--nodes needs --clients: how many clients do the nodes host?")
        registry = read_registry(directory / REGISTRY)
    elif nodes is not None and nodes > clients:
        raise ConfigError(
            f"--nodes {nodes} with --clients {clients}: a node hosts one client or more"
        )
    else:
        registry = write_identities(directory, clients, nodes)
    typer.echo(f"{directory / REGISTRY}: {len(registry.keys)} clients")
    typer.echo(f"fingerprint {registry.fingerprint}")
