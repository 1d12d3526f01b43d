"""Published text heads: fetched from a stand-in of the hub, converted once, kept to their model."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.cli.app import run
from bioprobe.encoders.encoder import Fingerprint
from bioprobe.encoders.hub import find_repository
from bioprobe.encoders.text_heads import PUBLISHED, PublishedHead, find_published
from bioprobe.errors import (
    MismatchError,
    MisuseError,
    ModelUnavailableError,
    PromptError,
    SourceError,
    TaxonomyError,
)
from bioprobe.progress import Step
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.taxonomy import Rank
from bioprobe.zeroshot.head_files import iter_blocks
from bioprobe.zeroshot.heads import open_head
from bioprobe.zeroshot.text_head import TextHead, find_head_classes

pytestmark = pytest.mark.usefixtures("hub")

COMMITS = ("a" * 40, "b" * 40)
CAT = ["Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae"]
# One binomial of two kingdoms, and twice of one, once with holes; the last two are unfilled.
ENTRIES: list[Any] = [
    [[*CAT, "Panthera", "leo"], "Lion"],
    [[*CAT, "Lynx", "lynx"], ""],
    [["Plantae", "Tracheophyta", "Magnoliopsida", "Ericales", "Ericaceae", "Pieris", "alba"], ""],
    [["Animalia", "Arthropoda", "Insecta", "Lepidoptera", "Pieridae", "Pieris", "alba"], "White"],
    [["Animalia", "", "", "", "Pieridae", "Pieris", "alba"], ""],
    [[*CAT, "Felis", "catus"], "Cat"],
    [[*CAT, "Puma", "concolor"], "Puma"],
]
N_FILLED = 5
DIM = 6
MATRIX = np.eye(DIM, len(ENTRIES), dtype=np.float32) * 3
MATRIX[:, N_FILLED:] = 0


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers what ``hf_hub_download`` asks of a data set."""

    #: Bytes by data set, commit and file.
    files: ClassVar[dict[tuple[str, str, str], bytes]] = {}
    newest: ClassVar[str] = COMMITS[0]
    asked: ClassVar[list[tuple[str, str, str | None]]] = []
    breaks_at: ClassVar[int | None] = None

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        parts = self.path.split("/")
        Hub.asked.append((self.command, parts[-1], self.headers["Range"]))
        if parts[:2] != ["", "datasets"] or parts[4] != "resolve":
            self._refuse("RepoNotFound")
            return
        repository, revision, file = "/".join(parts[2:4]), parts[5], "/".join(parts[6:])
        commit = Hub.newest if revision == "main" else revision
        if commit not in {key[1] for key in Hub.files}:
            self._refuse("RevisionNotFound")
            return
        body = Hub.files.get((repository, commit, file))
        if body is None:
            self._refuse("EntryNotFound", commit)
            return
        start = int((self.headers["Range"] or "bytes=0-")[6:].rstrip("-"))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("ETag", f'"{hash(body) & 0xFFFFFFFF:x}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if self.command == "GET":
            is_cut = Hub.breaks_at is not None and file.endswith(".npy")
            self.wfile.write(body[start : Hub.breaks_at if is_cut else None])
            if is_cut:
                Hub.breaks_at = None
                self.close_connection = True

    def _refuse(self, code: str, commit: str = "") -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        if commit:
            self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Let a server of this machine stand for the hub, beside an empty Hugging Face cache.

    Yields
    ------
    str
        Its address.
    """
    Hub.files, Hub.asked, Hub.newest, Hub.breaks_at = {}, [], COMMITS[0], None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    url = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("time.sleep", lambda _: None)
    yield address
    server.shutdown()
    server.server_close()


def publish(
    name: str = "txt_emb_bioclip-2",
    *,
    repository: str = "imageomics/TreeOfLife-200M",
    matrix: np.ndarray = MATRIX,
    entries: list[Any] = ENTRIES,
    commit: str = COMMITS[0],
) -> None:
    from io import BytesIO

    stream = BytesIO()
    np.save(stream, matrix)
    Hub.files[repository, commit, f"embeddings/{name}.npy"] = stream.getvalue()
    Hub.files[repository, commit, f"embeddings/{name}.json"] = json.dumps(entries).encode()


Make = Callable[..., EmbeddingStore]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make a store of three pictures without labels."""

    def make_store(
        model: str = "bioclip-2", name: str = "S", *, weights: str = "", **columns: Sequence[str]
    ) -> EmbeddingStore:
        encoder = Fingerprint(model=model, weights_sha256=weights, backend="imported")
        store = EmbeddingStore.create(tmp_path / name, encoder, dim=DIM, logit_scale=10.0)
        frame = pd.DataFrame({"path": ["a.jpg", "b.jpg", "c.jpg"], **columns})
        return store.append(frame, np.eye(3, DIM, dtype=np.float32))

    return make_store


def open_published(store: EmbeddingStore, name: str = "treeoflife") -> TextHead:
    return open_head(View.of(store), name)


def ask(store: bp.Store | Path, **given: object) -> bp.Predictions:
    opened = bp.open(store) if isinstance(store, Path) else store
    found = opened.zeroshot(**{"k": 1, **given})  # type: ignore[arg-type]
    assert isinstance(found, bp.Predictions)
    return found


def list_cache() -> list[str]:
    folder = Path(os.environ["BIOPROBE_CACHE"]) / "heads"
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def test_the_tree_of_life_is_the_default_without_labels(make: Make) -> None:
    publish()
    store = make()
    found = ask(store.folder)
    assert [taxon.name for taxon in found.classes.taxonomy] == [
        "Panthera leo", "Lynx lynx", "Pieris alba", "Pieris alba"
    ]  # fmt: skip
    assert found.names[:, 0].tolist() == ["Panthera leo", "Lynx lynx", "Pieris alba"]
    said = [str(note) for note in found.notes]
    assert said[0] == "no label names a taxon: the classes are those of the tree of life"
    assert said[1] == ("texts: 5, txt_emb_bioclip-2 of imageomics/TreeOfLife-200M at aaaaaaaaaaaa")
    assert said[2].startswith(
        "texts of the head that are empty or no numbers, left out: 2 (Felis ca"
    )
    assert said[2].endswith("Puma concolor)")
    options = found.provenance.options
    assert options["head_repository"] == "imageomics/TreeOfLife-200M"
    assert options["head_revision"] == COMMITS[0]
    # Fetched once, and nothing more is asked.
    n_asked = len(Hub.asked)
    assert [file for verb, file, _ in Hub.asked if verb == "GET" and "txt" in file] == [
        "txt_emb_bioclip-2.json", "txt_emb_bioclip-2.npy"
    ]  # fmt: skip
    assert ask(store.folder).names.tolist() == found.names.tolist()
    assert len(Hub.asked) == n_asked


def test_labels_are_the_candidates_unless_it_is_said_outright(make: Make, tmp_path: Path) -> None:
    publish()
    store = bp.open(make(species=["Felis catus", "Puma concolor", ""]).folder)
    made = ask(store, level="species", taxa="treeoflife")
    assert made.names[:, 0].tolist() == ["Panthera leo", "Lynx lynx", "Pieris alba"]
    assert not any("no label" in str(note) for note in made.notes)
    with pytest.raises(MisuseError, match=r"--text-type, --roll-up count only where texts are"):
        store.zeroshot(taxa="treeoflife", text_type="sci", roll_up=True)
    listed = tmp_path / "families.csv"
    listed.write_text("family\nFelidae\nPieridae\n")
    family = ask(store, level="family", head="treeoflife", taxa=listed)
    assert [taxon.name for taxon in family.classes.taxonomy] == ["Felidae", "Pieridae"]
    assert family.names[0, 0] == "Felidae"


def test_pictures_in_no_store_are_asked_by_it(make: Make) -> None:
    publish()
    view = View(make(), np.arange(2), origin="photos/x.jpg")
    assert ask(bp.Store(view), level="family").names[0, 0] == "Felidae"
    with pytest.raises(MisuseError, match="a text head that a store keeps"):
        bp.Store(view).zeroshot(head="mine")


def test_rows_are_unit_of_half_precision_and_the_names_a_table(make: Make) -> None:
    publish()
    head = open_published(make())
    assert head.vectors.dtype == np.float16
    assert len(head) == N_FILLED
    assert isinstance(head.vectors, np.memmap)
    np.testing.assert_array_equal(head.vectors, np.eye(N_FILLED, DIM))
    assert head.taxa["species"].tolist()[:2] == ["Panthera leo", "Lynx lynx"]
    assert head.taxa["common_name"].tolist()[0] == "Lion"


def test_one_binomial_of_several_lineages_is_summed_where_they_agree(make: Make) -> None:
    publish()
    found = find_head_classes(open_published(make()), Rank.SPECIES)
    rows = {
        (taxon.lineage[0], taxon.name): found.rows[found.classes == place].tolist()
        for place, taxon in enumerate(found.taxa)
    }
    assert rows["Plantae", "Pieris alba"] == [2]
    # The row with holes above agrees with the butterfly, and with no shrub.
    assert rows["Animalia", "Pieris alba"] == [3, 4]


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda one: one.names[0])
def test_each_model_has_its_head(published: PublishedHead, make: Make) -> None:
    publish(published.names[0], repository=published.repository)
    head = open_published(make(published.short_name))
    assert head.origin.startswith(f"{published.names[0]} of {published.repository}")
    assert find_published(find_repository(f"hf-hub:{published.model}@main")) is published


@pytest.mark.parametrize(
    ("model", "repository"),
    [("bioclip-2", "imageomics/TreeOfLife-200M"), ("bioclip", "imageomics/TreeOfLife-10M")],
)
def test_the_older_name_is_tried_after_the_model_s(model: str, repository: str, make: Make) -> None:
    publish("txt_emb_species", repository=repository)
    assert open_published(make(model)).origin.startswith("txt_emb_species")


def test_the_older_name_is_no_head_of_a_later_model(make: Make) -> None:
    # It is that of another model, of the same length.
    publish("txt_emb_species", repository="imageomics/TreeOfLife-10M")
    with pytest.raises(ModelUnavailableError, match="has no txt_emb_biocap in embeddings/"):
        open_published(make("biocap"))


def test_a_revision_is_kept_until_another_is_asked_for(make: Make) -> None:
    publish()
    publish(matrix=np.ones((DIM, 2), dtype=np.float32), entries=ENTRIES[:2], commit=COMMITS[1])
    store = make()
    assert len(open_published(store)) == N_FILLED
    Hub.newest = COMMITS[1]
    assert open_published(store).about["revision"] == COMMITS[0]
    other = open_published(store, f"treeoflife@{COMMITS[1]}")
    assert (len(other), other.about["revision"]) == (2, COMMITS[1])
    assert open_published(store).about["revision"] == COMMITS[0]
    # A download asks for the newest.
    done = bp.taxa.download("treeoflife")
    assert done.revision == COMMITS[1]
    assert open_published(store).about["revision"] == COMMITS[1]
    with pytest.raises(ModelUnavailableError, match="the repository has no such revision"):
        open_published(store, "treeoflife@nope")


def test_the_hub_s_files_may_go_once_they_are_converted(make: Make, tmp_path: Path) -> None:
    publish()
    store = make()
    open_published(store)
    shutil.rmtree(tmp_path / "hub")
    Hub.files.clear()
    assert open_published(store).about["revision"] == COMMITS[0]
    assert len(open_published(store, f"treeoflife@{COMMITS[0]}")) == N_FILLED


def test_a_connection_that_breaks_off_goes_on_where_it_was(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish()
    # The library takes what comes in pieces of 10 MB.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100)
    Hub.breaks_at = 200
    assert len(open_published(make())) == N_FILLED
    assert ("GET", "txt_emb_bioclip-2.npy", "bytes=200-") in Hub.asked


def test_progress_is_told_in_bytes() -> None:
    publish(matrix=np.ones((DIM, 70_000), dtype=np.float32), entries=ENTRIES[:1] * 70_000)
    steps: list[Step] = []
    bp.taxa.download("treeoflife", progress=steps.append)
    assert steps[-1] == Step(2, 2, "MB of txt_emb_bioclip-2.npy")
    assert {step.what for step in steps} >= {"MB of txt_emb_bioclip-2.json"}


def test_offline_the_error_has_both_remedies(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    url = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", url)
    with pytest.raises(ModelUnavailableError) as caught:
        bp.open(make().folder).zeroshot()
    message = str(caught.value)
    assert "the hub cannot be reached" in message
    assert "bioprobe taxa download treeoflife --model bioclip-2 --to DIR" in message
    assert "--taxa DIR/txt_emb_bioclip-2.npy" in message
    assert "--classes" in message


def test_offline_mode_is_kept_to(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    publish()
    folder = make().folder
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelUnavailableError, match="HF_HUB_OFFLINE is set"):
        bp.open(folder).zeroshot()
    assert Hub.asked == []
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    found = ask(folder)
    n_asked = len(Hub.asked)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert ask(folder).names.tolist() == found.names.tolist()
    assert len(Hub.asked) == n_asked


def test_the_hub_is_that_of_the_environment(hub: str, tmp_path: Path) -> None:
    publish()
    code = (
        "from bioprobe.encoders.text_heads import PUBLISHED, fetch_head\n"
        "print(fetch_head(PUBLISHED[0]).matrix)\n"
    )
    given = {**os.environ, "HF_ENDPOINT": hub, "HF_HUB_CACHE": str(tmp_path / "other")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=given, capture_output=True, text=True, check=True
    )
    place = tmp_path / "other" / "datasets--imageomics--TreeOfLife-200M" / "snapshots" / COMMITS[0]
    assert Path(done.stdout.strip()) == place / "embeddings" / "txt_emb_bioclip-2.npy"
    assert done.stderr == ""


def test_a_length_that_differs_from_the_names_is_refused(make: Make) -> None:
    publish(entries=ENTRIES[:-1])
    with pytest.raises(SourceError, match=r"shape \(6, 7\) for 6 names; expected \(dim, 6\)"):
        open_published(make())
    assert list_cache() == []


@pytest.mark.parametrize("hole", [0.0, np.nan, np.inf])
def test_columns_without_a_direction_are_named(hole: float, make: Make) -> None:
    n_rows, n_empty = 300, 203
    matrix = np.ones((DIM, n_rows), dtype=np.float32)
    matrix[:, -n_empty:] = hole
    entries = [[[*CAT, "Felis", f"{chr(97 + n % 26)}{chr(97 + n // 26)}ensis"], ""]
               for n in range(n_rows)]  # fmt: skip
    publish(matrix=matrix, entries=entries)
    head = open_published(make())
    assert (len(head), head.about["n_left_out"]) == (n_rows - n_empty, n_empty)
    assert np.isfinite(head.vectors).all()
    first = entries[n_rows - n_empty][0][-1]
    assert head.about["left_out"][0] == f"Felis {first}"
    found = ask(make(name="T").folder)
    assert any(f"empty or no numbers, left out: 203 (Felis {first}, "
               in str(note) for note in found.notes)  # fmt: skip


def test_a_store_of_another_encoder_is_refused(make: Make, tmp_path: Path) -> None:
    publish()
    open_published(make(weights="1" * 64))
    with pytest.raises(MismatchError, match=r"holds vectors of bioclip-2 \(weights 222.* taken fo"):
        open_published(make(name="T", weights="2" * 64))
    publish("txt_emb_biocap", repository="imageomics/TreeOfLife-10M", matrix=MATRIX[:4])
    with pytest.raises(MismatchError, match=r"text embeddings of dim 4, .* vectors of dim 6"):
        open_published(make("biocap", "U"))
    with pytest.raises(
        PromptError, match=r"texts for bioclip-2, bioclip-2\.5, bioclip, biocap, and"
    ):
        open_published(make("clip-b16", "V"))
    with pytest.raises(PromptError, match=r"give a taxon list with --taxa: .*rare-species, sketch"):
        bp.open(tmp_path / "V").zeroshot()


def test_a_damaged_conversion_is_made_again(make: Make) -> None:
    publish()
    store = make()
    open_published(store)
    (name,) = list_cache()
    folder = Path(os.environ["BIOPROBE_CACHE"]) / "heads" / name

    def cut(path: Path) -> None:
        os.truncate(path, path.stat().st_size - 4)

    def empty(path: Path) -> None:
        size = path.stat().st_size - 128
        with path.open("r+b") as stream:
            stream.seek(128)
            stream.write(bytes(size))

    for file, damage in (
        ("vectors.npy", cut), ("vectors.npy", empty), ("taxa.parquet", cut), ("head.json", cut),
        ("vectors.npy", Path.unlink),
    ):  # fmt: skip
        damage(folder / file)
        assert len(open_published(store)) == N_FILLED, file
    assert list_cache() == [name]


def test_two_processes_make_it_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    publish()
    store, made = make(), []
    started = threading.Barrier(2)

    def count(source: Path) -> Iterator[Any]:
        made.append(source)
        yield from iter_blocks(source)

    monkeypatch.setattr("bioprobe.zeroshot.heads.iter_blocks", count)

    def ask() -> None:
        started.wait()
        assert len(open_published(store)) == N_FILLED

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_a_carried_head_is_asked_without_a_network(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish()
    carried = tmp_path / "carried"
    code = run(["taxa", "download", "treeoflife", "--model", "bioclip-2", "--to", str(carried)])
    file = carried / "txt_emb_bioclip-2.npy"
    shown, said = capsys.readouterr()
    assert (code, shown.strip()) == (0, str(file)), said
    assert f"bioprobe zeroshot --taxa {file}" in said
    assert sorted(path.name for path in carried.glob("txt*")) == [
        "txt_emb_bioclip-2.json", "txt_emb_bioclip-2.npy", "txt_emb_bioclip-2.origin.json"
    ]  # fmt: skip
    Hub.files.clear()
    found = ask(bp.open(make().folder), taxa=file)
    assert found.names[0, 0] == "Panthera leo"
    assert "TreeOfLife-200M at aaaaaaaaaaaa" in str(found.notes[0])
    with pytest.raises(MismatchError, match="is the text head of imageomics/bioclip-2"):
        bp.open(make("bioclip", "T").folder).zeroshot(taxa=file)
    # Again, over what is there.
    publish()
    assert bp.taxa.download("treeoflife", to=carried).file == file


def test_a_file_is_of_the_model_that_its_name_or_the_user_says(make: Make, tmp_path: Path) -> None:
    def write(name: str, matrix: np.ndarray = MATRIX) -> Path:
        np.save(tmp_path / f"{name}.npy", matrix)
        (tmp_path / f"{name}.json").write_text(json.dumps(ENTRIES))
        return tmp_path / f"{name}.npy"

    folder = make("bioclip-2.5").folder
    by_name = ask(folder, taxa=write("txt_emb_bioclip-2.5-vith14"))
    assert by_name.names[0, 0] == "Panthera leo"
    mine = write("mine")
    with pytest.raises(PromptError, match=r"nothing says of which model .* --model bioclip-2\.5"):
        bp.open(folder).zeroshot(taxa=mine)
    # Two data sets have a file of the older name.
    with pytest.raises(PromptError, match="nothing says of which model"):
        bp.open(folder).zeroshot(taxa=write("txt_emb_species"))
    for _ in range(2):
        found = ask(bp.open(folder, model="bioclip-2.5"), taxa=mine)
        assert found.names[0, 0] == "Panthera leo"
    with pytest.raises(MismatchError, match=r"holds vectors of bioclip-2\.5, got a text head of"):
        open_head(View.of(EmbeddingStore.open(folder)), mine, model="bioclip")
    n_kept = len(list_cache())
    write("mine", MATRIX[::-1])
    changed = ask(bp.open(folder, model="bioclip-2.5"), taxa=mine)
    assert changed.names[0, 0] != "Panthera leo"
    assert len(list_cache()) == n_kept
    with pytest.raises(PromptError, match=r"is no text head: expected a \.npy of shape"):
        bp.open(folder).zeroshot(taxa=tmp_path / "absent.npy")


def test_a_folder_of_the_model_keeps_its_head(make: Make, tmp_path: Path) -> None:
    publish()
    model = tmp_path / "model"
    model.mkdir()
    store = make(f"local-dir:{model}")
    with pytest.raises(PromptError, match="say with --model which of them it is"):
        open_published(store)
    assert len(open_head(View.of(store), "treeoflife", model="bioclip-2")) == N_FILLED
    origin = {"model": "bioclip-2", "repository": "imageomics/bioclip-2", "revision": "c" * 40}
    (model / "bioprobe_origin.json").write_text(json.dumps(origin))
    assert len(open_published(store)) == N_FILLED
    cached = tmp_path / "models--imageomics--bioclip" / "snapshots" / "d"
    cached.mkdir(parents=True)
    assert find_repository(f"local-dir:{cached}") == "imageomics/bioclip"


def test_a_head_in_the_folder_of_its_model_needs_no_network(make: Make, tmp_path: Path) -> None:
    publish()
    model = tmp_path / "model"
    bp.taxa.download("treeoflife", to=model)
    Hub.files.clear()
    shutil.rmtree(tmp_path / "hub", ignore_errors=True)
    origin = {"model": "bioclip-2", "repository": "imageomics/bioclip-2", "revision": "c" * 40}
    (model / "bioprobe_origin.json").write_text(json.dumps(origin))
    head = open_published(make(f"local-dir:{model}"))
    assert (len(head), head.about["revision"]) == (N_FILLED, COMMITS[0])


def test_where_a_list_is_wanted_a_head_is_said_to_be_none(make: Make, tmp_path: Path) -> None:
    store = bp.open(make().folder)
    for name in ("treeoflife", str(tmp_path / "txt_emb_bioclip-2.npy")):
        with pytest.raises(TaxonomyError, match="is a text head and no taxon list: zeroshot asks"):
            store.resolve_taxa(names=name)


def test_the_taxa_of_a_head_are_listed(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish()
    folder, target = make().folder, tmp_path / "taxa.csv"
    code = run(
        ["taxa", "list", "--head", "treeoflife", "--store", str(folder), "--output", str(target)]
    )
    said = capsys.readouterr().err
    assert code == 0, said
    listed = pd.read_csv(target, keep_default_na=False)
    assert listed["species"].tolist()[0] == "Panthera leo"
    assert (len(listed), set(listed["from"])) == (N_FILLED, {"treeoflife"})
    assert "left out: 2 (Felis catus" in said


def test_what_is_downloaded_is_published() -> None:
    with pytest.raises(MisuseError, match="what is downloaded is treeoflife, got 'birds'"):
        bp.taxa.download("birds")
    with pytest.raises(ModelUnavailableError, match=r"no text head of clip-b16 .* bioclip-2, bio"):
        bp.taxa.download("treeoflife", model="clip-b16")
