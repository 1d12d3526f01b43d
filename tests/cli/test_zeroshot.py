"""Every option of zeroshot has an effect."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.cli.app import run
from bioprobe.encoders import load_encoder
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Taxon
from bioprobe.zeroshot.seen_offset import SeenOffset, keep_offset

pytestmark = pytest.mark.usefixtures("store")

Capture = pytest.CaptureFixture[str]

ASKED = ("zeroshot", "--level", "family", "-k", "1", "--where", "class == 'Mammalia'")


def _ask(capsys: Capture, *arguments: str) -> tuple[pd.DataFrame, str]:
    capsys.readouterr()
    assert run([*arguments, "--format", "csv"]) == 0
    captured = capsys.readouterr()
    return pd.read_csv(io.StringIO(captured.out), keep_default_na=False), captured.err


def test_who_asks_for_several_answers_reads_them(capsys: Capture) -> None:
    shown = []
    for asked in ((), ("-k", "2")):
        capsys.readouterr()
        assert run([*ASKED[:3], *ASKED[5:], *asked, "--format", "table", "--quiet"]) == 0
        heading, *lines = capsys.readouterr().out.splitlines()
        assert "answer" in heading
        shown.append(lines)
    assert len(shown[1]) == 2 * len(shown[0])
    assert [one.split() for one in shown[1][::2]] == [one.split() for one in shown[0]]


def test_roll_up_sums_the_species(capsys: Capture) -> None:
    named, _ = _ask(capsys, *ASKED)
    rolled, _ = _ask(capsys, *ASKED, "--roll-up")
    assert list(rolled.columns) == list(named.columns)
    assert len(rolled) == len(named)
    assert not rolled["score"].equals(named["score"])


def test_within_answers_what_may_occur_and_owns_up_to_the_rest(capsys: Capture) -> None:
    found, said = _ask(capsys, *ASKED[:3], "--within", "Carnivora", "-k", "3")
    everything, _ = _ask(capsys, *ASKED[:3], "-k", "99")
    scores = everything.set_index(["row", "family"])["score"].astype(float)
    given = found[found["family"] != ""].set_index(["row", "family"])["score"].astype(float)
    assert set(found["order"]) == {"Carnivora", ""}
    # Scores are those among all candidates, and what is left lies outside.
    assert given.to_numpy() == pytest.approx(scores[given.index].to_numpy(), abs=1e-5)
    total = given.groupby("row").sum() + found.groupby("row")["share_outside"].first()
    assert total.to_numpy() == pytest.approx(1, abs=1e-4)
    best = everything[everything["answer"] == 1].set_index("row")
    first = found[found["answer"] == 1].set_index("row")
    is_changed = best["order"] != "Carnivora"
    # What may not occur is answered as the first taxon above it that may.
    assert (first["rolled_up_to"] != "").eq(is_changed).all()
    assert (first["family"] == "").eq(is_changed).all()
    assert set(first["rolled_up_to"][is_changed]) <= {"Mammalia", "Chordata", "Animalia"}
    assert (first["score"][is_changed] >= best["score"][is_changed] - 1e-5).all()
    assert (first["best_outside"][is_changed] == best["family"][is_changed]).all()
    assert first["reason"][is_changed].str.startswith("the list leaves out family ").all()
    assert "are of what may not occur by the list and count as wrong" in said
    assert "warning: half of the images have a share of" in said
    Path("here.csv").write_text("family\nCanidae\nFelidae\n")
    listed, said = _ask(capsys, *ASKED, "--within", "here.csv")
    assert set(listed["family"]) == {"Canidae", "Felidae", ""}
    assert "by here.csv, 2 of " in said


def test_a_list_confirms_no_answer_outside_of_it(capsys: Capture, store: Path) -> None:
    truth = EmbeddingStore.open(store).images.frame
    for more in (["--roll-up"], ["--per", "image"], ["--per", "sequence", "--sequence", "class"]):
        asked = ["zeroshot", "--within", "Carnivora", "-k", "1", *more]
        found, _ = _ask(capsys, *(asked if "--per" not in more else [*asked[:3], *more]))
        found = found[found["answer"] == 1]
        hens = found[truth["order"].iloc[found["row"]].to_numpy() != "Carnivora"]
        assert (hens["share_outside"].astype(float) > 0.5).mean() > 0.9
        assert (hens["rolled_up_to"] != "").mean() > 0.9
        assert not (hens.loc[hens["rolled_up_to"] != "", "order"] != "").any()
    for more in ([], ["--per", "sequence", "--sequence", "class"]):
        found, _ = _ask(capsys, "zeroshot", "--within", "Carnivora", "--abstain", "0.65", *more)
        is_inside = truth["order"].iloc[found["row"]].to_numpy() == "Carnivora"
        answered = found[~is_inside]
        assert not (answered["order"] != "").any()
        assert answered["reason"].str.contains("the list leaves out").mean() > 0.5
        assert (found.loc[is_inside, "order"] == "Carnivora").mean() > 0.8


def test_places_of_a_list_are_columns_or_options(capsys: Capture) -> None:
    rules = "taxon,rule,country\nFelidae,allow,KE\nCanidae,allow,United States of America\n"
    Path("rules.csv").write_text(rules)
    found, _ = _ask(capsys, *ASKED, "--within", "rules.csv", "--country", "KEN")
    assert set(found["family"]) == {"Felidae", ""}
    both, _ = _ask(capsys, *ASKED, "--within", "rules.csv")
    assert set(both["family"]) == {"Felidae", "Canidae", ""}
    assert run(["zeroshot", "--within", "rules.csv", "--country", "FRA"]) == 1
    said = capsys.readouterr().err
    assert "says nothing of where the " in said
    assert "it has rules for KEN, USA" in said
    Path("rules.csv").write_text(rules + "Ursidae,block,USA\nFelidae,maybe,USA\n")
    assert run(["zeroshot", "--within", "rules.csv"]) == 1
    assert "the rule is 'maybe'; expected allow or block" in capsys.readouterr().err


def test_a_list_is_asked_of_a_head_too(capsys: Capture) -> None:
    assert run(["store", "export", "head.npy", "--layout", "treeoflife", "--quiet"]) == 0
    assert run(["store", "import", "head.npy", "--model", "sketch", "--quiet"]) == 0
    for level in ("species", "family"):
        asked = [
            "zeroshot",
            "--head",
            "head",
            "--within",
            "Felidae,!Panthera leo",
            "--level",
            level,
        ]
        found, _ = _ask(capsys, *asked)
        assert set(found["family"]) == {"Felidae", ""}
        assert "Panthera leo" not in set(found.get("species", ()))
        assert (found["best_outside"] == "Panthera leo").any()
    backed_off, _ = _ask(capsys, *asked[:5], "--abstain", "0.5")
    assert "Panthera leo" not in set(backed_off["species"])
    assert (backed_off["species"] != "").any()


def test_abstain_answers_further_up_where_it_asks_for_more(capsys: Capture) -> None:
    depths = []
    for threshold in ("0.3", "0.9"):
        found, said = _ask(capsys, "zeroshot", "--abstain", threshold)
        assert "answered at: " in said
        answered = found[found["rank"] != ""]
        assert (answered["score"].astype(float) >= float(threshold) - 1e-5).all()
        assert found["reason"].str.contains(f"(?:>=|<) {threshold}").all()
        depths.append(found["species"].ne("").mean())
    assert depths[0] > depths[1]
    families, _ = _ask(capsys, "zeroshot", "--abstain", "0.3", "--level", "family")
    assert "species" not in families


def test_open_set_adds_three_columns_and_their_auroc(capsys: Capture) -> None:
    found, said = _ask(capsys, *ASKED[:5], "--within", "Carnivora", "--open-set", "-k", "2")
    assert list(found.columns[-3:]) == ["unknown_max_softmax", "unknown_energy", "unknown_distance"]
    assert "AUROC: unknown_max_softmax " in said
    assert (found.groupby("row")["unknown_energy"].nunique() == 1).all()
    _, without = _ask(capsys, *ASKED, "--open-set")
    assert "no AUROC" in without


def test_synonyms_rename_candidates_and_labels(capsys: Capture) -> None:
    Path("synonyms.csv").write_text("synonym,accepted\nFelidae,Feles\n")
    found, said = _ask(capsys, *ASKED, "--synonyms", "synonyms.csv")
    assert "Feles" in set(found["family"])
    assert "Felidae" not in set(found["family"])
    assert "top-1 1.000" in said or "top-1 0.9" in said


def test_also_gives_the_scores_of_some_taxa_always(capsys: Capture) -> None:
    everything, _ = _ask(capsys, *ASKED[:3], "-k", "99")
    Path("watched.txt").write_text("Felidae\nCanidae\nDodoidae\n")
    found, said = _ask(capsys, *ASKED, "--also", "watched.txt")
    assert "no candidate is or lies below 1 of the 3 names of watched.txt: Dodoidae" in said
    assert (found.groupby("row")["also"].sum() == 2).all()
    assert (found.groupby("row").size() >= 2).all()
    scores = everything.set_index(["row", "family"])["score"].astype(float)
    given = found.set_index(["row", "family"])["score"].astype(float)
    assert given.to_numpy() == pytest.approx(scores[given.index].to_numpy(), abs=1e-5)
    backed_off, _ = _ask(capsys, "zeroshot", "--abstain", "0.5", "--also", "Felidae,Puma concolor")
    more = backed_off[backed_off["also"] & (backed_off["answer"] > 1)]
    assert set(more["rank"]) == {"family", "species"}
    assert run(["zeroshot", "--also", "Nessie"]) == 1
    assert "no candidate is or lies below 'Nessie'" in capsys.readouterr().err


def test_every_rank_gives_the_best_of_each(capsys: Capture) -> None:
    assert run(["store", "export", "head.npy", "--layout", "treeoflife", "--quiet"]) == 0
    assert run(["store", "import", "head.npy", "--model", "sketch", "--quiet"]) == 0
    for more in ([], ["--head", "head"]):
        found, _ = _ask(capsys, *ASKED[:3], "-k", "2", "--every-rank", *more)
        ranks = ["kingdom", "phylum", "class", "order", "family"]
        assert list(dict.fromkeys(found["rank"])) == ranks
        lowest = found[found["rank"] == "family"]
        alone, _ = _ask(capsys, *ASKED[:3], "-k", "2", *(more or ["--roll-up"]))
        assert lowest["family"].tolist() == alone["family"].tolist()
        assert lowest["score"].to_numpy() == pytest.approx(alone["score"].to_numpy(), abs=1e-4)
        for rank in ranks:
            sums = found[(found["rank"] == rank) & (found["answer"] == 1)].set_index("row")["score"]
            assert (sums >= lowest[lowest["answer"] == 1].set_index("row")["score"] - 1e-5).all()


def test_mask_leaves_images_out(capsys: Capture) -> None:
    assert run(["dedupe", "--threshold", "0.9", "--no-confirm", "--output", "d.csv"]) == 0
    found, said = _ask(capsys, "zeroshot", "-k", "1", "--mask", "filters/duplicates")
    everything, _ = _ask(capsys, "zeroshot", "-k", "1")
    # Rows in are rows out: those that are left out are there without an answer.
    assert found["file_name"].tolist() == everything["file_name"].tolist()
    is_answered = found["species"] != ""
    assert 0 < is_answered.sum() < len(everything)
    assert found["reason"][~is_answered].str.startswith("filters/duplicates: copy").all()
    assert "mask filters/duplicates: " in said


def test_head_and_pool_ask_the_texts_of_a_head(capsys: Capture) -> None:
    assert run(["store", "export", "head.npy", "--layout", "treeoflife", "--quiet"]) == 0
    assert run(["store", "import", "head.npy", "--model", "sketch", "--quiet"]) == 0
    by_sum, said = _ask(capsys, *ASKED, "--head", "head")
    assert "texts of the head head" in said
    by_max, _ = _ask(capsys, *ASKED, "--head", "head", "--pool", "max")
    assert not by_max["score"].equals(by_sum["score"])


def test_a_head_answers_further_up_where_it_asks_for_more(capsys: Capture) -> None:
    assert run(["store", "export", "head.npy", "--layout", "treeoflife", "--quiet"]) == 0
    assert run(["store", "import", "head.npy", "--model", "sketch", "--quiet"]) == 0
    by_texts, _ = _ask(capsys, "zeroshot", "--abstain", "0.5")
    by_head, said = _ask(capsys, "zeroshot", "--abstain", "0.5", "--head", "head")
    assert "answered at: " in said
    assert list(by_head.columns) == list(by_texts.columns)
    assert by_head["species"].ne("").any()
    assert by_head["species"].eq("").any()
    families, _ = _ask(
        capsys, "zeroshot", "--abstain", "0.5", "--head", "head", "--level", "family"
    )
    assert "species" not in families


def test_added_taxa_stand_beside_a_head_by_its_recipe(capsys: Capture) -> None:
    names = ["Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Panthera"]
    entries = [[[*names, "leo"], "lion"], [[*names, "tigris"], "tiger"]]
    model = load_encoder("sketch", device="cpu")
    texts = [f"an image of {' '.join(one)} with common name {name}." for one, name in entries]
    for name, matrix in (("own", model.encode_text(texts).T), ("other", np.eye(model.dim)[:, :2])):
        np.save(f"{name}.npy", matrix)
        Path(f"{name}.json").write_text(json.dumps(entries))
        assert run(["store", "import", f"{name}.npy", "--model", "sketch", "--quiet"]) == 0
    asked = ("zeroshot", "--level", "species", "-k", "9", "--head", "own")
    assert set(_ask(capsys, *asked)[0]["species"]) == {"Panthera leo", "Panthera tigris"}
    add = ["taxa", "add", "Puma concolor", "--common", "puma", "--lineage", ",".join(names[:5])]
    assert run([*add, "--quiet"]) == 0
    found, said = _ask(capsys, *asked)
    assert set(found["species"]) == {"Panthera leo", "Panthera tigris", "Puma concolor"}
    assert "stand beside the text head own, by its own recipe ('an image of {}.'" in said
    inside = set(_ask(capsys, *asked, "--within", "Puma")[0]["species"])
    assert inside == {"", "Puma concolor"}
    # What would have no effect is refused, with the reason.
    for option in (["--templates", "field"], ["--text-type", "sci"]):
        assert run([*asked, *option]) == 2
        assert "are written by the recipe that it was made by" in _flatten(capsys)
    checked, said = _ask(capsys, "taxa", "check", "--head", "own")
    assert checked["by"].tolist() == ["head"] * 2
    assert checked["similarity"].tolist() == pytest.approx([1, 1], abs=1e-5)
    assert "median cosine 1.000, least 1.000; the head is this model's" in said
    both, said = _ask(capsys, "taxa", "check", "Panthera leo", "--head", "other", "-k", "1")
    assert both["by"].tolist() == ["text", "image", "head", "head"]
    assert "below 0.999 the head is not this model's" in said
    assert run(["taxa", "check"]) == 2
    assert run(["taxa", "check", "Panthera leo", "--seed", "1"]) == 2
    assert run(["taxa", "check", "--head", "own", "--common", "lion"]) == 2


def _flatten(capsys: Capture) -> str:
    return " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_pool_joins_templates_otherwise(capsys: Capture) -> None:
    frames = [
        _ask(capsys, *ASKED, "--templates", "field", "--pool", pool)[0]["score"]
        for pool in ("mean", "max", "sum")
    ]
    assert not frames[0].equals(frames[1])
    assert not frames[1].equals(frames[2])


@pytest.mark.parametrize("k", [1, 2, 1000])
def test_k_is_the_number_of_answers(capsys: Capture, k: int) -> None:
    found, _ = _ask(capsys, "zeroshot", "--level", "phylum", "-k", str(k))
    n_classes = len(set(_ask(capsys, "zeroshot", "--level", "phylum", "-k", "99")[0]["phylum"]))
    assert (found.groupby("row").size() == min(k, n_classes)).all()


def test_where_leaves_images_out(capsys: Capture, store: Path) -> None:
    found, _ = _ask(capsys, *ASKED)
    frame = EmbeddingStore.open(store).images.frame
    assert set(found["row"]) == set(frame.index[frame["class"] == "Mammalia"])


def test_offset_favours_added_taxa_and_is_in_the_provenance(capsys: Capture) -> None:
    assert run(["taxa", "add", "Puma concolor", "--parent", "Felidae", "--quiet"]) == 0
    asked = ("zeroshot", "-k", "1")
    without, _ = _ask(capsys, *asked)
    found, said = _ask(capsys, *asked, "--offset", "50")
    assert (without["species"] == "Puma concolor").mean() < 0.5
    assert set(found["species"]) == {"Puma concolor"}
    assert "50.000 subtracted from the logits of all but 1 new classes" in said
    assert run([*asked, "--offset", "50", "--output", "a.json"]) == 0
    assert json.loads(Path("a.json").read_text())["provenance"]["options"]["seen_offset"] == 50
    for more in (["--roll-up"], ["--open-set"]):
        assert set(_ask(capsys, *asked, "--offset", "50", *more)[0]["species"]) == {"Puma concolor"}
    backed_off, _ = _ask(capsys, "zeroshot", "--abstain", "0.5", "--offset", "50")
    assert set(backed_off["species"]) == {"Puma concolor"}


def test_offset_auto_is_what_was_measured(capsys: Capture, store: Path) -> None:
    assert run(["zeroshot", "--offset", "auto"]) == 2
    assert "run bioprobe taxa measure" in capsys.readouterr().err.replace("\n", " ").replace(
        "│", ""
    ).replace("  ", " ")
    lion = Taxon.from_names({"species": "Panthera leo"})
    keep_offset(EmbeddingStore.open(store), SeenOffset(50.0, (lion,)), {})
    found, _ = _ask(capsys, "zeroshot", "-k", "1", "--offset", "auto")
    assert set(found["species"]) == {"Panthera leo"}
    assert run(["zeroshot", "--offset", "much"]) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["--head", "x", "--open-set"],
        ["--head", "x", "--offset", "1"],
        ["--abstain", "0.5", "--roll-up"],
        ["--abstain", "0.5", "--open-set"],
        ["--abstain", "0.5", "--pool", "max"],
        ["--roll-up", "--pool", "max"],
        ["--every-rank", "--abstain", "0.5"],
        ["--every-rank", "--pool", "max"],
        ["--country", "KEN"],
    ],
    ids=" ".join,
)
def test_options_that_contradict_each_other_are_misuse(arguments: list[str]) -> None:
    assert run(["zeroshot", *arguments]) == 2
