"""Which clients a node hosts, and what it needs to know about them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from flwr.app import Context
from numpy.typing import NDArray

from clients.merchants import check_promised, own_shop
from fedrec.config import Config, from_flat
from fedrec.errors import EngineError, ProtocolError
from fedrec.output import output_directory
from fedrec.params import Personal
from fedrec.storage import RunDirectory
from fedrec.training.control import settled, unsettled, with_own_controls
from fedrec.training.node import Setup, init_personal, init_shared, personal_users, prepare
from fedrec.training.pooled import by_client, by_user, first_user


@dataclass(frozen=True, eq=False)
class Host:
    """A node's view of the run.

    Attributes:
        setup: data and model.
        clients: int64 [C], hosted clients, ascending.
        directory: where the node keeps personal parameters.
        name: "0-of-2": which of how many nodes it is.
    """

    setup: Setup
    clients: NDArray[np.int64]
    directory: Path
    name: str

    def fresh(self) -> Personal:
        """Return initial personal parameters of all hosted clients."""
        personal = self.compact(init_personal(self.setup, self.clients), self.clients)
        if not self.setup.method.controls:
            return personal
        begun = with_own_controls(personal, init_shared(self.setup), len(self.clients))
        return unsettled(begun, begun.own, 0)

    def compact(self, personal: Personal, chosen: NDArray[np.int64]) -> Personal:
        """Return what `chosen` (int64 [c]) have as it is kept: a merchant's layers once."""
        if not self.setup.many_users:
            return personal
        first = first_user(self._owner(chosen), np.arange(len(chosen)))
        return by_client(self.setup.model, personal, first)

    def _owner(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the position among `chosen` of the client of each of their users, int64."""
        users = personal_users(self.setup, chosen)
        return np.searchsorted(chosen, self.setup.population.client_of_user[users])

    def held(
        self,
        personal: Personal,
        chosen: NDArray[np.int64],
        counted: NDArray[np.int64] | None = None,
    ) -> Personal:
        """Return what `chosen` (int64 [c]) have of the node's personal parameters.

        Args:
            personal: of the node.
            chosen: its clients.
            counted: int64, by client, as in `fedrec.wire.TrainRequest`: control variates that
                were not counted are forgotten.

        Raises:
            EngineError: as `positions`.
        """
        held = personal.take(self.positions(chosen), np.searchsorted(self.clients, chosen))
        if self.setup.method.controls:
            held = settled(held, None if counted is None else counted[chosen])
        return by_user(held, self._owner(chosen)) if held.own else held

    def trained(self, before: Personal, after: Personal, round_number: int) -> Personal:
        """Return what a round has trained as it is kept: not yet known to be counted.

        Args:
            before: of the clients that have trained, as `held` returned it.
            after: of the same, as it came out.
            round_number: the round.
        """
        controls = self.setup.method.controls
        return unsettled(after, before.own, round_number) if controls else after

    def positions(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where the users of `chosen` (int64 [c]) stand in the node's stack.

        Raises:
            EngineError: if one of the clients is not hosted here.
        """
        place = np.searchsorted(self.clients, chosen)
        place = np.minimum(place, len(self.clients) - 1)
        strangers = chosen[self.clients[place] != chosen]
        if len(strangers):
            raise EngineError(
                f"client {strangers[0]} is not hosted on this node: "
                "did partition-id or num-partitions change during the run?"
            )
        everyone = personal_users(self.setup, self.clients)
        return np.searchsorted(everyone, personal_users(self.setup, chosen))


def hosted_clients(partition: int, num_partitions: int, num_clients: int) -> NDArray[np.int64]:
    """Return the clients of one node: every `num_partitions`-th, int64, ascending.

    Raises:
        EngineError: if the partition is not one of `num_partitions`, or hosts nobody.
    """
    if not 0 <= partition < num_partitions:
        raise EngineError(
            f"partition-id = {partition} with num-partitions = {num_partitions}: "
            "expected 0 <= partition-id < num-partitions in --node-config"
        )
    clients = np.arange(partition, num_clients, num_partitions, dtype=np.int64)
    if not len(clients):
        raise EngineError(
            f"node {partition} of {num_partitions} hosts no client: there are only {num_clients}. "
            "Start fewer nodes"
        )
    return clients


def host(context: Context) -> Host:
    """Return what the node of a Flower context hosts.

    Raises:
        EngineError: if the node was started without partition-id and num-partitions, and
            without a merchant-file.
        ConfigError: if the run-config is not usable.
        ProtocolError: if the node is bound to a registry and the run protects less, to what was
            agreed and the run is another, or to a merchant that has no part in the run.
    """
    config = from_flat(context.run_config)
    check_promised(context, config)
    shop = own_shop(context, config)
    if shop is not None:
        return _hosting(context, shop.setup, shop.clients, shop.name)
    try:
        partition = int(context.node_config["partition-id"])
        num_partitions = int(context.node_config["num-partitions"])
    except (KeyError, ValueError):
        raise EngineError(
            "a node must say which clients it hosts: start flower-supernode with "
            '--node-config "partition-id=0 num-partitions=2"'
        ) from None
    setup = prepare(config)
    clients = hosted_clients(partition, num_partitions, setup.population.num_clients)
    return _hosting(context, setup, clients, f"{partition}-of-{num_partitions}")


def _hosting(context: Context, setup: Setup, clients: NDArray[np.int64], name: str) -> Host:
    own = str(context.node_config.get("state-dir", ""))
    run = RunDirectory(output_directory(from_flat(context.run_config)))
    return Host(setup, clients, Path(own) / name if own else run.clients / name, name)


def check_plain(config: Config, what: str) -> None:
    """Refuse to answer in plain what a secure run hides.

    Raises:
        ProtocolError: in a run with secure aggregation.
    """
    if config.secure.mode != "off":
        raise ProtocolError(
            f"{what} of this node was asked for in plain, and secure.mode = "
            f"{config.secure.mode!r}: it leaves the node in masked vectors only"
        )
