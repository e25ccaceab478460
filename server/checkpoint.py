"""The server's state after a round, saved whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.errors import CheckpointError
from fedrec.params import Guides, Shared
from fedrec.storage import read_arrays, write_arrays
from fedrec.wire import NO_ROUND, flatten_shared, restore_shared
from server.privacy import PrivacyState


@dataclass(frozen=True, eq=False)
class Best:
    """The round that is best on validation so far.

    Attributes:
        round_number: that round.
        value: its validation metric.
        shared: its parameters.
    """

    round_number: int
    value: float
    shared: Shared


@dataclass(frozen=True, eq=False)
class ServerState:
    """Where a run stands; everything a resume needs beside the optimiser.

    Attributes:
        round_number: last completed round; 0 before the first.
        shared: parameters after it.
        best: best validated round, or None.
        session: random name of the run, under which nodes keep their state.
        hosting: digest of how clients are spread over nodes.
        privacy: of a private run; None for others.
        counted: int64 [N], the last round whose sum held each client's update, where clients
            keep control variates.
    """

    round_number: int
    shared: Shared
    best: Best | None
    session: str
    hosting: str
    privacy: PrivacyState | None = None
    counted: NDArray[np.int64] | None = None

    @property
    def selected_round(self) -> int:
        """The best validated round, or NO_ROUND."""
        return NO_ROUND if self.best is None else self.best.round_number


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a checkpoint file holds.

    Attributes:
        state: of the server.
        optimizer: variables of the server optimisers.
        line: the last line of rounds.jsonl, in case it was not written any more; None
            before the first round.
    """

    state: ServerState
    optimizer: dict[str, NDArray]
    line: dict[str, Any] | None


def save_checkpoint(path: Path, checkpoint: Checkpoint, config_hash: str) -> None:
    """Write a checkpoint atomically.

    Raises:
        OutputError: if the directory cannot be written.
    """
    state, best = checkpoint.state, checkpoint.state.best
    arrays = _prefixed("shared", _all_of(state.shared))
    arrays |= _prefixed("optimizer", checkpoint.optimizer)
    if state.counted is not None:
        arrays["counted"] = state.counted
    if best is not None:
        arrays |= _prefixed("best", _all_of(best.shared))
    meta = {
        "config_hash": config_hash,
        "round": state.round_number,
        "session": state.session,
        "hosting": state.hosting,
        "best": None if best is None else [best.round_number, best.value],
        "line": checkpoint.line,
    }
    if state.privacy is not None:
        meta["privacy"] = state.privacy.to_json()
    write_arrays(path, arrays, meta)


def load_checkpoint(path: Path, config_hash: str) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        CheckpointError: if it is missing, corrupted, or of another configuration.
    """
    arrays, meta = read_arrays(path)
    if meta.get("config_hash") != config_hash:
        raise CheckpointError(
            f"{path} belongs to a run with another configuration ({meta.get('config_hash')}, "
            f"now {config_hash}): choose another --out (run.out), or "
            "replace that run with --overwrite"
        )
    best = None
    if meta["best"] is not None:
        best_round, value = meta["best"]
        best = Best(best_round, value, _shared(_under("best", arrays)))
    state = ServerState(
        int(meta["round"]),
        _shared(_under("shared", arrays)),
        best,
        meta["session"],
        meta["hosting"],
        PrivacyState.from_json(meta["privacy"]) if "privacy" in meta else None,
        arrays.get("counted"),
    )
    return Checkpoint(state, _under("optimizer", arrays), meta["line"])


def check_hosting(state: ServerState, hosting: str) -> None:
    """Refuse to go on with clients on other nodes than those that keep what is personal.

    Args:
        state: that was saved.
        hosting: digest of which node hosts which clients now (`Roster.digest`).

    Raises:
        CheckpointError: if it is another one.
    """
    if state.hosting != hosting:
        raise CheckpointError(
            "the run was started with its clients spread over other nodes: personal parameters "
            "stay on their node, so resume with the same engine.nodes"
        )


def _all_of(shared: Shared) -> dict[str, NDArray]:
    """Return shared parameters, and the rows that were made for single clients."""
    guides = {} if shared.guides is None else shared.guides.arrays()
    return flatten_shared(shared) | _prefixed("guides", guides)


def _shared(arrays: Mapping[str, NDArray]) -> Shared:
    """Rebuild what `_all_of` returned."""
    guides, shared = _under("guides", arrays), restore_shared(arrays)
    return replace(shared, guides=Guides.from_arrays(guides)) if guides else shared


def _prefixed(prefix: str, arrays: Mapping[str, NDArray]) -> dict[str, NDArray]:
    return {f"{prefix}/{name}": array for name, array in arrays.items()}


def _under(prefix: str, arrays: Mapping[str, NDArray]) -> dict[str, NDArray]:
    start = f"{prefix}/"
    return {n.removeprefix(start): a for n, a in arrays.items() if n.startswith(start)}
