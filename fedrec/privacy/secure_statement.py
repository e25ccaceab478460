"""What a run with secure aggregation may claim, in words, and what its sum still shows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fedrec.config import Config
from fedrec.config_graph import SUMS_FIRST
from fedrec.config_sums import ITEM_ITEM, SUMMED


@dataclass(frozen=True)
class Exposure:
    """Rows of a round's sum that a single client has contributed to.

    Attributes:
        round: the measured round.
        clients: clients in its sum.
        rows: their share of all touched rows.
        exposed_clients: share of the clients that have such a row.
        interactions: share of the clients' interactions that lie on such rows.
    """

    round: int
    clients: int
    rows: float
    exposed_clients: float
    interactions: float


HIDDEN = (
    "Secure aggregation ({mode}): the server sees the sum of the updates, weights, losses and "
    "counts of {whom}, never those of one, {against}. "
)
ALL = "all clients of a round"
GROUPS = (
    "each of {groups} groups of {least} clients or more, drawn {when}, so that contributions can "
    "be told, and the validation figures of the models that they make"
)
AGAINST = {
    "semi-honest": "if it follows the protocol, alone or with fewer clients than the threshold",
    "malicious-server": ("even if it lies about who is lost, provided that {identities}"),
}
NOISY = (
    "Secure aggregation ({mode}): the server sees the sum of the updates of {whom} with their "
    "noise, never one, {against}; it also sees who takes part. With fewer clients than "
    "a round needs nothing is revealed. "
)
DENSE = (
    "The sum itself is exact and shows which rows were touched; a row that one client alone "
    "touched is that client's own"
)
PAIRS = (
    "; as the sum counts pairs of items, such a row is the client's whole history, and a pair that "
    "one client alone has is shown as well"
)
GRAPH = (
    "; in the first {rounds} round(s) the sum tells how often items were met together, each "
    "client's pairs divided by its number of items, and how many clients met each item; a pair "
    "that one client alone has is shown, with that client's number of items"
)
COUNTS = (
    "The server also learns how many clients touched each row; rows that fewer than {tau} touched "
    "are left out, but a client lost after the count makes the contributors of a row fewer"
)
UNION = (
    "The server first learns which rows anyone touched, not how many clients did, and then the "
    "exact sum of these rows; a row that one client alone touched is that client's own"
)
LOW_RANK = (
    "The sum is that of {rank} elements of each row, in a subspace that all know; it shows which "
    "rows were touched, and these elements of a row that one client alone touched are that "
    "client's own"
)
LARGEST = " (of each client the {count} rows that it changed most)"
MEASURED = (
    ": in round {round}, with {clients} clients, {rows:.0%} of the touched rows had a single "
    "contributor, {exposed:.0%} of the clients had such a row, and {interactions:.1%} of their "
    "interactions lay on one. "
)
REGISTERED = (
    "the identities are genuine, which clients register with it at the start of the run: a server "
    "that lies from the start could stand for all clients but one"
)
PINNED = (
    "the nodes run this code with their own copies of the registry of identities (fingerprint "
    "{fingerprint}): they refuse a session with anybody else"
)
EVALUATED = (
    "Evaluation figures travel the same way: sums over all evaluated clients, exact and without "
    "noise"
)
MOMENTS = ", and for the intervals sums of products of two of a client's figures"
SOLVABLE = (
    ", but the bootstrap sums of the test have weights that the server knows ({replicates} of "
    "{clients} clients): from as many as there are clients it can compute the test figures of each"
)
COUNTED = "; how many clients have each item in training is published to all of them"
GROUPED = "; a group of users with a single member shows the figures of that member"
UNCOVERED = (
    ". Not covered: clients that send wrong input, and a server that asks for the same sum with "
    "and without a client, and subtracts"
)
UNBOUNDED = "no differential privacy. Interactions and personal parameters stay on the client. "


def secure_entry(
    privacy: dict[str, Any],
    config: Config,
    exposure: Exposure | None,
    *,
    num_clients: int,
    fingerprint: str | None = None,
) -> dict[str, Any]:
    """Complete the privacy entry of a result.

    Args:
        privacy: the entry without secure aggregation.
        config: of the run.
        exposure: of a measured round; None if none came to its end.
        num_clients: all clients of the run.
        fingerprint: of the registry of identities; None if nodes register them.

    Returns:
        The entry with "secure_aggregation", the statement, and "exposure".
    """
    section = config.secure
    noisy = config.privacy.mechanism == "distributed"
    hidden = NOISY if noisy else HIDDEN
    who = REGISTERED if fingerprint is None else PINNED.format(fingerprint=fingerprint)
    against = AGAINST[section.mode].format(identities=who)
    text = hidden.format(mode=section.mode, against=against, whom=_whom(config))
    if not noisy:
        text += _shown(config, exposure)
    text += _evaluated(config, num_clients) + UNCOVERED
    own = str(privacy["statement"])
    before = own + ". " if config.privacy.mechanism != "off" else UNBOUNDED
    name = f"{section.mode}, {section.rows}"
    entry = {**privacy, "statement": before + text, "secure_aggregation": name}
    return entry if exposure is None else entry | {"exposure": asdict(exposure)}


def _whom(config: Config) -> str:
    """Return whose sums are opened."""
    asked = config.contribution
    if not asked.groups:
        return ALL
    some = f"each of the first {asked.rounds} rounds" if asked.rounds else "every round"
    when = "once" if config.train.method in SUMMED else f"anew in {some}"
    return GROUPS.format(groups=asked.groups, least=asked.least, when=when)


def _evaluated(config: Config, num_clients: int) -> str:
    """Return what evaluation shows of single clients."""
    text, replicates = EVALUATED, config.evaluate.bootstrap
    if replicates and config.secure.intervals == "moments":
        text += MOMENTS
    elif replicates:
        text += SOLVABLE.format(replicates=replicates, clients=num_clients)
    weighted = config.train.propensity or config.evaluate.propensity
    by_counts = weighted or config.evaluate.item_group == "popularity"
    text += COUNTED if by_counts else ""
    return text + (GROUPED if config.evaluate.group else "")


def _shown(config: Config, exposure: Exposure | None) -> str:
    """Return what the exact sum shows of single clients."""
    section = config.secure
    texts = {"dense": DENSE, "union": UNION, "threshold": COUNTS, "low-rank": LOW_RANK}
    text = texts[section.rows].format(tau=section.tau, rank=section.rank)
    if config.compress.rows:
        text += LARGEST.format(count=config.compress.rows)
    text += PAIRS if config.train.method in ITEM_ITEM else ""
    if config.train.method in SUMS_FIRST:
        text += GRAPH.format(rounds=config.train.graph_rounds)
    if exposure is None:
        return text + ". "
    return text + MEASURED.format(
        round=exposure.round,
        clients=exposure.clients,
        rows=exposure.rows,
        exposed=exposure.exposed_clients,
        interactions=exposure.interactions,
    )
