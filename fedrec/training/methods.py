"""Methods say which parameters move when.  They are data, not loops.

A method is a sequence of phases that `train_cohort` runs one after the other on
the same samples of a round.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from fedrec.config import Config
from fedrec.config_graph import SUMS_FIRST
from fedrec.config_personal import FRESH
from fedrec.config_sequence import SEQUENCE_MODELS
from fedrec.config_sums import ITEM_ITEM, SUMMED
from fedrec.config_tasks import TASK_MODELS
from fedrec.data.batches import Sampling
from fedrec.training.control import SCAFFOLD
from fedrec.training.gram import GramSums
from fedrec.training.graph import GraphSums
from fedrec.training.normal import NormalSums
from fedrec.training.statistics import Statistics


@dataclass(frozen=True)
class Phase:
    """One stretch of local training.

    Attributes:
        shared: whether table rows and dense weights move.
        personal: whether personal parameters move.
        solver: "gradient", "closed-form" (personal parameters are solved for), "neighbours"
            (personal vectors are made of the rows of the client's own items), or "statistics"
            (the client adds to sums from which the server solves).
        batch: samples a step; 0 for all local samples.
        epochs: passes over the samples (full batch: number of steps).
        optimizer: "sgd" or "adam", fresh in every round.
        lr: learning rate of rows and weights.
        row_lr: learning rate of rows, where it is not 0; else `lr`.
        personal_lr: learning rate of personal parameters.
        personal_first: in every step personal parameters move first, and what is shared
            then moves along a gradient of its own; False: both at once.
        part: of the samples that it sees: "all", "support" or "query".
        l2: gradient ``l2 * value`` is added for the rows of a batch (once for each
            sample) and for personal vectors (once for each sample).
        prox_mu: gradient ``prox_mu * (value - received)`` is added to rows and weights;
            for a row of which the client was sent a guide, ``prox_mu * (row - guide)``.
        l1: gradient ``l1 * sign(value) / d`` is added for the shared rows of a batch (once
            for each sample).
        apart: weight of the mean squared difference of a client's own rows from the shared
            rows of the same items, which is to grow (once for each sample).
    """

    shared: bool = True
    personal: bool = True
    solver: str = "gradient"
    batch: int = 256
    epochs: int = 1
    optimizer: str = "sgd"
    lr: float = 0.1
    row_lr: float = 0.0
    personal_lr: float = 0.1
    personal_first: bool = False
    part: str = "all"
    l2: float = 0.0
    prox_mu: float = 0.0
    l1: float = 0.0
    apart: float = 0.0

    def at(self, round_number: int, ramp: float, decay: float) -> Phase:
        """Return the phase of a round: l1 and apart have grown, learning rates have fallen.

        Args:
            round_number: the round, from 1.
            ramp: l1 and apart are multiplied by tanh((round - 1) / ramp); 0: by 1.
            decay: rates are multiplied by its power of (round - 1).
        """
        before = max(0, round_number - 1)
        grown = math.tanh(before / ramp) if ramp else 1.0
        slower = self.slowed(decay**before)
        return replace(slower, l1=self.l1 * grown, apart=self.apart * grown)

    def slowed(self, share: float) -> Phase:
        """Return the phase at a share of its learning rates."""
        return replace(
            self,
            lr=self.lr * share,
            row_lr=self.row_lr * share,
            personal_lr=self.personal_lr * share,
        )


@dataclass(frozen=True)
class Method:
    """A federated method: phases and the samples that they see.

    Attributes:
        name: its name in tables.
        phases: in order.
        sampling: how samples are made.
        reduction: "mean" or "sum" over the samples of a batch.
        ridge: closed-form solver: ridge of the user vectors.
        statistics: what is summed; None for methods that sum changes of the parameters.
        fresh: personal parameters start anew in each round.
        before_scoring: phases that a client runs on its training interactions before it
            scores; of what they leave only personal parameters are used.
        ramp: rounds in which l1 and apart grow (see `Phase.at`); 0: they stay as they are.
        decay: learning rates of a round over those of the round before.
        sums_first: statistics are summed in the first `statistics.rounds` rounds, and the
            phases follow in the rounds after them.
        controls: clients keep control variates (see `fedrec.training.control`).
    """

    name: str
    phases: tuple[Phase, ...]
    sampling: Sampling
    reduction: str = "mean"
    ridge: float = 0.0
    statistics: Statistics | None = None
    fresh: bool = False
    before_scoring: tuple[Phase, ...] = ()
    ramp: float = 0.0
    decay: float = 1.0
    sums_first: bool = False
    controls: bool = False

    @property
    def splits(self) -> bool:
        """Whether what is shared learns from the query alone."""
        return any(phase.part == "query" for phase in self.phases)

    @property
    def personal_is_solved(self) -> bool:
        """Whether personal parameters are solved for in closed form."""
        return any(phase.solver == "closed-form" for phase in self.phases)

    @property
    def personal_is_derived(self) -> bool:
        """Whether personal parameters are a function of the shared ones and local data."""
        return self.fresh or self.personal_is_solved

    @property
    def from_neighbours(self) -> bool:
        """Whether personal vectors are made of rows, and their gradient goes back there."""
        return any(phase.solver == "neighbours" for phase in self.phases)

    def slowed(self, share: float) -> Method:
        """Return the method, all phases at a share of their learning rates."""
        return replace(self, phases=tuple(phase.slowed(share) for phase in self.phases))

    def at(self, round_number: int) -> Method:
        """Return the method of a round: sums may go block by block, or first; rates may change."""
        statistics = self.statistics
        if statistics is None:
            if self.ramp == 0 and self.decay == 1:
                return self
            phases = tuple(p.at(round_number, self.ramp, self.decay) for p in self.phases)
            return replace(self, phases=phases)
        if not self.sums_first:
            return replace(self, statistics=statistics.at(round_number))
        if round_number > statistics.rounds:
            return replace(self, statistics=None, sums_first=False)
        sampling = replace(self.sampling, negatives=0, pairwise=False)
        now = replace(self, phases=_STATISTICS, sampling=sampling, sums_first=False)
        return replace(now, statistics=statistics.at(round_number))


_STATISTICS = (Phase(personal=False, solver="statistics"),)


def _minibatch(config: Config) -> Phase:
    train = config.train
    return Phase(
        batch=train.batch,
        epochs=train.epochs,
        optimizer=train.optimizer,
        lr=train.lr,
        row_lr=train.row_lr,
        personal_lr=train.personal_lr,
        l2=train.l2,
    )


def _fedavg(config: Config) -> tuple[Phase, ...]:
    """FedAvg (McMahan et al., AISTATS 2017): local epochs on everything at once."""
    return (_minibatch(config),)


def _fedprox(config: Config) -> tuple[Phase, ...]:
    """FedProx (Li et al., MLSys 2020): FedAvg with a pull towards the received parameters."""
    return (replace(_minibatch(config), prox_mu=config.train.prox_mu),)


def _scaffold(config: Config) -> tuple[Phase, ...]:
    """SCAFFOLD (Karimireddy et al., ICML 2020): FedAvg whose gradients are corrected.

    See `fedrec.training.control`.
    """
    return (_minibatch(config),)


def _alternating(config: Config) -> tuple[Phase, ...]:
    """Personal steps with the shared part frozen, then one gradient of the shared part.

    The order of FedRecon (Singhal et al., NeurIPS 2021) and of FCF, with vectors
    that are kept between rounds; the client sends a plain gradient (lr = 1, SGD),
    which the server's optimiser applies.
    """
    phase = _minibatch(config)
    return (
        replace(phase, shared=False, batch=0, epochs=config.train.personal_steps),
        replace(phase, personal=False, batch=0, epochs=1, optimizer="sgd", lr=1.0, row_lr=0.0),
    )


def _fcf(config: Config) -> tuple[Phase, ...]:
    """FCF (Ammad-ud-din et al. 2019): closed-form user vectors, a gradient for all items."""
    gradient = Phase(personal=False, batch=0, epochs=1, optimizer="sgd", lr=1.0)
    return (replace(gradient, shared=False, personal=True, solver="closed-form"), gradient)


def _pfedrec(config: Config) -> tuple[Phase, ...]:
    """PFedRec (Zhang et al., IJCAI 2023): for each batch a step of the head, then of the rows."""
    return (replace(_minibatch(config), personal_first=True),)


def _gpfedrec(config: Config) -> tuple[Phase, ...]:
    """GPFedRec (Zhang et al., KDD 2024): PFedRec with a pull to the mean of neighbours' tables.

    The paper's weight of the mean squared distance of all I rows, reg, is prox_mu =
    2 reg / (I d).  Here a client is pulled in the rows that it touches, to the guides
    that it was sent: see `fedrec.training.user_graph`.
    """
    return (replace(_pfedrec(config)[0], prox_mu=config.train.prox_mu),)


def _fedrap(config: Config) -> tuple[Phase, ...]:
    """FedRAP (Li et al., ICLR 2024): a table of one's own added to the shared one.

    Everything moves at once.  The shared table gets an l1 penalty, and the two are
    driven apart; both weights grow with the rounds (`Method.ramp`).
    """
    return (replace(_minibatch(config), l1=config.train.l1, apart=config.train.apart),)


def _summed(config: Config) -> tuple[Phase, ...]:
    """EASE (Steck, WWW 2019) and item neighbours (Sarwar et al. 2001) from one secure sum."""
    return _STATISTICS


def _ials(config: Config) -> tuple[Phase, ...]:
    """Implicit ALS (Hu et al., ICDM 2008): users solve at home, items from sums at the server."""
    return (Phase(shared=False, solver="closed-form"), *_summed(config))


def _fedrecon(config: Config) -> tuple[Phase, ...]:
    """FedRecon (Singhal et al., NeurIPS 2021): reconstruct from the support, learn from the query.

    First `train.personal_steps` passes over the support with the shared part frozen,
    then `train.epochs` over the query with the reconstructed part frozen.
    """
    phase = _minibatch(config)
    return (
        replace(phase, shared=False, part="support", epochs=config.train.personal_steps),
        replace(phase, personal=False, part="query"),
    )


def _meta(config: Config) -> tuple[Phase, ...]:
    """Reptile (Nichol et al. 2018) and FOMAML (Finn et al., ICML 2017): a start that is learned.

    The phases of FedRecon, from the start that the server sends (`fedrec.models.started`).
    With FOMAML the gradient on the query moves the start along with the rows, where the
    support has led; with Reptile the start follows the client's own change.
    """
    return _fedrecon(config)


def _lightgcn(config: Config) -> tuple[Phase, ...]:
    """LightGCN (He et al., SIGIR 2020): a hop at home, then one gradient of what was received.

    The gradient is plain (lr = 1, SGD): the server takes it back through its own hops.
    """
    step = Phase(batch=0, epochs=1, optimizer="sgd", lr=1.0, personal_lr=1.0)
    return (replace(step, shared=False, solver="neighbours"), step)


METHODS = {
    "fedavg": _fedavg,
    "fedprox": _fedprox,
    "scaffold": _scaffold,
    "alternating": _alternating,
    "fcf": _fcf,
    "pfedrec": _pfedrec,
    "fedrecon": _fedrecon,
    "reptile": _meta,
    "fomaml": _meta,
    "gpfedrec": _gpfedrec,
    "fedrap": _fedrap,
    "ease": _summed,
    "item-knn": _summed,
    "ials": _ials,
    "lightgcn": _lightgcn,
}


def _statistics(config: Config) -> Statistics | None:
    """Return what the clients of a method sum."""
    options, noisy = config.baseline, config.privacy.mechanism != "off"
    if config.train.method == "ials":
        return NormalSums(config.model.dim, config.train.alpha, config.train.ridge)
    if config.train.method in SUMS_FIRST:
        return GraphSums(config.train.graph_rounds, config.model.layers)
    if config.train.method not in ITEM_ITEM:
        return None
    rounds, sizes = config.train.rounds, (options.ease_l2, options.knn_k, options.knn_shrink)
    window = options.ease_window if config.train.method == "ease" else 0.0
    return GramSums(config.train.method, rounds, *sizes, noisy, window=window)


def build_method(config: Config, *, pairwise: bool = False, pooled: bool = False) -> Method:
    """Return the method that `config.train.method` names.

    Args:
        config: the configuration.
        pairwise: whether the model wants (positive, negative) pairs.
        pooled: whether samples carry a user column (merchant clients, centralised).

    Returns:
        The method.
    """
    train = config.train
    explicit = config.data.feedback == "explicit"
    fcf, summed = train.method == "fcf", train.method in SUMMED
    sampling = Sampling(
        negatives=0 if explicit or fcf or summed else train.negatives,
        pairwise=pairwise,
        leaky=train.negatives_from == "legacy-leaky",
        known=train.negatives_from == "known",
        own=train.negatives_from == "own",
        all_items=fcf,
        alpha=train.alpha if fcf or train.method == "ials" else 0.0,
        pooled=pooled,
        fixed=train.resample == "once" and not summed,
        window=config.model.history if config.model.name in SEQUENCE_MODELS else 0,
        ahead=config.model.ahead if config.model.name in SEQUENCE_MODELS else 1,
        mask=config.model.contrast_mask if config.model.contrast else 0.0,
        views=bool(config.model.contrast) and config.model.name == "two-tower",
        support=train.support if train.method in FRESH else 0.0,
        levels=config.model.name in TASK_MODELS,
        propensity=(train.propensity, train.propensity_clip) if train.propensity else None,
    )
    reduction = "sum" if fcf else train.reduction
    phases, statistics = METHODS[train.method](config), _statistics(config)
    fresh = train.method in FRESH
    before = (replace(phases[0], part="all"),) if fresh else ()
    ramp, decay = (train.ramp, train.decay) if train.method == "fedrap" else (0.0, 1.0)
    sums_first, controls = train.method in SUMS_FIRST, train.method == SCAFFOLD
    given = (train.method, phases, sampling, reduction, train.ridge, statistics, fresh, before)
    return Method(*given, ramp=ramp, decay=decay, sums_first=sums_first, controls=controls)
