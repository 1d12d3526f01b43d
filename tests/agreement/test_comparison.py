from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.agreement import Comparing, Comparison, Said, compare_sides, read_side, take_table
from bioprobe.agreement.comparison import relate
from bioprobe.agreement.kappa import measure_kappa
from bioprobe.errors import SelectionError, SourceError
from bioprobe.intervals import Accuracy, Resamples, measure_share
from bioprobe.taxonomy import RANKS, Rank


def _taxon(**names: str) -> Said:
    lineage = tuple(names.get(rank.value.replace("class", "class_"), "") for rank in RANKS)
    return Said(lineage, content="animal")


LEO = _taxon(kingdom="Animalia", family="Felidae", genus="Panthera", species="Panthera leo")
TIGER = _taxon(kingdom="Animalia", family="Felidae", genus="Panthera", species="Panthera tigris")
FELIDAE = _taxon(kingdom="Animalia", family="Felidae")
WOLF = _taxon(genus="Canis", species="Canis lupus")
DOG = _taxon(genus="Canis", species="Canis lupus familiaris")
OENANTHE = {"genus": "Oenanthe", "species": "Oenanthe oenanthe"}


@pytest.mark.parametrize(
    ("first", "second", "relation", "depth"),
    [
        (LEO, LEO, "same", 6),
        (LEO, TIGER, "different", 5),
        (LEO, FELIDAE, "second above", 4),
        (FELIDAE, LEO, "first above", 4),
        (WOLF, DOG, "first above", 6),
        # A homonym, by its kingdom and by its family.
        (_taxon(kingdom="Animalia", **OENANTHE), _taxon(kingdom="Plantae", **OENANTHE),
         "different", -1),
        (_taxon(family="Muscicapidae", **OENANTHE), _taxon(family="Apiaceae", **OENANTHE),
         "different", -1),
        # Two lists that place one animal differently.
        (_taxon(kingdom="Animalia", order="Cetacea", **OENANTHE),
         _taxon(kingdom="Animalia", order="Artiodactyla", **OENANTHE), "same", 6),
        (_taxon(family="Felidae"), _taxon(species="Panthera leo"), "nothing in common", -1),
        (Said(content="blank"), LEO, "different", -1),
        (Said(content="animal"), LEO, "first above", -1),
        (Said(content="blank"), Said(content="blank"), "same", -1),
        (Said(label="Tiger"), Said(TIGER.lineage, common_name="tiger"), "same", -1),
        (Said(label="tiger"), Said(label="Tiger"), "same", -1),
        (Said(label="tiger"), Said(label="lion"), "different", -1),
        (Said(), LEO, "second only", -1),
        (LEO, Said(), "first only", -1),
        (Said(), Said(), "neither", -1),
    ],
)  # fmt: skip
def test_two_answers_stand_to_each_other(
    first: Said, second: Said, relation: str, depth: int
) -> None:
    assert (relate(first, second).relation, relate(first, second).depth) == (relation, depth)


def _table(
    species: list[str], scores: list[float] | None = None, **more: list[str]
) -> pd.DataFrame:
    frame = pd.DataFrame({"file_name": [f"{n}.jpg" for n in range(len(species))]})
    frame["species"] = species
    return frame.assign(**({} if scores is None else {"score": scores}), **more)


def _compare(first: pd.DataFrame, second: pd.DataFrame, **how: object) -> Comparison:
    one, other = take_table(first, "a"), take_table(second, "b")
    return compare_sides(one, other, Comparing(**how))  # type: ignore[arg-type]


CAT, LYNX, DOGS = "Felis catus", "Lynx lynx", "Canis lupus"


def test_agreement_and_kappa_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import cohen_kappa_score

    first = [CAT, CAT, LYNX, DOGS, DOGS, CAT, LYNX, DOGS]
    second = [CAT, LYNX, LYNX, DOGS, CAT, CAT, LYNX, DOGS]
    found = _compare(_table(first), _table(second)).agreement.set_index("level").xs("species")
    assert (found["n_pictures"], found["n_agree"]) == (8, 6)
    assert found["kappa"] == pytest.approx(cohen_kappa_score(first, second))
    assert found["kappa_low"] < found["kappa"] < found["kappa_high"]
    assert found["agreement_low"] < 0.75 < found["agreement_high"]


def test_regions_of_one_picture_tell_as_much_as_one() -> None:
    first, second = _table([CAT] * 4 + [LYNX] * 8), _table([CAT] * 8 + [LYNX] * 4)
    boxes = [f"0.{n},0.1,0.1,0.1" for n in range(4)] * 3
    pictures = [f"{n // 4}.jpg" for n in range(12)]
    both = [one.assign(file_name=pictures, image_region=boxes) for one in (first, second)]
    alone, together = (_compare(*pair).agreement.iloc[0] for pair in ((first, second), both))
    assert alone["agreement"] == together["agreement"]
    assert together["n_pictures"] == 12
    assert together["agreement_low"] < alone["agreement_low"] - 0.1
    plainly = measure_share(np.repeat([1, 0, 1], 4), np.array(pictures))
    assert (together["agreement_low"], together["agreement_high"]) == pytest.approx(
        (plainly.low, plainly.high)
    )


def test_what_neither_answers_is_no_disagreement() -> None:
    found = _compare(_table([CAT, LYNX, ""]), _table([CAT, "", ""]))
    assert found.counts == {"same": 1, "first only": 1, "neither": 1}
    overall = found.agreement.set_index("level").xs("answer")
    assert [overall[name] for name in ("n_pictures", "n_agree", "agreement")] == [2, 1, 0.5]


def test_the_queue_has_the_surest_on_both_sides_first() -> None:
    first = _table([CAT, CAT, CAT, CAT, CAT], [0.9, 0.6, 0.8, 0.9, 0.9])
    second = _table([LYNX, DOGS, DOGS, CAT, ""], [0.5, 0.9, 0.8, 0.9, 0.9])
    queue = _compare(first, second).queue
    assert queue["file_name"].tolist() == ["2.jpg", "1.jpg", "0.jpg", "4.jpg"]
    assert queue["relation"].tolist() == ["different"] * 3 + ["first only"]
    assert queue["place"].tolist() == [1, 2, 3, 4]
    # A person's answer has no score, and counts as sure.
    unscored = _compare(first, second.drop(columns="score")).queue
    assert unscored["file_name"].tolist() == ["0.jpg", "2.jpg", "1.jpg", "4.jpg"]


def test_moves_have_the_commonest_first_and_count_what_is_above_apart() -> None:
    family = ["Felidae"] * 4
    first = _table([CAT, CAT, LYNX, CAT], family=family)
    second = _table([LYNX, LYNX, CAT, ""], family=family)
    found = _compare(first, second)
    assert found.counts == {"second above": 1, "different": 3}
    moves = found.moves
    shown = moves[["first", "second", "n_pictures", "common"]]
    assert shown.iloc[0].tolist() == [CAT, LYNX, 2, "Felidae"]
    assert moves["relation"].value_counts().to_dict() == {"different": 2, "second above": 1}
    overall = found.agreement.set_index("level").xs("answer")
    assert (overall["n_pictures"], overall["n_agree"]) == (4, 1)


def test_every_way_of_comparing_has_an_effect() -> None:
    family = ["Felidae"] * 4
    first = _table([CAT, "Felis lynx", CAT, CAT], family=family, burst=["x", "x", "y", "y"])
    second = _table([LYNX, LYNX, CAT, CAT], family=family)
    assert _compare(first, second).counts == {"same": 2, "different": 2}
    synonyms = {"Felis lynx": LYNX}
    assert _compare(first, second, synonyms=synonyms).counts == {"same": 3, "different": 1}
    assert _compare(first, second, rank=Rank.FAMILY).counts == {"same": 4}
    wide, narrow = (
        _compare(first, second, group=group).agreement.iloc[0] for group in ("burst", None)
    )
    assert wide["agreement_low"] < narrow["agreement_low"]
    with pytest.raises(SelectionError, match="there are: burst"):
        _compare(first, second, group="brust")
    scores = [0.11, 0.53, 0.27, 0.36], [0.1, 0.74, 0.5, 0.95]
    scored = [frame.assign(score=one) for frame, one in zip((first, second), scores, strict=True)]
    shifts = {
        _compare(*scored, n_resamples=n, seed=seed).shift.low
        for n, seed in ((50, 0), (50, 1), (70, 0))
    }
    assert len(shifts) == 3


def test_holes_are_filled_by_other_answers_and_by_a_list() -> None:
    first, second = _table([CAT, LYNX]), _table(["", ""], family=["Felidae", "Felidae"])
    assert set(_compare(first, second).counts) == {"nothing in common"}
    upper = ("Animalia", "", "", "", "Felidae")
    listed = [(*upper, "Felis", CAT), (*upper, "Lynx", LYNX)]
    assert _compare(first, second, taxa=listed).counts == {"second above": 2}
    # The second says elsewhere what family the name is of.
    told = _table(["", LYNX, LYNX], family=["Felidae"] * 3)
    assert _compare(_table([LYNX, CAT, ""]), told).counts["second above"] == 1


def test_the_best_answer_of_a_picture_counts_and_its_shift_is_told() -> None:
    first = _table([CAT, LYNX], [0.2, 0.9]).assign(file_name="0.jpg")
    second = _table([LYNX], [0.5])
    found = _compare(first, second)
    assert found.counts == {"same": 1}
    assert found.shift.estimate == pytest.approx(-0.4)
    ranked = first.assign(answer=[1, 2])
    assert _compare(ranked, second).counts == {"different": 1}


def test_a_table_that_answers_nothing_is_warned_of() -> None:
    warning = "answers nothing: is it a table of answers?"
    assert any(warning in str(note) for note in _compare(_table([CAT]), _table([""])).notes)
    assert not any(warning in str(note) for note in _compare(_table([CAT]), _table([LYNX])).notes)


def test_answers_without_a_picture_in_common_are_refused() -> None:
    with pytest.raises(SourceError, match=r"no picture in common.*such as 0\.jpg.*other\.jpg"):
        _compare(_table([CAT]), _table([CAT]).assign(file_name="other.jpg"))


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json", "tsv"])
def test_tables_of_every_kind_are_read(tmp_path: Path, suffix: str) -> None:
    # As pybioclip writes it: one row an answer, the epithet apart.
    frame = pd.DataFrame(
        {
            "file_name": ["a.jpg", "a.jpg", "b.jpg"], "family": ["Felidae", "Felidae", "Canidae"],
            "genus": ["Felis", "Lynx", "Canis"], "species_epithet": ["catus", "lynx", "lupus"],
            "species": [CAT, LYNX, DOGS], "common_name": ["cat", "lynx", "wolf"],
            "score": [0.3, 0.6, 0.9],
        }
    )  # fmt: skip
    path = tmp_path / f"answers.{suffix}"
    if suffix == "json":
        path.write_text(json.dumps({"provenance": None, "rows": frame.to_dict("records")}))
    elif suffix == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if suffix == "tsv" else ",")
    side = read_side(path)
    assert side.files == ("a.jpg", "b.jpg")
    assert [one.name for one in side.said] == [LYNX, DOGS]
    assert side.scores.tolist() == [0.6, 0.9]


def test_the_output_of_other_tools_is_read(tmp_path: Path) -> None:
    lion = "id;mammalia;carnivora;felidae;panthera;leo;lion"
    entries = [
        {"filepath": "p/1.jpg", "prediction": lion, "prediction_score": 0.8},
        {"filepath": "p/2.jpg", "prediction": "id;;;;;;blank", "prediction_score": 0.7},
    ]
    (tmp_path / "net.json").write_text(json.dumps({"predictions": entries}))
    rows = ["File,RelativePath,DeleteFlag,Species", "1.jpg,p,false,Panthera leo",
            "2.jpg,p,false,empty"]  # fmt: skip
    (tmp_path / "people.csv").write_text("\n".join(rows))
    net, people = (read_side(tmp_path / name) for name in ("net.json", "people.csv"))
    assert net.scores.tolist() == [0.8, 0.7]
    assert [one.name for one in net.said] == ["Panthera leo", "blank"]
    assert compare_sides(net, people).counts == {"same": 2}
    (tmp_path / "bare.csv").write_text("path,site\n1.jpg,a\n")
    with pytest.raises(SourceError, match="says of none what it shows"):
        read_side(tmp_path / "bare.csv")


@pytest.mark.shared
def test_tables_of_field_people_agree_with_each_other(shared_dir: Path) -> None:
    files = shared_dir / "data" / "field-files"
    names = ("camtrap_dp", "excel_de.csv", "windows_paths.csv", "speciesnet_predictions.json")
    package, excel, windows, net = (read_side(files / name) for name in names)
    assert set(compare_sides(excel, windows).counts) == {"same"}
    assert compare_sides(package, excel).counts == {"same": 7, "different": 1}
    found = compare_sides(net, package)
    assert found.queue["second"].tolist() == ["Alces alces"]
    assert found.agreement["level"].tolist()[1] == "content"


def test_the_interval_of_kappa_covers() -> None:
    # A rare class, few images: where an interval by the standard error alone covers a third.
    random = np.random.default_rng(1)
    shares, kappa, n_draws, n_covered = np.array([0.85, 0.15]), 0.8, 60, 0
    joint = kappa * np.diag(shares) + (1 - kappa) * np.outer(shares, shares)
    for draw in range(n_draws):
        cells = random.choice(4, size=40, p=joint.ravel())
        resamples = Resamples(np.arange(40), 200, draw)
        found = measure_kappa(cells // 2, cells % 2, resamples)
        n_covered += not found.low > kappa and not found.high < kappa
    assert n_covered >= 0.9 * n_draws


@pytest.mark.parametrize("is_turned", [False, True])
def test_one_who_always_gives_one_class_agrees_as_by_chance(*, is_turned: bool) -> None:
    sides = np.zeros(40, dtype=np.int64), np.arange(40) % 2
    found = measure_kappa(*(sides[::-1] if is_turned else sides), Resamples(np.arange(40), 20))
    # Half agree, half would by chance: kappa is 2 p - 1 of Wilson's ends of the share that does.
    low, high = Accuracy(1, 20, 40).interval
    assert (found.estimate, found.low, found.high) == pytest.approx((0, 2 * low - 1, 2 * high - 1))


def test_kappa_of_one_group_lies_anywhere_between_no_agreement_and_all() -> None:
    first = np.arange(40) % 4
    found = measure_kappa(first, first[::-1], Resamples(np.zeros(40, dtype=np.int64), 20))
    # A quarter agree by chance: where nothing does, kappa is -1/4 of 3/4.
    assert (found.low, found.high) == pytest.approx((-1 / 3, 1))


def test_resampling_agrees_with_the_standard_error_of_fleiss() -> None:
    random = np.random.default_rng(2)
    first = random.integers(3, size=2000)
    second = np.where(random.random(2000) < 0.7, first, random.integers(3, size=2000))
    found = measure_kappa(first, second, Resamples(np.arange(2000), 300, 0))
    table = np.zeros((3, 3))
    np.add.at(table, (first, second), 1 / 2000)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    chance, kappa = rows @ columns, found.estimate
    diagonal = np.diag(table) @ (1 - (rows + columns) * (1 - kappa)) ** 2
    weights = (columns[:, None] + rows[None, :]) ** 2 * (1 - np.eye(3))
    rest = (1 - kappa) ** 2 * (table * weights).sum()
    variance = (diagonal + rest - (kappa - chance * (1 - kappa)) ** 2) / 2000 / (1 - chance) ** 2
    assert found.high - found.low == pytest.approx(2 * 1.96 * variance**0.5, rel=0.15)


def test_a_name_with_holes_above_it_agrees_at_its_rank_with_any_of_its_homonyms() -> None:
    kingdoms = ["Animalia", "Plantae", "", ""], ["Plantae", "Plantae", "Animalia", "Plantae"]
    names = ["Oenanthe oenanthe"] * 4
    found = _compare(_table(names, kingdom=kingdoms[0]), _table(names, kingdom=kingdoms[1]))
    assert found.relations == ("different", "same", "same", "same")
    of_level = {one.level: one for one in found.agreements}
    assert [of_level[one].n_agree for one in ("answer", "genus", "species")] == [3, 3, 3]
