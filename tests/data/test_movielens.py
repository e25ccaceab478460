"""The two packings of ml-100k and ml-1m, on small files of the published forms."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from fedrec.data.movielens import read_1m, read_100k_grouplens, read_100k_recbole
from fedrec.errors import DataError

RATINGS = "196\t2\t3\t881250949\n22\t10\t4\t878887116\n22\t2\t5\t878887117\n"
GENRES = {"2": (1, 5), "10": (0,)}


def item_line(number: str, title: str, year: str) -> str:
    flags = "|".join("1" if n in GENRES[number] else "0" for n in range(19))
    return f"{number}|{title} ({year})|01-Jan-{year}||http://x|{flags}\n"


GROUPLENS = {
    "ml-100k/u.data": RATINGS,
    "ml-100k/u.item": item_line("10", "Così (II)", "1995") + item_line("2", "GoldenEye", "1996"),
    "ml-100k/u.user": "196|24|M|technician|85711\n22|53|F|other|94043\n",
}
RECBOLE = {
    f"recbole/dataset_example/ml-100k/ml-100k.{kind}": text
    for kind, text in {
        "inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + RATINGS,
        "item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        "2\tGoldenEye\t1996\tAction Comedy\n10\tCosì (II)\t1995\tunknown\n",
        "user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
        "22\t53\tF\tother\t94043\n196\t24\tM\ttechnician\t85711\n",
    }.items()
}


def archive(path, files, encoding):
    with zipfile.ZipFile(path, "w") as packed:
        for name, text in files.items():
            packed.writestr(name, text.encode(encoding))
    return zipfile.Path(path)


def test_both_packings_give_identical_interactions_and_attributes(tmp_path):
    first = read_100k_grouplens(archive(tmp_path / "a.zip", GROUPLENS, "latin-1"))
    second = read_100k_recbole(archive(tmp_path / "b.whl", RECBOLE, "utf-8"))
    for data in (first, second):
        rows = data.interactions
        assert data.users.ids.tolist() == ["22", "196"]
        assert data.items.ids.tolist() == ["2", "10"]
        assert rows.user.tolist() == [1, 0, 0]
        assert rows.item.tolist() == [0, 1, 0]
        assert rows.rating.tolist() == [3, 4, 5]
        assert rows.timestamp.tolist() == [881250949, 878887116, 878887117]
        attributes = {**data.items.attributes, **data.users.attributes}
        assert attributes["title"].values.tolist() == ["GoldenEye", "Così (II)"]
        assert attributes["year"].values.tolist() == [1996, 1995]
        assert attributes["age"].values.tolist() == [53, 24]
        gender = attributes["gender"]
        assert [gender.vocabulary[code] for code in gender.values] == ["F", "M"]
        genres = attributes["genres"]
        named = [{genres.vocabulary[n] for n in np.flatnonzero(row)} for row in genres.values]
        assert named == [{"Action", "Comedy"}, {"unknown"}]


def test_ml_1m(tmp_path):
    files = {
        "ml-1m/ratings.dat": "1::1193::5::978300760\n2::661::3::978302109\n",
        "ml-1m/movies.dat": "661::James and the Giant Peach (1996)::Animation|Children's\n"
        "1193::One Flew Over (1975)::Drama\n7::Never Rated (1990)::Drama\n",
        "ml-1m/users.dat": "1::F::1::10::48067\n2::M::56::16::70072\n",
    }
    data = read_1m(archive(tmp_path / "c.zip", files, "latin-1"))
    assert data.interactions.item.tolist() == [2, 1]
    assert data.items.attributes["title"].values[1] == "James and the Giant Peach"
    occupation = data.users.attributes["occupation"]
    names = [occupation.vocabulary[code] for code in occupation.values]
    assert names == ["K-12 student", "self-employed"]


@pytest.mark.parametrize(
    ("member", "text", "words"),
    [
        ("ml-100k/u.data", "1\t2\tx\t4\n", "u.data: expected numbers only"),
        ("ml-100k/u.data", "1\t2\t3\n", "expected 4 numbers on every line"),
        ("ml-100k/u.data", "5\t2\t3\t4\n", "users or movies that its files do not describe"),
        ("ml-100k/u.user", "196|24|M\n", "u.user, line 1: expected 5 fields, got 3"),
        ("ml-100k/u.item", None, "cannot read u.item of the archive"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path, member, text, words):
    files = {name: (text if name == member else old) for name, old in GROUPLENS.items()}
    files = {name: content for name, content in files.items() if content is not None}
    with pytest.raises(DataError, match=words):
        read_100k_grouplens(archive(tmp_path / "a.zip", files, "latin-1"))
