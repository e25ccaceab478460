"""`fedrec align`: two and three merchants who exchange files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from fedrec.cli.app import app
from fedrec.data.catalogue_map import read_map
from fedrec.errors import AlignmentError, ConfigError, DataError, OutputError

SHOPS = {
    "north": ["007", "8", "9", "Käse"],
    "south": ["8", "9", "Ka\u0308se", "11"],
    "west": ["9", "12", "13", "14"],
}


@pytest.fixture(autouse=True)
def shops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDREC_ALIGN_JOURNAL", str(tmp_path / "journal.jsonl"))
    for name, items in SHOPS.items():
        pd.DataFrame({"ean": items, "title": "x"}).to_csv(f"{name}.csv", index=False)


def align(*words: str) -> str:
    done = CliRunner().invoke(app, ["align", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def begin(names: tuple[str, ...], mode: str, *more: str) -> None:
    align("agree", *names, "--mode", mode, "--minimum", "2", "--out", "terms.json", *more)
    for name in names:
        words = ["--party", name, "--ids", f"{name}.csv", "--state", f"{name}-secret"]
        align("start", "--agreement", "terms.json", *words, "--out", f"{name}-1")


def step(name: str, stage: int, senders: tuple[str, ...]) -> str:
    incoming = [word for sender in senders for word in ("--in", f"{sender}-{stage}")]
    return align("answer", "--state", f"{name}-secret", *incoming, "--out", f"{name}-{stage + 1}")


def test_two_merchants_match_by_files_and_keep_a_map_each():
    names = ("north", "south")
    begin(names, "match")
    for stage in (1, 2, 3):
        told = [step(one, stage, (other,)) for one, other in (names, names[::-1])]
    assert "fedrec align finish --state north-secret" in told[0]
    for one, other in (names, names[::-1]):
        out = align(
            "finish", "--state", f"{one}-secret", "--in", f"{other}-4", "--out", f"{one}-map.csv"
        )
        assert f"{other} has 4, 3 of them in common" in out
        assert not Path(f"{one}-secret/party.state").exists()  # secrets are gone
    north, south = read_map(Path("north-map.csv")), read_map(Path("south-map.csv"))
    assert sorted(north.items) == ["8", "9", "Käse"]
    assert set(north.pseudonyms) == set(south.pseudonyms)
    assert (
        dict(zip(north.items, north.pseudonyms, strict=True))["8"]
        == (dict(zip(south.items, south.pseudonyms, strict=True))["8"])
    )


def test_three_merchants_make_a_union_that_a_coordinator_numbers():
    names = ("north", "south", "west")
    begin(names, "union")
    for stage in range(1, 6):
        for place, name in enumerate(names):
            ring = (names[place - 1],)
            others = tuple(n for n in names if n != name)
            step(name, stage, others if stage < 3 else ring)
    sent = [word for name in names for word in ("--in", f"{name}-6")]
    out = align("number", "--agreement", "terms.json", *sent, "--out", "union")
    assert "union of 3 parties: 8 pseudonyms" in out
    assert "north and south: 3 in common" in out
    words = ["--in", "union", "--out", "west-map.parquet", "--items", "items.jsonl"]
    assert "shared item list: 8" in align("finish", "--state", "west-secret", *words)
    assert len(Path("items.jsonl").read_text().splitlines()) == 8
    assert sorted(read_map(Path("west-map.parquet")).items) == ["12", "13", "14", "9"]


def test_lists_on_one_machine():
    out = align("scope", "north.csv", "south.csv", "west.csv", "--minimum", "2")
    assert "north 4, south 4: 3 in common" in out
    assert "south 4, west 4: 1 in common" in out
    out = align("match", "north.csv", "south.csv", "--minimum", "2", "--out", "maps")
    assert "shared item list: 3" in out
    assert len(read_map(Path("maps/north.csv"))) == 3
    assert "union of 2 parties: 5" in align("union", "north.csv", "south.csv", "--minimum", "2")


def test_lists_on_one_machine_by_the_other_library():
    pytest.importorskip("private_set_intersection.python")
    words = ("north.csv", "south.csv", "--minimum", "2", "--library", "openmined")
    assert "3 in common" in align("scope", *words)
    assert "shared item list: 3" in align("match", *words)


def test_signed_messages():
    public = {name: align("keys", "--out", f"{name}.key").strip() for name in ("north", "south")}
    keys = [word for name, key in public.items() for word in ("--key", f"{name}={key}")]
    align("agree", *public, "--mode", "scope", "--minimum", "2", "--out", "t.json", *keys)
    for name in public:
        words = ["--ids", f"{name}.csv", "--state", name, "--key", f"{name}.key"]
        align("start", "--agreement", "t.json", "--party", name, *words, "--out", f"{name}-1")
    for stage in (1, 2, 3):
        for one, other in (("north", "south"), ("south", "north")):
            words = ["--in", f"{other}-{stage}", "--out", f"{one}-{stage + 1}"]
            align("answer", "--state", one, *words)
    assert "3 of them in common" in align("finish", "--state", "north", "--in", "south-4")


def refused(*words: str) -> None:
    CliRunner().invoke(app, ["align", *words], catch_exceptions=False)


def test_what_is_refused_leaves_nothing_behind(tmp_path: Path):
    with pytest.raises(AlignmentError, match="this list has 4 identifiers.*at least 100"):
        refused("match", "north.csv", "south.csv", "--out", "maps")
    assert not Path("maps").exists()
    with pytest.raises(ConfigError, match="'opnmined': none. Did you mean 'openmined'"):
        refused("match", "north.csv", "south.csv", "--library", "opnmined")
    with pytest.raises(ConfigError, match="two files or more"):
        refused("scope", "north.csv")
    with pytest.raises(DataError, match="no column 'eam'"):
        refused("scope", "north.csv", "south.csv", "--column", "eam")
    begin(("north", "south"), "match")
    words = ["--party", "north", "--ids", "north.csv", "--state", "north-secret"]
    with pytest.raises(OutputError, match="holds an alignment"):
        refused("start", "--agreement", "terms.json", *words, "--out", "again")
    assert not Path("again").exists()
    with pytest.raises(ConfigError, match="cannot read the message nowhere"):
        refused("answer", "--state", "north-secret", "--in", "nowhere", "--out", "x")
    assert not Path("x").exists()


def shelf(name: str, titles: list[str]) -> None:
    pd.DataFrame({"sku": [f"{name}{n}" for n in range(len(titles))], "title": titles}).to_csv(
        f"{name}-items.csv", index=False
    )


def test_items_without_a_common_id_are_linked_by_cards():
    shelf("n", ["olive oil", "apple sauce", "rye bread", "yard hose"])
    shelf("s", ["BREAD, rye", "oil (olive)", "motor bike"])
    Path("key").write_text("words of both shops\n")
    same = ["--columns", "title", "--key", "key", "--show", "title"]
    for name in ("n", "s"):
        assert "which words of title" in align("cards", f"{name}-items.csv", *same, "--out", name)
    for name, other in (("n", "s"), ("s", "n")):
        words = ["--with", other, "--out", f"{name}-map.csv", "--confidence", "0.01"]
        more = ["--review", f"{name}-review.csv", "--items", f"{name}.jsonl"]
        assert "not calibrated" in align("link", f"{name}-items.csv", *same, *words, *more)
    assert Path("n.jsonl").read_text() == Path("s.jsonl").read_text()
    maps = {name: read_map(Path(f"{name}-map.csv")) for name in ("n", "s")}
    north, south = (dict(zip(m.items, m.pseudonyms, strict=True)) for m in maps.values())
    assert north["n2"] == south["s0"]
    assert north["n0"] == south["s1"]
    assert north["n3"] not in south.values()
    review = pd.read_csv("n-review.csv")
    assert {("rye bread", "BREAD, rye"), ("olive oil", "oil (olive)")} <= set(
        zip(review["shown"], review["their_shown"], strict=True)
    )
    with pytest.raises(ConfigError, match="cannot read the key nokey"):
        refused("cards", "n-items.csv", "--columns", "title", "--key", "nokey", "--out", "x")
    pd.DataFrame({"sku": ["a", "a"], "title": ["x", "y"]}).to_csv("twice.csv", index=False)
    with pytest.raises(DataError, match="an id in every row, each once"):
        refused("cards", "twice.csv", *same, "--out", "x")
