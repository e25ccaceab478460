"""The example of the Python interface works, and finds what is in its data."""

from experiments import example


def test_the_example(tmp_path, capsys):
    result = example.main(tmp_path)
    out = capsys.readouterr().out
    assert "300 customers, 120 products" in out
    hits = result.summary().query("metric == 'test.full.hr@10'").set_index("system")["mean"]
    assert hits["federated-mf"] > 2 * hits["popularity"]
    assert hits["centralised-mf"] > 2 * hits["popularity"]
    assert (tmp_path / "comparison" / "result.json").is_file()
    assert result.leak_guard["passed"]
