from __future__ import annotations

import pytest

from fedrec.config import from_flat
from fedrec.data.batches import Sampling
from fedrec.errors import ConfigError
from fedrec.training.methods import Phase, build_method
from tests.training.cohorts import configuration


def test_fedavg_moves_everything_at_once() -> None:
    config = configuration(train__epochs=2, train__l2=0.1, train__batch=8)
    method = build_method(config)
    assert method.phases == (Phase(batch=8, epochs=2, lr=0.5, personal_lr=0.3, l2=0.1),)
    assert method.reduction == "mean"
    assert method.sampling == Sampling(negatives=3)
    assert not method.personal_is_derived


def test_fedprox_is_fedavg_with_a_pull() -> None:
    (phase,) = build_method(configuration(train__method="fedprox", train__prox_mu=0.7)).phases
    (plain,) = build_method(configuration()).phases
    assert (phase.prox_mu, plain.prox_mu) == (0.7, 0.0)


def test_alternating_sends_one_gradient_after_personal_steps() -> None:
    method = build_method(
        configuration(train__method="alternating", train__personal_steps=5, train__optimizer="adam")
    )
    first, second = method.phases
    assert (first.shared, first.personal, first.batch, first.epochs) == (False, True, 0, 5)
    assert first.optimizer == "adam"
    assert (second.shared, second.personal, second.batch, second.epochs) == (True, False, 0, 1)
    assert (second.optimizer, second.lr) == ("sgd", 1.0)


def test_fcf_solves_and_sends_a_gradient_for_all_items() -> None:
    method = build_method(
        configuration(
            train__method="fcf", model__loss="squared", train__alpha=3.0, train__ridge=2.0
        )
    )
    assert [p.solver for p in method.phases] == ["closed-form", "gradient"]
    assert method.personal_is_derived
    assert (method.reduction, method.ridge) == ("sum", 2.0)
    assert method.sampling == Sampling(negatives=0, all_items=True, alpha=3.0)


def test_samples_follow_the_feedback_and_the_model() -> None:
    ratings = configuration(data__feedback="explicit", model__loss="squared")
    assert build_method(ratings).sampling.negatives == 0
    assert build_method(configuration(), pairwise=True, pooled=True).sampling == Sampling(
        negatives=3, pairwise=True, pooled=True
    )
    leaky = configuration(train__negatives_from="legacy-leaky")
    assert build_method(leaky).sampling.leaky


def test_fcf_is_for_user_clients() -> None:
    with pytest.raises(ConfigError, match="'fcf' is for clients.unit = 'user', not 'merchant'"):
        from_flat({"train.method": "fcf", "model.loss": "squared", "clients.unit": "merchant"})


def test_pfedrec_moves_the_head_before_the_rows() -> None:
    method = build_method(configuration(train__method="pfedrec", train__row_lr=9.0))
    (phase,) = method.phases
    assert (phase.shared, phase.personal, phase.personal_first) == (True, True, True)
    assert (phase.row_lr, phase.lr, phase.personal_lr) == (9.0, 0.5, 0.3)
    assert not method.personal_is_derived


def test_fedrecon_reconstructs_from_the_support_and_learns_from_the_query() -> None:
    method = build_method(configuration(train__method="fedrecon", train__support=0.3))
    first, second = method.phases
    assert (first.shared, first.personal, first.part, first.epochs) == (False, True, "support", 3)
    assert (second.shared, second.personal, second.part) == (True, False, "query")
    assert method.sampling.support == 0.3
    assert method.personal_is_derived
    assert method.splits
    (before,) = method.before_scoring
    assert (before.part, before.shared) == ("all", False)
    plain = build_method(configuration())
    assert (plain.sampling.support, plain.before_scoring, plain.splits) == (0.0, (), False)


def test_a_gradient_that_is_sent_as_it_is_has_no_rate_of_rows() -> None:
    method = build_method(configuration(train__method="alternating", train__row_lr=9.0))
    assert (method.phases[1].lr, method.phases[1].row_lr) == (1.0, 0.0)


@pytest.mark.parametrize("name", ["reptile", "fomaml"])
def test_starts_are_learned_with_the_phases_of_fedrecon(name: str) -> None:
    method = build_method(configuration(train__method=name, train__support=0.3))
    recon = build_method(configuration(train__method="fedrecon", train__support=0.3))
    assert (method.phases, method.before_scoring) == (recon.phases, recon.before_scoring)
    assert (method.fresh, method.sampling) == (True, recon.sampling)
    assert method.name == name
