"""Taxa of a published set: what must be read is read, once, whatever drops or ends meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from bioprobe.cli.app import run
from bioprobe.errors import (
    MismatchError,
    MissingExtraError,
    MisuseError,
    SelectionError,
    SourceError,
    TaxonomyError,
)
from bioprobe.interchange import (
    draft,
    export_store,
    import_in_part,
    is_read_in_part,
    row_groups,
)
from bioprobe.progress import Step
from bioprobe.store import EmbeddingStore, verify_store
from bioprobe.store.imported import read_imports
from tests.interchange.published import (
    MODELS,
    RANKS,
    draw_rows,
    draw_vectors,
    write_published,
)

N = 400
ROWS = draw_rows(N)
FRAME = ROWS.to_pandas()
VECTORS = {name: draw_vectors(N, dim, is_unit=unit) for name, (dim, unit) in MODELS.items()}
GROUP_ROWS = 20


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    write_published(str(folder), ROWS, VECTORS, group_rows=GROUP_ROWS)
    return folder


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "BLOCK_ROWS", 60)
    monkeypatch.setattr("time.sleep", lambda _: None)


def _find(name: str, rank: str = "family") -> np.ndarray:
    return np.flatnonzero(FRAME[rank] == name)


def _assert_holds(store: Path, rows: np.ndarray, folder: str = "bioclip-2_float16") -> None:
    opened = EmbeddingStore.open(store)
    assert list(opened.images.frame["path"]) == list(FRAME["uuid"].iloc[rows])
    vectors = VECTORS[folder][rows].astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(opened.read_vectors(), vectors, atol=1e-4, rtol=0)
    assert list(verify_store(opened)) == []


@pytest.mark.parametrize("folder", MODELS)
def test_row_groups_without_the_taxon_are_not_read(
    folder: str, published: Path, tmp_path: Path
) -> None:
    model, (dim, is_unit) = folder.split("_", 1)[0].removesuffix("-vith14"), MODELS[folder]
    summary = import_in_part(published, tmp_path / "S", within=["Felidae"], model=model)
    rows = _find("Felidae")
    _assert_holds(tmp_path / "S", rows, folder)
    assert (summary.model, summary.dim, summary.is_normalised) == (model, dim, is_unit)
    read = summary.reading
    # The stand-in's files end with a smaller group each.
    starts = np.concatenate([np.arange(first, min(first + 134, N), GROUP_ROWS)
                             for first in range(0, N, 134)])  # fmt: skip
    assert read.n_groups == len(starts)
    assert read.n_read == len(set(np.searchsorted(starts, rows, side="right")))
    # pyarrow asks for the last 64 kB of a file at once.
    vectors, footers = read.n_read * GROUP_ROWS * dim * 2, read.n_files * 65_536
    assert vectors * 0.8 < read.n_bytes < vectors * 1.2 + footers + read.n_groups * 9_000
    manifest = EmbeddingStore.open(tmp_path / "S").manifest
    assert (manifest.dtype, manifest.logit_scale) == ("float16", 100.0)
    assert manifest.encoder.model == model


def test_ranks_are_columns_and_rows_are_named_by_uuid(published: Path, tmp_path: Path) -> None:
    import_in_part(published / "bioclip-2_float16", tmp_path / "S", within=["Panthera leo"])
    frame = EmbeddingStore.open(tmp_path / "S").images.frame
    expected = FRAME[FRAME["species"] == "leo"]
    assert len(expected)
    assert list(frame["path"]) == list(expected["uuid"]) == list(frame["uuid"])
    assert set(frame["species"]) == {"Panthera leo"}
    for rank in RANKS[:-1]:
        assert list(frame[rank]) == list(expected[rank]), rank
    assert set(frame["common_name"]) == {"Lion"}
    assert list(frame["identifier"]) == list(expected["identifier"])


def test_another_taxon_adds_and_the_same_one_reads_no_vectors(
    published: Path, tmp_path: Path
) -> None:
    store = tmp_path / "S"
    import_in_part(published, store, within=["Felidae"])
    again = import_in_part(published, store, within=["Felidae"])
    assert (again.n_imported, again.reading.n_read) == (0, 0)
    assert again.reading.n_known == len(_find("Felidae"))
    wider = import_in_part(published, store, within=["order=Carnivora", "Canidae"])
    assert wider.n_imported == len(_find("Canidae"))
    _assert_holds(store, np.concatenate([_find("Felidae"), _find("Canidae")]))


def test_without_a_taxon_all_is_brought(published: Path, tmp_path: Path) -> None:
    summary = import_in_part(published, tmp_path / "S")
    assert summary.n_imported == N
    vectors = VECTORS["bioclip-2_float16"].astype(np.float64)
    norms = np.linalg.norm(vectors, axis=1)
    assert summary.norms == pytest.approx((norms.min(), norms.max()))
    total = (vectors / norms[:, None]).sum(axis=0)
    assert summary.mean_cosine == pytest.approx((total @ total - N) / (N * (N - 1)), abs=1e-5)
    assert summary.reading.n_bytes < summary.reading.all_bytes + 3 * 65_536
    _assert_holds(tmp_path / "S", np.arange(N))


def _assert_same(one: Path, other: Path) -> None:
    first, second = EmbeddingStore.open(one), EmbeddingStore.open(other)
    assert first.manifest == second.manifest
    pd.testing.assert_frame_equal(first.images.frame, second.images.frame)


def test_an_import_that_was_stopped_goes_on(published: Path, tmp_path: Path) -> None:
    import_in_part(published, tmp_path / "whole", within=["Chordata"])

    def stop(step: Step) -> None:
        if step.done > 70:
            raise KeyboardInterrupt

    store = tmp_path / "S"
    with pytest.raises(KeyboardInterrupt):
        import_in_part(published, store, within=["Chordata"], progress=stop)
    begun = len(EmbeddingStore.open(store))
    assert 0 < begun < len(_find("Chordata", "phylum"))
    rest = import_in_part(published, store, within=["Chordata"])
    assert rest.n_imported == len(_find("Chordata", "phylum")) - begun
    _assert_same(store, tmp_path / "whole")


_KILLED = """
import os, sys
from pathlib import Path
from bioprobe.interchange import draft, import_in_part
draft.BLOCK_ROWS = 60
import_in_part(sys.argv[1], Path(sys.argv[2]), within=["Chordata"],
               progress=lambda step: step.done > 70 and os.kill(os.getpid(), 9))
"""


@pytest.mark.long
def test_an_import_that_was_killed_goes_on(published: Path, tmp_path: Path) -> None:
    store = tmp_path / "S"
    command = [sys.executable, "-c", _KILLED, str(published), str(store)]
    assert subprocess.run(command, env=os.environ, check=False).returncode == -9
    assert 0 < len(EmbeddingStore.open(store)) < len(_find("Chordata", "phylum"))
    import_in_part(published, store, within=["Chordata"])
    import_in_part(published, tmp_path / "whole", within=["Chordata"])
    _assert_same(store, tmp_path / "whole")


class Flaky(MemoryFileSystem):  # type: ignore[misc] # fsspec has no types
    """A file system whose connections drop, and whose answers are cut short."""

    protocol = "oci"
    store: dict[str, Any] = {}  # noqa: RUF012 - as its parent has it
    pseudo_dirs = [""]  # noqa: RUF012
    n_reads = 0
    ranges: list[tuple[str, int, int]] = []  # noqa: RUF012
    drops: Callable[[int], bool] = staticmethod(lambda _: False)

    def _open(self, path: str, mode: str = "rb", **kwargs: object) -> object:
        opened = super()._open(path, mode, **kwargs)
        if mode != "rb":
            return opened
        opened.seek(0)
        whole = opened.read()

        class Dropping(fsspec.spec.AbstractBufferedFile):  # type: ignore[misc]
            def _fetch_range(self, start: int, end: int) -> bytes:
                Flaky.n_reads += 1
                Flaky.ranges.append((path, start, end))
                if Flaky.drops(Flaky.n_reads):
                    raise ConnectionResetError(104, "Connection reset by peer")
                data: bytes = whole[start:end]
                return data

        return Dropping(self, path, mode, size=len(whole), cache_type="none")


@pytest.fixture
def flaky() -> Iterator[str]:
    fsspec.register_implementation("oci", Flaky, clobber=True)
    Flaky.store.clear()
    Flaky.ranges.clear()
    Flaky.n_reads, Flaky.drops = 0, staticmethod(lambda _: False)
    write_published("oci://set", ROWS, VECTORS, group_rows=GROUP_ROWS)
    yield "oci://set"
    Flaky.store.clear()


def test_no_byte_is_read_of_vectors_of_other_row_groups(flaky: str, tmp_path: Path) -> None:
    import_in_part(flaky, tmp_path / "S", within=["Felidae"])
    system, root = fsspec.core.url_to_fs(flaky)
    read_then, n_checked = list(Flaky.ranges), 0
    for path in system.find(f"{root}/bioclip-2_float16"):
        with system.open(path) as stream:
            file = pq.ParquetFile(stream)
            footer = file.metadata
            for number in range(footer.num_row_groups):
                if "Felidae" in file.read_row_group(number, ["family"])["family"].to_pylist():
                    continue
                chunk = footer.row_group(number).column(footer.num_columns - 1)
                assert chunk.path_in_schema.startswith("emb")
                first = chunk.dictionary_page_offset or chunk.data_page_offset
                last = first + chunk.total_compressed_size
                # The end of a file comes with its footer.
                if last > footer.num_rows * 1536:
                    continue
                n_checked += 1
                read = [one for one in read_then if one[0] == path]
                assert [one for one in read if one[1] < last and one[2] > first] == []
    assert n_checked > 5


def test_what_drops_is_asked_for_again(flaky: str, tmp_path: Path) -> None:
    Flaky.drops = staticmethod(lambda n: n % 3 != 0)
    summary = import_in_part(flaky, tmp_path / "S", within=["Felidae"])
    _assert_holds(tmp_path / "S", _find("Felidae"))
    assert summary.reading.n_retries > 20


def test_what_never_comes_ends_it_and_it_goes_on_later(flaky: str, tmp_path: Path) -> None:
    store = tmp_path / "S"
    Flaky.drops = staticmethod(lambda _: True)
    with pytest.raises(SourceError, match=r"asked 5 times: ConnectionResetError.*it goes on where"):
        import_in_part(flaky, store, within=["Chordata"])
    assert not store.exists()
    Flaky.drops = staticmethod(lambda _: False)

    def cut(step: Step) -> None:
        if step.done > 70:
            Flaky.drops = staticmethod(lambda _: True)

    with pytest.raises(SourceError, match="asked 5 times"):
        import_in_part(flaky, store, within=["Chordata"], progress=cut)
    assert 0 < len(EmbeddingStore.open(store)) < len(_find("Chordata", "phylum"))
    Flaky.drops = staticmethod(lambda _: False)
    import_in_part(flaky, store, within=["Chordata"])
    _assert_holds(store, _find("Chordata", "phylum"))


@pytest.mark.parametrize("folder", MODELS)
def test_rows_without_a_direction_are_listed_and_not_kept(folder: str, tmp_path: Path) -> None:
    rows = _find("Felidae")
    damaged = VECTORS[folder].copy()
    damaged[rows[0]] = 0
    damaged[rows[1], 3] = np.nan
    damaged[rows[2], 5] = np.inf
    damaged[rows[3]] *= np.float16(0.5)
    write_published(str(tmp_path / "set"), ROWS, {folder: damaged}, group_rows=GROUP_ROWS)
    summary = import_in_part(tmp_path / "set", tmp_path / "S", within=["Felidae"])
    # Where all are said to be unit, one that is not is damaged too.
    n_bad = 4 if MODELS[folder][1] else 3
    assert (summary.n_failed, summary.n_imported) == (n_bad, len(rows) - n_bad)
    failures = EmbeddingStore.open(tmp_path / "S").read_failures()
    reasons = ("a vector of zeros", "not finite", "not finite", "of length 0.5, where")
    expected = sorted(zip(FRAME["uuid"].iloc[rows[:n_bad]], reasons[:n_bad], strict=True))
    assert list(failures["path"]) == [uuid for uuid, _ in expected]
    for found, (_, reason) in zip(failures["reason"], expected, strict=True):
        assert reason in found


@pytest.mark.parametrize("said", [False, ["kingdom", "phylum"]])
def test_without_statistics_names_are_read_and_that_is_said(
    said: bool | list[str], tmp_path: Path
) -> None:
    write_published(
        str(tmp_path / "set"), ROWS, {"bioclip-2_float16": VECTORS["bioclip-2_float16"]},
        group_rows=GROUP_ROWS, write_statistics=said,
    )  # fmt: skip
    summary = import_in_part(tmp_path / "set", tmp_path / "S", within=["Felidae"])
    _assert_holds(tmp_path / "S", _find("Felidae"))
    assert summary.reading.n_unknown == summary.reading.n_groups
    assert summary.reading.n_bytes < 0.9 * summary.reading.all_bytes


def test_large_row_groups_are_streamed(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_groups, "_AT_ONCE_BYTES", 0)
    monkeypatch.setattr(row_groups, "_BUFFER_BYTES", 4096)
    monkeypatch.setattr("bioprobe.interchange.in_part._BATCH_ROWS", 7)
    # What is asked for at once comes in parts.
    monkeypatch.setattr("bioprobe.interchange.ranges._MOST_BYTES", 3000)
    import_in_part(published, tmp_path / "S", within=["Felidae"])
    _assert_holds(tmp_path / "S", _find("Felidae"))


@pytest.mark.parametrize(("n_files", "group_rows"), [(3, 8), (1, 60)])
def test_a_row_that_is_there_twice_comes_once(
    n_files: int, group_rows: int, tmp_path: Path
) -> None:
    twice = pa.concat_tables([ROWS.slice(0, 30), ROWS.slice(20, 30)])
    vectors = VECTORS["bioclip-2_float16"]
    matrix = np.concatenate([vectors[:30], vectors[20:50]])
    write_published(
        str(tmp_path / "set"), twice, {"bioclip-2_float16": matrix}, n_files=n_files,
        group_rows=group_rows,
    )  # fmt: skip
    summary = import_in_part(tmp_path / "set", tmp_path / "S")
    assert (summary.n_imported, summary.reading.n_known) == (50, 10)
    _assert_holds(tmp_path / "S", np.arange(50))


@pytest.mark.parametrize(
    ("within", "message"),
    [
        ("Felidea", r"no 'Felidea' at any rank above species; near it: Felidae"),
        ("family=Canis", r"no 'family=Canis' at family; near it: Canidae"),
        ("Panthera lea", r"at species; near it: Panthera leo"),
        ("Actinobacteria", r"two places: say phylum=Actinobacteria or class=Actinobacteria"),
        ("Morus", r"in Animalia and Plantae: say genus=Animalia/Morus or genus=Plantae/Morus"),
        ("Animalia/Frankia", "no 'Animalia/Frankia' at any .*; Frankia is in Bacteria"),
        ("PANTHERA", "near it: Panthera"),
        ("Panthera LEO", "at genus there is Panthera"),
        ("Panthero sp. 7", "at genus there is Panthera"),
        ("species=leo", r"check the spelling \(a species is a binomial"),
    ],
)  # fmt: skip
def test_a_name_that_is_nowhere_or_at_two_places_is_refused(
    within: str, message: str, published: Path, tmp_path: Path
) -> None:
    with pytest.raises(SelectionError, match=message):
        import_in_part(published, tmp_path / "S", within=[within])
    assert not (tmp_path / "S").exists()


@pytest.mark.parametrize(
    ("within", "rank", "name"),
    [
        ("class=Actinobacteria", "class", "Actinobacteria"), ("felidae", "family", "Felidae"),
        ("Animalia/Morus", "species", "bassanus"), ("genus=Plantae/Morus", "species", "alba"),
    ],
)  # fmt: skip
def test_a_rank_or_a_kingdom_tells_which(
    within: str, rank: str, name: str, published: Path, tmp_path: Path
) -> None:
    import_in_part(published, tmp_path / "S", within=[within])
    _assert_holds(tmp_path / "S", _find(name, rank))


def test_a_rank_that_is_none_is_refused(published: Path, tmp_path: Path) -> None:
    with pytest.raises(TaxonomyError, match="'tribe' is not a rank"):
        import_in_part(published, tmp_path / "S", within=["tribe=Felini"])


def test_the_model_is_known_by_its_folder(published: Path, tmp_path: Path) -> None:
    summary = import_in_part(published, tmp_path / "S", within=["Felidae"])
    assert (summary.model, summary.others) == ("bioclip-2", ("bioclip-2.5",))
    # A store that is there says whose vectors it wants.
    import_in_part(published, tmp_path / "T", within=["Felidae"], model="bioclip-2.5")
    more = import_in_part(published, tmp_path / "T", within=["Canidae"])
    assert (more.model, more.others) == ("bioclip-2.5", ())
    with pytest.raises(MismatchError, match=r"bioclip-2.5 and bioclip-2, --model biocap; name one"):
        import_in_part(published, tmp_path / "U", model="biocap")
    with pytest.raises(MismatchError, match=r"holds vectors of bioclip-2.5, the store is of biocl"):
        import_in_part(published / "bioclip-2.5-vith14_float16", tmp_path / "S")
    assert is_read_in_part(published)
    assert is_read_in_part(published / "bioclip-2_float16")
    assert is_read_in_part("s3://bucket/set")
    assert not is_read_in_part(tmp_path)


def test_a_single_file_wants_a_model(published: Path, tmp_path: Path) -> None:
    file = tmp_path / "some.parquet"
    folder = published / "bioclip-2_float16"
    file.write_bytes((folder / "train-00000-of-00003.parquet").read_bytes())
    with pytest.raises(MisuseError, match=r"whose vectors these are; name the encoder .* --model"):
        import_in_part(file, tmp_path / "S", within=["Canidae"])
    rows = _find("Canidae")
    import_in_part(file, tmp_path / "S", within=["Canidae"], model="bioclip-2")
    _assert_holds(tmp_path / "S", rows[rows < 134])


def test_where_rows_came_from_is_kept_and_what_changed_is_said(tmp_path: Path) -> None:
    source, store = tmp_path / "set", tmp_path / "S"
    vectors = {"bioclip-2_float16": VECTORS["bioclip-2_float16"]}
    write_published(str(source), ROWS, vectors, group_rows=GROUP_ROWS)
    import_in_part(source, store, within=["Felidae"])
    (imported,) = read_imports(store)
    assert (imported.address, imported.within) == (str(source), ("Felidae",))
    name = "bioclip-2_float16/train-00000-of-00003.parquet"
    assert imported.files[name]["n_bytes"] == (source / name).stat().st_size
    assert imported.files[name]["tag"]
    os.utime(source / name, (1, 1))
    summary = import_in_part(source, store, within=["Canidae"])
    assert summary.changed == (name,)
    assert [one.within for one in read_imports(store)] == [("Felidae",), ("Canidae",)]


def test_the_command_says_what_was_read(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "S"
    told = ["store", "import", str(published), "--within", "Felidae,Canidae", "--store", str(store)]
    assert run(told) == 0
    said = capsys.readouterr().err
    n_rows = len(_find("Carnivora", "order"))
    assert "bioclip-2: read 10 of 21 row groups in 3 files, " in said
    assert f"{n_rows} vectors of dim 768 (parquet; they had norms " in said
    assert "vectors of bioclip-2.5 too: --model" in said
    assert run(["store", "info", "--store", str(store), "--format", "json"]) == 0
    (told_of,) = json.loads(capsys.readouterr().out)["imported"]
    assert told_of.startswith(f"{published} within Felidae, Canidae: ")
    assert run([*told, "--root", "photos"]) == 2
    assert run(["store", "import", str(tmp_path / "none.npy"), "--store", str(store)]) == 2
    assert "name the encoder: --model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("memory://nothing-here", "holds no file that ends in .parquet"),
        ("nosuch://a/b", "holds no file that ends in .parquet"),
        ("s3://me:secret@bucket/set", "with a password in it was given; it would stand in tables"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused(
    address: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises((SourceError, MisuseError), match=message):
        import_in_part(address, tmp_path / "S")


def test_a_package_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingExtraError, match="s3:// is read by s3fs, which is not here"):
        import_in_part("s3://bucket/set", tmp_path / "S")


def test_what_bioprobe_exported_is_read_whole(published: Path, tmp_path: Path) -> None:
    import_in_part(published, tmp_path / "S", within=["Panthera leo"])
    file = tmp_path / "v.parquet"
    export_store(EmbeddingStore.open(tmp_path / "S"), file, "emb-explorer")
    with pytest.raises(SourceError, match=r"was exported by bioprobe, .* import them without"):
        import_in_part(file, tmp_path / "T", within=["Felidae"], model="bioclip-2")


def _write_parts(folder: Path, *tables: pa.Table) -> Path:
    """Write files in small row groups; tables without rows too."""
    place = folder / "set" / "bioclip-2_float16"
    place.mkdir(parents=True)
    for number, table in enumerate(tables):
        name = f"train-{number:05d}-of-{len(tables):05d}.parquet"
        pq.write_table(table, place / name, row_group_size=GROUP_ROWS)
    return folder / "set"


@pytest.fixture(scope="module")
def parts() -> list[pa.Table]:
    vectors = VECTORS["bioclip-2_float16"]
    emb = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    table = ROWS.append_column("emb", emb)
    return [table.slice(start, 200) for start in range(0, N, 200)]


def test_files_may_have_their_columns_in_other_orders_and_types_and_lack_some(
    parts: list[pa.Table], tmp_path: Path
) -> None:
    first, second = parts
    wide = second.column("emb").combine_chunks().cast(pa.list_(pa.float32()))
    texts = [pa.field(one.name, pa.string_view()) for one in second.schema if one.name != "emb"]
    second = second.drop_columns(["emb"]).cast(pa.schema(texts)).append_column("emb", wide)
    second = second.drop_columns(["publisher"]).append_column("url", second["identifier"])
    second = second.select(second.column_names[::-1])
    empty = first.slice(0, 0)
    source = _write_parts(tmp_path, empty, first, second)
    summary = import_in_part(source, tmp_path / "S", within=["Felidae", "Canidae"])
    rows = _find("Carnivora", "order")
    _assert_holds(tmp_path / "S", rows)
    assert summary.lacking == ("publisher", "url")
    opened = EmbeddingStore.open(tmp_path / "S")
    assert opened.manifest.dtype == "float32"
    frame = opened.images.frame
    assert list(frame["publisher"].fillna("") != "") == list(rows < 200)
    assert list(frame["url"].fillna("") != "") == list(rows >= 200)


@pytest.mark.parametrize("column", ["emb", "uuid", "family"])
def test_a_file_without_what_tells_rows_is_refused(
    column: str, parts: list[pa.Table], tmp_path: Path
) -> None:
    source = _write_parts(tmp_path, parts[0], parts[1].drop_columns([column]))
    message = rf"00001-of-00002.parquet has no column '{column}' as other files have, but .*alike"
    with pytest.raises(SourceError, match=message):
        import_in_part(source, tmp_path / "S", within=["Felidae"])


def test_where_there_is_no_row_that_is_said(parts: list[pa.Table], tmp_path: Path) -> None:
    empty = parts[0].slice(0, 0)
    lists = empty.drop_columns(["emb"]).append_column("emb", pa.array([], pa.list_(pa.float32())))
    source = _write_parts(tmp_path, lists, empty)
    with pytest.raises(SourceError, match="holds no row"):
        import_in_part(source, tmp_path / "S")
    with pytest.raises(SelectionError, match="no 'Felidae' at any rank above species"):
        import_in_part(source, tmp_path / "S", within=["Felidae"])


def test_a_group_in_which_some_rows_have_no_name_is_looked_at(
    parts: list[pa.Table], tmp_path: Path
) -> None:
    table, (first, *_) = parts[0], _find("Felidae")
    families = table["family"].to_pylist()
    families[first + 1] = None
    place = table.column_names.index("family")
    nameless = table.set_column(place, "family", pa.array(families))
    import_in_part(_write_parts(tmp_path, nameless), tmp_path / "S", within=["family=Felidae"])
    rows = np.flatnonzero(np.array(families) == "Felidae")
    _assert_holds(tmp_path / "S", rows)


class _CutStatistics:
    """Bounds of which all but a few characters are cut off."""

    has_min_max, has_null_count, null_count = True, True, 0

    def __init__(self, said: Any, how: str) -> None:  # noqa: ANN401 - of pyarrow
        self._said, self._how = said, how

    @property
    def min(self) -> str | bytes:
        least: str = self._said.min[:3]
        return least.encode() if self._how == "bytes" else least

    @property
    def max(self) -> str:
        if self._how == "within a character":
            b"\xc3".decode()
        greatest: str = self._said.max
        return greatest[:2] + chr(ord(greatest[2]) + 1) if self._how == "above" else greatest[:3]


@pytest.mark.parametrize("how", ["above", "at", "bytes", "within a character"])
def test_bounds_that_are_cut_off_lose_no_row(
    how: str, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(chunk: Any) -> row_groups.Bounds:  # noqa: ANN401 - of pyarrow
        said = _CutStatistics(chunk.statistics, how)
        return read(SimpleNamespace(is_stats_set=True, statistics=said, num_values=1))

    read = row_groups._read_bounds
    monkeypatch.setattr(row_groups, "_read_bounds", cut)
    import_in_part(published, tmp_path / "S", within=["Felidae"])
    _assert_holds(tmp_path / "S", _find("Felidae"))


@pytest.mark.parametrize("kind", ["other bytes", "same size"])
def test_a_file_that_is_replaced_while_it_is_read_gives_no_row(
    kind: str, parts: list[pa.Table], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _write_parts(tmp_path, *parts)
    find = row_groups.Outline.find

    def replace(self: row_groups.Outline, sought: list[row_groups.Sought]) -> object:
        found = find(self, sought)
        for file in source.rglob("*.parquet"):
            if kind == "same size":
                os.utime(file, (1, 1))
            else:
                pq.write_table(parts[0], file, row_group_size=GROUP_ROWS, compression="none")
        return found

    monkeypatch.setattr(row_groups.Outline, "find", replace)
    with pytest.raises(SourceError, match="was replaced while it was read; run the same command"):
        import_in_part(source, tmp_path / "S", within=["Felidae"])
    assert not (tmp_path / "S").exists()


def test_what_s3_says_of_another_version_is_not_asked_again(
    parts: list[pa.Table], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FileExpired(OSError):  # noqa: N818 - as s3fs names it
        pass

    def expire(*_: object, **_options: object) -> None:
        asked.append(1)
        raise FileExpired

    asked: list[int] = []
    source = _write_parts(tmp_path, parts[0])
    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.open", expire)
    with pytest.raises(SourceError, match="was replaced while it was read"):
        import_in_part(source, tmp_path / "S")
    assert asked == [1]
