"""What a run with secure aggregation may claim, in words, and what its sum still shows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fedrec.config import Config


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
    "counts of all clients of a round, never those of one, {against}. "
)
AGAINST = {
    "semi-honest": "if it follows the protocol, alone or with fewer clients than the threshold",
    "malicious-server": (
        "even if it lies about who is lost, provided that the identities, which clients register "
        "with it at the start of the run, are genuine"
    ),
}
DENSE = (
    "The sum itself is exact and shows which rows were touched; a row that one client alone "
    "touched is that client's own"
)
COUNTS = (
    "The server also learns how many clients touched each row; rows that fewer than {tau} touched "
    "are left out, but a client lost after the count makes the contributors of a row fewer"
)
MEASURED = (
    ": in round {round}, with {clients} clients, {rows:.0%} of the touched rows had a single "
    "contributor, {exposed:.0%} of the clients had such a row, and {interactions:.1%} of their "
    "interactions lay on one. "
)
EVALUATION = (
    "Not covered: clients that send wrong input, and evaluation figures, which are sums over the "
    "clients of a node{lonely}"
)
LONELY = "; some nodes host one client only, whose figures are therefore seen"
UNBOUNDED = "no differential privacy. Interactions and personal parameters stay on the client. "


def secure_entry(
    privacy: dict[str, Any], config: Config, exposure: Exposure | None, *, lonely: bool
) -> dict[str, Any]:
    """Complete the privacy entry of a result.

    Args:
        privacy: the entry without secure aggregation.
        config: of the run.
        exposure: of a measured round; None if none came to its end.
        lonely: whether a node hosts one client only.

    Returns:
        The entry with "secure_aggregation", the statement, and "exposure".
    """
    section = config.secure
    text = HIDDEN.format(mode=section.mode, against=AGAINST[section.mode])
    text += COUNTS.format(tau=section.tau) if section.rows == "threshold" else DENSE
    if exposure is None:
        text += ". "
    else:
        text += MEASURED.format(
            round=exposure.round,
            clients=exposure.clients,
            rows=exposure.rows,
            exposed=exposure.exposed_clients,
            interactions=exposure.interactions,
        )
    text += EVALUATION.format(lonely=LONELY if lonely else "")
    own = str(privacy["statement"])
    before = own + ". " if config.privacy.mechanism != "off" else UNBOUNDED
    name = f"{section.mode}, {section.rows}"
    entry = {**privacy, "statement": before + text, "secure_aggregation": name}
    return entry if exposure is None else entry | {"exposure": asdict(exposure)}
