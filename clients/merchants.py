"""Merchant clients: a node of one shop, which reads its own file and keeps to what was agreed.

A client is a merchant, and inside it many users are trained together by the same call as
clients of one user each (`fedrec.training.pooled`): nothing of training is here.  What sets
a merchant's node apart is where its rows come from, `merchant-file` of its node-config and
no path of the server's, and the file `agreed` beside it, which the server cannot change.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from flwr.app import Context
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.config_silo import merchants_of
from fedrec.data.agreed import check_agreed, read_agreed
from fedrec.data.merchant_file import local_config, read_merchant_file
from fedrec.errors import ProtocolError
from fedrec.training.node import Setup, prepare


@dataclass(frozen=True, eq=False)
class Shop:
    """The one merchant of a node.

    Attributes:
        setup: its own rows, and the model.
        clients: int64 [1], its number among the merchants of the run.
        name: "0-of-3": which of how many it is.
    """

    setup: Setup
    clients: NDArray[np.int64]
    name: str


def own_shop(context: Context, config: Config) -> Shop | None:
    """Return the merchant that a node was started for; None if it hosts a share of all clients.

    Args:
        context: of the node.
        config: as the server sent it.

    Raises:
        ConfigError: if the merchant's file cannot be used.
        ProtocolError: if the merchant has no part in the run.
    """
    place = str(context.node_config.get("merchant-file", ""))
    if not place:
        return None
    file = read_merchant_file(Path(place))
    config = local_config(config, file)
    names = merchants_of(config)
    number = names.index(file.merchant)
    return Shop(prepare(config), np.array([number], np.int64), f"{number}-of-{len(names)}")


def check_promised(context: Context, config: Config) -> None:
    """Refuse a run that asks a node for more than its operator allows.

    The configuration comes from the server; what stands in the node-config does not.

    Args:
        context: of the node.
        config: as the server sent it.

    Raises:
        ProtocolError: if the node-config names a registry, and the run is not secure against
            a malicious server; or a file of what was agreed, and the run is another.
        ConfigError: if that file cannot be read.
    """
    agreed = str(context.node_config.get("agreed", ""))
    if agreed:
        check_agreed(config, read_agreed(Path(agreed)))
    mode = config.secure.mode
    if context.node_config.get("registry") and mode != "malicious-server":
        raise ProtocolError(
            f"this node was started with a registry of identities and takes part only in runs "
            f"with secure.mode = 'malicious-server', not {mode!r}"
        )
