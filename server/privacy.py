"""The privacy of a run at the server: its secret, its ledger, its budget.

A round is counted when it begins, before any client is asked.  So a round that is
skipped later counts as well: its clients may have sent what they learnt, and a cost
that depended on what came back would itself tell something.

A round that is repeated after a crash counts once as long as it is the same round: with
samples, updates and noise as before the published parameters are as before, too (see
`fedrec.privacy.noise`).  If a node is lost as well, the sum is another one, and so is its
noise: two models of one round may then have been seen, by the nodes that validate before
the checkpoint is written.  So before it is validated, a digest of the sum is put into the
checkpoint of the round before, and a repeated round with another sum counts twice.

With distributed noise the server sees the sum, and a client that repeats a round draws
fresh noise: with the same noise and other survivors the difference of two sums would
show one client's update.  So each attempt counts, and is written down before it begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.config_protection import CUSTOMER
from fedrec.errors import CheckpointError, ConfigError
from fedrec.params import PartialSum, Shared
from fedrec.privacy.ledger import Ledger, require_accountant, within_budget
from fedrec.privacy.noise import derive, fresh_key, uniform
from fedrec.privacy.policy import WITHIN, At, PrivacyPolicy, build_policy
from fedrec.privacy.statement import statement
from server.journal import Line


@dataclass(frozen=True)
class PrivacyState:
    """What a resume needs to know about the privacy of a run.

    Attributes:
        clip: clip norm of the next round.
        ledger: all rounds that have begun.
        secret: key of noise and samples, hexadecimal; empty if draws follow from the
            seed, and after the last round.
        released: digest of the sum of the next round, if an attempt at it has already
            been validated; hexadecimal.
    """

    clip: float
    ledger: Ledger = Ledger()
    secret: str = ""
    released: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        saved = {"clip": self.clip, "ledger": self.ledger.to_json(), "secret": self.secret}
        return saved | ({"released": self.released} if self.released else {})

    @staticmethod
    def from_json(saved: Mapping[str, Any]) -> PrivacyState:
        """Rebuild what `to_json` returned.

        Raises:
            CheckpointError: if it cannot be read.
        """
        try:
            ledger = Ledger.from_json(saved["ledger"])
            released = str(saved.get("released", ""))
            return PrivacyState(float(saved["clip"]), ledger, str(saved["secret"]), released)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"the privacy state of the checkpoint cannot be read ({error}): "
                "start the run again with --overwrite"
            ) from None


class PrivacyGuard:
    """Applies the policy of a run at the server.

    Args:
        config: of the run.
        num_clients: all clients of the data set.

    Raises:
        ConfigError: if the budget or the noise on counts cannot be met.
        MissingExtraError: if noise is asked for and dp-accounting is not installed.
    """

    def __init__(self, config: Config, num_clients: int) -> None:
        self.policy: PrivacyPolicy = build_policy(config, num_clients)
        self._section = config.privacy
        self._rounds = config.train.rounds
        self._unit = "user" if config.clients.unit == "user" else "client"
        self._unit = CUSTOMER if self.policy.by_customer else self._unit
        if self.private and (self._section.noise_multiplier or self._section.epsilon):
            if not self.policy.distributed:
                require_accountant()
            self.policy.sum_noise  # noqa: B018 - raises what would else come up in a round
        least, expected = config.server.min_clients, self.policy.cohort
        if self.policy.distributed and least > expected:
            raise ConfigError(
                f"server.min_clients = {least} is above the {expected:g} clients that a round has "
                "on average: most rounds would be skipped, and cost their privacy. Lower it, or "
                "raise clients.per_round"
            )

    @property
    def private(self) -> bool:
        """Whether the run bounds its clients' updates."""
        return self.policy.private

    @property
    def central(self) -> bool:
        """Whether the server adds the noise."""
        return self._section.mechanism == "central"

    @property
    def counts_attempts(self) -> bool:
        """Whether a round that is repeated costs again, whatever comes out."""
        return self.policy.distributed

    def begin(self) -> PrivacyState | None:
        """Return the state of a new run; None if it is not private."""
        if not self.private:
            return None
        secret = fresh_key().hex() if self._section.draws == "secret" else ""
        return PrivacyState(self._section.clip, Ledger(), secret)

    def refusal(self, state: PrivacyState, present: int) -> str | None:
        """Return why no further round may begin, or None."""
        budget, delta = self._section.epsilon, self.policy.delta
        event = self.policy.event(present)
        if not budget or within_budget(state.ledger, event, budget, delta, self._rounds):
            return None
        after = state.ledger.add(event).epsilon(delta)
        return (
            f"privacy budget spent: after {state.ledger.rounds} rounds epsilon is "
            f"{state.ledger.epsilon(delta):.4g}, another round would make it {after:.4g}, above "
            f"privacy.epsilon = {budget:g} (delta {delta:.2g})"
        )

    def begin_round(self, state: PrivacyState, present: int) -> PrivacyState:
        """Return the state with one more round counted.

        A run that had ended and may go on after all gets a new secret.
        """
        secret = state.secret
        if self._section.draws == "secret" and not secret:
            secret = fresh_key().hex()
        return replace(state, secret=secret, ledger=state.ledger.add(self.policy.event(present)))

    def at(self, state: PrivacyState, server_round: int) -> At:
        """Return the moment of a round."""
        return self.policy.at(server_round, state.clip, bytes.fromhex(state.secret))

    def lots(self, state: PrivacyState, server_round: int) -> NDArray | None:
        """Return secret lots in [0, 1) of all clients, float64 [N]; None: lots of the seed."""
        if not state.secret:
            return None
        key = derive(bytes.fromhex(state.secret), "sampling", server_round)
        return uniform(key, self.policy.num_clients)

    def release(
        self,
        total: PartialSum | None,
        state: PrivacyState | None,
        shared: Shared,
        server_round: int,
    ) -> tuple[PartialSum, PrivacyState | None]:
        """Return the sum that may be applied, and the state with the next clip norm.

        Args:
            total: of all clients; None if none trained.
            state: None if the run is not private: then the sum stays as it is.
            shared: the parameters that the clients were sent.
            server_round: the round.
        """
        if state is None:
            return self.policy.on_sum(total, shared, self.policy.at(server_round)), None
        at = self.at(state, server_round)
        noisy = self.policy.on_sum(total, shared, at)
        state = replace(state, clip=self.policy.next_clip(total, shared, at))
        return noisy, state

    def note(
        self,
        before: PrivacyState,
        state: PrivacyState,
        total: PartialSum | None,
        shared: Shared,
        server_round: int,
    ) -> tuple[PrivacyState, PrivacyState]:
        """Return what to write down before a sum is released, and the state to go on with.

        Args:
            before: the state before the round began.
            state: since.
            total: of all clients; None if none trained.
            shared: the parameters that the clients were sent.
            server_round: the round.
        """
        released = self.policy.digest_of(total, shared, self.at(state, server_round))
        if before.released in ("", released):
            return replace(before, released=released), replace(state, released="")
        had = dict(before.ledger.entries)
        event = next(e for e, n in state.ledger.entries if n > had.get(e, 0))
        twice = before.ledger.add(event)
        noted = replace(before, ledger=twice, released=released)
        return noted, replace(state, ledger=twice.add(event), released="")

    def close(self, state: PrivacyState) -> PrivacyState:
        """Return the state without its secret, when no round is left to repeat."""
        return replace(state, secret="")

    def line(self, state: PrivacyState, total: PartialSum | None, *, costly: bool) -> Line:
        """Return what the journal keeps of a round.

        Args:
            state: after the round.
            total: the sum without noise.
            costly: also compute epsilon, which takes a fraction of a second.
        """
        told = {} if total is None else total.metrics
        clients = 0 if total is None else total.num_clients
        line: Line = {
            "clip": state.clip,
            "within_clip": told[WITHIN] / clients if clients and WITHIN in told else None,
            "private_rounds": state.ledger.rounds,
        }
        return line | {"epsilon": self._epsilon(state)} if costly else line

    def entry(self, state: PrivacyState | None, stopped: str | None) -> dict[str, Any]:
        """Return the privacy entry of the run's result.

        Args:
            state: at the end; None if the run is not private.
            stopped: why the run ended early, or None.
        """
        ledger = Ledger() if state is None else state.ledger
        entry: dict[str, Any] = {
            "statement": statement(self.policy, ledger, self._unit),
            "unit": self._unit,
            "epsilon": None,
            "delta": None,
            "secure_aggregation": "off",
        }
        if state is None:
            return entry
        epsilon = self._epsilon(state)
        each = {"merchants_each": self._section.merchants_each} if self.policy.by_customer else {}
        return (
            entry
            | each
            | {
                "epsilon": epsilon,
                "delta": None if epsilon is None else self.policy.delta,
                "mechanism": self._section.mechanism,
                "noise_multiplier": self.policy.noise_multiplier,
                "clip": state.clip,
                "rounds": ledger.rounds,
                "stopped": stopped,
            }
        )

    def _epsilon(self, state: PrivacyState) -> float | None:
        if self.policy.noise_multiplier == 0:
            return None
        return state.ledger.epsilon(self.policy.delta)
