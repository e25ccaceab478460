"""All audits of the server's view of one round, under every protection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedrec.audit.inference import Target, sign, singletons, support
from fedrec.audit.rounds import (
    Server,
    State,
    Updates,
    interaction_pairs,
    interactions,
    train_updates,
)
from fedrec.audit.scoring import NONE, Measurement, Scores, compare
from fedrec.audit.shadow import shadow_attack
from fedrec.audit.views import View, protections, see
from fedrec.rng import NO_CLIENT, Purpose, generator
from fedrec.training.node import Setup

TRAINED, PLAIN = "as trained", "no negatives"
_HELD_BACK = 5  # where all clients train, every fifth is held back as a bystander


@dataclass(frozen=True, eq=False)
class Scene:
    """One round to be audited.

    Attributes:
        setup: with the samples that the clients draw.
        state: before the round.
        round_number: the round.
        samples: "as trained" or "no negatives".
        updates: of all clients of the round.
        target: clients that are attacked, all or some of the round.
        place: int64, positions of the target among the clients of the round.
        bystanders: clients that are not in the round.
    """

    setup: Setup
    state: State
    round_number: int
    samples: str
    updates: Updates
    target: Target
    place: NDArray[np.int64]
    bystanders: Target

    @property
    def clip_norm(self) -> float:
        """The clip norm of noisy views: the median norm of the round."""
        norms = self.updates.norms
        return float(np.median(norms)) if len(norms) else 1.0


def scenes(setup: Setup, server: Server, state: State) -> Iterator[Scene]:
    """Yield the next round as trained and, where that can be, without negatives.

    Without negatives every touched row is an interaction, which is the worst case.
    """
    sampling = setup.method.sampling
    yield _scene(setup, server, state, TRAINED)
    if sampling.negatives and not sampling.pairwise:
        sampling = replace(sampling, negatives=0)
        bare = replace(setup, method=replace(setup.method, sampling=sampling))
        yield _scene(bare, server, state, PLAIN)


def _scene(setup: Setup, server: Server, state: State, samples: str) -> Scene:
    number, most = state.round_number + 1, setup.config.audit.clients
    everyone = np.flatnonzero(setup.population.samples_of_client)
    chosen = np.intersect1d(server.sample(number), everyone)
    outside = np.setdiff1d(everyone, chosen)
    order = generator(setup.config.run.seed, number, NO_CLIENT, Purpose.AUDIT)
    if len(outside) * _HELD_BACK < len(everyone):
        outside = np.sort(order.permutation(everyone)[: max(1, len(everyone) // _HELD_BACK)])
        chosen = np.setdiff1d(chosen, outside)
    bystanders = np.sort(order.permutation(outside)[:most])
    updates, _ = train_updates(setup, state, chosen, number)
    others, _ = train_updates(setup, state, bystanders, number)
    place = np.sort(order.permutation(len(updates.clients))[:most])
    return Scene(
        setup,
        state,
        number,
        samples,
        updates,
        _target(setup, updates.take(place)),
        place,
        _target(setup, others),
    )


def _target(setup: Setup, updates: Updates) -> Target:
    return Target(updates.clients, interactions(setup, updates.clients), updates.touched())


def audit_round(scene: Scene) -> Iterator[Measurement]:
    """Attack one round under every protection.

    Args:
        scene: the round.

    Yields:
        The figures: support always; sign and interaction membership where there are
        negatives to be told apart; singletons of sums.
    """
    section, config = scene.setup.config.audit, scene.setup.config
    for protection in protections(section.threshold, section.noise):
        view = see(
            scene.updates,
            protection,
            clip_norm=scene.clip_norm,
            seed=config.run.seed,
            round_number=scene.round_number,
        )
        yield from _singletons(scene, view)
        view = view.about(scene.place)
        yield from _measured(scene, view, "support", support(view, scene.target, scene.bystanders))
        if not scene.setup.method.sampling.negatives:
            continue
        known = np.concatenate(list(scene.state.shared.tables.values()), 1)
        negatives = scene.setup.method.sampling.negatives
        found = sign(view, scene.target, scene.bystanders, known, negatives)
        yield from _measured(scene, view, "sign", found)
        if scene.setup.many_users or scene.setup.model.pairwise:
            continue  # a shadow client is one user, with labels to guess
        found = shadow_attack(
            scene.setup,
            scene.state,
            view,
            scene.target,
            scene.bystanders,
            scene.round_number,
            section.shadow_passes,
        )
        yield from _measured(scene, view, "interaction", found)


def _measured(
    scene: Scene,
    view: View,
    audit: str,
    found: Mapping[str, tuple[Scores, Scores | None, float]],
) -> Iterator[Measurement]:
    for metric, (attack, guess, random) in found.items():
        value, ends, other, other_ends, gap = compare(
            attack, guess, scene.setup.config.audit.bootstrap
        )
        yield Measurement(
            audit,
            scene.samples,
            scene.round_number,
            view.protection.name,
            metric,
            value,
            ends,
            other,
            other_ends,
            random,
            gap,
            int(np.isfinite(attack.values).sum()),
        )


def _singletons(scene: Scene, view: View) -> Iterator[Measurement]:
    if not view.protection.secure or view.protection.noise:
        return  # single updates are all exposed; noise changes no count
    clients = scene.updates.clients
    pairs = interaction_pairs(scene.setup, clients)
    for metric, found in singletons(scene.updates, view, pairs).items():
        value, ends = (
            (found, NONE)
            if isinstance(found, float)
            else compare(found, None, scene.setup.config.audit.bootstrap)[:2]
        )
        nothing = float("nan")
        yield Measurement(
            "singletons",
            scene.samples,
            scene.round_number,
            view.protection.name,
            metric,
            value,
            ends,
            nothing,
            NONE,
            nothing,
            NONE,
            len(clients),
        )
