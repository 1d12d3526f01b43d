from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from bioprobe.cli.app import run
from bioprobe.sketch import read_species
from bioprobe.store import EmbeddingStore

# Each test has a copy of the store, in a folder of its own that is the current one.
pytestmark = pytest.mark.usefixtures("store")

Capture = pytest.CaptureFixture[str]


def _ask(capsys: Capture, *arguments: str) -> pd.DataFrame:
    capsys.readouterr()
    assert run([*arguments, "--quiet", "--format", "csv"]) == 0
    return pd.read_csv(io.StringIO(capsys.readouterr().out), keep_default_na=False)


def test_zeroshot_labels_most_drawings_rightly(store: Path, capsys: Capture) -> None:
    answers = _ask(capsys, "zeroshot", "--level", "family", "-k", "1")
    frame = EmbeddingStore.open(store).images.frame
    families = dict(zip(frame["path"], frame["family"], strict=True))
    drawn = answers[answers["file_name"].map(families) != ""]
    assert len(answers) == len(frame)
    assert (drawn["family"] == drawn["file_name"].map(families)).mean() > 0.9


def test_level_and_rank_are_the_same_option(capsys: Capture) -> None:
    by_level = _ask(capsys, "zeroshot", "--level", "order", "-k", "1")
    by_rank = _ask(capsys, "zeroshot", "--rank", "order", "-k", "1")
    assert by_level.equals(by_rank)
    assert list(by_level.columns[:5]) == ["file_name", "kingdom", "phylum", "class", "order"]


@pytest.mark.parametrize(
    "change",
    [
        ("--text-type", "sci"),
        ("--templates", "field"),
        ("--templates", "a drawing of {}"),
        ("--taxa", "sketch"),
        ("-k", "2"),
        ("--where", "phylum == 'Mollusca'"),
    ],
    ids=lambda change: " ".join(change),
)
def test_every_option_of_zeroshot_changes_the_answer(
    capsys: Capture, change: tuple[str, str]
) -> None:
    asked = ("zeroshot", "--level", "genus", "-k", "1", "--where", "class == 'Mammalia'")
    if change[0] == "--taxa":
        # The labels and the list hold the same genera until one species is added by its labels.
        assert run(["taxa", "add", "Acinonyx jubatus", "--quiet"]) == 0
        with_added = _ask(capsys, *asked)
        Path("list.txt").write_text("Panthera leo\nCanis lupus\n")
        assert set(_ask(capsys, *asked, "--taxa", "list.txt")["genus"]) <= {
            "Panthera", "Canis", "Acinonyx"
        }  # fmt: skip
        assert len(set(with_added["genus"])) > 3
        return
    assert not _ask(capsys, *asked, *change).equals(_ask(capsys, *asked))


def test_accuracy_against_the_labels_is_said(capsys: Capture) -> None:
    assert run(["zeroshot", "--level", "phylum", "--output", "answers.csv"]) == 0
    said = capsys.readouterr().err
    assert "classes at phylum: 5" in said
    assert "top-1 " in said
    assert "(95% interval)" in said


def test_a_single_class_is_remarked(capsys: Capture) -> None:
    assert run(["zeroshot", "--level", "kingdom"]) == 0
    assert "only one class" in capsys.readouterr().err


def test_common_names_above_species_are_refused_with_the_remedy(capsys: Capture) -> None:
    assert run(["zeroshot", "--level", "family", "--text-type", "com"]) == 1
    assert "use --text-type sci or taxon" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet", "txt"])
def test_output_takes_its_format_from_the_file_name(store: Path, suffix: str) -> None:
    path = Path(f"new/answers.{suffix}")
    assert run(["zeroshot", "--level", "class", "-k", "2", "-o", str(path), "--quiet"]) == 0
    n_rows = 2 * len(EmbeddingStore.open(store))
    if suffix == "csv":
        assert len(pd.read_csv(path)) == n_rows
        provenance = json.loads(Path(f"{path}.provenance.json").read_text())
    elif suffix == "json":
        content = json.loads(path.read_text())
        assert len(content["rows"]) == n_rows
        provenance = content["provenance"]
    elif suffix == "parquet":
        assert len(pd.read_parquet(path)) == n_rows
        provenance = json.loads(pq.read_schema(path).metadata[b"provenance"])
    else:
        assert len(path.read_text().splitlines()) == n_rows + 1
        return
    assert provenance["encoder"]["model"] == "sketch"
    assert provenance["options"]["rank"] == "class"
    assert provenance["n_rows"] == n_rows // 2


def test_an_output_without_a_known_ending_is_refused(capsys: Capture) -> None:
    assert run(["zeroshot", "--level", "class", "-o", "answers.doc"]) == 1
    assert "end it in .csv, .json, .parquet or .txt" in capsys.readouterr().err


def test_an_unknown_format_is_misuse() -> None:
    assert run(["zeroshot", "--level", "class", "--format", "xml"]) == 2


def test_search_by_a_picture_of_the_store_finds_it_first(drawn: Path, capsys: Capture) -> None:
    picture = drawn / "photos" / "danaus-plexippus" / "000.jpg"
    found = _ask(capsys, "search", "--image", str(picture), "-k", "3")
    assert found["file_name"][0] == "danaus-plexippus/000.jpg"
    assert found["similarity"][0] == pytest.approx(1)
    assert len(found) == 3


def test_search_by_text_finds_what_it_says(capsys: Capture) -> None:
    found = _ask(capsys, "search", "--text", "an orange butterfly with black stripes", "-k", "1")
    assert found["species"][0] == "Danaus plexippus"


def test_search_by_picture_and_text_lies_between_both(drawn: Path, capsys: Capture) -> None:
    image = ("--image", str(drawn / "photos" / "panthera-leo" / "000.jpg"))
    text = ("--text", "a blue fish")
    by_image, by_text, by_both = (
        _ask(capsys, "search", *parts, "-k", "200").set_index("file_name")["similarity"]
        for parts in (image, text, image + text)
    )
    lion = "panthera-leo/000.jpg"
    assert by_text[lion] < by_both[lion] < by_image[lion]


def test_search_where_restricts_the_answers(capsys: Capture) -> None:
    found = _ask(capsys, "search", "--text", "a fish", "--where", "family == 'Felidae'")
    assert set(found["family"]) == {"Felidae"}


def test_search_for_nothing_is_refused(capsys: Capture) -> None:
    assert run(["search"]) == 1
    assert "give --image, --text, --row, or several" in capsys.readouterr().err


def test_an_added_species_is_among_the_answers_until_it_is_removed(capsys: Capture) -> None:
    Path("list.csv").write_text("family,species\nFelidae,Panthera pardus\nCanidae,Canis lupus\n")
    asked = ("zeroshot", "--taxa", "list.csv", "-k", "1", "--where", "species == 'Panthera uncia'")
    story = next(one for one in read_species() if one.name == "Panthera uncia")
    assert list(_ask(capsys, *asked)["species"]) == ["Panthera pardus"]
    add = ["taxa", "add", story.name, "--common", "snow leopard", "--prompt", story.description]
    assert run([*add, "--lineage", ",".join(story.lineage[:5])]) == 0
    assert "Felidae > Panthera > Panthera uncia (snow leopard)" in capsys.readouterr().err
    assert list(_ask(capsys, *asked)["species"]) == ["Panthera uncia"]
    listed = _ask(capsys, "taxa", "list")
    assert list(listed[listed["from"] == "added"]["prompts"]) == [story.description]
    assert run(["taxa", "remove", "snow leopard"]) == 0
    assert list(_ask(capsys, *asked)["species"]) == ["Panthera pardus"]


def test_embed_goes_on_where_it_stopped(drawn: Path, store: Path, capsys: Capture) -> None:
    n_before = len(EmbeddingStore.open(store))
    assert run(["embed", str(drawn / "photos" / "pictures.csv")]) == 0
    assert f"0 embedded, 0 reused, {n_before} already there, 0 failed" in capsys.readouterr().err
    assert len(EmbeddingStore.open(store)) == n_before


def test_embed_takes_labels_from_folders(drawn: Path) -> None:
    arguments = ["embed", str(drawn / "photos" / "panthera-leo"), "--model", "sketch"]
    assert run([*arguments, "-s", "lions", "--folder-rank", "species", "--quiet"]) == 0
    assert list(EmbeddingStore.open("lions").images.frame["species"]) == ["Panthera leo"]


def test_embed_takes_labels_from_named_columns(drawn: Path) -> None:
    shutil.copytree(drawn / "photos" / "panthera-leo", "pictures/lion")
    Path("table.csv").write_text("picture,label,note\nlion/000.jpg,Panthera leo,asleep\n")
    arguments = ["embed", "table.csv", "--model", "sketch", "-s", "lions", "--quiet"]
    options = ["--root", "pictures", "--path-column", "picture", "--rank-column", "species=label"]
    assert run([*arguments, *options, "--dtype", "float16"]) == 0
    lions = EmbeddingStore.open("lions")
    assert lions.images.frame[["species", "genus", "note"]].iloc[0].tolist() == [
        "Panthera leo", "Panthera", "asleep"
    ]  # fmt: skip
    assert lions.manifest.dtype == "float16"


def test_embed_reads_a_table_as_it_is_said_to_be(drawn: Path, capsys: Capture) -> None:
    shutil.copytree(drawn / "photos" / "panthera-leo", "lion")
    shutil.copy("lion/000.jpg", "lion/001.jpg")
    text = "folder;file;höhe, m\nlion;000.jpg;1,234\nlion;001.jpg;0,5\n"
    Path("table.csv").write_text(text, encoding="cp1252")
    arguments = ["embed", "table.csv", "--model", "sketch", "-s", "said"]
    assert run(arguments) == 0
    said = "read with semicolons between cells and decimal commas in höhe, m as cp1252"
    assert said in " ".join(capsys.readouterr().err.split())
    assert EmbeddingStore.open("said").images.frame["höhe, m"].tolist() == [1.234, 0.5]
    options = ["--delimiter", "semicolon", "--decimal", ".", "--encoding", "mac_roman"]
    assert run([*arguments[:-1], "told", *options, "--path-column", "folder/file", "--quiet"]) == 0
    images = EmbeddingStore.open("told").images
    assert images.file_names == ["lion/000.jpg", "lion/001.jpg"]
    name = "höhe, m".encode("cp1252").decode("mac_roman")
    assert images.frame[name].tolist() == ["1,234", "0,5"]
    assert run([*arguments, "--delimiter", ",", "--decimal", ","]) == 2


def test_embed_reads_the_sheet_that_is_named(drawn: Path) -> None:
    shutil.copytree(drawn / "photos" / "panthera-leo", "lion")
    with pd.ExcelWriter("table.xlsx", engine="xlsxwriter") as writer:
        for sheet in ("one", "two"):
            frame = pd.DataFrame({"path": ["lion/000.jpg"], "sheet": [sheet]})
            frame.to_excel(writer, sheet_name=sheet, index=False)
    arguments = ["embed", "table.xlsx", "--model", "sketch", "--quiet"]
    assert run([*arguments, "-s", "first"]) == 0
    assert run([*arguments, "-s", "named", "--sheet", "two"]) == 0
    for store, sheet in (("first", "one"), ("named", "two")):
        assert EmbeddingStore.open(store).images.frame["sheet"].tolist() == [sheet]


def test_embed_records_precision_and_decoding(drawn: Path) -> None:
    pictures = str(drawn / "photos" / "panthera-leo")
    for precision, decoding in (("bf16", "fast"), ("fp32", "exact")):
        arguments = ["embed", pictures, "--model", "sketch", "-s", precision, "--quiet"]
        assert run([*arguments, "--precision", precision, "--decoding", decoding]) == 0
        encoder = EmbeddingStore.open(precision).manifest.encoder
        assert (encoder.precision, encoder.decoding) == (precision, decoding)


def test_embed_tells_of_failures_and_fails_when_nothing_is_left(
    drawn: Path, capsys: Capture
) -> None:
    Path("bad.jpg").write_text("no picture")
    good = drawn / "photos" / "panthera-leo" / "000.jpg"
    arguments = ["embed", "--model", "sketch", "-s", "new"]
    assert run([*arguments, "bad.jpg", str(good)]) == 0
    assert "1 embedded, 0 reused, 0 already there, 1 failed" in capsys.readouterr().err
    assert run(["store", "info", "-s", "new"]) == 0
    assert "bad.jpg: not an image of a known kind" in capsys.readouterr().out
    assert run([*arguments, "bad.jpg"]) == 1


def test_a_rank_column_without_a_column_is_misuse() -> None:
    assert run(["embed", ".", "--rank-column", "species"]) == 2


def test_store_info_is_also_json(store: Path, capsys: Capture) -> None:
    assert run(["store", "info", "--format", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["images"] == len(EmbeddingStore.open(store))
    assert facts["encoder"].startswith("sketch (weights ")
    assert facts["other_columns"] == ["kind", "role"]
    assert run(["store", "info"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["other_columns"] == "kind, role"
    assert lines["added_taxa"] == "none"
    assert lines["labels"].startswith("kingdom: ")


def test_store_verify_finds_a_flipped_byte(store: Path, capsys: Capture) -> None:
    assert run(["store", "verify"]) == 0
    path = store / "shards" / "00000" / "vectors.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    capsys.readouterr()
    assert run(["store", "verify"]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("shards/00000/vectors.npy: its SHA-256 is ")
    assert captured.err.startswith("Error: 1 problem(s) in store")


def test_debug_shows_the_traceback() -> None:
    from bioprobe.errors import StoreError

    with pytest.raises(StoreError):
        run(["zeroshot", "--store", "none", "--debug"])
