"""The table of simulators; all figures are invented."""

from fedrec.bench.markdown_peers import markdown_peers


def figures(seconds: float, slower: float | None, error: float, **packages: str) -> dict:
    return {"round_s": seconds, "clients_per_s": 100 / seconds, "times_slower": slower,
            "update_error": error, "versions": packages}  # fmt: skip


WORKLOADS = {
    "W1": {
        "fedrec": figures(0.02, 1.0, 0.0, fedrec="0.1.0"),
        "FedJAX": figures(0.1, 5.0, 6.1e-4, fedjax="0.0.17", jax="0.10.2"),
        "Flower, Ray": figures(4.0, 200.0, 0.02, flwr="1.42.0"),
    },
    "W3": {
        "fedrec": figures(0.125, 1.0, 1e-7, fedrec="0.1.0"),
        "FedJAX": {"error": "more than 600 s for 6 rounds"},
    },
}


def test_simulators_stand_side_by_side() -> None:
    lines = markdown_peers(WORKLOADS).splitlines()
    assert lines[0] == (
        "| simulator | W1: s a round | clients/s | times slower | update error "
        "| W3: s a round | clients/s | times slower | update error |"
    )
    assert lines[1] == "|---|" + "---:|" * 8
    assert lines[2] == "| fedrec | 0.020 | 5,000 | 1.0 | 0 | 0.125 | 800 | 1.0 | 1e-07 |"
    assert lines[3] == "| FedJAX | 0.100 | 1,000 | 5.0 (4) | 0.0006 | – | – | – | – |"
    assert lines[4] == "| Flower, Ray | 4.000 | 25 | 200.0 (100) | 0.02 | – | – | – | – |"
    assert "fedrec 0.1.0, fedjax 0.0.17, jax 0.10.2, flwr 1.42.0." in lines[6]


def test_empty_cells_and_another_training_are_explained() -> None:
    lines = markdown_peers(WORKLOADS).splitlines()
    assert lines[7:] == [
        "",
        "* Flower, Ray, W1: its update is not that of fedrec.",
        "* FedJAX, W3: more than 600 s for 6 rounds.",
    ]


def test_without_fedrec_beside_it_there_is_no_ratio() -> None:
    lines = markdown_peers({"W1": {"pfl-research": figures(0.2, None, 1e-3)}}).splitlines()
    assert lines[2] == "| pfl-research | 0.200 | 500 | – (10) | 0.001 |"
    assert lines[-1].startswith("In brackets")
    assert lines[-1].endswith("it was not reached.")
