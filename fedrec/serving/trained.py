"""All other models on a device: a few steps of local training, and the history itself.

What is personal begins where a client of the run begins, and takes some passes over the
history with the shared part frozen: the steps of the run's own method, by the function that
trains its clients (`train_cohort`), as FedRecon does before it scores (Singhal et al.,
NeurIPS 2021).  Where a model reads the history itself (sequence models), that is its state.
The outcome depends on the history alone, not on how it came.  Imported with TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.data.batches import Samples, make_samples
from fedrec.errors import ModelError
from fedrec.models.attributed import FEATURES, PROFILE, Attributed
from fedrec.models.export_features import ReadFeatures
from fedrec.models.recommender import WHOLE_HISTORY, Recommender, Tensor, constants
from fedrec.params import Personal, Shared
from fedrec.serving.frozen import Frozen, freeze
from fedrec.serving.influence import has_influence, influence
from fedrec.serving.lone import copies, lone_population
from fedrec.serving.past import Past
from fedrec.serving.reasons import INFLUENCE, LEFT_OUT, Shares
from fedrec.training.local import train_cohort
from fedrec.training.methods import Method, build_method
from fedrec.training.rows import personal_tables
from fedrec.training.scoring import compile_score

PASSES = 20
"""Times the passes of one round: a client of a run has had as many rounds and more."""
MOST = 10
"""Latest items of the history that are left out one by one for an explanation."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A model whose personal part is trained, or which reads the history, or both.

    Attributes:
        model: as in the run.
        shared: its parameters as tensors, with its constants among the fixed.
        method: phases that move personal parameters alone; none for models without.
        seed: of the run.
        features: name of each item attribute -> its columns; empty without.
        rules: how user attributes become numbers; None for models that read none.
        profile: float32 [A'], the user's own attributes; None: all missing.
        tuned: the run scored each client with tables that it had trained, which a session
            does not.
        frozen: the model with its item side computed once, which is trained and scored
            instead; None: it has no such form.
    """

    model: Recommender
    shared: Shared
    method: Method
    seed: int
    features: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    rules: ReadFeatures | None = None
    profile: NDArray[np.float32] | None = None
    tuned: bool = False
    frozen: Frozen | None = None

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the user attributes that it reads."""
        return tuple(self._profile_fields)

    @property
    def _profile_fields(self) -> Mapping[str, tuple[int, int]]:
        return self.rules.fields if self.rules is not None else {}

    @property
    def how(self) -> str:
        """In words."""
        if not self.method.phases:
            return "the history is the state: the model reads its latest items"
        frozen = " (the run scored with tables that each client trained)" if self.tuned else ""
        return f"local training of what is personal, with the shared part frozen{frozen}"

    def of_user(self, attributes: Mapping[str, Any]) -> Trained:
        """Return the same for a user of these attributes."""
        if self.rules is None:
            return self
        return replace(self, profile=self.rules.profile(attributes))

    @cached_property
    def _served(self) -> tuple[Recommender, Shared]:
        """What is trained and scored, with tensors: the frozen form, where there is one."""
        if self.frozen is None:
            return self.model, self.shared
        return self.frozen.model, self.frozen.shared(self.profile)

    def _fresh(self, count: int) -> Personal:
        """Return what `count` clients begin with, all alike."""
        values = self._served[0].init_personal(np.zeros(1, np.int64), self.seed).values
        if self.frozen is None and self.rules is not None and self.rules.fields:
            profile = self.rules.profile({}) if self.profile is None else self.profile
            values = {**values, PROFILE: profile[None]}
        return Personal({n: np.repeat(v, count, 0) for n, v in values.items()})

    def start(self, past: Past) -> Personal:
        """Train from the start on a whole history."""
        fresh = self._fresh(1)
        if not len(past) or not self.method.phases:
            return fresh
        return self._train(fresh, self._samples(past))

    def grown(self, state: Personal, past: Past) -> Personal:
        """As `start`: a history leads to one state, however it came."""
        return self.start(past)

    def _train(self, fresh: Personal, samples: Samples) -> Personal:
        return train_cohort(*self._served, fresh, samples, self.method).personal

    def _samples(self, past: Past) -> Samples:
        every = {**self.shared.tables, **self.shared.fixed}
        size = next(iter(every.values())).shape[0]
        alone = lone_population(past, int(size))
        return make_samples(alone, np.zeros(1, np.int64), self.seed, 0, self.method.sampling)

    def scores(self, state: Personal, past: Past) -> NDArray[np.float32]:
        """Return the scores of all items, float32 [I]."""
        return _run(*self._served, state, self._histories([past.items]))[0]

    def _histories(self, lists: list[NDArray[np.int64]]) -> NDArray[np.int32]:
        """Return histories as models read them, int32 [b, H]."""
        length = int(getattr(self.model, "history_length", 0))
        if length == WHOLE_HISTORY:
            length = max(len(items) for items in lists)
        out = np.full((len(lists), length), -1, np.int32)
        for row, items in enumerate(lists):  # as many as there are reasons
            kept = items[len(items) - min(length, len(items)) :]
            out[row, length - len(kept) :] = kept
        return out

    def as_stranger(self, config: Config) -> Trained:
        """Return the same with the local steps that strategies for strangers take."""
        return replace(self, method=local_method(config, self.model, config.coldstart.steps))

    def fitted(self, past: Past, begin: Mapping[str, NDArray]) -> dict[str, NDArray]:
        """Return personal parameters trained on a past, from a beginning on; without leading axis.

        Args:
            past: not empty.
            begin: those that do not begin where the model does.
        """
        fresh = self._begun(begin)
        if not self.method.phases:
            return {n: v[0] for n, v in fresh.values.items()}
        found = self._train(fresh, self._samples(past))
        return {n: np.asarray(v)[0] for n, v in found.values.items()}

    def scored(self, values: Mapping[str, NDArray], past: Past) -> NDArray[np.float32]:
        """Return the scores of all items with these personal parameters, float32 [I]."""
        return self.scores(self._begun(values), past)

    def _begun(self, values: Mapping[str, NDArray]) -> Personal:
        """Return what one client begins with, and the values that are named (no leading axis)."""
        named = {n: np.asarray(v, np.float32)[None] for n, v in values.items()}
        return Personal({**self._fresh(1).values, **named})

    def shares(self, state: Personal, past: Past, items: NDArray[np.int64]) -> Shares:
        """Return what the scores lose without an item of the history, or an attribute."""
        others = self._attribute_shares(state, past, items)
        if len(past) and has_influence(self._served[0], self.method):
            return Shares(self._influence(state, past, items), others, INFLUENCE)
        return Shares(self.left_out(state, past, items), others, LEFT_OUT)

    def left_out(self, state: Personal, past: Past, items: NDArray[np.int64]) -> NDArray:
        """Return what scores lose where the user is trained without an item, float [k, n].

        Of the latest items of the history; of earlier ones it is 0.
        """
        left_out = np.arange(max(0, len(past) - MOST), len(past))
        history = np.zeros((len(items), len(past)))
        if len(left_out):
            scores = self._without(state, past, left_out, items)
            history[:, left_out] = (scores[-1] - scores[:-1]).T
        return history

    def _influence(self, state: Personal, past: Past, items: NDArray[np.int64]) -> NDArray:
        """Return what items of the history bring, to first order, float [k, n]."""
        model, shared = self._served

        def score(values: Mapping[str, NDArray], some: NDArray[np.int64]) -> NDArray[np.float32]:
            nothing = np.zeros((len(next(iter(values.values()))), 0), np.int32)
            return _run(model, _of(shared, some), Personal(dict(values)), nothing)

        phase, samples = self.method.phases[-1], self._samples(past)
        return influence(model, score, state.values, samples, phase, items, len(past))

    def _without(
        self, state: Personal, past: Past, left_out: NDArray[np.int64], items: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return the scores without each item, and last with all, float32 [m + 1, k].

        All are trained in one call, on the same samples but those of the item left out; the
        state has been trained on all of them.
        """
        every = [np.delete(past.items, at) for at in left_out] + [past.items]
        personal = self._fresh(len(left_out))
        if self.method.phases:
            samples = self._samples(past)
            width = len(samples.client) // len(past)
            personal = self._train(personal, copies(samples, left_out, width))
        both = {n: np.concatenate([v, state.values[n]]) for n, v in personal.values.items()}
        personal = Personal(both)
        if int(getattr(self.model, "history_length", 0)):  # rows of the history are read, too
            return _run(*self._served, personal, self._histories(every))[:, items]
        model, shared = self._served
        own = self._own(personal, items)
        return _run(model, _of(shared, items), own, self._histories(every))

    def _own(self, personal: Personal, items: NDArray[np.int64]) -> Personal:
        own = personal_tables(self.model)
        return Personal({n: v[:, items] if n in own else v for n, v in personal.values.items()})

    def _attribute_shares(
        self, state: Personal, past: Past, items: NDArray[np.int64]
    ) -> dict[tuple[str, str], NDArray]:
        """Return what scores lose where the columns of an attribute are 0."""
        if not self.features and not self._profile_fields:
            return {}
        zeroed = list(self.features.values())
        blocks = len(zeroed) + 1
        some = _of(self.shared, np.tile(items, blocks))
        if zeroed:
            kept = _without_columns(np.asarray(some.fixed[FEATURES]), zeroed)
            some = Shared(some.tables, some.weights, {**some.fixed, FEATURES: tf.constant(kept)})
        people = self._without_attributes(state)
        number = len(next(iter(people.values.values())))
        history = np.repeat(self._histories([past.items]), number, 0)
        scores = _run(self.model, some, people, history).reshape(number, blocks, len(items))
        found = {
            ("attribute", name): scores[0, 0] - scores[0, at]
            for at, name in enumerate(self.features, 1)
        }
        found |= {
            ("user attribute", name): scores[0, 0] - scores[at, 0]
            for at, name in enumerate(self._profile_fields, 1)
        }
        return found

    def _without_attributes(self, state: Personal) -> Personal:
        """Return the user, and the user without each of its attributes, [1 + m, ...]."""
        number = 1 + len(self._profile_fields)
        values = {n: np.repeat(v, number, 0) for n, v in state.values.items()}
        if self.rules is not None and self.rules.fields:
            known = self.rules.profile({}) if self.profile is None else self.profile
            profile = np.repeat(known[None], number, 0)
            for row, (begin, end) in enumerate(self._profile_fields.values(), 1):
                profile[row, begin:end] = 0.0
            values[PROFILE] = profile
        return Personal(values)


def _tensors(values: Mapping[str, NDArray]) -> dict[str, Tensor]:
    return {name: tf.constant(value) for name, value in values.items()}


def _run(
    model: Recommender, shared: Shared, personal: Personal, history: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Return the scores of b clients, float32 [b, I]."""
    groups = (shared.weights, _tensors(personal.values), shared.tables, shared.fixed)
    found: NDArray[np.float32] = compile_score(model)(*groups, tf.constant(history)).numpy()
    return found


def _of(shared: Shared, items: NDArray[np.int64]) -> Shared:
    """Return parameters with the rows of some items alone."""
    tables, fixed = (
        {n: tf.gather(v, items) for n, v in group.items()}
        for group in (shared.tables, shared.fixed)
    )
    return Shared(tables, shared.weights, fixed)


def _without_columns(
    values: NDArray[np.float32], zeroed: list[tuple[int, int]]
) -> NDArray[np.float32]:
    """Return rows in equal blocks: the first whole, each other without some columns."""
    blocks = values.reshape(len(zeroed) + 1, -1, values.shape[1]).copy()
    for at, (begin, end) in enumerate(zeroed, 1):
        blocks[at, :, begin:end] = 0.0
    return blocks.reshape(values.shape)


def local_method(config: Config, model: Recommender, epochs: int = 0) -> Method:
    """Return the method of a run with the steps that move personal parameters alone.

    Args:
        config: of the run.
        model: of the run.
        epochs: passes of the first phase of personal parameters, as strategies for strangers
            take; 0: 20 times those of a round, of all such phases.

    Raises:
        ModelError: if the model has personal parameters and the method never trains them.
    """
    method = build_method(config, pairwise=model.pairwise)
    stepping = tuple(p for p in method.phases if p.personal and p.solver == "gradient")
    own = method.before_scoring or tuple(
        replace(phase, epochs=epochs or phase.epochs * PASSES)
        for phase in (stepping[:1] if epochs else stepping)
    )
    tables = bool(personal_tables(model))  # rows of one's own move along with the shared ones,
    alone = tuple(  # whose change is then dropped, as in a round of the run
        replace(p, shared=tables, personal=True, personal_first=False, part="all", prox_mu=0.0)
        for p in own
    )
    has_own = tables or bool(model.personal_vectors)
    if has_own and not alone:
        raise ModelError(
            f"train.method = {config.train.method!r} takes no steps on personal parameters: "
            "load the model with adapt = 'closed-form'"
        )
    sampling = replace(
        method.sampling, leaky=False, known=False, propensity=None, fixed=False, support=0.0
    )
    return Method(method.name, alone if has_own else (), sampling, method.reduction)


def trained(config: Config, model: Recommender, shared: Shared, **more: Any) -> Trained:
    """Return the adaptation of a model, compiled.

    Args:
        config: of the run.
        model: bound to its items.
        shared: as exported.
        more: fields of `Trained` for models of attributes.

    Raises:
        ModelError: see `local_method`.
    """
    fixed = {**constants(model), **shared.fixed}
    tables, weights, still = (
        {n: tf.constant(v) for n, v in group.items()}
        for group in (shared.tables, shared.weights, fixed)
    )
    tensors = Shared(tables, weights, still)
    tuned = config.evaluate.table == "personalised"
    own = (local_method(config, model), config.run.seed)
    frozen = freeze(model, Shared(shared.tables, shared.weights, fixed))
    ready = Trained(model, tensors, *own, tuned=tuned, frozen=frozen, **more)
    one = Past(np.zeros(1, np.int64), np.ones(1, np.float32), np.ones(1, np.int8))
    ready.scores(ready.start(one), one)  # traces what sessions run
    return ready


def with_features(model: Any, items: Any, users: Any) -> Any:
    """Return a model, or one inside another, with features of items and of one user."""
    if isinstance(model, Attributed):
        return replace(model, items=items, users=users)
    return replace(model, model=with_features(model.model, items, users))
