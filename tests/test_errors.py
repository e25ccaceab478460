import pytest

from fedrec import errors
from fedrec.errors import FedrecError, MissingExtraError, nearest


def test_every_error_is_a_fedrec_error_with_exit_code_2():
    children = [
        e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, FedrecError)
    ]
    assert len(children) >= 8
    assert {child.exit_code for child in children} == {2}


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("ml-100", ["ml-100k", "ml-1m"], " Did you mean 'ml-100k'?"),
        ("train.table_lr", ["server.table_lr", "train.lr"], " Did you mean 'train.lr'?"),
        ("x.table_lr", ["server.table_lr", "a.b"], " Did you mean 'server.table_lr'?"),
        ("zzz", ["b", "a", "a"], " Known: a, b."),
        ("zzz", [], " Known: ."),
    ],
)
def test_the_nearest_known_word(name, known, hint):
    assert nearest(name, known) == hint


def test_a_missing_extra_says_what_to_install():
    error = MissingExtraError("implicit", "baselines", "the iALS baseline")
    assert str(error) == (
        "the iALS baseline needs the package 'implicit', which is not installed. "
        'Install it with: pip install "fedrec[baselines]"'
    )


def test_of_many_known_words_the_first_are_listed():
    hint = nearest("zzzzzz", [f"{n:03}" for n in range(457)])
    assert hint.startswith(" Known: 000, 001, ")
    assert hint.endswith(", 029 and 427 more.")
