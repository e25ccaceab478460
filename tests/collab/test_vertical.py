"""One party has purchases, another attributes: what is learned, and what crosses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedrec.collab import vertical
from fedrec.collab.vertical import (
    AttributeParty,
    attribute_party,
    bounded,
    common_people,
    exchange,
    train_vertical,
    vertical_epochs,
)
from fedrec.compare import compare
from fedrec.config import from_flat
from fedrec.config_collab import VerticalSection
from fedrec.data.attributes import to_category, to_number
from fedrec.data.interactions import Catalogue
from fedrec.errors import AlignmentError, ConfigError, ModelError, ProtocolError
from fedrec.evaluation.sums import means
from fedrec.training.node import prepare

KEYS = {
    "data.name": "marketplace",
    "data.users": 120,
    "data.items": 60,
    "data.merchants": 2,
    "vertical.attributes": "age gender",
    "vertical.basis": "loyalty programme, contract of both",
    "central.epochs": 3,
    "central.lr": 0.02,
    "model.dim": 4,
    "evaluate.sampled": 0,
    "evaluate.bootstrap": 20,
    "compare.seeds": "0",
    "compare.leak_guard": False,
    "compare.systems": "vertical centralised",
}


def section(**more):
    return VerticalSection(attributes="all", basis="contract", **more)


def party(people=60, columns=3, seed=0, ridge=1.0):
    draw = np.random.default_rng(seed).normal(size=(people, columns))
    return AttributeParty(draw - draw.mean(0), ridge)


def test_the_map_is_ridge_regression_on_the_vectors():
    known = AttributeParty(np.array([[1.0], [-1.0], [2.0], [-2.0]]), 2.0)
    vectors = np.array([[3.0], [-1.0], [2.0], [0.0]])
    # x'y = 3 + 1 + 4 + 0 = 8 over x'x + ridge = 10 + 2
    found, _ = exchange(known, vectors, section(exchange="plain"))
    np.testing.assert_allclose(found[:, 0], 8 / 12 * np.array([1.0, -1.0, 2.0, -2.0]))


def test_secure_and_plain_exchanges_agree_and_the_secure_one_hides_the_vectors(monkeypatch):
    vectors = np.random.default_rng(1).normal(size=(60, 4))
    seen = []
    kept = vertical.inner_product.first_learns
    monkeypatch.setattr(
        vertical.inner_product,
        "first_learns",
        lambda dealt, *answers: seen.append(answers) or kept(dealt, *answers),
    )
    plain, few = exchange(party(), vectors, section(exchange="plain"))
    secure, more = exchange(party(), vectors, section())
    np.testing.assert_allclose(secure, plain, atol=1e-3)
    assert more > few > 0
    ((masked, told),) = seen
    assert masked.shape == vectors.shape
    assert told.shape == (3, 4)
    shown = masked.view(np.int64) / 2.0**16
    assert abs(np.corrcoef(shown.ravel(), vectors.ravel())[0, 1]) < 0.3


def test_too_few_people_are_refused():
    with pytest.raises(ProtocolError, match="8 people are common"):
        exchange(party(8), np.zeros((8, 2)), section())


def test_rows_are_bounded_and_blurred():
    vectors = np.array([[3.0, 4.0], [0.3, 0.4]])
    np.testing.assert_allclose(bounded(vectors, section(clip=1.0), None), [[0.6, 0.8], [0.3, 0.4]])
    assert bounded(vectors, section(), None) is vectors
    many = np.zeros((4000, 2))
    draw = np.random.default_rng(0)
    noisy = bounded(many, section(clip=2.0, noise=3.0), draw)
    assert abs(noisy.std() - 6.0) < 0.2


def people(number=40):
    age = [float(20 + n) if n % 2 else np.nan for n in range(number)]
    home = ["own" if n % 4 == 1 else "rent" if n % 4 == 3 else None for n in range(number)]
    ids = np.array([f"c{n}" for n in range(number)], dtype=object)
    return Catalogue(ids, {"age": to_number(age), "home": to_category(home)})


def test_common_people_are_those_with_attributes_in_an_order_both_know():
    found = common_people(people(60), "contract")
    assert sorted(found.tolist()) == list(range(1, 60, 2))
    again = common_people(people(60), "contract")
    assert again.tolist() != found.tolist()  # by pseudonyms, which are new each time
    with pytest.raises(AlignmentError, match="at least 20"):
        common_people(people(10), "contract")


def test_attributes_are_centred_and_constants_left_out():
    known = people(40).take(np.arange(1, 40, 2))
    found = attribute_party(known, section())
    np.testing.assert_allclose(found.features.mean(0), 0, atol=1e-12)
    assert (found.features.std(0) > 0).all()
    with pytest.raises(ModelError, match="vertical|user_attributes"):
        attribute_party(known, VerticalSection(attributes="hight", basis="x"))


def test_who_is_known_well_stays_and_who_is_not_moves():
    """After an exchange theta moves by prior / (n + prior) of the map's change."""
    setup = prepare(from_flat({**KEYS, "central.epochs": 2}))
    users = np.arange(0, 120, 2)
    caught = {}
    kept = vertical.central_epochs

    def spy(inner, between):
        def told(number, shared):
            after = between(number, shared)
            caught[number] = (shared, after)
            return after

        return kept(inner, told)

    vertical.central_epochs = spy
    try:
        list(vertical_epochs(setup, party(len(users)), users))
    finally:
        vertical.central_epochs = kept
    before, after = caught[2]

    def theta(shared):
        return shared.tables["personal/user"] + shared.fixed["personal/offset"]

    assert caught[1][0] is caught[1][1]
    moved = theta(after) - theta(before)
    mapped = after.fixed["personal/offset"] - before.fixed["personal/offset"]
    counts = np.diff(setup.population.indptr)
    share = 20.0 / (counts + 20.0)
    np.testing.assert_allclose(moved, share[:, None] * mapped, atol=1e-5)
    rest = np.setdiff1d(np.arange(120), users)
    assert not mapped[rest].any()
    assert np.abs(mapped[users]).max() > 0


def test_attributes_that_mean_nothing_change_what_attributes_that_do_change():
    setup = prepare(from_flat(KEYS))
    users = np.arange(120)
    zero = AttributeParty(np.zeros((120, 1)), 1.0)
    plain = means(train_vertical(setup, party=zero, people=users).test)
    found = means(train_vertical(setup, party=party(120), people=users).test)
    assert plain != found
    config = setup.config.with_({"vertical.exchange": "plain"})
    other = train_vertical(replace(setup, config=config), party=party(120), people=users)
    for name, value in means(other.test).items():
        assert found[name] == pytest.approx(value, abs=0.03)


def test_a_comparison_names_the_setting_and_its_leak(tmp_path: Path) -> None:
    found = compare(from_flat(KEYS), out=tmp_path / "out").result
    by_name = {system.name: system for system in found.systems}
    told = by_name["vertical-mf"].privacy
    assert told["setting"] == "same users, different columns"
    assert "who has the same numbers has the same attributes" in told["statement"]
    assert "sums over all of them" in told["statement"]
    assert "setting" not in by_name["centralised-mf"].privacy
    assert {(pair.a, pair.b) for pair in found.comparisons} == {("vertical-mf", "centralised-mf")}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"vertical.attributes": ""}, "the system 'vertical' reads attributes"),
        ({"vertical.basis": " "}, "needs vertical.basis"),
        ({"model.name": "ncf"}, "needs model.name = 'mf'"),
        ({"clients.unit": "merchant"}, "needs clients.unit = 'user'"),
        ({"vertical.noise": 1.0}, "needs vertical.clip above 0"),
    ],
)
def test_settings_that_nobody_agreed_to(more, message):
    with pytest.raises(ConfigError, match=message):
        from_flat({**KEYS, **more})
