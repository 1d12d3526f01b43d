"""The question status, and its command: of labels, zero-shot, probes and tables of answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.cli.app import run
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import MisuseError, SelectionError
from bioprobe.intervals import find_wilson, measure_share
from tests.conftest import alter_images
from tests.conservation.conftest import TOKEN, Clock, Served, assess

CATS = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae")
DOGS = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae")
# Name, lineage, code in the table, and images.
SPECIES = {
    "Panthera leo": (CATS, "VU", 12), "Lynx lynx": (CATS, "LC", 12),
    "Lycaon pictus": (DOGS, "Endangered", 12), "Vulpes vulpes": (DOGS, "LR/lc", 8),
    "Canis nullus": (DOGS, "", 4), "Canis obscurus": (DOGS, "DD", 4),
}  # fmt: skip
CODES = ["VU"] * 12 + ["LC"] * 12 + ["EN"] * 12 + ["LC"] * 8 + [""] * 4 + ["DD"] * 4
N = len(CODES)


@pytest.fixture(scope="module")
def made(make_once: Callable[..., Path]) -> Path:
    """Make a store of six species, an image without a label last, and a table of statuses."""
    from bioprobe.store import EmbeddingStore
    from tests.conftest import PlainEncoder

    def fill(folder: Path) -> None:
        random = np.random.default_rng(3)
        rows: list[dict[str, Any]] = []
        vectors = []
        for name, (lineage, _, n) in SPECIES.items():
            mean = random.normal(size=16)
            for number in range(n):
                vectors.append(mean + 0.6 * random.normal(size=16))
                rows.append({
                    **dict(zip(("kingdom", "phylum", "class", "order", "family"), lineage,
                               strict=True)),
                    "genus": name.split()[0], "species": name, "site": "ab"[number % 2],
                    "burst": f"{name} {number // 2}",
                    "captured_at": f"2024-{number % 12 + 1:02d}-01 10:00:00",
                })  # fmt: skip
        rows.append({"site": "a", "captured_at": ""})
        vectors.append(random.normal(size=16))
        frame = pd.DataFrame(rows).fillna("").assign(root="photos")
        frame["path"] = [f"{n:02d}.jpg" for n in range(len(frame))]
        frame["sha256"] = [f"{n:064x}" for n in range(len(frame))]
        store = EmbeddingStore.open_for(folder / "store", PlainEncoder())
        store.append(frame, normalise_rows(np.array(vectors, dtype=np.float32)))
        lines = [f"{name};{code};{lineage[-1]}" for name, (lineage, code, _) in SPECIES.items()]
        text = "\n".join(["Scientific name;Red List;Family", *lines])
        (folder / "statuses.csv").write_text(text, encoding="utf-8")

    return make_once("status", fill)


@pytest.fixture
def store(made: Path, monkeypatch: pytest.MonkeyPatch) -> bp.Store:
    from tests.conftest import PlainEncoder

    monkeypatch.setattr("bioprobe.encoders.load_encoder", lambda *_, **__: PlainEncoder())
    return bp.open(made / "store")


@pytest.fixture
def table(made: Path) -> Path:
    return made / "statuses.csv"


def ask(store: bp.Store, *args: Any, n_resamples: int = 20, **more: Any) -> Any:  # noqa: ANN401
    """Ask with few resamples: an interval is looked at in few tests."""
    return store.status(*args, n_resamples=n_resamples, **more)


def say(found: Any) -> str:  # noqa: ANN401
    return "\n".join(map(str, found.notes))


def pick(table: pd.DataFrame, **wanted: object) -> dict[Any, Any]:
    """Return the one row that has these values."""
    (row,) = (
        one for one in table.to_dict("records") if all(one[k] == v for k, v in wanted.items())
    )
    return row


def test_labels_have_the_status_of_the_table_and_unknown_stays_unknown(
    store: bp.Store, table: Path
) -> None:
    found = ask(store, table, labels=True)
    frame = found.to_frame()
    assert frame["status"].tolist() == CODES
    threats = {"VU": "threatened", "EN": "threatened", "LC": "not threatened", "DD": "", "": ""}
    assert frame["threatened"].tolist() == [threats[code] for code in CODES]
    names = ["p_threatened", "p_not_threatened", "p_neither", "p_no_status"]
    shares = frame[names].to_numpy()
    assert (shares.sum(axis=1) == 1).all()
    assert shares[44].tolist() == [0, 0, 0, 1]
    assert shares[48].tolist() == [0, 0, 1, 0]
    assert "1 images have no label of a taxon, and are left out" in say(found)
    assert "of 44 it is known whether they are threatened: of these 0.545" in say(found)
    assert "are in no list of statuses: Canis nullus (4); their status is unknown" in say(found)
    fox = pick(found.taxa, name="Vulpes vulpes")
    assert (fox["status"], fox["n_images"], fox["covers"]) == ("LC", 8, "Vulpes vulpes LC (LR/lc)")


def test_counts_have_wilsons_interval_of_the_images_and_of_groups(
    store: bp.Store, table: Path
) -> None:
    by_site = ask(store, table, labels=True, by="site", group="site").counts
    assert set(by_site["site"]) == {"", "a", "b"}
    row = pick(by_site, site="a", status="threatened")
    assert (row["n_images"], row["of_images"]) == (12, 26)
    counts = ask(store, table, labels=True, group="sha256").counts
    row = pick(counts, status="threatened")
    assert (row["n_images"], row["of_images"], row["n_taxa"]) == (24, N, 2)
    expected = find_wilson(24 / N, N, 1.959963984540054)
    assert [row["low"], row["high"]] == pytest.approx(expected)
    # Two images of a burst say hardly more than one: the interval is wider.
    bursts = ask(store, table, labels=True, group="burst").counts
    wide = pick(bursts, status="threatened")
    assert wide["n_units"] == 12
    assert wide["low"] < row["low"] < row["high"] < wide["high"]
    frame = ask(store, table, labels=True).to_frame()
    groups = store._view.images.frame["burst"].to_numpy()[frame["row"]]
    plainly = measure_share(frame["threatened"].to_numpy() == "threatened", groups, 20)
    assert (wide["low"], wide["high"]) == pytest.approx((plainly.low, plainly.high))


def test_month_and_season_are_those_of_the_time(store: bp.Store, table: Path) -> None:
    months = ask(store, table, labels=True, by="month").counts
    n_in_may = 1 + 1 + 1 + 1
    row = pick(months, month="05", status="LC")
    assert (row["n_images"], row["of_images"]) == (2, n_in_may)
    seasons = ask(store, table, labels=True, by="season").counts
    assert set(seasons["season"]) == {
        "", "December to February", "March to May", "June to August", "September to November",
    }  # fmt: skip
    assert set(ask(store, table, labels=True, by="year").counts["year"]) == {"", "2024"}
    folders = ask(store, table, labels=True, by="folder").counts
    assert set(folders["folder"]) == {"", "(none)"}


def sum_by_status(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Sum all classes by hand, one row an image."""
    code_of = {name: {"Endangered": "EN", "LR/lc": "LC"}.get(code, code)
               for name, (_, code, _) in SPECIES.items()}  # fmt: skip
    codes = frame[column].map(code_of).fillna("")
    summed: pd.DataFrame = frame["score"].groupby([frame["row"], codes]).sum().unstack(fill_value=0)
    return summed


def test_zero_shot_sums_all_classes_not_only_the_best(store: bp.Store, table: Path) -> None:
    found = ask(store, table).to_frame()
    expected = sum_by_status(store.zeroshot("species", k=6).to_frame(), "species")
    np.testing.assert_allclose(found["p_threatened"], expected["EN"] + expected["VU"], atol=1e-6)
    np.testing.assert_allclose(found["p_not_threatened"], expected["LC"], atol=1e-6)
    np.testing.assert_allclose(found["p_neither"], expected["DD"], atol=1e-6)
    np.testing.assert_allclose(found["p_no_status"], expected[""], atol=1e-6)
    likeliest = expected.drop(columns="").idxmax(axis=1)
    known = found["status"] != ""
    assert (found["status"][known] == likeliest.to_numpy()[known]).all()
    assert (expected[""].to_numpy()[~known] >= expected.drop(columns="").max(axis=1)[~known]).all()


def test_a_list_of_candidates_leaves_a_share_without_a_status(
    store: bp.Store, table: Path, tmp_path: Path
) -> None:
    (tmp_path / "taxa.csv").write_text("species\nPanthera leo\nFelis nulla\n")
    frame = ask(store, table, taxa=tmp_path / "taxa.csv").to_frame()
    plain = store.zeroshot("species", taxa=tmp_path / "taxa.csv", k=2).to_frame()
    own = plain[plain["species"] == "Felis nulla"].sort_values("row")["score"]
    np.testing.assert_allclose(frame["p_no_status"], own, atol=1e-6)


def test_what_may_occur_and_how_frequent_it_is_count(
    store: bp.Store, table: Path, tmp_path: Path
) -> None:
    (tmp_path / "prior.csv").write_text("taxon,weight\nPanthera leo,8\nLynx lynx,1\n")
    asked: dict[str, Any] = {"within": "Felidae,Lycaon pictus,!Lynx lynx",
                             "prior": tmp_path / "prior.csv", "prior_floor": 0.1}  # fmt: skip
    found = ask(store, table, **asked)
    frame = found.to_frame()
    plain = store.zeroshot("species", k=6, **asked).to_frame()
    outside = plain.groupby("row")["share_outside"].first()
    threatened = plain["species"].isin(["Panthera leo", "Lycaon pictus"])
    expected = plain["score"].where(threatened, 0).groupby(plain["row"]).sum()
    np.testing.assert_allclose(frame["p_threatened"], expected, atol=1e-5)
    # What may not occur has no status, whatever the table says of it.
    np.testing.assert_allclose(frame["p_no_status"], outside, atol=1e-5)
    assert (frame["p_not_threatened"] == 0).all()
    with pytest.raises(MisuseError, match="--within counts only with no --labels"):
        ask(store, table, labels=True, within="Felidae")


def test_the_texts_of_a_head_are_summed_too(
    store: bp.Store, table: Path, tmp_path: Path, encoder: Any  # noqa: ANN401
) -> None:  # fmt: skip
    names = [*SPECIES, "Felis nulla"]
    entries = [[[*(SPECIES[name][0] if name in SPECIES else CATS), *name.split()], ""]
               for name in names]  # fmt: skip
    np.save(tmp_path / "head.npy", encoder.encode_text(names).T)
    (tmp_path / "head.json").write_text(json.dumps(entries))
    store = bp.open(store.folder, model="plain-1")
    found = ask(store, table, taxa=tmp_path / "head.npy").to_frame()
    named = ask(store, table, head=str(tmp_path / "head.npy")).to_frame()
    np.testing.assert_allclose(named["p_threatened"], found["p_threatened"], atol=1e-5)
    plain = store.zeroshot("species", taxa=tmp_path / "head.npy", k=7).to_frame()
    threatened = plain["species"].isin(["Panthera leo", "Lycaon pictus"])
    expected = plain["score"].where(threatened, 0).groupby(plain["row"]).sum()
    np.testing.assert_allclose(found["p_threatened"], expected, atol=1e-5)


def test_a_probe_and_its_table_of_answers_are_summed_alike(
    store: bp.Store, table: Path, tmp_path: Path
) -> None:
    store.fit("centroid", "species", name="species", split=None, calibration="none")
    found = ask(store, table, probe="species")
    frame = found.to_frame()
    answers = store.predict("species", k=6).to_frame()
    expected = sum_by_status(answers, "species")
    np.testing.assert_allclose(frame["p_threatened"], expected["EN"] + expected["VU"], atol=1e-6)
    np.testing.assert_allclose(frame["p_no_status"], expected[""], atol=1e-6)
    assert "52 of the images taught the probe" in say(found)
    # All answers of a file are those of the probe; of the best alone the rest has no status.
    answers.to_csv(tmp_path / "all.csv", index=False)
    whole = ask(store, table, predictions=tmp_path / "all.csv", by="site")
    np.testing.assert_allclose(whole.to_frame()["p_threatened"], frame["p_threatened"], atol=1e-4)
    assert set(whole.counts["site"]) == {"", "a", "b"}
    best = ask(store, table, predictions=store.predict("species", k=1))
    rest = 1 - answers[answers["answer"] == 1]["score"].to_numpy()
    unlisted = (answers[answers["answer"] == 1]["species"] == "Canis nullus").to_numpy()
    np.testing.assert_allclose(best.to_frame()["p_no_status"],
                               np.where(unlisted, 1, rest), atol=1e-6)  # fmt: skip


def test_tables_of_answers_may_be_of_other_pictures_and_other_scores(
    store: bp.Store, table: Path
) -> None:
    answers = pd.DataFrame({
        "file_name": ["x.jpg", "x.jpg", "y.jpg", "00.jpg"],
        "classification": ["Panthera leo", "panther", "lynx-lynx", "cats"],
        "taxon": ["", "", "", "Panthera leo|Lynx lynx"], "score": [30.0, 20.0, 10.0, 5.0],
        "camera": ["c1", "c1", "c2", "c2"],
    })  # fmt: skip
    found = ask(store, table, predictions=answers, by="camera")
    assert found.to_frame()["status"].tolist() == ["VU", "LC", ""]
    assert found.to_frame()["covers"].tolist()[2] == "Panthera leo VU; Lynx lynx LC"
    assert found.judged.rows.tolist() == [-1, -1, 0]
    assert "are no probabilities" in say(found)
    assert "2 of the 3 pictures are none of the store's" in say(found)
    assert set(found.counts["camera"]) == {"", "c1", "c2"}
    with pytest.raises(SelectionError, match="answers have no column 'site'"):
        ask(store, table, predictions=answers, by="site")


@pytest.mark.parametrize("column", ["classification", "species"])
def test_words_of_other_tools_are_read_and_blank_is_no_taxon(
    store: bp.Store, table: Path, column: str
) -> None:
    words = ["0a;mammalia;carnivora;felidae;panthera;leo;lion", "0b;;;;;;blank", "human"]
    if column == "species":
        words = ["Panthera leo", "blank", "human"]
    answers = pd.DataFrame({"file_name": ["x.jpg", "y.jpg", "z.jpg"], column: words, "score": 0.9})
    found = ask(store, table, predictions=answers)
    frame = found.to_frame()
    assert frame["answer_name"].tolist() == ["Panthera leo"]
    assert frame["p_threatened"].tolist() == [0.9]
    assert frame["p_no_status"].tolist() == pytest.approx([0.1])
    assert "2 pictures have no answer of a taxon, and are left out" in say(found)
    assert "these are counts of answers" in say(found)


@pytest.mark.usefixtures("store")
def test_columns_are_saved_learnt_and_judged_like_any_other(
    made: Path, table: Path, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(made / "store", tmp_path / "store")
    copied = bp.open(tmp_path / "store")
    assert "52 images have new columns" in say(ask(copied, table, labels=True, save_columns=True))
    saved = bp.open(tmp_path / "store")
    expected = dict(zip([f"{n:02d}.jpg" for n in range(N)], CODES, strict=True))
    frame = saved.images.set_index("path")
    assert frame["status"].fillna("").to_dict() == {**expected, "52.jpg": ""}
    assert sorted(set(frame["threatened"].fillna(""))) == ["", "not threatened", "threatened"]
    assert "0 images have new columns" in say(ask(saved, table, labels=True, save_columns=True))
    saved.split("species", seed=1)
    probe = saved.fit("centroid", "threatened")
    assert probe.fitted.classes.names == ("not threatened", "threatened")
    judged = saved.evaluate("threatened", methods="centroid", n_resamples=5)
    assert np.isfinite(judged.to_frame()["auroc"]).all()
    # The answers of that probe are threats themselves.
    threats = ask(saved, table, probe=probe.name).to_frame()
    best = saved.predict(probe.name, k=1).to_frame()["classification"]
    assert threats["threatened"].tolist() == best.tolist()
    assert (threats["status"] == "").all()


def test_a_column_of_that_name_that_is_somebody_elses_is_not_lost(
    make_store: Callable[..., Any], table: Path
) -> None:
    from tests.conftest import PlainEncoder

    frame = pd.DataFrame({"root": ["p"], "path": ["a.jpg"], "species": ["Panthera leo"],
                          "genus": ["Panthera"], "status": ["checked"]})  # fmt: skip
    made = make_store(PlainEncoder()).append(frame, normalise_rows(np.ones((1, 16), np.float32)))
    with pytest.raises(MisuseError, match=r"a column status of its own, with values such as 'chec"):
        ask(bp.open(made.folder), table, labels=True, save_columns=True)


def test_a_probe_of_the_threat_is_compared_with_one_of_species(
    made: Path, table: Path, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(made / "store", tmp_path / "store")
    store = bp.open(tmp_path / "store")
    store.split("species", seed=1)
    found = ask(store, table, labels=True, compare="centroid", shows="comparison",
                         n_resamples=50, seed=2)  # fmt: skip
    row = pick(found.to_frame(), figure="accuracy")
    # By hand: both probes, asked of the test part.
    test = store.where(split="default:test")
    statuses = ask(test, table, labels=True).to_frame().set_index("row")["threatened"]
    statuses = statuses[statuses != ""]
    store.fit("centroid", "species", name="sp", split="default")
    shares = ask(test, table, probe="sp").to_frame().set_index("row").loc[statuses.index]
    called = np.where(shares["p_threatened"] >= shares["p_not_threatened"], "threatened",
                      "not threatened")  # fmt: skip
    assert row["species"] == pytest.approx((called == statuses).mean())
    assert row["n_images"] == len(statuses)
    assert row["difference"] == pytest.approx(row["direct"] - row["species"])
    assert row["low"] <= row["difference"] <= row["high"]
    assert "is better" in say(found) or "neither is better for sure" in say(found)
    with pytest.raises(MisuseError, match="no kind of probe is called 'forest'"):
        ask(store, table, labels=True, compare="forest")


def test_a_threat_that_follows_from_species_is_among_those_with_a_status(table: Path) -> None:
    from bioprobe.conservation import Finder, read_statuses
    from bioprobe.evaluation.by_status import _find_threat
    from bioprobe.task.target import Classes

    species = Classes(("Canis nullus", "Lynx lynx", "Panthera leo"), level="species")
    scores = np.array([[0.6, 0.1, 0.3], [1, 0, 0]], dtype=np.float32)
    found = _find_threat(scores, species, Finder(read_statuses(table)))
    np.testing.assert_allclose(found, [0.75, 0.5], atol=1e-6)


def test_the_red_list_says_what_a_table_does_not(
    store: bp.Store, table: Path, served: Served, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IUCN_REDLIST_KEY", TOKEN)
    monkeypatch.setenv("IUCN_REDLIST_ADDRESS", served.address)
    monkeypatch.setattr("bioprobe.conservation.red_list.Manner.sleep", clock.sleep)
    monkeypatch.setattr("time.sleep", clock.sleep)
    served.add("Canis nullus", assess("Canis nullus", "CR"))
    found = ask(store, table, red_list=True, labels=True)
    assert found.to_frame()["status"].tolist() == [code or "CR" for code in CODES]
    # The others are in the table.
    assert len(served.asked) == 2
    assert TOKEN not in say(found)
    assert TOKEN not in str(found.provenance.to_dict())
    assert found.provenance.options["statuses"]["red_list"]["red_list_version"] == "2025-1"
    # Labels in a column of one's own are asked by what is written there.
    served.add("Lynx lynx", assess("Lynx lynx", "NT"))
    column = store._view.images.frame["species"].str.lower().str.replace(" ", "-")
    alter_images(store._view.store, slug=column.where(column == "lynx-lynx", ""))
    found = ask(store, red_list=True, labels=True, level="slug")
    assert found.to_frame()["status"].tolist() == ["NT"] * 12
    assert "1 taxa asked of the IUCN Red List" in say(found)
    with pytest.raises(MisuseError, match="name a table of taxa"):
        ask(store, labels=True)


def test_the_page_and_the_report_show_what_was_counted(
    store: bp.Store, made: Path, table: Path, tmp_path: Path
) -> None:
    import shutil

    from bioprobe.report import write_overview
    from bioprobe.report.status import describe_status, describe_stored

    shutil.copytree(made / "store", tmp_path / "store")
    ask(bp.open(tmp_path / "store"), table, labels=True, save_columns=True)
    saved = bp.open(tmp_path / "store")
    by_genus = ask(saved, table, labels=True, by="genus")
    by_genus.write_page(tmp_path / "status.html")
    units, counts = by_genus.units, by_genus.counts
    places = describe_status(by_genus.judged, units, counts)["places"]
    assert {one["name"]: one["n_unknown"] for one in places} == {
        "Canis": 8, "Lycaon": 0, "Lynx": 0, "Panthera": 0, "Vulpes": 0,
    }  # fmt: skip
    text = (tmp_path / "status.html").read_text(encoding="utf-8")
    for part in ("Endangered", "Threatened, by genus", "24 of 52 pictures", 'class="status EN"'):
        assert part in text
    write_overview(saved._view.store, tmp_path / "all.html", None, unasked="none is asked")
    text = (tmp_path / "all.html").read_text(encoding="utf-8")
    assert "Conservation status</h2>" in text
    assert "24 of 52 pictures" in text
    assert describe_stored(store._view.store) == []


def test_the_command_writes_each_table(
    made: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["status", str(table), "--labels", "--store", str(made / "store")]
    assert run([*asked, "--table", "counts", "--by", "site", "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("site,status,name,n_images")
    page = tmp_path / "page.html"
    asked += ["--output", str(tmp_path / "t.csv")]
    assert run([*asked, "--table", "taxa", "--html", str(page)]) == 0
    assert page.is_file()
    assert set(pd.read_csv(tmp_path / "t.csv")["name"]) == set(SPECIES)
    assert run([*asked[:-2], "--table", "comparison"]) == 2
    assert "--compare KIND" in capsys.readouterr().err
    assert run(["status", "--labels", "--store", str(made / "store")]) == 2
