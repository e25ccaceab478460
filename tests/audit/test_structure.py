"""Masked vectors: sound ones pass, broken generators and missing masks do not."""

import os

import numpy as np
import pytest
from scipy import stats

from fedrec.audit.inspect import scenes
from fedrec.audit.rounds import begin
from fedrec.audit.structure import audit_masks, examine, first_masked, linear_complexity, two_worlds
from tests.audit.audit_cases import PlainServer, small_setup, updates_of


def random_words(size):
    return np.frombuffer(os.urandom(4 * size), "<u4")


def test_linear_complexity_by_hand():
    assert linear_complexity(np.array([0, 0, 1])) == 3
    assert linear_complexity(np.array([1, 0] * 20)) == 2
    register = [1, 0, 0, 1]
    for _ in range(60):
        register.append(register[-4] ^ register[-3])
    assert linear_complexity(np.array(register)) == 4


def test_a_masked_vector_is_what_the_first_client_sends():
    inputs = np.zeros((3, 100), np.uint32)
    words = first_masked(inputs)
    assert words.shape == (100,)
    assert not np.array_equal(words, first_masked(inputs))  # new keys in every session
    assert (words != 0).any()


def test_real_updates_are_hidden_and_the_classifier_works():
    setup = small_setup()
    state = begin(setup)
    scene = next(scenes(setup, PlainServer(setup, state.shared), state))
    found = audit_masks(scene.updates, 20, 4.0)
    assert found.sound, found
    assert found.auc_clear > 0.9
    assert found.words >= 16 * 20_000
    assert found.to_json()["sound"] is True


def test_one_client_alone_is_audited_among_silent_parties():
    found = audit_masks(updates_of([{i: [0.5] * 8 for i in range(40)}], 50), 20, 4.0)
    assert found.sound
    assert found.auc_clear == 1.0


def test_a_mersenne_twister_looks_uniform_and_is_found_out():
    twister = np.random.Generator(np.random.MT19937(1))
    words = twister.integers(0, 2**32, 320_000, dtype=np.uint32)
    clear = np.zeros(320_000, np.uint32)
    found = examine(words, random_words(320_000), clear, clear + 1)
    assert min(found.kolmogorov, found.chi_square) > 1e-4
    assert found.complexity == 19_937
    assert not found.sound


@pytest.mark.parametrize("lost", ["high bits", "masks"])
def test_damaged_masks_are_found_out(lost):
    one, other = random_words(320_000), random_words(320_000)
    if lost == "high bits":
        one = one >> 1
    else:
        other = np.full(320_000, 7, np.uint32)
    found = examine(one, other, one, other)
    assert not found.sound
    assert found.auc > 0.9


def test_two_equal_worlds_cannot_be_told_apart():
    found = [two_worlds(random_words(160_000), random_words(160_000)) for _ in range(20)]
    assert stats.ttest_1samp(found, 0.5).pvalue > 1e-4
