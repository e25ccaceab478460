import json

import pytest

from fedrec.errors import OutputError
from fedrec.report.history import histories, parse_round, read_history, validation_curve
from fedrec.results import SystemResult, load_result
from tests.sample_run import history, write_sample


def write(file, lines):
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_rounds_are_read(tmp_path):
    rounds = read_history(write(tmp_path / "rounds.jsonl", history(10, 1, 0.06)))
    assert [r.number for r in rounds] == list(range(1, 11))
    assert rounds[8].failed_nodes == ("node 3: connection lost",)
    assert validation_curve(rounds, "full.hr@10") == ([5, 10], [0.12, 0.12])


def test_a_last_line_that_is_cut_off_is_left_aside(tmp_path):
    file = write(tmp_path / "rounds.jsonl", history(3, 0, 0.06))
    file.write_text(file.read_text()[:-20])
    assert [r.number for r in read_history(file)] == [1, 2]


def test_a_broken_line_before_the_last_is_an_error(tmp_path):
    file = tmp_path / "rounds.jsonl"
    file.write_text('{"round": 1}\nnonsense\n{"round": 3}\n')
    with pytest.raises(OutputError, match="line 2: not a round, the file is corrupted"):
        read_history(file)


def test_an_absent_file(tmp_path):
    with pytest.raises(OutputError, match="cannot read the rounds"):
        read_history(tmp_path / "rounds.jsonl")


def test_lines_may_be_sparse_nested_or_skipped():
    line = parse_round(
        {
            "round": 4,
            "skipped": "2 clients, 10 needed",
            "valid": {"full": {"hr@10": 0.1}},
            "clients": [1, 2],
        }
    )
    assert (line.loss, line.skipped, line.clients) == (None, "2 clients, 10 needed", 2)
    assert line.valid == {"full.hr@10": 0.1}
    assert parse_round({"round": 1, "failed_nodes": 2}).failed_nodes == ("unknown reason",) * 2


def test_histories_of_a_result(tmp_path):
    write_sample(tmp_path)
    found = histories(load_result(tmp_path), tmp_path)
    assert list(found) == [("federated-mf", 0), ("federated-mf", 1), ("federated-mf", 2)]


def test_a_single_run_keeps_its_rounds_beside_the_result(tmp_path):
    from tests.sample_run import sample_result

    write(tmp_path / "rounds.jsonl", history(3, 0, 0.06))
    systems = (SystemResult("f", "federated", 0), SystemResult("ease", "baseline", 0))
    from dataclasses import replace

    found = histories(replace(sample_result(), systems=systems), tmp_path)
    assert list(found) == [("f", 0)]
