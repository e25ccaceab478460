import io
from dataclasses import replace

from rich.console import Console

from fedrec.report.tables import markdown, print_result
from tests.sample_run import sample_result


def printed(result) -> str:
    console = Console(file=io.StringIO(), width=140)
    print_result(result, console)
    return console.file.getvalue()


def test_the_console_table():
    text = printed(sample_result())
    assert "federated training costs no measurable HR@10" in text
    assert "0.118 ±0.021" in text
    assert "▼ 0.082 ±0.021" in text
    assert "▲ ▼ significantly better, worse than federated-mf" in text
    assert "leak guard: training without communication does not beat chance" in text
    assert "\x1b" not in text


def test_figures_line_up():
    lines = printed(sample_result()).splitlines()
    rows = [line for line in lines if line.startswith(("ease", "popularity"))]
    assert len({row.index("±") for row in rows}) == 1


def test_a_failed_guard_is_said():
    assert "leak guard: FAILED" in printed(replace(sample_result(), leak_guard={"passed": False}))


def test_markdown():
    lines = markdown(sample_result()).splitlines()
    assert lines[0].startswith("| system | HR@10 (full ranking) | NDCG@10 (full ranking)")
    assert lines[1] == "|---|---:|---:|---:|---:|---:|---:|"
    ease = next(line for line in lines if line.startswith("| ease"))
    assert "**0.129 ±0.021**" in ease
