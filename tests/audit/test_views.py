"""What a server sees under each protection."""

import numpy as np
import pytest

from fedrec.audit.views import Protection, clip, protections, see
from tests.audit.audit_cases import updates_of

UPDATES = updates_of(
    [{0: [3.0, 4.0], 1: [1.0, 0.0]}, {1: [2.0, 0.0]}, {1: [0.0, 1.0], 3: [1.0, 1.0]}], 5
)


def view(protection, **keys):
    return see(UPDATES, protection, **{"clip_norm": 1.0, "seed": 0, "round_number": 1, **keys})


def test_off_shows_every_client():
    seen = view(Protection("off", secure=False))
    ((where, rows),) = seen.blocks()
    assert (where.start, where.stop, rows.shape) == (0, 3, (3, 5, 2))
    assert rows[0, 0].tolist() == [3.0, 4.0]
    assert seen.floor == 0.0
    assert [len(r) for _, r in seen.about(np.array([0, 2])).blocks()] == [2]


def test_a_secure_sum_shows_the_sum():
    ((_, rows),) = view(Protection("sum", secure=True)).blocks()
    assert rows[0].tolist() == [[3, 4], [3, 1], [0, 0], [1, 1], [0, 0]]


def test_a_threshold_hides_rows_with_few_contributors():
    seen = view(Protection("sum", secure=True, threshold=2))
    assert seen.hidden.tolist() == [True, False, False, True, False]
    ((_, rows),) = seen.blocks()
    assert rows[0].tolist() == [[0, 0], [3, 1], [0, 0], [0, 0], [0, 0]]
    assert seen.about(np.array([1])) is seen


def test_clipping_bounds_whole_updates():
    clipped = clip(UPDATES, 1.5)
    assert np.allclose(clipped.norms, [1.5, 1.5, 1.5])
    assert np.allclose(clip(UPDATES, 100.0).rows, UPDATES.rows)


@pytest.mark.parametrize("secure", [False, True])
def test_noise_has_its_deviation_and_is_addressed(secure):
    big = updates_of([{0: [1.0] * 8}, {1: [1.0] * 8}], 2000)
    noisy = Protection("noise", secure=secure, noise=2.0)
    seen = [see(big, noisy, clip_norm=0.5, seed=s, round_number=1) for s in (0, 0, 1)]
    rows = [np.concatenate([r for _, r in v.blocks()]) for v in seen]
    assert (rows[0] == rows[1]).all()
    assert (rows[0] != rows[2]).all()
    assert np.std(rows[0][:, 2:]) == pytest.approx(1.0, rel=0.03)
    norms = np.linalg.norm(rows[0][0, 2:], axis=1)
    assert 0 <= (norms > seen[0].floor).sum() <= 6  # one of 2000 on average


def test_protections_go_from_none_to_all():
    names = [p.name for p in protections(5, 1.0)]
    assert names[0] == "off"
    assert len(set(names)) == 6
    assert [p.threshold for p in protections(7, 1.0)].count(7) == 2
