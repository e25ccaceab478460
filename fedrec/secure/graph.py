"""Who shares masks with whom: complete graphs and random k-regular rings.

Bell, Bonawitz, Gascon, Lepoint and Raykova, "Secure single-server aggregation
with (poly)logarithmic overhead" (CCS 2020).  Every client has k neighbours: those
within k / 2 places on a ring (a Harary graph) whose order is drawn from a hash
that no single party chooses.  k and the threshold t follow from hypergeometric
tail bounds, evaluated here with exact integers:

* the clients that remain honest and present stay connected: a cut needs k / 2
  lost or adversarial clients in a row at two places of the ring;
* no client has t or more adversarial neighbours (against a server that lies:
  at most 2t - k - 1, so that two sets of t neighbours share an honest one);
* every client keeps at least t neighbours.

The first two fail with probability at most 2**-40 together, the third 2**-20.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, comb, floor

import numpy as np
from numpy.typing import NDArray

from fedrec.errors import ConfigError

SECURITY_BITS = 40
CORRECTNESS_BITS = 20
LEAST_PARTIES = 3
"""Of two, each could subtract its own input from the sum."""

SMALL_GROUP = 50
"""Below this many clients everybody is everybody's neighbour."""

_ROUNDING = 1e-9


@dataclass(frozen=True)
class GraphSize:
    """How many neighbours a client has, and how many holders recover its secrets.

    Attributes:
        neighbours: k.
        threshold: t.
    """

    neighbours: int
    threshold: int


@lru_cache(maxsize=256)
def regular_graph(
    num_clients: int, adversarial: float, dropout: float, malicious_server: bool = False
) -> GraphSize | None:
    """Find the fewest neighbours that are safe, and the threshold that goes with them.

    Args:
        num_clients: n.
        adversarial: share of clients that work with the server, in [0, 1).
        dropout: share of clients that may be lost, in [0, 1).
        malicious_server: whether the server may tell clients different things.

    Returns:
        The size, or None where only the complete graph will do.
    """
    for neighbours in range(2, num_clients - 1, 2):
        if not _stays_connected(num_clients, adversarial, dropout, neighbours):
            continue
        threshold = least_threshold(num_clients, neighbours, adversarial, malicious_server)
        if threshold <= _most_surviving(num_clients, neighbours, dropout):
            return GraphSize(neighbours, threshold)
    return None


def least_threshold(
    num_clients: int, neighbours: int, adversarial: float, malicious_server: bool
) -> int:
    """Return the smallest threshold that adversarial neighbours do not reach.

    Args:
        num_clients: n.
        neighbours: k.
        adversarial: share of clients that work with the server.
        malicious_server: whether two thresholds must share an honest neighbour.

    Returns:
        t, at least 2.
    """
    marked = floor(adversarial * num_clients + _ROUNDING)
    chances = [_ways(num_clients, marked, neighbours, x) for x in range(neighbours + 1)]
    total, tail, most = comb(num_clients, neighbours), 0, -1
    for x in range(neighbours, -1, -1):  # most: the least x with P[more than x] small enough
        tail += chances[x]
        if tail * num_clients * 2 ** (SECURITY_BITS + 1) > total:
            most = x
            break
    if malicious_server:
        most = (most + neighbours) // 2
    return max(most + 1, 2)


def complete_threshold(num_clients: int) -> int:
    """Return the threshold of a complete graph: floor(2n / 3) + 1 of n holders.

    Holders are all clients, the owner of a secret among them.  It tolerates
    ceil(n / 3) - 1 losses, and two sets of t among n share more than a third of the
    clients, which is what a lying server must not control (Bonawitz et al. 2017).
    """
    return 2 * num_clients // 3 + 1


def choose(
    num_clients: int,
    mode: str,
    neighbours: int | None = None,
    threshold: int | None = None,
    adversarial: float = 0.1,
    dropout: float = 0.1,
) -> GraphSize:
    """Complete what the user has left open.

    Args:
        num_clients: n, at least 3.
        mode: "semi-honest" or "malicious-server".
        neighbours: k, or None; an odd number of neighbours is rounded up.
        threshold: t, or None.
        adversarial: share of clients assumed to work with the server, where t or k is open.
        dropout: share of clients assumed to be lost, where k is open.

    Returns:
        k and t; k = n - 1 stands for the complete graph, whose t counts the owner as a holder.

    Raises:
        ConfigError: if no such graph exists, with what to change.
    """
    given, malicious = neighbours, mode == "malicious-server"
    if num_clients < LEAST_PARTIES:
        raise ConfigError(
            f"secure aggregation needs at least 3 clients, got {num_clients}: "
            "of two, each could subtract its own input from the sum and read the other's"
        )
    if neighbours is None:
        size = None
        if num_clients >= SMALL_GROUP:
            size = regular_graph(num_clients, adversarial, dropout, malicious)
        neighbours = num_clients - 1 if size is None else size.neighbours
    neighbours = _possible_degree(num_clients, neighbours)
    if threshold is None:
        threshold = _default_threshold(num_clients, neighbours, adversarial, malicious)
    elif given is not None and threshold > given:
        raise ConfigError(
            f"secure.threshold = {threshold} is above secure.neighbours = {given}: "
            "no secret could be recovered. Lower the threshold or raise the neighbours"
        )
    check(num_clients, neighbours, threshold, malicious)
    return GraphSize(neighbours, threshold)


def check(num_clients: int, neighbours: int, threshold: int, malicious_server: bool) -> None:
    """Refuse a threshold that cannot work or does not protect.

    Raises:
        ConfigError: with what to change.
    """
    holders = neighbours + 1
    most = holders if neighbours == num_clients - 1 else neighbours
    if not 2 <= threshold <= most:
        raise ConfigError(
            f"secure.threshold must be between 2 and {most} for {num_clients} clients with "
            f"{neighbours} neighbours each, got {threshold}"
        )
    if malicious_server and 2 * threshold <= holders:
        raise ConfigError(
            f"against a malicious server secure.threshold must be above {holders // 2}, half of "
            f"the holders of a secret, got {threshold}: two sets of holders could be told "
            "different things"
        )


def order(session: bytes, clients: NDArray[np.int64]) -> NDArray[np.int64]:
    """Put clients on the ring: sorted by the hash of session id and client number.

    Args:
        session: 32 bytes, a hash over everybody's keys: not one party's choice.
        clients: int64 [n], ascending.

    Returns:
        int64 [n]: positions in `clients` in the order of the ring.
    """
    places = [
        hashlib.sha256(b"fedrec ring" + session + int(number).to_bytes(4, "little")).digest()
        for number in clients
    ]
    return np.array(sorted(range(len(places)), key=places.__getitem__), np.int64)


def neighbourhoods(ring: NDArray[np.int64], neighbours: int) -> NDArray[np.int64]:
    """Return the holders of every client's secrets: its neighbours and itself.

    Args:
        ring: int64 [n]: the order of `order`.
        neighbours: k, even, or n - 1.

    Returns:
        int64 [n, k + 1]: positions, ascending in each row; row i belongs to position i.
    """
    size = len(ring)
    if neighbours >= size - 1:
        return np.tile(np.arange(size), (size, 1))
    around = np.arange(-(neighbours // 2), neighbours // 2 + 1)
    rows = np.empty((size, neighbours + 1), np.int64)
    rows[ring] = np.sort(ring[(np.arange(size)[:, None] + around) % size], axis=1)
    return rows


def _possible_degree(num_clients: int, neighbours: int) -> int:
    if not 2 <= neighbours <= num_clients - 1:
        raise ConfigError(
            f"secure.neighbours must be between 2 and {num_clients - 1}, the number of the "
            f"other clients, got {neighbours}"
        )
    return neighbours if neighbours == num_clients - 1 else neighbours + neighbours % 2


def _default_threshold(
    num_clients: int, neighbours: int, adversarial: float, malicious_server: bool
) -> int:
    holders = neighbours + 1
    if holders == num_clients:
        return complete_threshold(num_clients)
    if num_clients >= SMALL_GROUP:
        least = least_threshold(num_clients, neighbours, adversarial, malicious_server)
        return min(least, neighbours)
    tolerant = max(2, neighbours - (ceil(num_clients / 3) - 1))
    return max(tolerant, holders // 2 + 1) if malicious_server else tolerant


def _stays_connected(num_clients: int, adversarial: float, dropout: float, degree: int) -> bool:
    bad = floor(adversarial * num_clients + _ROUNDING) + floor(dropout * num_clients + _ROUNDING)
    cuts = num_clients * (num_clients - degree - 1) * comb(bad, degree)  # twice their number
    return cuts * 2 ** (SECURITY_BITS + 1) <= 2 * comb(num_clients, degree)


def _most_surviving(num_clients: int, neighbours: int, dropout: float) -> int:
    """Return the largest t with P[fewer than t neighbours survive] small enough."""
    surviving = ceil((1 - dropout) * num_clients - _ROUNDING)
    total, head = comb(num_clients, neighbours), 0
    for x in range(neighbours + 1):
        head += _ways(num_clients, surviving, neighbours, x)
        if head * num_clients * 2**CORRECTNESS_BITS > total:
            return x
    return neighbours


def _ways(total: int, marked: int, drawn: int, hits: int) -> int:
    """Count the draws without replacement with exactly `hits` marked ones."""
    return comb(marked, hits) * comb(total - marked, drawn - hits)
