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
    interaction_pairs,
    interactions,
    train_updates,
)
from fedrec.audit.scoring import NONE, Attack, Measurement, compare
from fedrec.audit.shadow import shadow_attack
from fedrec.audit.views import Noise, View, noise_of, protections, see
from fedrec.rng import NO_CLIENT, Purpose, generator
from fedrec.robust.updates import Updates
from fedrec.training.node import Setup

TRAINED, PLAIN = "as trained", "no negatives"


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
    """

    setup: Setup
    state: State
    round_number: int
    samples: str
    updates: Updates
    target: Target
    place: NDArray[np.int64]

    @property
    def noise(self) -> Noise:
        """The noise of noisy views; the median norm is the clip norm of a run without one."""
        norms = self.updates.norms
        median = float(np.median(norms)) if len(norms) else 1.0
        return noise_of(self.setup, self.state.shared, median, self.round_number)


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
    order = generator(setup.config.run.seed, number, NO_CLIENT, Purpose.AUDIT)
    updates, _ = train_updates(setup, state, chosen, number)
    place = np.sort(order.permutation(len(updates.clients))[:most])
    about = updates.take(place)
    target = Target(about.clients, interactions(setup, about.clients), about.touched())
    return Scene(setup, state, number, samples, updates, target, place)


def audit_round(scene: Scene) -> Iterator[Measurement]:
    """Attack one round under every protection.

    Args:
        scene: the round.

    Yields:
        The figures: support always; sign and interaction membership where there are
        negatives to be told apart; singletons of sums.
    """
    section, noise, counts = scene.setup.config.audit, scene.noise, scene.updates.counts
    open_rows = not ((counts > 0) & (counts <= section.threshold)).any()
    found: dict[bool, list[Measurement]] = {}
    for protection in protections(section.threshold):
        if protection.threshold and open_rows:  # it hides nothing: the view is the same
            same = found[protection.noisy]
            yield from (replace(measured, protection=protection.name) for measured in same)
            continue
        measured = list(_attacked(scene, see(scene.updates, protection, noise)))
        if protection.secure:
            found[protection.noisy] = measured
        yield from measured


def _attacked(scene: Scene, view: View) -> Iterator[Measurement]:
    """Make all attacks on one view."""
    setup, state, number = scene.setup, scene.state, scene.round_number
    negatives = setup.method.sampling.negatives
    yield from _singletons(scene, view)
    view = view.about(scene.place)
    yield from _measured(scene, view, "support", support(view, scene.target))
    if not negatives:
        return
    known = np.concatenate(list(state.shared.tables.values()), 1)
    yield from _measured(scene, view, "sign", sign(view, scene.target, known, negatives))
    if setup.many_users or setup.model.pairwise:
        return  # a shadow client is one user, with labels to guess
    passes = setup.config.audit.shadow_passes
    found = shadow_attack(setup, state, view, scene.target, number, passes)
    yield from _measured(scene, view, "interaction", found)


def _measured(
    scene: Scene, view: View, audit: str, found: Mapping[str, Attack]
) -> Iterator[Measurement]:
    replicates = scene.setup.config.audit.bootstrap
    for metric, attack in found.items():
        value, ends, other, other_ends, gap = compare(attack.value, attack.guess, replicates)
        _, _, side, side_ends, gain = compare(attack.value, attack.side, replicates)
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
            attack.random,
            gap,
            int(np.isfinite(attack.value.values).sum()),
            side,
            side_ends,
            gain,
        )


def _singletons(scene: Scene, view: View) -> Iterator[Measurement]:
    if not view.protection.secure or view.protection.noisy:
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
