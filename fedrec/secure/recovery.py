"""What the server knows of the secrets, and how it takes the masks off a sum.

For each survivor the seed is recovered, for each client that has shared but not
sent its vector the mask key, each from t shares.  A recovered secret is compared
with what its owner has published (the commitment to the seed, the public key)
before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from fedrec.errors import ProtocolError, SkippedRound
from fedrec.secure.agreement import commitment, exchange
from fedrec.secure.field import from_limbs
from fedrec.secure.masks import add_masks
from fedrec.secure.session import Roster
from fedrec.secure.shamir import join


class Recovery:
    """Shares that have come back, and the clients whose secrets are needed.

    Args:
        roster: the session.

    Attributes:
        commitments: client number -> commitment to its seed.
        sharing: bool [n]: who has shared its secrets and is still part of the session.
        needed: bool [n]: whose secret will have to be recovered.
    """

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self.commitments: dict[int, bytes] = {}
        self.sharing = np.zeros(len(roster.members), bool)
        self.needed = np.zeros(len(roster.members), bool)
        self._points: dict[int, list[int]] = {}
        self._shares: dict[int, list[NDArray[np.int64]]] = {}

    def start(self, present: set[int]) -> None:
        """Fix who takes part once secrets are shared.

        A client with fewer neighbours left than it asks for is left out, which may leave out
        others, until everybody has enough.

        Args:
            present: who has shared.
        """
        sharing = self._mark(present)
        quorum = self._roster.plan.quorum
        while True:
            kept = sharing & (sharing[self._roster.holders].sum(axis=1) >= quorum)
            if kept.sum() == sharing.sum():
                break
            sharing = kept
        self.sharing = sharing
        self.needed = sharing.copy() if sharing.any() else self._mark(present)

    def keep(self, survivors: set[int]) -> None:
        """Fix whose secrets are needed once the vectors are in.

        Those are the survivors, and the others that have masks in common with them.

        Args:
            survivors: whose vectors are in the sum.
        """
        alive = self._mark(survivors)
        touched = np.zeros(len(alive), bool)
        touched[self._roster.holders[alive].reshape(-1)] = True
        self.needed = self.sharing & touched

    def fewest_holders(self, present: set[int]) -> int:
        """Return how many holders the needed secret with the fewest has among those present."""
        return self._fewest(present, self.needed)

    def fewest_companions(self, present: set[int]) -> int:
        """Return how many the smallest group is of one of those present and its neighbours."""
        return self._fewest(present, self._mark(present))

    def _fewest(self, present: set[int], of: NDArray[np.bool_]) -> int:
        counts = self._mark(present)[self._roster.holders].sum(axis=1)
        return int(counts[of].min()) if of.any() else 0

    def add(self, holder: int, owners: NDArray[np.int64], shares: NDArray[np.int64]) -> None:
        """Take the shares that one holder has revealed.

        Args:
            holder: its client number.
            owners: int64 [o], whose shares they are.
            shares: int64 [o, 18].
        """
        roster = self._roster
        rows = roster.holders[np.searchsorted(roster.numbers, owners)]
        points = 1 + (rows < roster.position[holder]).sum(axis=1)
        for owner, point, share in zip(owners.tolist(), points.tolist(), shares, strict=True):
            self._points.setdefault(owner, []).append(point)
            self._shares.setdefault(owner, []).append(share)

    def unmask(self, totals: Mapping[str, NDArray], survivors: NDArray[np.int64]) -> None:
        """Take all masks off the totals, in place.

        Args:
            totals: name of a vector -> masked sum.
            survivors: int64 [s], whose vectors are in it.

        Raises:
            SkippedRound: if no t shares of a needed secret fit what its owner has published.
        """
        roster = self._roster
        alive = set(survivors.tolist())
        plus: list[list[bytes]] = []
        minus: list[list[bytes]] = []
        for number in roster.numbers[self.needed].tolist():
            secret = self._recover(number, survived=number in alive)
            if number in alive:
                minus.append(roster.mask_keys(secret, number, number))
                continue
            for peer, keys in self._pair_keys(number, secret, alive):
                # The survivor added this mask if the lost client has the higher number.
                (minus if peer < number else plus).append(keys)
        for at, vector in enumerate(roster.plan.vectors):
            add_masks(
                totals[vector.name], [keys[at] for keys in plus], [keys[at] for keys in minus]
            )

    def _pair_keys(
        self, number: int, secret: bytes, alive: set[int]
    ) -> list[tuple[int, list[bytes]]]:
        """Derive the masks that a lost client shares with its surviving neighbours."""
        roster = self._roster
        key = X25519PrivateKey.from_private_bytes(secret)
        found = []
        for at in roster.holders[roster.position[number]].tolist():
            peer = roster.members[at]
            if peer.number in alive:
                pair = (min(peer.number, number), max(peer.number, number))
                result = exchange(key, peer.mask_point)
                found.append((peer.number, roster.mask_keys(result, *pair)))
        return found

    def _recover(self, number: int, survived: bool) -> bytes:
        """Recover one secret; other shares are tried where the first t do not fit.

        A single wrong share among r is avoided by one of the r runs of t shares.
        """
        threshold = self._roster.plan.threshold
        order = np.argsort(self._points[number]).tolist()
        starts = range(len(order)) if len(order) > threshold else range(1)
        for start in starts:
            chosen = (order[start:] + order[:start])[:threshold]
            points = [self._points[number][at] for at in chosen]
            shares = np.stack([self._shares[number][at] for at in chosen])
            try:
                secret = from_limbs(join(points, shares))
            except ProtocolError:
                continue
            if self._fits(number, secret, survived):
                return secret
        raise SkippedRound(
            "unmask",
            len(order),
            threshold,
            f"the shares of client {number}'s secret do not fit what it has published.",
        )

    def _fits(self, number: int, secret: bytes, survived: bool) -> bool:
        roster = self._roster
        if survived:
            return commitment(roster.session, number, secret) == self.commitments[number]
        public = X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
        return public == roster.members[roster.position[number]].mask

    def _mark(self, numbers: set[int]) -> NDArray[np.bool_]:
        return np.isin(self._roster.numbers, sorted(numbers))
