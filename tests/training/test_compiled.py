"""Functions that are compiled once, whatever the sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from fedrec.training.compiled import compile_once


def nested(traces: list[int]) -> Any:
    """A function of a dict, a tuple and a number, that counts how often it is traced."""

    def run(named: dict[str, Any], pair: tuple[Any, Any], rate: Any) -> dict[str, Any]:
        traces.append(1)
        return {
            "sum": rate * tf.reduce_sum(named["a"], 0) + named["b"],
            "ids": tf.gather(pair[0], pair[1]),
        }

    return compile_once(run, (1, 1, 0))


def arguments(rows: int, picks: int) -> tuple[Any, ...]:
    a = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
    ids = np.arange(rows, dtype=np.int32) * 10
    return {"a": a, "b": tf.constant([0.5, 1.5])}, (ids, np.arange(picks) % rows), np.float32(2)


def test_arrays_of_all_sizes_need_one_trace() -> None:
    """Tensors and arrays of three types, some empty, come out as they went in."""
    traces: list[int] = []
    run = nested(traces)
    for rows, picks in ((1, 0), (3, 5), (7, 1), (3, 0)):
        named, (ids, chosen), rate = arguments(rows, picks)
        found = run(named, (ids, chosen), rate)
        np.testing.assert_allclose(found["sum"], rate * named["a"].sum(0) + [0.5, 1.5])
        assert found["ids"].numpy().tolist() == ids[chosen].tolist()
        assert found["ids"].dtype == tf.int32
    assert len(traces) == 1


def test_other_types_and_fixed_sizes_are_traced_anew() -> None:
    traces: list[int] = []
    run = nested(traces)
    named, (ids, chosen), rate = arguments(3, 2)
    run(named, (ids, chosen), rate)
    run(named, (ids.astype(np.int64), chosen), rate)
    assert len(traces) == 2
    wide = {"a": np.ones((3, 4), np.float32), "b": tf.zeros(4)}
    assert run(wide, (ids, chosen), rate)["sum"].shape == (4,)
    assert len(traces) == 3
    run({**wide, "b": np.zeros(4, np.float32)}, (ids, chosen), rate)
    assert len(traces) == 4
    run({**wide, "b": np.ones(4, np.float32)}, (ids, chosen), rate)
    assert len(traces) == 4


def test_only_the_free_axes_may_vary() -> None:
    """Sizes of the other axes are known inside."""
    shapes = []

    def run(value: Any) -> Any:
        shapes.append(value.shape.as_list())
        return value

    compiled = compile_once(run, (2,))
    value = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(compiled(value), value)
    np.testing.assert_array_equal(compiled(value[:1, :2]), value[:1, :2])
    assert shapes == [[None, None, 4]]


def test_integers_and_truth_values_keep_their_types() -> None:
    compiled = compile_once(lambda n, flag: tf.where(flag, n, -n), (0, 1))
    found = compiled(np.int32(3), np.array([True, False]))
    assert found.dtype == tf.int32
    assert found.numpy().tolist() == [3, -3]
