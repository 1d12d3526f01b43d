"""Answers upon pictures: what is written, what is kept back, and where the files go."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bioprobe.cli.app import run
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import BioprobeError, MisuseError, SelectionError, SourceError
from bioprobe.exporting import annotated
from bioprobe.face.probe import Probe
from bioprobe.face.store import Store
from bioprobe.files import hash_file
from bioprobe.overlays import fonts as font_rooms
from bioprobe.overlays import labels
from bioprobe.overlays.labels import Drawn, Mark, Style
from bioprobe.progress import Step
from bioprobe.store import EmbeddingStore, TextCache
from bioprobe.store.view import View
from tests.conftest import PlainEncoder, alter_images

LION = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Panthera", "Panthera leo")
ROBIN = ("Animalia", "Chordata", "Aves", "Passeriformes", "Turdidae", "Turdus",
         "Turdus migratorius")  # fmt: skip
NOBODY = ("",) * 7
RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
Options = dict[str, Any]
BOX, OTHER = "0.1,0.2,0.3,0.4", "0.5,0.25,0.4,0.5"
# File, region, lineage, common name, detector's category, status, second of the day.
ROWS = (
    ("cam1/a.jpg", BOX, LION, "lion", "animal", "VU", 0),
    ("cam1/a.jpg", OTHER, ROBIN, "American robin", "animal", "LC", 0),
    ("cam1/b.jpg", "", LION, "lion", "", "VU", 20),
    ("cam1/c.png", "", LION, "lion", "", "VU", 10),
    ("cam2/d.jpg", BOX, NOBODY, "", "person", "", 900),
    ("cam2/e.webp", OTHER, NOBODY, "", "animal", "", 2000),
    ("cam2/f.tif", "", ROBIN, "American robin", "", "LC", 4000),
)


def _draw(file: Path, number: int) -> None:
    pixels = np.random.default_rng(number).integers(60, 200, (6, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).resize((160, 120), Image.Resampling.BILINEAR)
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (47.0, 7.0, 24.0), 3: "E", 4: (8.0, 15.0, 0.0)}
    exif[0xA431] = "SERIAL-4711"
    exif[0x0110] = "HC600"
    if file.name == "b.jpg":
        exif[0x0112] = 6
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.save(file, exif=b"" if file.suffix == ".tif" else exif)


def _make(folder: Path) -> None:
    """Draw the pictures, and embed them."""
    for number, name in enumerate(sorted({row[0] for row in ROWS})):
        _draw(folder / "photos" / name, number)
    frame = pd.DataFrame(
        [
            {"root": str(folder / "photos"), "path": name, "image_region": region,
             **dict(zip(RANKS, lineage, strict=True)), "common_name": common,
             "detection_category": category, "detection_confidence": 0.93 if category else np.nan,
             "location": name[:4], "iucn": status, "width_px": 160, "height_px": 120,
             "captured_at": f"2021-05-01T{10 + at // 3600}:{at // 60 % 60:02}:{at % 60:02}",
             "sha256": hash_file(folder / "photos" / name)}
            for name, region, lineage, common, category, status, at in ROWS
        ]
    )  # fmt: skip
    vectors = np.random.default_rng(0).normal(size=(len(frame), 4))
    # Both lions are alike, both robins are.
    vectors[[2, 3]] = vectors[0] + 0.1
    vectors[6] = vectors[1]
    made = EmbeddingStore.open_for(folder / "store", PlainEncoder(dim=4))
    made.append(frame, normalise_rows(vectors))


def _open(folder: Path) -> Store:
    made = EmbeddingStore.open(folder / "store")
    texts = TextCache(made, lambda: PlainEncoder(dim=4))
    return Store(View(made, made.rows), texts=lambda: texts)


@pytest.fixture
def store(make_once: Callable[..., Path]) -> Store:
    """Return a store, of which tests change nothing on disk."""
    return _open(make_once("annotate", _make))


@pytest.fixture
def own(tmp_path: Path) -> Store:
    """Return a store of one test, with its pictures."""
    _make(tmp_path)
    return _open(tmp_path)


@pytest.fixture
def marks(monkeypatch: pytest.MonkeyPatch) -> list[list[Mark]]:
    """What is drawn, picture by picture."""
    seen: list[list[Mark]] = []
    draw = labels.draw_marks

    def watch(image: Image.Image, marks: list[Mark], style: Style) -> Drawn:
        seen.append(list(marks))
        return draw(image, marks, style)

    monkeypatch.setattr(annotated, "draw_marks", watch)
    return seen


def _lines(marks: list[list[Mark]]) -> list[tuple[str, ...]]:
    return [mark.lines for some in marks for mark in some]


def _answer(store: Store, scores: dict[int, float], **more: list[Any]) -> pd.DataFrame:
    names = store._view.images.file_names
    rows = [
        {"file_name": names[row], "image_region": ROWS[row][1],
         **dict(zip(RANKS, LION, strict=True)), "common_name": "lion", "score": score, "answer": 1,
         "row": row}
        for row, score in scores.items()
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(**more)


def test_copies_of_all_pictures_say_what_the_labels_are(
    store: Store, tmp_path: Path, marks: list[list[Mark]]
) -> None:
    done = store.annotate(tmp_path / "out", labels=True, enlarge_to=0)
    frame = done.to_frame().set_index(["file_name", "image_region"])
    assert sorted(frame["label"]) == sorted(
        ["Panthera leo"] * 3 + ["Turdus migratorius"] * 2 + ["human", "animal"]
    )
    written = sorted(one.relative_to(tmp_path / "out").as_posix()
                     for one in (tmp_path / "out").rglob("*.*"))  # fmt: skip
    # What a TIFF says beside its pixels is taken out only by writing it anew.
    assert written == ["annotated.json", "cam1/a.jpg", "cam1/b.jpg", "cam1/c.png", "cam2/e.webp",
                       "cam2/f.tif.png"]  # fmt: skip
    assert frame.loc[("cam1/a.jpg", BOX), "status"] == "VU"
    assert frame.loc[("cam2/d.jpg", BOX), "reason"] == "people in it"
    said = "\n".join(map(str, done.notes))
    assert "left out 1 pictures with people" in said
    assert "annotated 5 pictures" in said
    assert (
        "Panthera leo",
        "lion",
        "Chordata \u203a Mammalia \u203a Carnivora \u203a Felidae",
    ) in _lines(marks)
    # What a detector saw of a region that nobody labelled.
    assert ("animal 0.93",) in _lines(marks)
    badges = {mark.badge.text for some in marks for mark in some if mark.badge}
    assert badges == {"VU", "LC"}
    assert {mark.colour for some in marks for mark in some if mark.badge} == {"#F9E814", "#60C659"}


def test_a_copy_says_no_place_and_stands_upright(store: Store, tmp_path: Path) -> None:
    store.annotate(tmp_path / "out", labels=True)
    for file in (tmp_path / "out").rglob("*.*"):
        assert b"SERIAL-4711" not in file.read_bytes()
        if file.suffix != ".json":
            with Image.open(file) as image:
                assert not image.getexif().get_ifd(0x8825)
                assert image.getexif().get(0x0112, 1) == 1
                if file.suffix == ".jpg":
                    assert image.getexif()[0x0110] == "HC600"
                assert image.size == ((360, 480) if file.name == "b.jpg" else (480, 360))


def test_the_originals_are_as_they_were(own: Store, tmp_path: Path) -> None:
    before = {one: one.read_bytes() for one in (tmp_path / "photos").rglob("*.*")}
    done = own.annotate(tmp_path / "photos", labels=True, enlarge_to=0)
    assert all(file.read_bytes() == data for file, data in before.items())
    written = done.to_frame().set_index("file_name")["written"]
    assert written["cam1/b.jpg"].endswith("b (2).jpg")


def test_a_second_run_draws_only_what_differs(
    store: Store, tmp_path: Path, marks: list[list[Mark]]
) -> None:
    out, store = tmp_path / "out", store.where("path == ['cam1/a.jpg', 'cam1/c.png']")
    store.annotate(out, labels=True, enlarge_to=0)
    marks.clear()
    done = store.annotate(out, labels=True, enlarge_to=0)
    assert marks == []
    assert "annotated 0 pictures" in str(done.notes[0])
    assert "2 were there already" in str(done.notes[0])
    # One is gone, one was changed by somebody, and what is written of all is less now.
    (out / "cam1/a.jpg").unlink()
    (out / "cam1/c.png").write_bytes(b"mine")
    done = store.annotate(out, labels=True, enlarge_to=0)
    assert len(marks) == 2
    assert (out / "cam1/c.png").read_bytes() == b"mine"
    assert (out / "cam1/c (2).png").exists()
    done = store.annotate(out, labels=True, enlarge_to=0, show="label")
    assert "2 that an earlier run had written otherwise are written anew" in "\n".join(
        map(str, done.notes)
    )
    assert len(list(out.rglob("*.*"))) == 4


def test_a_card_that_cannot_be_read_stops_nothing(store: Store, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "annotated.json").write_text("{", encoding="utf-8")
    done = store.annotate(tmp_path / "out", labels=True, enlarge_to=0)
    assert any("annotated.json cannot be read" in str(note) for note in done.notes)
    assert (tmp_path / "out" / "cam1/a.jpg").exists()


def test_what_a_format_cannot_hold_is_listed(own: Store, tmp_path: Path) -> None:
    """A WebP has 16,383 pixels a side."""
    Image.new("RGB", (17_000, 4)).save(tmp_path / "photos/cam1/c.png")
    frame = own._view.images.frame
    changed = hash_file(tmp_path / "photos/cam1/c.png")
    contents = frame["sha256"].where(frame["path"] != "cam1/c.png", changed)
    alter_images(own._view.store, sha256=contents)
    done = own.annotate(tmp_path / "out", labels=True, enlarge_to=0, form="webp")
    found = done.to_frame().set_index("file_name")
    assert "cannot be written as WEBP" in str(found.loc["cam1/c.png", "reason"])
    assert str(found.loc["cam1/b.jpg", "written"]).endswith("b.jpg.webp")


def test_an_answer_to_a_picture_says_for_how_many_regions(
    store: Store, tmp_path: Path, marks: list[list[Mark]]
) -> None:
    _answer(store, {0: 0.9}).assign(n_regions=3).to_csv(tmp_path / "a.csv", index=False)
    store.annotate(tmp_path / "out", answers=tmp_path / "a.csv", show="label", enlarge_to=0)
    assert _lines(marks) == [("Panthera leo \u00d73",)]


@pytest.mark.parametrize("people", ["leave-out", "obscure", "keep"])
def test_people_are_as_they_may_be_shown(own: Store, tmp_path: Path, people: str) -> None:
    out, two = tmp_path / "out", own.where("path == ['cam1/b.jpg', 'cam2/d.jpg']")
    done = two.annotate(out, labels=True, people=people, show="label", enlarge_to=0)
    assert done.to_frame()["written"].ne("").tolist() == [True, people != "leave-out"]
    is_obscured = any("people are obscured in 1 of them" in str(note) for note in done.notes)
    assert is_obscured == (people == "obscure")
    if people != "leave-out":
        files = (out / "cam2/d.jpg", tmp_path / "photos/cam2/d.jpg")
        one, other = (
            np.asarray(Image.open(file).convert("L").crop((20, 30, 60, 65)), float)
            for file in files
        )
        is_kept = bool(np.abs(one - other).mean() < 4)
        assert is_kept == (people == "keep")


def test_what_cannot_be_read_is_listed_and_stops_nothing(own: Store, tmp_path: Path) -> None:
    (tmp_path / "photos/cam1/a.jpg").unlink()
    (tmp_path / "photos/cam1/b.jpg").write_bytes(b"another picture")
    done = own.annotate(tmp_path / "out", labels=True, enlarge_to=0, montage=tmp_path / "sheet.png")
    assert [note.kind for note in done.notes if "could not be read" in str(note)] == ["problem"]
    frame = done.to_frame().set_index("file_name")
    assert "not the one that was embedded" in str(frame.loc["cam1/b.jpg", "reason"])
    assert (tmp_path / "out/cam1/c.png").exists()
    assert (tmp_path / "sheet.png").exists()


def test_answers_of_a_table_are_written_and_the_unsure_are_not_recognised(
    store: Store, tmp_path: Path, marks: list[list[Mark]]
) -> None:
    frame = _answer(store, {0: 0.9, 1: 0.001, 2: 0.999}, is_unknown=[False, False, True])
    gone = {"file_name": "gone.jpg", "content": "unreadable", "reason": "the file is empty"}
    table = tmp_path / "answers.csv"
    pd.concat([frame, pd.DataFrame([gone])]).to_csv(table, index=False)
    done = store.annotate(tmp_path / "out", answers=table, min_score=0.5, show="label,score")
    assert _lines(marks) == [
        ("Panthera leo 0.90",), ("not recognised", "nearest: Panthera leo <0.01"),
        ("not recognised", "nearest: Panthera leo >0.99"),
    ]  # fmt: skip
    found = done.to_frame().set_index("file_name")
    assert not found.loc["cam1/b.jpg", "recognised"]
    assert found.loc["gone.jpg", "reason"] == "the file is empty"
    assert any("2 of 4 are not recognised" in str(note) for note in done.notes)


def test_what_is_unknown_needs_no_score(
    store: Store, tmp_path: Path, marks: list[list[Mark]]
) -> None:
    frame = _answer(store, {0: 0.9, 2: 0.8}).drop(columns=["score", "answer"])
    frame.assign(is_unknown=["True", "False"]).to_csv(tmp_path / "a.csv", index=False)
    store.annotate(tmp_path / "out", answers=tmp_path / "a.csv", show="label", enlarge_to=0)
    assert _lines(marks) == [("not recognised", "nearest: Panthera leo"), ("Panthera leo",)]


def test_zero_shot_answers_where_nothing_else_does(
    store: Store, tmp_path: Path, marks: list[list[Mark]]
) -> None:
    done = store.annotate(tmp_path / "out", level="family", k=2, people="keep")
    assert set(done.to_frame()["label"]) <= {"Felidae", "Turdidae", "human"}
    assert any(line.startswith("2. ") for lines in _lines(marks) for line in lines)
    assert any("top-1" in str(note) for note in done.notes)
    marks.clear()
    store.annotate(tmp_path / "other", classes="cat,bird", show="label")
    assert {lines[0] for lines in _lines(marks)} <= {"cat", "bird"}
    marks.clear()
    store.annotate(tmp_path / "sure", level="family", abstain=1.0, show="label")
    assert "Chordata" in {lines[0] for lines in _lines(marks)}
    with pytest.raises(MisuseError, match="auto is of a probe"):
        store.annotate(tmp_path / "x", abstain="auto")


def test_a_probe_answers_by_its_name_itself_or_from_another_store(
    own: Store, tmp_path: Path, marks: list[list[Mark]]
) -> None:
    probe = own.fit("centroid", "species", split=None, calibration="none")
    asked: tuple[str | Probe, ...] = ("centroid", probe, str(own.folder / "probes" / "centroid"))
    for number, one in enumerate(asked):
        own.annotate(tmp_path / str(number), probe=one, show="label", people="keep", enlarge_to=0)
    assert _lines(marks)[:7] == _lines(marks)[7:14] == _lines(marks)[14:]
    assert {lines[0] for lines in _lines(marks)} == {"Panthera leo", "Turdus migratorius", "human"}
    with pytest.raises(BioprobeError):
        own.annotate(tmp_path / "x", probe="none")


def test_a_calibrated_probe_says_what_it_does_not_know(own: Store, tmp_path: Path) -> None:
    own.fit("centroid", "species", split=None)
    done = own.annotate(tmp_path / "out", probe="centroid")
    assert any("unknown above a score of" in str(note) for note in done.notes)


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ({"show": "label"}, ("Panthera leo",)),
        ({"show": "label,common"}, ("Panthera leo", "lion")),
        ({"show": ["path"]}, ("Chordata \u203a Mammalia \u203a Carnivora \u203a Felidae",)),
        ({"show": "box"}, ()),
    ],
)
def test_what_is_written_can_be_chosen(
    store: Store, tmp_path: Path, marks: list[list[Mark]], options: dict[str, Any],
    lines: tuple[str, ...],
) -> None:  # fmt: skip
    store.where("path == 'cam1/b.jpg'").annotate(
        tmp_path / "out", labels=True, enlarge_to=0, **options
    )
    assert set(_lines(marks)) == {lines}


@pytest.mark.parametrize(
    ("level", "lines"),
    [
        ("family", {"Felidae", "Turdidae", "human", "animal"}),
        ("class", {"Mammalia", "Aves", "human", "animal"}),
        ("iucn", {"VU", "LC", "human", "animal"}),
    ],
)
def test_labels_are_of_the_rank_or_column_that_is_asked_for(
    store: Store, tmp_path: Path, marks: list[list[Mark]], level: str, lines: set[str]
) -> None:
    store.annotate(
        tmp_path / "out", labels=True, level=level, show="label", people="keep", enlarge_to=0
    )
    assert {some[0] for some in _lines(marks)} == lines


def test_colours_are_of_the_status_or_the_label_or_as_they_are_given(
    store: Store, tmp_path: Path, marks: list[list[Mark]]
) -> None:
    lions = store.where("path == 'cam1/a.jpg'")

    def colours(options: Options) -> list[str]:
        marks.clear()
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        lions.annotate(out, labels=True, enlarge_to=0, show="box,label,status", **options)
        return [mark.colour for mark in marks[0]]

    assert colours({}) == ["#F9E814", "#60C659"]
    by_label = colours({"colour_by": "label"})
    assert len(set(by_label)) == 2
    assert not set(by_label) & {"#F9E814", "#60C659"}
    assert colours({"colours": "VU=rgb(1,2,3),Turdus migratorius=red"}) == ["rgb(1,2,3)", "red"]
    assert colours({"status": {"Panthera leo": "CR"}, "colours": {"CR": "blue"}})[0] == "blue"
    assert marks[0][0].badge is not None
    assert marks[0][0].badge.text == "CR"
    assert colours({"status": "location"})[0] == "#d0d5da"
    assert colours({"colour_by": "label", "colours": {"Panthera leo": "red"}})[0] == "red"
    with pytest.raises(MisuseError, match="VALUE=COLOUR"):
        colours({"colours": "VU"})
    with pytest.raises(MisuseError, match="no colour"):
        colours({"colours": "VU=nothing"})


def test_the_status_is_that_of_the_region_the_table_or_the_species(
    store: Store, tmp_path: Path, marks: list[list[Mark]]
) -> None:
    said_by_table = ["EN", "lc", "Vulnerable (VU)", "CR(PE)", "", "", "LC"]
    alter_images(store._view.store, iucn=said_by_table)

    def codes(**answers: str | pd.DataFrame | bool) -> list[str]:
        marks.clear()
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        done = store.annotate(out, **answers, show="status", enlarge_to=0)  # type: ignore[arg-type]
        said.append("\n".join(map(str, done.notes)))
        return [mark.badge.text for some in marks for mark in some if mark.badge]

    said: list[str] = []
    table = tmp_path / "answers.csv"
    # A label has the status that stands beside it.
    assert codes(labels=True) == ["EN", "LC", "VU", "CR(PE)", "LC"]
    # An answer has that of its species, of which there are two.
    _answer(store, {1: 0.9}).to_csv(table, index=False)
    assert codes(answers=str(table)) == ["EN"]
    assert "1 species have several values in the column iucn, such as Panthera leo" in said[-1]
    # Or what the table of answers says.
    alter_images(store._view.store, iucn=None)
    _answer(store, {1: 0.9}).assign(status="cr").to_csv(table, index=False)
    assert codes(answers=str(table)) == ["CR"]


def test_a_table_of_statuses_and_what_may_occur_count(
    store: Store, tmp_path: Path, marks: list[list[Mark]]
) -> None:
    table = tmp_path / "statuses.csv"
    table.write_text("species;Red List\nPanthera leo;En danger\nFelis catus;LC\n", encoding="utf-8")
    (tmp_path / "prior.csv").write_text("taxon,weight\nPanthera leo,1\n", encoding="utf-8")
    shown: Options = {"people": "keep", "enlarge_to": 0, "show": "label,status", "status": table}
    store.annotate(tmp_path / "a", within="Mammalia", **shown)
    # What is most like a bird is an animal with a spine here.
    assert set(_lines(marks)) <= {("Panthera leo",), ("Chordata",), ("human",)}
    marks.clear()
    store.annotate(tmp_path / "b", prior=tmp_path / "prior.csv", prior_floor=1e-9, **shown)
    assert set(_lines(marks)) == {("Panthera leo",), ("human",)}
    assert {mark.badge.text for some in marks for mark in some if mark.badge} == {"EN"}
    with pytest.raises(MisuseError, match="--within counts only with"):
        store.annotate(tmp_path / "c", labels=True, within="Mammalia")
    with pytest.raises(SelectionError, match="is a table of statuses or a column of the store"):
        store.annotate(tmp_path / "c", labels=True, status="nothing")


def test_a_run_that_was_stopped_goes_on_where_it_was(
    store: Store, tmp_path: Path, marks: list[list[Mark]]
) -> None:
    def stop(step: Step) -> None:
        if step.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.annotate(tmp_path / "out", labels=True, enlarge_to=0, progress=stop)
    n_drawn = len(marks)
    assert n_drawn == 3
    done = store.annotate(tmp_path / "out", labels=True, enlarge_to=0)
    assert len(marks) == 5
    assert "annotated 2 pictures" in str(done.notes[0])


@pytest.mark.parametrize(("form", "kind"), [("jpeg", "JPEG"), ("png", "PNG"), ("webp", "WEBP")])
def test_copies_can_be_of_one_format(store: Store, tmp_path: Path, form: str, kind: str) -> None:
    three = store.where("path == ['cam1/b.jpg', 'cam1/c.png', 'cam2/f.tif']")
    files = three.annotate(tmp_path / "out", labels=True, enlarge_to=0, form=form).to_frame()
    assert len(files) == 3
    for file in files["written"]:
        with Image.open(file) as image:
            assert image.format == kind


def test_letters_size_place_and_enlarging_can_be_chosen(store: Store, tmp_path: Path) -> None:
    one = store.where("path == 'cam1/b.jpg'")

    def draw(options: Options) -> Image.Image:
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        one.annotate(out, labels=True, **options)
        return Image.open(out / "cam1/b.jpg").convert("RGB")

    plain = draw({})
    assert plain.size == (360, 480)
    # As large as it is, and what there is no room for in it below.
    assert draw({"enlarge_to": 0}).size == (216, 160 + 61)
    assert draw({"enlarge_to": 600}).size == (450, 600)
    assert draw({"place": "below"}).size[1] > 480
    dark = [int((np.asarray(image).max(axis=2) < 40).sum()) for image in
            (plain, draw({"text_size": 1.3}))]  # fmt: skip
    assert dark[1] > 1.2 * dark[0]
    mono = Path(font_rooms._own_folder()) / "DejaVuSansMono.ttf"
    assert np.asarray(draw({"font": mono})).tobytes() != np.asarray(plain).tobytes()


def test_a_script_without_a_font_is_said_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(font_rooms, "list_fonts", tuple)
    frame = _answer(store, {0: 0.9, 1: 0.4, 2: 0.99}).assign(common_name="狮子")
    frame.to_csv(tmp_path / "answers.csv", index=False)
    done = store.annotate(
        tmp_path / "out", answers=tmp_path / "answers.csv", montage=tmp_path / "sheet.png"
    )
    (note,) = [note for note in done.notes if "Chinese" in str(note)]
    assert note.kind == "warning"
    assert "fonts-noto-cjk" in str(note)


def test_a_contact_sheet_is_grouped_and_sized_as_asked(store: Store, tmp_path: Path) -> None:
    def show(options: Options) -> tuple[tuple[int, int], str]:
        file = tmp_path / f"{len(list(tmp_path.iterdir()))}.jpg"
        done = store.annotate(labels=True, montage=file, **options)
        with Image.open(file) as image:
            return image.size, "\n".join(map(str, done.notes))

    plain, said = show({})
    assert "6 pictures in 3 groups" in said
    assert "left out 1 pictures with people" in said
    by_site, said = show({"by": "location"})
    assert "in 2 groups" in said
    assert by_site != plain
    assert "in 1 groups" in show({"by": "none"})[1]
    assert show({"across": 2})[0][0] < plain[0]
    assert show({"cell_px": 100})[0][0] < plain[0]
    _, said = show({"most": 1})
    assert "3 pictures in 3 groups" in said
    assert "3 more are beyond the 1 of a group" in said
    with pytest.raises(BioprobeError, match="nothing"):
        show({"by": "nothing"})


def test_a_contact_sheet_takes_the_place_of_nothing(store: Store, tmp_path: Path) -> None:
    (tmp_path / "sheet.png").write_bytes(b"mine")
    with pytest.raises(SourceError, match=r"sheet\.png is there already"):
        store.annotate(labels=True, montage=tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes() == b"mine"
    with pytest.raises(SourceError, match=r"a \.png, \.jpg or \.webp, got .*sheet\.pdf"):
        store.annotate(labels=True, montage=tmp_path / "sheet.pdf")


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_sequences_move_in_the_order_of_time(
    store: Store, tmp_path: Path, marks: list[list[Mark]], kind: str
) -> None:
    out = tmp_path / "moving"
    done = store.annotate(labels=True, animate=out, animation=kind, frame_seconds=0.2, frame_px=128)
    (file,) = out.rglob("*.*")
    assert file.suffix == f".{kind}"
    with Image.open(file) as moving:
        assert moving.n_frames == 3  # type: ignore[attr-defined]
        moving.load()
        assert moving.info["duration"] == 200
        # What there is no room for in 128 pixels stands below.
        assert moving.size[0] == 216
    times = [some[-1].lines[0] for some in marks]
    assert times == [f"{at}/3 · 2021-05-01 10:00:{second}"
                     for at, second in ((1, "00"), (2, "10"), (3, "20"))]  # fmt: skip
    said = "\n".join(map(str, done.notes))
    assert "wrote 1 sequences" in said
    assert "sequences are of one picture" in said


def test_what_a_sequence_is_can_be_said(store: Store, tmp_path: Path) -> None:
    def count(options: Options) -> int:
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        store.annotate(
            labels=True, enlarge_to=0, people="keep", animate=out, frame_px=64, **options
        )
        return len(list(out.rglob("*.gif")))

    assert count({"sequence": "location"}) == 2
    assert count({"gap_seconds": 1}) == 0
    assert count({"gap_seconds": 5000}) == 2


def test_nothing_is_written_where_a_part_of_it_cannot_be(store: Store, tmp_path: Path) -> None:
    alter_images(store._view.store, captured_at=None)
    with pytest.raises(BioprobeError, match="nothing says which images are one sequence"):
        store.annotate(tmp_path / "out", labels=True, animate=tmp_path / "moving")
    with pytest.raises(BioprobeError, match="nothing"):
        store.annotate(tmp_path / "out", labels=True, montage=tmp_path / "a.png", by="nothing")
    assert not (tmp_path / "out").exists()


def test_of_answers_at_every_rank_the_lowest_is_written(
    store: Store, tmp_path: Path, marks: list[list[Mark]]
) -> None:
    answers = store.zeroshot("family", every_rank=True, k=2)
    store.annotate(tmp_path / "out", answers=answers, show="label", people="keep", enlarge_to=0)
    assert {lines[0] for lines in _lines(marks)} <= {"Felidae", "Turdidae", "human"}


def test_what_is_to_be_written_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"--output FOLDER .* --montage FILE .* --animate FOLDER"):
        store.annotate(labels=True)
    with pytest.raises(MisuseError, match="--show is some of box, label"):
        store.annotate(tmp_path / "out", labels=True, show="name")
    for options in ({"probe": "x"}, {"classes": "cat,dog"}, {"min_score": 0.5}, {"abstain": 0.5}):
        with pytest.raises(MisuseError, match="counts only with"):
            store.annotate(tmp_path / "out", labels=True, **options)


def test_the_command_writes_copies_a_sheet_and_a_table(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = "path == ['cam1/a.jpg', 'cam1/b.jpg']"
    asked = ["annotate", "--store", str(store.folder), "--labels", "--where", where, "--output",
             str(tmp_path / "out"), "--montage", str(tmp_path / "sheet.png"),
             "--table", str(tmp_path / "table.csv")]  # fmt: skip
    assert run(asked) == 0
    said = capsys.readouterr().err
    assert "annotated 2 pictures" in said
    assert len(pd.read_csv(tmp_path / "table.csv")) == 3
    assert json.loads((tmp_path / "out/annotated.json").read_text())["files"].keys() == {
        "cam1/a.jpg", "cam1/b.jpg",
    }  # fmt: skip
    # A second run takes the place of no picture.
    assert run(asked) == 2
    assert "is a picture" in capsys.readouterr().err


def test_the_letters_are_in_the_file(store: Store, tmp_path: Path) -> None:
    """The ground of a label is dark, its letters are bright, whatever the picture."""
    store.where("path == 'cam1/a.jpg'").annotate(tmp_path / "out", labels=True)
    with Image.open(io.BytesIO((tmp_path / "out/cam1/a.jpg").read_bytes())) as image:
        pixels = np.asarray(image.convert("RGB"))
    dark, bright = (pixels.max(axis=2) < 40).sum(), (pixels.min(axis=2) > 215).sum()
    assert dark > 3000
    assert bright > 150
