"""Who the parties of a node are, and with whom they agree to sum."""

from __future__ import annotations

import os
from pathlib import Path

from flwr.app import Context, Message

from clients.hosting import Host, host
from fedrec.errors import ProtocolError
from fedrec.secure import Identity, Plan
from fedrec.secure.graph import choose
from fedrec.secure.registry import Registry, read_identities, read_registry
from fedrec.wire_secure import IdentitiesReply, IdentitiesRequest, identity_seeds


def identities(message: Message, context: Context) -> Message:
    """Register the identities of all hosted clients."""
    IdentitiesRequest.unpack(message.content)
    here = host(context)
    own = own_identities(context, here, here.clients.tolist())
    keys = {number: identity.public for number, identity in own.items()}
    return Message(IdentitiesReply(keys).pack(), reply_to=message)


def own_identities(context: Context, here: Host, clients: list[int]) -> dict[int, Identity]:
    """Return identities of hosted clients: from local files, or drawn once in a run.

    Args:
        context: of the node; the drawn ones stay in its state.
        here: the node.
        clients: client numbers.

    Raises:
        ConfigError: if the files are missing or do not fit the registry.
    """
    registry = local_registry(context, here)
    if registry is None:
        seeds = identity_seeds(context.state, here.clients, os.urandom(32 * len(here.clients)))
        return {number: Identity(seeds[number]) for number in clients}
    own = str(context.node_config.get("identity-dir", ""))
    directory = Path(own) if own else _registry_path(context, here).parent
    return read_identities(directory, clients, here.name, registry)


def local_registry(context: Context, here: Host) -> Registry | None:
    """Return the registry that this node reads for itself; None if it has none.

    Raises:
        ConfigError: if the file is missing, malformed, or of another number of clients.
    """
    path = _registry_path(context, here)
    return None if path == Path() else read_registry(path, here.setup.population.num_clients)


def check_agreement(plan: Plan, context: Context, here: Host) -> None:
    """Refuse a session that is not the one that the configuration describes.

    Raises:
        ProtocolError: if the server asks for less protection, or names other identities.
    """
    section = here.setup.config.secure
    if plan.mode != section.mode:
        raise ProtocolError(
            f"the server proposes the mode {plan.mode!r}, and secure.mode = {section.mode!r}"
        )
    size = choose(
        len(plan.registry), plan.mode, section.neighbours or None, section.threshold or None
    )
    if (plan.neighbours, plan.threshold) != (size.neighbours, size.threshold):
        raise ProtocolError(
            f"the server proposes {plan.neighbours} neighbours and a threshold of "
            f"{plan.threshold}, and the configuration asks for {size.neighbours} and "
            f"{size.threshold}"
        )
    registry = local_registry(context, here)
    if registry is not None:
        registry.check(plan)


def _registry_path(context: Context, here: Host) -> Path:
    pinned = str(context.node_config.get("registry", ""))
    return Path(pinned or here.setup.config.secure.registry)
