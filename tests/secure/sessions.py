"""Sessions that tests drive by hand, message by message."""

from collections.abc import Callable, Mapping

import numpy as np

from fedrec.errors import ProtocolError, SkippedRound
from fedrec.secure import STAGES, Coordinator, Host, Identity, Party, Vector
from fedrec.secure.simulate import SeededEntropy

NAME = "x"


class Session:
    """A server and n parties; `run_to` stops before a stage's answers are given."""

    def __init__(
        self,
        n: int = 5,
        m: int = 4,
        *,
        mode: str = "semi-honest",
        seed: int = 7,
        share_host: bool = True,
        width: int = 32,
        second: int = 0,
        **options,
    ) -> None:
        self.inputs = np.random.default_rng(seed).integers(0, 100, (n, m), dtype=np.uint32)
        self.second = np.zeros(second, np.uint32)  # a vector of zeros besides, if not empty
        more = (Vector("second", second, 7, 0),) if second else ()
        self.vectors = (Vector(NAME, m, width, 99), *more)
        sources = [SeededEntropy(seed, i) for i in range(n)]
        self.identities = [Identity.generate(source) for source in sources]
        self.server = Coordinator(
            {i: identity.public for i, identity in enumerate(self.identities)},
            self.vectors,
            round_number=3,
            mode=mode,
            entropy=SeededEntropy(seed, 2**32),
            **options,
        )
        host = Host() if share_host else None
        self.parties = [
            Party(self.server.plan, i, self.identities[i], host=host, entropy=sources[i])
            for i in range(n)
        ]
        self.to_party: dict[str, dict[int, bytes]] = {"advertise": dict.fromkeys(range(n), b"")}
        self.to_server: dict[str, dict[int, bytes]] = {}

    def given(self, number: int) -> dict[str, np.ndarray]:
        """The vectors of one party."""
        return {NAME: self.inputs[number], "second": self.second}

    def answer(self, stage: str, number: int, message: bytes) -> bytes:
        """Let one party answer a message of the server."""
        party = self.parties[number]
        steps: Mapping[str, Callable[[], bytes]] = {
            "advertise": party.advertise,
            "share": lambda: party.share(message),
            "mask": lambda: party.mask(message, self.given(number)),
            "consistency": lambda: party.confirm(message),
            "unmask": lambda: party.unmask(message),
        }
        return steps[stage]()

    def run_to(self, stop: str, lost: Mapping[int, str] | None = None) -> "Session":
        """Run all stages before `stop`; `to_party[stop]` then holds the server's messages."""
        lost = lost or {}
        while self.server.stage != stop:
            stage = self.server.stage
            gone = {n for n, at in lost.items() if STAGES.index(at) <= STAGES.index(stage)}
            self.to_server[stage] = {
                n: self.answer(stage, n, raw)
                for n, raw in self.to_party[stage].items()
                if n not in gone
            }
            for raw in self.to_server[stage].values():
                self.server.receive(raw)
            if stage == "unmask":
                return self
            outgoing = self.server.advance()
            self.to_party[self.server.stage] = outgoing
        return self

    def finish(self, lost: Mapping[int, str] | None = None) -> np.ndarray:
        """Run to the end."""
        self.run_to("finish", lost)
        return self.server.finish().totals[NAME]


def refused(action: Callable[..., object], *arguments: object) -> bool:
    """Whether an action raises ProtocolError, and nothing else."""
    try:
        action(*arguments)
    except ProtocolError:
        return True
    return False


def expected_sum(inputs: np.ndarray, lost: Mapping[int, str], threshold: int) -> np.ndarray | None:
    """The rule of the complete graph, stated on its own: None where the round is skipped."""
    if len(inputs) - len(lost) < threshold:
        return None
    alive = [i for i in range(len(inputs)) if lost.get(i) in (None, "consistency", "unmask")]
    return inputs[alive].sum(axis=0, dtype=np.uint64)


def outcome(action: Callable[[], np.ndarray]) -> np.ndarray | None:
    """The sum, or None for a skipped round."""
    try:
        return action()
    except SkippedRound:
        return None
