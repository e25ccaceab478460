"""Personal parameters: in memory between messages, on disk at checkpoints.

A node keeps two states, each tagged with the round that produced it: `current`,
and `selected`, the one of the round that is best on validation so far.  Every
request names a base round; the newest state of at most that round is used, from
memory or from the disk, and fresh parameters if there is none.  So after a crash
and a resume a node continues from what it held at the server's last checkpoint,
and what it did after that is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from flwr.app import RecordDict
from numpy.typing import NDArray

from fedrec.errors import EngineError
from fedrec.params import Personal
from fedrec.storage import read_arrays, write_arrays
from fedrec.wire import NO_ROUND, Moment, PersonalState, store_state, stored_state

SLOTS = ("current", "selected")
KEPT_FILES = 2
"""The server may have to go back to the checkpoint before the last one."""


def begin_round(
    state: RecordDict, moment: Moment, directory: Path, fresh: Callable[[], Personal]
) -> PersonalState:
    """Return the state to train from, and put the selected one safely aside.

    Args:
        state: the node's context state, changed.
        moment: of the request.
        directory: where the node keeps its files.
        fresh: makes initial parameters.

    Returns:
        The newest state of at most the base round.
    """
    folder = directory / moment.session
    _forget_after(folder, moment.base_round)
    known = _known_states(state, moment.base_round, folder)
    current = _newest(known, moment.base_round) or PersonalState(0, fresh())
    store_state(state, "current", current)
    if moment.selected_round != NO_ROUND:
        selected = _newest([*known, current], moment.selected_round)
        if selected is not None:
            store_state(state, "selected", selected)
    return current


def end_round(state: RecordDict, moment: Moment, directory: Path) -> None:
    """Write the node's states to the disk if the request asks for it.

    Raises:
        OutputError: if the directory cannot be written.
    """
    if moment.checkpoint_round == NO_ROUND:
        return
    folder = directory / moment.session
    arrays: dict[str, NDArray] = {}
    tags: dict[str, int] = {}
    for slot in SLOTS:
        value = stored_state(state, slot)
        if value is not None:
            tags[slot] = value.round_number
            arrays |= {f"{slot}.{name}": array for name, array in value.personal.arrays().items()}
    write_arrays(_file(folder, moment.checkpoint_round), arrays, {"tags": tags})
    for file in sorted(folder.glob("round-*.ckpt"))[:-KEPT_FILES]:
        file.unlink(missing_ok=True)


def at_round(
    state: RecordDict, moment: Moment, directory: Path, fresh: Callable[[], Personal]
) -> Personal:
    """Return the personal parameters to evaluate, of at most the base round.

    Raises:
        EngineError: if only newer ones are left.
    """
    known = _known_states(state, moment.base_round, directory / moment.session)
    found = _newest(known, moment.base_round)
    if found is None and known:
        raise lost(moment.base_round, min(s.round_number for s in known))
    return found.personal if found is not None else fresh()


def lost(round_number: int, oldest: int) -> EngineError:
    """Return the error of a state that is not there any more."""
    return EngineError(
        f"the personal parameters of round {round_number} are lost on this node: "
        f"the oldest left are of round {oldest}"
    )


def _newest(states: Iterable[PersonalState], limit: int) -> PersonalState | None:
    usable = [s for s in states if s.round_number <= limit]
    return max(usable, key=lambda s: s.round_number, default=None)


def _known_states(state: RecordDict, limit: int, folder: Path) -> list[PersonalState]:
    """Return the states in memory, and those on disk if memory may not suffice."""
    memory = [s for slot in SLOTS if (s := stored_state(state, slot)) is not None]
    current = stored_state(state, "current")
    if current is not None and current.round_number <= limit:
        return memory
    return memory + [s for file in folder.glob("round-*.ckpt") for s in _read(file)]


def _read(file: Path) -> list[PersonalState]:
    arrays, meta = read_arrays(file)
    states = []
    for slot, tag in meta["tags"].items():
        values = {n.split(".", 1)[1]: a for n, a in arrays.items() if n.split(".", 1)[0] == slot}
        states.append(PersonalState(int(tag), Personal.from_arrays(values)))
    return states


def _file(folder: Path, round_number: int) -> Path:
    return folder / f"round-{round_number:06d}.ckpt"


def _forget_after(folder: Path, base_round: int) -> None:
    """Delete files of rounds that the server has gone back behind."""
    for file in folder.glob("round-*.ckpt"):
        if file.name > _file(folder, base_round).name:
            file.unlink(missing_ok=True)
