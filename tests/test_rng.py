import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec import rng
from fedrec.rng import NO_CLIENT, Purpose, draw, generator, integers, keys, normal, uniform

# A SplitMix64 stream by plain Python integers, as an independent check of the arithmetic.
MASK = 2**64 - 1


def mix(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def test_the_stream_is_splitmix64():
    # the first words of SplitMix64 seeded with 0 and with 1234567, as published with xoshiro
    first = draw(np.zeros(1, np.uint64), np.arange(3))
    assert first.tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    second = draw(np.array([1234567], np.uint64), np.arange(3))
    assert second.tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(st.integers(0, 2**62), st.integers(0, 2**31), st.integers(0, NO_CLIENT))
def test_keys_by_plain_integers(seed, round_number, client):
    golden, key = 0x9E3779B97F4A7C15, client
    for part in (int(Purpose.SHUFFLE), round_number, seed):
        key = mix((key + golden) & MASK) ^ ((part * golden) & MASK)
    expected = mix((key + golden) & MASK)
    assert int(keys(seed, round_number, [client], Purpose.SHUFFLE)[0]) == expected


def test_a_key_depends_on_its_address_alone():
    together = keys(3, 5, np.arange(1000), Purpose.NEGATIVES)
    alone = [keys(3, 5, c, Purpose.NEGATIVES) for c in (0, 17, 999)]
    assert [int(k) for k in alone] == together[[0, 17, 999]].tolist()
    assert keys(3, 5, np.arange(6).reshape(2, 3), Purpose.TIES).shape == (2, 3)


def test_every_part_of_an_address_matters():
    base = (1, 2, 3, Purpose.SHUFFLE)
    changed = [(9, 2, 3, Purpose.SHUFFLE), (1, 9, 3, Purpose.SHUFFLE), (1, 2, 9, Purpose.SHUFFLE), (1, 2, 3, Purpose.TIES), (2, 1, 3, Purpose.SHUFFLE)]  # fmt: skip
    found = {int(keys(s, r, c, p)) for s, r, c, p in [base, *changed]}
    assert len(found) == 6


def test_keys_do_not_collide():
    many = [keys(seed, r, np.arange(2000), p) for seed in (0, 1) for r in (0, 1) for p in Purpose]
    words = np.concatenate(many)
    assert len(np.unique(words)) == len(words)


def test_purposes_are_never_renumbered():
    published = {
        "INIT_SHARED": 1, "INIT_PERSONAL": 2, "NEGATIVES": 3, "SHUFFLE": 4, "SAMPLING": 5,
        "AVAILABILITY": 6, "DROPOUT": 7, "EVALUATION_NEGATIVES": 8, "TIES": 9, "BOOTSTRAP": 10,
        "SPLIT": 11, "PARTITION": 12, "SYNTHETIC": 13, "BASELINE": 14, "MODEL": 15,
    }  # fmt: skip
    assert {p.name: p.value for p in Purpose} | published == {p.name: p.value for p in Purpose}
    assert len({p.value for p in Purpose}) == len(Purpose)


@given(st.lists(st.integers(0, MASK), min_size=1, max_size=20), st.integers(1, 2**31))
def test_integers_and_uniforms_stay_in_their_range(words, high):
    array = np.array(words, np.uint64)
    chosen = integers(array, high)
    assert chosen.dtype == np.int64
    assert ((chosen >= 0) & (chosen < high)).all()
    assert ((uniform(array) >= 0) & (uniform(array) < 1)).all()


def test_the_ends_of_the_range():
    ends = np.array([0, MASK], np.uint64)
    assert integers(ends, 10).tolist() == [0, 9]
    assert uniform(ends).tolist() == [0.0, 1.0 - 2.0**-53]


def test_draws_are_uniform():
    words = draw(keys(0, 0, np.arange(500), Purpose.NEGATIVES)[:, None], np.arange(200))
    counts = np.bincount(integers(words, 10).ravel(), minlength=10)
    chi2 = ((counts - 10_000) ** 2 / 10_000).sum()
    assert chi2 < 27.9  # 99.9% point of chi-squared with 9 degrees of freedom
    bits = np.unpackbits(words.view(np.uint8)).mean()
    assert bits == pytest.approx(0.5, abs=0.001)


def test_normals():
    values = normal(keys(0, 0, np.arange(200), Purpose.INIT_PERSONAL), 500)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert values.mean() == pytest.approx(0.0, abs=0.01)
    assert values.std() == pytest.approx(1.0, abs=0.01)
    assert abs(np.corrcoef(values[:, 0], values[:, 1])[0, 1]) < 0.25


def test_a_longer_vector_begins_like_a_shorter_one():
    key = keys(0, 0, np.arange(3), Purpose.INIT_PERSONAL)
    np.testing.assert_array_equal(normal(key, 8)[:, :5], normal(key, 5))


def test_generators_are_addressed():
    first = generator(1, 2, NO_CLIENT, Purpose.SPLIT).random(4)
    again = generator(1, 2, NO_CLIENT, Purpose.SPLIT).random(4)
    other = generator(1, 3, NO_CLIENT, Purpose.SPLIT).random(4)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_no_state_is_kept():
    assert not [name for name, value in vars(rng).items() if isinstance(value, np.random.Generator)]
