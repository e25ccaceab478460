"""``fedrec align``: what merchants have in common, without showing each other the rest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fedrec.align.agreement import Agreement
    from fedrec.align.ids import Ids
    from fedrec.align.outcome import Outcome
    from fedrec.align.party import State
    from fedrec.align.union import Union

app = typer.Typer(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})

STATE = "party.state"
AgreementFile = Annotated[Path, typer.Option("--agreement", help="The agreement file.")]
StateDirectory = Annotated[
    Path, typer.Option("--state", help="Directory of this party's secrets between messages.")
]
Incoming = Annotated[
    list[Path], typer.Option("--in", help="A message of another party; repeat for several.")
]
Out = Annotated[Path, typer.Option("--out", help="Where the result is written.")]
Column = Annotated[str, typer.Option(help="Column of the ids; without: the first.")]
Files = Annotated[list[Path], typer.Argument(help="Tables of ids, one a party; the stem names it.")]
KindOf = Annotated[str, typer.Option(help="What the ids are of: items or customers.")]
Basis = Annotated[str, typer.Option(help="Customers: on what ground they may be compared.")]
Normalise = Annotated[str, typer.Option(help="How ids are written: exact, text, gtin or email.")]
Minimum = Annotated[int, typer.Option(help="Fewest ids of a list.")]
Ratio = Annotated[float, typer.Option(help="How many times longer a list may be than another.")]
Library = Annotated[
    str, typer.Option(help="fedrec (own) or openmined (openmined-psi, two lists; extra psi).")
]
Directory = Annotated[Path | None, typer.Option("--out", help="Directory for maps and items.")]


@app.command("keys")
def keys(out: Annotated[Path, typer.Option("--out", help="File of the new secret key.")]) -> None:
    """Make a signing key and show its public part, for `fedrec align agree --key NAME=...`."""
    import os

    from fedrec.errors import OutputError
    from fedrec.secure.agreement import Identity
    from fedrec.storage import replace_file

    if out.exists():
        raise OutputError(f"{out} exists: keys are never overwritten. Choose another name")
    identity = Identity.generate(os.urandom)
    replace_file(out, (identity.secret().hex() + "\n").encode(), secret=True)
    typer.echo(identity.public.hex())


@app.command("agree")
def agree(
    parties: Annotated[list[str], typer.Argument(help="Names of the parties, 2 to 50.")],
    mode: Annotated[str, typer.Option(help="scope (a count), match, or union (pseudonyms).")],
    out: Out,
    kind: KindOf = "items",
    basis: Basis = "",
    normalise: Normalise = "exact",
    minimum: Minimum = 100,
    ratio: Ratio = 20.0,
    limit: Annotated[int, typer.Option(help="Most agreements with one party within --days.")] = 5,
    days: Annotated[int, typer.Option(help="See --limit.")] = 365,
    key: Annotated[
        list[str] | None, typer.Option(help="NAME=PUBLIC of every party, to sign messages.")
    ] = None,
) -> None:
    """Write an agreement; every party gets the same file and compares its fingerprint."""
    from fedrec.align.agreement import new_agreement, write_agreement
    from fedrec.align.show import LEAKS

    agreement = new_agreement(
        mode,  # type: ignore[arg-type]  # checked with the other terms
        tuple(parties),
        kind=kind,
        basis=basis,
        normalise=normalise,
        minimum=minimum,
        ratio=ratio,
        limit=limit,
        days=days,
        keys=dict(_pair(word) for word in key or ()),
    )
    write_agreement(out, agreement)
    typer.echo(f"{out}: {mode} of {kind} of {', '.join(parties)}")
    typer.echo(f"shows {LEAKS[agreement.mode]}")
    typer.echo(f"fingerprint {agreement.fingerprint}")


@app.command("start")
def start(
    agreement: AgreementFile,
    party: Annotated[str, typer.Option(help="Who this is.")],
    ids: Annotated[Path, typer.Option(help="Table of this party's ids.")],
    state: StateDirectory,
    out: Out,
    column: Column = "",
    key: Annotated[Path | None, typer.Option(help="Secret key of `fedrec align keys`.")] = None,
    journal: Annotated[
        Path | None, typer.Option(help="Journal of agreements; without: one in the home.")
    ] = None,
) -> None:
    """Begin an alignment: read the own list and make the first message."""
    import time

    from fedrec.align import journal as book
    from fedrec.align import party as protocol
    from fedrec.align.agreement import read_agreement
    from fedrec.align.ids import read_ids
    from fedrec.align.state_file import read_key
    from fedrec.errors import OutputError

    if (state / STATE).exists():
        raise OutputError(f"{state} holds an alignment: finish it, or choose another --state")
    terms = read_agreement(agreement)
    own = read_ids(ids, column, terms.normalise)
    identity = None if key is None else read_key(key)
    begun, message = protocol.start(terms, party, own, identity=identity)
    _ready(state, out)
    book.note(journal or book.default_journal(), terms, party, own, time.time())
    _keep(state, begun, out, message)


@app.command("answer")
def answer(state: StateDirectory, incoming: Incoming, out: Out) -> None:
    """Take the messages of the others and make the next one."""
    from fedrec.align import party as protocol
    from fedrec.align.state_file import load_state

    later, message = protocol.answer(load_state(state / STATE), _read(incoming))
    _keep(state, later, out, message)


@app.command("number")
def number(
    agreement: AgreementFile,
    incoming: Incoming,
    out: Out,
) -> None:
    """Coordinator of a union: number the pseudonyms of all parties; show what it learns."""
    from fedrec.align.agreement import read_agreement
    from fedrec.align.union import number_union
    from fedrec.storage import replace_file

    terms = read_agreement(agreement)
    union = number_union(terms, _read(incoming))
    replace_file(out, union.message)
    _show_union(terms, union)
    typer.echo(f"send {out} to all parties; then each: fedrec align finish")


@app.command("finish")
def finish(
    state: StateDirectory,
    incoming: Incoming,
    out: Annotated[
        Path | None, typer.Option("--out", help="The catalogue map, .csv or .parquet.")
    ] = None,
    items: Annotated[Path | None, typer.Option(help="The shared item list, .jsonl.")] = None,
) -> None:
    """Take the last messages, write the own map, and forget the secrets."""
    from fedrec.align import outcome
    from fedrec.align.state_file import load_state
    from fedrec.errors import ConfigError

    current = load_state(state / STATE)
    if out is None and current.agreement.mode != "scope":
        raise ConfigError("name the file of the own catalogue map with --out")
    found = outcome.finish(current, _read(incoming))
    if out is not None and current.agreement.mode != "scope":
        _write(found, out, items, current.agreement)
    (state / STATE).unlink()
    _show(current.agreement.parties[current.me], found)


@app.command("scope")
def scope(
    files: Files,
    column: Column = "",
    kind: KindOf = "items",
    basis: Basis = "",
    normalise: Normalise = "exact",
    minimum: Minimum = 100,
    ratio: Ratio = 20.0,
    library: Library = "fedrec",
) -> None:
    """Count what each two of several lists on this machine have in common."""
    from itertools import combinations

    from fedrec.align.agreement import new_agreement

    lists, terms = _lists(files, column, normalise), {"kind": kind, "basis": basis}
    more = {**terms, "normalise": normalise, "minimum": minimum, "ratio": ratio}
    for one, other in combinations(lists, 2):
        agreement = new_agreement("scope", (one, other), **more)
        pair = {one: lists[one], other: lists[other]}
        found = _run(agreement, pair, library)[0][one]
        typer.echo(
            f"{one} {len(lists[one]):,}, {other} {len(lists[other]):,}: "
            f"{found.common[other]:,} in common"
        )


@app.command("match")
def match(
    files: Files,
    column: Column = "",
    out: Directory = None,
    kind: KindOf = "items",
    basis: Basis = "",
    normalise: Normalise = "exact",
    minimum: Minimum = 100,
    ratio: Ratio = 20.0,
    library: Library = "fedrec",
) -> None:
    """Match lists on this machine, with a process playing all parties."""
    terms = {"kind": kind, "basis": basis, "normalise": normalise}
    more = {**terms, "minimum": minimum, "ratio": ratio}
    _simulate("match", files, column, out, more, library)


@app.command("union")
def union(
    files: Files,
    column: Column = "",
    out: Directory = None,
    kind: KindOf = "items",
    basis: Basis = "",
    normalise: Normalise = "exact",
    minimum: Minimum = 100,
    ratio: Ratio = 20.0,
) -> None:
    """Make union pseudonyms of lists on this machine, with a process playing all parties."""
    terms = {"kind": kind, "basis": basis, "normalise": normalise}
    _simulate("union", files, column, out, {**terms, "minimum": minimum, "ratio": ratio})


def _simulate(
    mode: str,
    files: list[Path],
    column: str,
    out: Path | None,
    terms: dict,
    library: str = "fedrec",
) -> None:
    from fedrec.align.agreement import new_agreement

    lists = _lists(files, column, terms["normalise"])
    agreement = new_agreement(mode, tuple(lists), **terms)  # type: ignore[arg-type]
    found, union = _run(agreement, lists, library)
    for name, outcome in found.items():
        if out is not None:
            _write(outcome, out / f"{name}.csv", out / "items.jsonl", agreement)
        _show(name, outcome)
    if union is not None:
        _show_union(agreement, union)


def _run(
    agreement: Agreement, lists: dict[str, Ids], library: str
) -> tuple[dict[str, Outcome], Union | None]:
    """Run an alignment with all parties here, by the library that was asked for."""
    from fedrec.align.openmined import simulate_openmined
    from fedrec.align.simulate import simulate
    from fedrec.errors import ConfigError, nearest

    if library == "fedrec":
        return simulate(agreement, lists)
    if library == "openmined":
        return simulate_openmined(agreement, lists), None
    raise ConfigError(f"--library {library!r}: none.{nearest(library, ('fedrec', 'openmined'))}")


def _lists(files: list[Path], column: str, normalise: str) -> dict[str, Ids]:
    from fedrec.align.ids import read_ids, rule
    from fedrec.errors import ConfigError

    names = [path.name.partition(".")[0] for path in files]
    if len(files) < 2 or len(set(names)) < len(names):
        raise ConfigError("expected two files or more, each with a name of its own")
    checked = rule(normalise)
    return {name: read_ids(path, column, checked) for name, path in zip(names, files, strict=True)}


def _pair(word: str) -> tuple[str, str]:
    from fedrec.errors import ConfigError

    name, equals, value = word.partition("=")
    if not equals:
        raise ConfigError(f"--key {word!r}: expected NAME=PUBLIC as `fedrec align keys` shows it")
    return name, value


def _read(paths: list[Path]) -> list[bytes]:
    from fedrec.errors import ConfigError

    try:
        return [path.read_bytes() for path in paths]
    except OSError as error:
        raise ConfigError(f"cannot read the message {error.filename}: {error.strerror}") from None


def _ready(state: Path, out: Path) -> None:
    """Make the directories before the journal says that the alignment was begun."""
    from fedrec.errors import OutputError

    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {error.filename}: {error.strerror}") from None
    if out.is_dir():
        raise OutputError(f"{out} is a directory; expected the name of a file")


def _keep(directory: Path, state: State, out: Path, message: bytes) -> None:
    """Write the message before the state: a message may be made again, a state not lost."""
    from fedrec.align.party import expected
    from fedrec.align.state_file import save_state
    from fedrec.storage import replace_file

    replace_file(out, message)
    save_state(directory / STATE, state)
    names, header = state.agreement.parties, state.sent
    to = names[header.receiver] if header.receiver < len(names) else ""
    coordinator = header.kind.name == "PSEUDONYMS" and state.agreement.mode == "union"
    typer.echo(f"send {out} to {to or ('the coordinator' if coordinator else 'all others')}")
    wanted = [names[h.sender] if h.sender < len(names) else "" for h in expected(state)]
    command = "finish" if state.finished else "answer"
    typer.echo(
        f"then, with the message(s) of {', '.join(n or 'the coordinator' for n in wanted)}: "
        f"fedrec align {command} --state {directory} --in FILE ..."
    )


def _write(outcome: Outcome, out: Path, items: Path | None, agreement: Agreement) -> None:
    from fedrec.data.catalogue_map import CUSTOMER, ITEM, write_map
    from fedrec.data.item_list import write_item_list

    write_map(out, outcome.catalogue_map(), CUSTOMER if agreement.kind == "customers" else ITEM)
    if items is not None:
        write_item_list(items, outcome.words)


def _show(name: str, outcome: Outcome) -> None:
    from fedrec.align.show import lines_of

    for line in lines_of(name, outcome):
        typer.echo(line)


def _show_union(agreement: Agreement, union: Union) -> None:
    from fedrec.align.show import union_lines

    for line in union_lines(agreement, union):
        typer.echo(line)
