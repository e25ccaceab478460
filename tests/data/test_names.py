"""Names made of numbers read like an array of strings."""

import numpy as np
import pytest

from fedrec.data.names import Numbered


def test_names_read_like_an_object_array() -> None:
    names = Numbered("user", 5)
    array = np.array([f"user-{n}" for n in range(1, 6)], dtype=object)
    assert len(names) == 5
    assert list(names) == array.tolist()
    assert names[-1] == names[np.int64(4)] == "user-5"
    for index in (slice(1, 3), np.array([4, 0]), np.array([True, False, False, True, False])):
        np.testing.assert_array_equal(names[index], array[index])
    np.testing.assert_array_equal(np.asarray(names), array)
    assert names.astype(str).dtype == "<U6"
    with pytest.raises(IndexError):
        names[5]
