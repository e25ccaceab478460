import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from fedrec.errors import MissingExtraError, OutputError
from fedrec.report.history import histories
from fedrec.report.html import render, write_report
from fedrec.results import Result, SystemResult, load_result, save_result
from tests.sample_run import sample_result, write_sample

VOID = {"meta", "br", "link", "img", "use", "path"}


class Checker(HTMLParser):
    """Collects ids, texts and addresses, and checks that tags are balanced."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.text, self.addresses = [], [], [], []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if "id" in values:
            self.ids.append(values["id"])
        self.addresses += [values[a] for a in ("src", "href", "xlink:href") if a in values]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    write_sample(directory)
    return write_report([directory], directory / "report.html").read_text()


@pytest.fixture(scope="module")
def checked(page):
    checker = Checker()
    checker.feed(page)
    return checker


def test_tags_are_balanced_and_ids_unique(checked):
    assert checked.open == []
    assert len(checked.ids) == len(set(checked.ids))


def test_it_needs_no_network(page, checked):
    assert all(address.startswith("#") for address in checked.addresses)
    assert "<script" not in page
    assert "@import" not in page
    assert not re.findall(r"url\((?!#)", page)
    allowed = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert set(re.findall(r"https?://[^\s\"'<>]+", page)) <= allowed


def test_every_reference_inside_a_figure_has_its_target(page, checked):
    targets = re.findall(r"url\(#([^)]+)\)", page) + [a[1:] for a in checked.addresses]
    assert targets
    assert set(targets) <= set(checked.ids)


def test_it_has_all_that_a_reader_needs(checked):
    text = " ".join(" ".join(checked.text).split())
    for needed in (
        "federated training costs no measurable HR@10",
        "0.097 to 0.139",
        "9f2b6c0de8a14757",
        "5a0c1be2d9f84731",
        "fedrec compare experiments/quickstart.toml",
        "not private: updates reach the server in the clear",
        "training without communication does not beat chance",
        "12.3 KiB",
        "0 duplicates of (user, item) dropped",
        "catalogue coverage",
        "Example CPU",
        "1 node failure survived",
        "train.rounds = 60",
    ):
        assert needed in text, needed


def test_figures_follow_the_scheme_of_the_page(page):
    figures = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert len(re.findall("<svg", page)) == 4
    assert "var(--ink)" in figures
    assert "var(--s0)" in figures
    assert not re.findall(r"#0[1-4]0[0-9]{3}\b", figures)


def test_the_same_run_gives_the_same_page(tmp_path):
    write_sample(tmp_path)
    result = load_result(tmp_path)
    rounds = histories(result, tmp_path)
    assert render(result, rounds) == render(result, rounds)


def test_what_a_run_says_is_escaped():
    result = replace(sample_result(), name="<script>alert(1)</script>", notes=("a < b & c",))
    page = render(result, {})
    assert "<script" not in page
    assert "a &lt; b &amp; c" in page


def test_a_bare_result_is_shown_as_it_is():
    bare = Result("r", "0.1.0", "h", {"name": "d"}, (SystemResult("f", "federated", 0),))
    page = render(bare, {})
    assert "No test metrics were recorded" in page
    assert "read this as not private" in page
    assert "Not run for this result" in page
    assert "<svg" not in page


def test_a_failed_leak_guard_is_loud():
    page = render(replace(sample_result(), leak_guard={"passed": False}), {})
    assert page.count("FAILED") == 2


def test_several_runs_in_one_report(tmp_path):
    write_sample(tmp_path / "a")
    other = replace(sample_result(), name="b", config_hash="other")
    (tmp_path / "b").mkdir()
    save_result(other, tmp_path / "b")
    page = write_report([tmp_path / "a", tmp_path / "b"], tmp_path / "both.html").read_text()
    assert "federated-mf (other)" in page


def test_without_the_extra_the_message_names_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r'pip install "fedrec\[report\]"'):
        render(sample_result(), {})


def test_a_report_that_cannot_be_written(tmp_path):
    write_sample(tmp_path)
    with pytest.raises(OutputError, match="cannot write"):
        write_report([tmp_path], tmp_path / "result.json" / "report.html")
