"""Agreements, lists, states and journals as files."""

from __future__ import annotations

import json

import pytest

from fedrec.align.agreement import checked, new_agreement, read_agreement, write_agreement
from fedrec.align.ids import make_ids, read_ids
from fedrec.align.journal import note
from fedrec.align.party import answer, start
from fedrec.align.state_file import load_state, read_key, save_state
from fedrec.errors import AlignmentError, CheckpointError, ConfigError, DataError
from fedrec.storage import write_arrays

DAY = 86_400.0
PAIR = ("north", "south")


def test_an_agreement_is_read_as_it_was_written_and_never_changed(tmp_path):
    path = tmp_path / "a.json"
    agreement = new_agreement("match", PAIR, minimum=7)
    write_agreement(path, agreement)
    assert read_agreement(path) == agreement
    assert read_agreement(path).digest == agreement.digest
    with pytest.raises(ConfigError, match="an agreement is never changed"):
        write_agreement(path, agreement)


def test_every_term_changes_the_digest():
    terms = new_agreement("match", PAIR).model_dump()
    changes = {"id": "0" * 32, "mode": "union", "parties": ("south", "north"), "minimum": 3}
    changes |= {"ratio": 2.0, "limit": 9, "days": 1, "normalise": "gtin", "basis": "x"}
    digests = {checked({**terms, k: v}).digest for k, v in changes.items()}
    assert len(digests | {checked(terms).digest}) == len(changes) + 1


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"parties": ("a",)}, "at least 2"),
        ({"parties": tuple(f"p{n}" for n in range(51))}, "at most 50"),
        ({"parties": ("a", "a")}, "different names"),
        ({"parties": ("a", "b/c")}, "different names"),
        ({"parties": ("a", "b", "c"), "mode": "scope"}, "scope is between two parties"),
        ({"kind": "customers"}, "only on an agreed ground"),
        ({"kind": "customers", "basis": "  "}, "only on an agreed ground"),
        ({"minimum": 1}, "minimum"),
        ({"ratio": 0.5}, "ratio"),
        ({"mode": "hash"}, "mode"),
        ({"normalise": "sha256"}, "normalise"),
        ({"keys": {"a": "00" * 32}}, "one of each party"),
        ({"keys": {"a": "00", "b": "11"}}, "64 hexadecimal digits"),
        ({"colour": 1}, "colour"),
        ({"id": "x"}, "id"),
    ],
)
def test_unusable_terms_are_refused(terms, message):
    base = {"id": "0" * 32, "mode": "match", "parties": ("a", "b")}
    with pytest.raises(ConfigError, match=message):
        checked({**base, **terms})


def test_unreadable_agreements_are_refused(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(ConfigError, match="cannot read the agreement"):
        read_agreement(path)
    for text, message in (("{", "is not JSON"), ("[]", "is not a table")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            read_agreement(path)
    with pytest.raises(ConfigError, match="'web' is no party.*north, south"):
        new_agreement("match", PAIR).number("web")


@pytest.mark.parametrize(
    ("rule", "alike", "unlike", "bad"),
    [
        ("exact", (" Käse", "Ka\u0308se"), "käse", " "),
        ("text", ("Blue  JEANS", "blue jeans "), "bluejeans", ""),
        (
            "gtin",
            ("4006381333931", "04006381333931", "400-638133393 1"),
            "73513537",
            "4006381333932",
        ),
        ("email", ("Ann@Example.org ", "ann@example.org"), "a.nn@example.org", "ann@home@x.org"),
    ],
)
def test_rules_of_writing(rule, alike, unlike, bad):
    assert len({make_ids([word], rule).keys[0] for word in alike}) == 1
    assert make_ids([unlike], rule).keys != make_ids([alike[0]], rule).keys
    with pytest.raises(DataError, match=f"shop: identifier {bad!r}"):
        make_ids([bad], rule, "shop")


def test_a_lost_leading_zero_is_put_back():
    assert make_ids(["36000291452"], "gtin").keys == make_ids(["036000291452"], "gtin").keys


def test_equal_keys_are_one_and_know_their_raw_ids():
    ids = make_ids(["A", "b", "a", "A"], "text")
    assert (ids.raw, ids.keys, ids.place.tolist()) == (("A", "b", "a"), (b"a", b"b"), [0, 1, 0])
    with pytest.raises(DataError, match="no identifiers"):
        make_ids([])


def test_ids_are_read_from_a_column_and_repeats_count_once(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("user,ean\nu1,007\nu2,007\nu2,8\nu3,\n")
    assert read_ids(path, "ean").keys == (b"007", b"8")
    assert read_ids(path).keys == (b"u1", b"u2", b"u3")
    with pytest.raises(DataError, match="no column 'eam'.*Did you mean 'ean'"):
        read_ids(path, "eam")


@pytest.mark.parametrize("stage", [1, 2, 3, 4, 5])
def test_a_state_is_read_as_it_was_written(tmp_path, stage):
    agreement = new_agreement("union", PAIR, minimum=2)
    ids = make_ids(["a", "Käse", "c"], "exact")
    begun = [start(agreement, name, ids) for name in PAIR]
    for _ in range(stage - 1):
        (one, first), (other, second) = begun
        begun = [answer(one, [second]), answer(other, [first])]
    path = tmp_path / "s" / "party.state"
    save_state(path, begun[0][0])
    assert path.stat().st_mode & 0o077 == 0
    found, kept = vars(load_state(path)), vars(begun[0][0])
    assert {k: v for k, v in found.items() if k != "ids"} == {
        k: v for k, v in kept.items() if k != "ids"
    }
    assert (found["ids"].raw, found["ids"].keys) == (ids.raw, ids.keys)
    if stage < 5:  # and goes on as if it had not been away
        message = begun[1][1]
        assert answer(load_state(path), [message])[1] == answer(begun[0][0], [message])[1]


def test_missing_damaged_and_foreign_states_are_refused(tmp_path):
    path = tmp_path / "party.state"
    with pytest.raises(ConfigError, match="there is no alignment in"):
        load_state(path)
    state, _ = start(new_agreement("match", PAIR, minimum=2), "north", make_ids(["a", "b"]))
    save_state(path, state)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="corrupted"):
        load_state(path)
    write_arrays(path, {}, {"kind": "checkpoint"})
    with pytest.raises(CheckpointError, match="no state of an alignment"):
        load_state(path)


def test_unreadable_keys_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot read the key"):
        read_key(tmp_path / "k")
    for text in ("xyz", "00" * 31, "00" * 33):
        (tmp_path / "k").write_text(text)
        with pytest.raises(ConfigError, match="is no signing key") as error:
            read_key(tmp_path / "k")
        assert text not in str(error.value).replace(str(tmp_path), "")


def entered(path, now, ids=("a", "b"), parties=PAIR, **terms):
    agreement = new_agreement("match", parties, **{"limit": 2, "days": 10, **terms})
    return note(path, agreement, parties[0], make_ids(ids), now)


def test_the_journal_refuses_what_is_beyond_the_limit(tmp_path):
    path = tmp_path / "deep" / "journal.jsonl"
    one, other = entered(path, 0.0), entered(path, DAY, ids=("b", "c"))
    assert one.list != other.list
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(AlignmentError, match="2 times within 10 days, with 3 different.*Wait 8"):
        entered(path, 2 * DAY, ids=("c", "d"))
    assert entered(path, 2 * DAY, parties=("north", "web"))  # another party
    assert entered(path, 2 * DAY, kind="customers", basis="consent")
    assert entered(path, 2 * DAY, limit=3)  # agreed otherwise
    assert entered(path, 11.5 * DAY)  # later
    text = path.read_text()
    assert "'a'" not in text
    assert text.count("\n") == 7


def test_several_parties_count_each(tmp_path):
    path = tmp_path / "journal"
    entered(path, 0.0, parties=("a", "b", "c"), limit=1)
    with pytest.raises(AlignmentError, match="a and c have compared items 1 times"):
        entered(path, 1.0, parties=("a", "c"), limit=1)


def test_the_same_list_has_the_same_mark_in_one_journal_only(tmp_path):
    first = entered(tmp_path / "j", 0.0, ids=("a", "b"))
    assert entered(tmp_path / "j", 0.0, ids=("b", "a")).list == first.list
    assert entered(tmp_path / "k", 0.0, ids=("a", "b")).list != first.list


def test_an_agreement_is_used_once(tmp_path):
    agreement, ids = new_agreement("match", PAIR), make_ids(["a", "b"])
    note(tmp_path / "j", agreement, "north", ids, 0.0)
    note(tmp_path / "j", agreement, "south", ids, 0.0)  # both on one machine
    with pytest.raises(AlignmentError, match="an agreement is used once"):
        note(tmp_path / "j", agreement, "north", ids, 400 * DAY)


@pytest.mark.parametrize("text", ["", "{", '{"format": "x"}', "[]"])
def test_a_damaged_journal_stops_everything(tmp_path, text):
    path = tmp_path / "j"
    path.write_text(text)
    with pytest.raises(AlignmentError, match="cannot be read.*Nothing is compared"):
        entered(path, 0.0)
    assert path.read_text() == text


def test_a_peer_with_a_key_is_known_by_its_key(tmp_path):
    keys = {"north": "11" * 32, "south": "22" * 32}
    entered(tmp_path / "j", 0.0, keys=keys)
    renamed = {"north": "11" * 32, "sunny": "22" * 32}
    entered(tmp_path / "j", 0.0, parties=("north", "sunny"), keys=renamed)
    with pytest.raises(AlignmentError, match="2 times"):
        entered(tmp_path / "j", 0.0, keys=keys)
    assert json.loads((tmp_path / "j").read_text().splitlines()[1])["peers"] == ["22" * 32]


@pytest.mark.parametrize("digits", [32, 40, 64, 128])
def test_hashes_of_addresses_are_refused(digits):
    with pytest.raises(DataError, match="looks like the hash of one. Give the addresses"):
        make_ids(["a@example.org", "0aF1" * (digits // 4)], "email")
    assert make_ids(["0aF1" * (digits // 4)], "exact")  # as an id of its own it is one like any
