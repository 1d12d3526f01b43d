from __future__ import annotations

import datetime
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.errors import SelectionError
from bioprobe.images import ImageTable
from bioprobe.images.conditions import match_rows, name_values_of

FRAME = pd.DataFrame(
    {
        "path": ["a.jpg", "b.jpg", "c (1).jpg", "IMG_9.JPG", "it's.png"],
        "family": ["Felidae", "Canidae", "", "Felidae", "Ursidae"],
        "class": ["Mammalia", "Mammalia", "Aves", "", "Mammalia"],
        "width_px": [100, 600, 700, 700, 5],
        "height_px": [100, 300, 900, 700, 6],
        "score": [0.5, np.nan, 1.5, -2.0, 0.0],
        "note": ["x", None, "y [z]", "X", ""],
        "is_blank": [True, False, True, False, False],
        "seen": [True, None, False, True, None],
        "when": pd.to_datetime(
            ["2020-01-01", "NaT", "2021-06-01", "2022-01-01 10:00", "1999-12-31"], format="ISO8601"
        ),
        "site": pd.Categorical(["north", "south", None, "north", "east"]),
        "size": pd.Categorical(
            ["small", "large", None, "middle", "small"],
            categories=["small", "middle", "large"],
            ordered=True,
        ),
        "my site": ["x", "y", "y", "", "it's"],
        "code": ["007", "7", "08", "", "x"],
    }
)

# Each worked before there was a language of our own, when pandas evaluated it.
AS_PANDAS_DOES = """
family == 'Felidae'
family != 'Felidae'
'Felidae' == family
family == "Felidae"
family == 'Fel' 'idae'
(((family))) == 'Felidae'
family == ''
note == 'x'
note != 'x'
note < 'y'
note == None
note != None
note > None
note in ['x', None]
note not in ['x', None]
family < 'E'
'E' < family
path == "it's.png"
path == 'it\\'s.png'
`my site` == 'y'
`my site` == "it's"
`my site`.isna()
`class` == 'Aves' or `class` == ''
code == '007'
width_px > height_px
width_px == height_px
width_px > -5
- 5 < width_px
+5 < width_px
-width_px < -500
width_px > 1e2
width_px > 0x10
width_px == None
width_px > 99999999999999999999999999
100 < width_px < 700
100 <= width_px <= 700 and is_blank
0 < height_px < width_px
width_px in [600, 700]
width_px in (600, 700,)
width_px not in [600, 700]
width_px in []
width_px in [-5, 5.0]
score > 0
score == 0.5
score != 0.5
score <= 0
not score > 0
~(score > 0)
score in [0.5, None]
score in [0.5, 'x']
width_px * height_px > 100000
width_px / height_px > 1.5
width_px // 200 == 0
width_px % 200 == 100
width_px + 1 == 101
width_px - height_px > 0
2 * 300 == width_px
width_px / 0 > 1
width_px > (5 - 2) * 3
is_blank
not is_blank
~is_blank
not not is_blank
is_blank == True
is_blank == 1
is_blank == 'x'
is_blank != (width_px > 500)
is_blank > 0
seen == True
seen != True
seen in [True]
when > '2020-06-01'
when <= '2020-01-01'
'2020-06-01' < when
'2020-06-01' < when < '2021-12-31'
site == 'north'
site != 'north'
site == 'nowhere'
site in ['north', 'nowhere']
site in [None]
size < 'large'
size >= 'middle'
size == 'small'
note == site
family == note
family in 'Felidae'
family in ('Felidae')
family in ['Felidae', 'Canidae']
family not in ['Felidae', 'Canidae']
family == ['Felidae', 'Canidae']
family != ['Felidae', 'Canidae']
['Felidae'] == family
family == 'Felidae' and width_px > 500
family == 'Felidae' & width_px > 500
family == 'Felidae' | width_px > 500
(family == 'Felidae') & (width_px > 500)
(family == 'Felidae') & ~is_blank
not family == 'Felidae' and is_blank
not (is_blank and seen == True)
is_blank & is_blank | ~is_blank
path == 'a.jpg' or path == 'b.jpg' and is_blank
family.isna()
note.isna()
note.isnull()
note.notna()
~note.isna()
not note.notnull()
note.isna() == False
score.isna()
site.isna()
when.isna()
seen.isna() | (width_px > 600)
path.str.contains('jpg')
path.str.contains('(1)', regex=False)
path.str.contains('\\\\(1\\\\)')
path.str.contains('^[ab]|png$')
path.str.contains('a', case=False)
note.str.contains('x')
note.str.contains('x', na=True)
note.str.contains('x', case=False, na=False)
not note.str.contains('x')
note.str.startswith('x')
path.str.endswith('.jpg')
site.str.contains('th')
site.str.startswith('n')
  family == 'Felidae'
family == 'Felidae' # of cats
index < 3
""".strip("\n").splitlines()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    """An image table as a store gives it: written, and read again."""
    path = tmp_path_factory.mktemp("table") / "images.parquet"
    ImageTable.build(FRAME).frame.to_parquet(path)
    return ImageTable.build(pd.read_parquet(path))


@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("condition", AS_PANDAS_DOES)
def test_what_pandas_can_evaluate_gives_the_same_rows(table: ImageTable, condition: str) -> None:
    expected = np.flatnonzero(np.asarray(table.frame.eval(condition)))
    assert table.match(condition).tolist() == expected.tolist()


def test_the_conditions_tell_the_rows_apart(table: ImageTable) -> None:
    """A comparison of nothing with nothing would pass too."""
    n_rows = [len(table.match(condition)) for condition in AS_PANDAS_DOES]
    assert sum(0 < n < len(table) for n in n_rows) > 0.8 * len(AS_PANDAS_DOES)


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("code == 7", [1]),
        ("code == 007.0", []),
        ("width_px == '600'", [1]),
        ("width_px in ['600', 5]", [1, 4]),
        ("code > 7", [2]),
        ("code >= 7", [0, 1, 2]),
        ("isna(note)", [1]),
        ("notna(note)", [0, 2, 3, 4]),
        ("isna(`my site`) or isna(score)", [1]),
        ("contains(path, '(1)')", [2]),
        ("contains(path, 'img', case=False)", [3]),
        ("contains(path, '.')", [0, 1, 2, 3, 4]),
        ("contains(note, '')", [0, 2, 3, 4]),
        ("contains(site, 'th') and not contains(site, 'north')", [1]),
        ("class == 'Aves'", [2]),
        ("contains(class, 'alia')", [0, 1, 4]),
        ("`path` == 'a `class` apart'", []),
        ("`class` in ['Aves', 'class & order']", [2]),
    ],
)
def test_its_own_words_are_understood(table: ImageTable, condition: str, rows: list[int]) -> None:
    assert table.match(condition).tolist() == rows


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("when == '2020-01-01'", [0]),
        ("when != '2020-01-01'", [1, 2, 3, 4]),
        ("when in ['2020-01-01', '1999-12-31']", [0, 4]),
        ("when > '2021-06-01 00:00'", [3]),
        ("when > '2022-01-01T11:30+02:00'", [3]),
    ],
)
@pytest.mark.parametrize("zone", [None, "UTC"])
def test_dates_are_compared_with_dates(condition: str, rows: list[int], zone: str | None) -> None:
    frame = FRAME.assign(when=FRAME["when"].dt.tz_localize(zone))
    assert np.flatnonzero(match_rows(frame, condition)).tolist() == rows


def test_days_are_dates_too() -> None:
    days = [datetime.date(2020, 1, 1), None, datetime.date(2021, 6, 1)]
    frame = pd.DataFrame({"day": pd.Series(days, dtype=object)})
    assert match_rows(frame, "day >= '2020-12-31'").tolist() == [False, False, True]
    assert match_rows(frame, "day == '2020-01-01'").tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("n > 1", [False, False, True]),
        ("n != 1", [False, True, True]),
        ("n in [1, 3]", [True, False, True]),
        ("sure == True", [True, False, False]),
        ("sure != True", [False, True, True]),
        ("contains(word, 'o')", [True, False, True]),
    ],
)
def test_columns_that_keep_holes_apart_can_be_asked(condition: str, expected: list[bool]) -> None:
    frame = pd.DataFrame(
        {
            "n": pd.array([1, None, 3], dtype="Int64"),
            "sure": pd.array([True, None, False], dtype="boolean"),
            "word": pd.array(["one", None, "two"], dtype="string"),
        }
    )
    assert match_rows(frame, condition).tolist() == expected


def test_a_name_is_found_however_its_letters_are_composed() -> None:
    frame = pd.DataFrame({"Größe": [1, 2], "\u00b5m": [3, 4]})
    condition = "Größe == 2 and `Größe` > 1 and \u00b5m == 4"
    assert match_rows(frame, condition).tolist() == [False, True]


def test_a_column_is_found_in_either_form_of_its_name() -> None:
    frame = pd.DataFrame({"Gro\u0308\u00dfe (cm)": [1, 2]})
    assert match_rows(frame, "`Gr\u00f6\u00dfe (cm)` == 2").tolist() == [False, True]


@pytest.mark.parametrize("n", [0, 1])
def test_a_table_may_have_no_row(n: int) -> None:
    frame = FRAME.iloc[:n].drop(columns="size")
    for condition in ("family == 'Felidae' and not is_blank", "isna(note)", "contains(note, 'q')"):
        assert match_rows(frame, condition).tolist() == [False] * n


@pytest.mark.parametrize(
    "condition",
    [
        "family.to_csv('x.csv')",
        "family.to_csv('x.csv') == None",
        "isna(family.to_csv('x.csv'))",
        "family.str.contains(family.to_csv('x.csv'))",
        "family.str.contains('a', na=family.to_csv('x.csv'))",
        "family in [family.to_csv('x.csv')]",
        "path.str.cat.to_csv('x.csv')",
        "`my site`.to_csv('x.csv')",
        "@__builtins__",
        "@pd.io.common.os.system('touch x.csv') == 0",
        "__builtins__ == 1",
        "__import__('os')",
        "__import__('os').system('touch x.csv') == 0",
        "open('x.csv', 'w') == 0",
        "exec(\"open('x.csv', 'w')\")",
        "family.__class__.__mro__ == 1",
        "family.values.tofile('x.csv') == 0",
        "family.str == 1",
        "family.isna",
        "family.isna().sum() == 0",
        "family.isna(1)",
        "family.isin(['Felidae'])",
        "family.apply(print) == 0",
        "(lambda: family)() == 1",
        "lambda: True",
        "[f for f in family]",
        "family in [f for f in 'abc']",
        "{f: 1 for f in family}",
        "(f for f in family)",
        "f'{family}' == family",
        "f\"{open('x.csv', 'w')}\" == family",
        "family == f'{path}'",
        "(x := is_blank)",
        "family[0] == 'Felidae'",
        "family[:] == 'Felidae'",
        "family if is_blank else path",
        "family is None",
        "family in path",
        "'Felidae' in family",
        "family in {'Felidae'}",
        "family in [['Felidae']]",
        "width_px in 600",
        "width_px ** 2 > 5",
        "9**9**9**9 > width_px",
        "width_px << 5 > 3",
        "width_px @ width_px > 3",
        "'a' * 9999999999 == family",
        "family + 'x' == path",
        "is_blank * 3 > 5",
        "-family == 'x'",
        "width_px > '5'",
        "site < 'south'",
        "family == b'Felidae'",
        "width_px > 1j",
        "width_px > ...",
        "*family",
        "await family",
        "yield family",
        "import os",
        "family == 'x'; import os",
        "family == 'x'\nimport os",
        "del family",
        "x: int = 5",
        "family",
        "True",
        "width_px",
        "seen",
        "is_blank and width_px",
        "1 == 1",
        "width_px.str.contains('x')",
        "width_px.str.contains(5)",
        "path.str.contains('(')",
        "path.str.contains('x', 0)",
        "path.str.contains('x', flags=2)",
        "path.str.contains('x', **{'na': True})",
        "contains(path)",
        "contains(path, family)",
        "contains('a', 'a')",
        "isna('a')",
        "isna()",
        "when > 'garbage'",
        "when > 5",
        "1 / 0 > width_px",
        "family ==",
        "family == 'x",
        "`family == 'x'",
        "`` == 'x'",
        "",
        "   ",
        "#",
        "\0",
        "family == '\ud800' and",
        "(" * 10_000 + "is_blank" + ")" * 10_000,
        "not " * 10_000 + "is_blank",
        "~" * 10_000 + "is_blank",
        "width_px > " + "-" * 10_000 + "1",
        "width_px > 1" + " + 1" * 10_000,
        "family in " + "[" * 10_000 + "]" * 10_000,
        "width_px > " + "9" * 10_000,
        "family" + ".str" * 10_000,
        "is_blank" + "()" * 10_000,
    ],
)
def test_anything_else_is_refused_and_does_nothing(
    table: ImageTable, condition: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SelectionError, match=r"cannot be applied \(.+\); columns: |is not true or"):
        table.match(condition)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("famly == 'x'", "there is no column famly; did you mean family?"),
        ("isna(my_site)", "there is no column my_site; did you mean `my site`?"),
        ("`my  site` == 'x'", "there is no column `my  site`; did you mean `my site`?"),
        ("zzzzzzzz == 1", "there is no column zzzzzzzz)"),
        ("`class`.to_csv('x')", "`class`.to_csv('x') is no part of a condition; write columns, "),
        ("family is None", "write ==, isna(column) or notna(column)"),
        ("'Fel' in family", "contains(column, 'text')"),
        ("x = 3", "is not true or false for each image; write == to compare"),
        ("seen", "is not true or false for each image; compare seen with something"),
        ("not is_blank and width_px", "compare width_px with something"),
        ("is_blank and (1 < 2)", "neither 1 nor 2 is a column"),
        ("path.str.contains('x', flags=2)", "contains takes case, na, regex = True or False"),
        ("contains(width_px, '1')", "contains searches texts, and width_px holds none"),
        ("not " * 3000 + "is_blank", "it is nested too deeply; write it flatter"),
    ],
)
def test_a_refusal_says_what_to_write(table: ImageTable, condition: str, expected: str) -> None:
    with pytest.raises(SelectionError) as caught:
        table.match(condition)
    assert expected in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_long_condition_that_is_flat_is_read(table: ImageTable) -> None:
    names = [f"{number}.jpg" for number in range(20_000)]
    assert table.match(f"path in {[*names, 'a.jpg']!r}").tolist() == [0]
    one_by_one = " or ".join(f"path == '{name}'" for name in [*names[:2000], "b.jpg"])
    assert table.match(one_by_one).tolist() == [1]


def test_a_wicked_pattern_comes_to_an_end() -> None:
    frame = pd.DataFrame({"note": ["a" * 5000 + "!"]})
    assert match_rows(frame, "note.str.contains('(a+)+$')").tolist() == [False]
    assert match_rows(frame.astype(object), "note.str.contains('(a|a)*b')").tolist() == [False]


def test_a_deep_condition_does_no_harm_in_a_small_thread(table: ImageTable) -> None:
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            table.match("not " * 10_000 + "is_blank")
        except SelectionError as error:
            raised.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert len(raised) == 1


IDS = pd.DataFrame(
    {
        "id": ["20240513123045000", "20240513123045001", "007", "7", "+5", "1e5", None],
        "share": ["0.50", "1", "0.5", "2.25", "10", None, "1.0"],
        "tenth": ["0.1", "0.10", "3", None, None, None, None],
        "flag": ["true", "false", "TRUE", "True", "false", "False", "true"],
        "n": pd.array([1, 2, None, 4, 5, 6, 7], dtype="Int64"),
        "name": ["Mu\u0308ller", "M\u00fcller ", "Muller", "x", "x", "x", None],
        "twin": ["M\u00fcller", "y", "Muller", "1", "x", "", None],
        "Catalogue No.": ["A 1", "A 2", "A 1", "", "", "", None],
    }
)


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("id == 20240513123045001", [1]),
        ("id == '20240513123045001'", [1]),
        ("id in [20240513123045001, '007', 1e5]", [1, 2, 5]),
        ("id > 20240513123045000", [1]),
        ("20240513123045000 < id", [1]),
        ("id == 7", [3]),
        ("id == '7'", [3]),
        ("id == '007'", [2]),
        ("id == +5", [4]),
        ("id == 5", []),
        ("id == 1e5", [5]),
        ("id == 100000", []),
        ("id != 7", [0, 1, 2, 4, 5, 6]),
        ("share == 0.5", [0, 2]),
        ("share == '0.5'", [2]),
        ("share == 1", [1, 6]),
        ("tenth == 0.1", [0, 1]),
        ("tenth > 0.1", [2]),
        ("tenth in [0.1, 3]", [0, 1, 2]),
        ("share >= 2", [3, 4]),
        ("share * 2 > n", [3, 4]),
        ("share > n", [4]),
        ("flag", [0, 2, 3, 6]),
        ("not flag and n > 2", [4, 5]),
        ("flag == True", [0, 2, 3, 6]),
        ("flag == 'True'", [3]),
        ("n == '4'", [3]),
        ("n == '4.0'", []),
        ("name == 'M\u00fcller'", [0, 1]),
        ("name == 'Mu\u0308ller'", [0, 1]),
        ("name in ['Mu\u0308ller', 'q']", [0, 1]),
        ("contains(name, '\u00fc')", [0, 1]),
        ("name.str.startswith('Mu\u0308')", [0, 1]),
        ("name == twin", [0, 2, 4]),
        ("twin == n", []),
        ("`Catalogue No.` == 'A 1'", [0, 2]),
    ],
)
def test_a_cell_is_found_by_what_is_written_in_it(condition: str, rows: list[int]) -> None:
    assert np.flatnonzero(match_rows(IDS, condition)).tolist() == rows


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("Catalogue No. == 'A 1'", "write it in backticks: `Catalogue No.` == 'value'; in a shell"),
        ("n > 2 and Catalogue No.", "the column Catalogue No. is not one word"),
        ("id == 007", "a number that begins with 0 is a text: write it in quotes, '007'"),
        ("id ==", "it is not complete; write columns"),
        ("n >= '3'", "n holds numbers, '3' is a text; leave the quotes out"),
        ("name > 3", "name holds no numbers; write the text in quotes"),
        ("n ! 3", "it cannot be read at '! 3'"),
    ],
)
def test_what_cannot_be_read_is_said_in_our_own_words(condition: str, expected: str) -> None:
    with pytest.raises(SelectionError) as caught:
        match_rows(IDS, condition)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("name == 'Mullar'", "name has no 'Mullar' (nearest: 'Muller'); it has 'x' (3), "),
        ("n == 3", "n has no '3'"),
        ("n > 70", "n is 1 to 7"),
        ("flag == 'true' and n == 2", "flag has 'true' (2), 'false' (2), "),
        ("`Catalogue No.` in ['A3']", "`Catalogue No.` has no 'A3' (nearest: 'A 1')"),
        ("isna(n) and notna(n)", ""),
    ],
)
def test_what_nothing_meets_is_told_which_values_there_are(condition: str, expected: str) -> None:
    assert not match_rows(IDS, condition).any()
    assert name_values_of(IDS, condition).startswith(expected)
