"""``fedrec calibrate``: a budget into noise and back, and what it refuses."""

import pytest

from fedrec.cli import main


def fedrec(capsys, *arguments):
    with pytest.raises(SystemExit) as done:
        main(["calibrate", *arguments])
    out, err = capsys.readouterr()
    return done.value.code, out, err


ROUNDS = ("--clients-per-round", "600", "--rounds", "500", "--population", "6040")


def test_noise_for_a_budget(capsys):
    code, out, _ = fedrec(capsys, "--epsilon", "4", "--delta", "1e-5", *ROUNDS)
    assert code == 0
    first, second = out.splitlines()
    assert first.startswith("noise multiplier 2.55")
    assert second == (
        "(epsilon 4, delta 1e-05, 500 rounds, sampling poisson; "
        "neighbours differ by adding or removing one client)"
    )


def test_epsilon_of_noise(capsys):
    code, out, _ = fedrec(capsys, "--noise", "1", *ROUNDS)
    assert code == 0
    assert out.startswith("epsilon 14.8")
    assert "delta 6.93e-05" in out


def test_the_sampler_decides_who_are_neighbours(capsys):
    small = ("--clients-per-round", "10", "--rounds", "2", "--population", "50", "--noise", "5")
    given = {
        s: fedrec(capsys, "--sampling", s, *small)[1].splitlines()
        for s in ("poisson", "fixed", "all")
    }
    epsilon = {s: float(lines[0].split()[1]) for s, lines in given.items()}
    assert epsilon["poisson"] < epsilon["fixed"] < epsilon["all"]
    assert "replacing one client" in given["fixed"][1]


def test_distributed_noise_is_dearer_where_the_sample_is_no_secret(capsys):
    given = ("--epsilon", "4", "--delta", "1e-5", *ROUNDS)
    code, out, _ = fedrec(capsys, *given, "--mechanism", "distributed")
    assert code == 0
    first, second = out.splitlines()
    assert first.startswith("noise multiplier 8.5")  # the server's own noise: 2.55
    assert "of the fewest clients that a round accepts" in second
    assert "neighbours differ by the data of one client" in second
    everyone = ("--sampling", "all", "--noise", "20", "--delta", "1e-5", *ROUNDS)
    central = float(fedrec(capsys, *everyone)[1].split()[1])
    told = fedrec(capsys, *everyone, "--mechanism", "distributed", "--steps", "65536")[1]
    assert central < float(told.split()[1]) < 1.1 * central  # nothing to amplify: the same


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either --epsilon, to get the noise, or --noise, to get epsilon"),
        (("--epsilon", "1", "--noise", "1"), "give either --epsilon"),
        (("--noise", "-1"), "--noise -1: expected a positive value"),
        (("--epsilon", "0"), "expected epsilon > 0"),
        (("--epsilon", "1", "--delta", "2"), "--delta 2: expected a value between 0 and 1"),
        (("--epsilon", "1", "--sampling", "poison"), "Did you mean 'poisson'?"),
        (("--epsilon", "1", "--population", "10"), "--clients-per-round 600 is more than"),
        (("--epsilon", "1", "--mechanism", "distribute"), "Did you mean 'distributed'?"),
        (
            ("--noise", "1", "--mechanism", "distributed", "--steps", "0"),
            "--steps 0: expected a positive value",
        ),
    ],
)
def test_refusals(capsys, arguments, message):
    code, _, err = fedrec(capsys, *ROUNDS, *arguments)
    assert code == 2
    assert message in err
