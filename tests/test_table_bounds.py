"""Small files of much: refused before they are read, with little memory, by every reader."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bioprobe.errors import SourceError
from bioprobe.files import read_lines
from bioprobe.interchange.clip_retrieval import open_clip_retrieval
from bioprobe.interchange.saved_datasets import open_parquet
from bioprobe.interchange.vector_source import ReadOptions
from bioprobe.sources.files import SourceOptions
from bioprobe.sources.source import find_images
from bioprobe.table_bounds import check_json, check_lines, check_parquet, check_shape
from bioprobe.tables import read_table
from bioprobe.taxonomy.lists import read_taxa
from bioprobe.zeroshot.head_files import read_text_head

_MB = 2**20
_MOST_MB = 700


def _write(path: Path, texts: pa.Array | pa.ChunkedArray, **options: object) -> Path:
    pq.write_table(pa.table({"path": texts}), path, compression="zstd", **options)
    return path


def _repeat(text: str, n: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, dtype=np.int32)), pa.array([text]))


def _write_long_texts(path: Path) -> None:
    _write(path, pa.array(["x" * (100 * _MB)] * 2), use_dictionary=False)


def _write_one_long_text(path: Path) -> None:
    _write(path, pa.array(["a.jpg"] * 99_999 + ["x" * (100 * _MB)]), use_dictionary=False)


def _write_repeated_text(path: Path) -> None:
    _write(path, _repeat("x" * 900_000, 5_000))


def _write_repeated_text_in_lists(path: Path) -> None:
    lists = pa.ListArray.from_arrays(pa.array([0, 2_500, 5_000]), _repeat("x" * 900_000, 5_000))
    pq.write_table(pa.table({"path": pa.array(["a", "b"]), "names": lists}), path)


def _write_holes(path: Path) -> None:
    _write(path, pa.nulls(100_000_000, pa.int8()))


def _write_many_columns(path: Path) -> None:
    pq.write_table(pa.table({f"c{n}": pa.array([1]) for n in range(10_001)}), path)


def _write_long_line(path: Path) -> None:
    with path.open("wb") as stream:
        stream.write(b"path,species\na.jpg,")
        # A hole in the file takes no disk.
        stream.truncate(500 * _MB)


def _write_short_rows(path: Path) -> None:
    head = ",".join(f"c{n}" for n in range(9_999))
    path.write_text(f'"a\nb",{head}\n' + "x\n" * 200_000)


def _write_wide_header(path: Path) -> None:
    path.write_text("\t".join(["c"] * 10_001) + "\n")


def _write_ragged_records(path: Path) -> None:
    path.write_text(json.dumps([{f"c{n}": 1} for n in range(9_000)]))


def _write_long_json(path: Path) -> None:
    with path.open("wb") as stream:
        stream.write(b'["')
        stream.truncate(500 * _MB)


BOMBS = {
    "long.parquet": _write_long_texts,
    "one_long.parquet": _write_one_long_text,
    "repeated.parquet": _write_repeated_text,
    "in_lists.parquet": _write_repeated_text_in_lists,
    "holes.parquet": _write_holes,
    "columns.parquet": _write_many_columns,
    "line.csv": _write_long_line,
    "line.tsv": _write_long_line,
    "rows.csv": _write_short_rows,
    "header.tsv": _write_wide_header,
    "records.json": _write_ragged_records,
    "text.json": _write_long_json,
    "text.jsonl": _write_long_json,
}
_PROGRAM = f"""
import resource, sys
from pathlib import Path
from bioprobe.errors import SourceError
from bioprobe.tables import read_table

import pandas, pyarrow.parquet
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {_MOST_MB * _MB}, resource.RLIM_INFINITY))
for name in sys.argv[1:]:
    try:
        read_table(Path(name))
    except SourceError as error:
        print(error)
    else:
        print(name, "was read")
"""
_WORDS = ("columns, expected", "would take", "has more than 1,000,000 bytes")


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bombs")
    for name, write in BOMBS.items():
        write(folder / name)
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="asks the system how much it holds")
def test_small_files_of_much_are_refused_with_little_memory(bombs: Path) -> None:
    command = [sys.executable, "-c", _PROGRAM, *(str(bombs / name) for name in BOMBS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(BOMBS), done.stdout
    for name, line in zip(BOMBS, lines, strict=True):
        assert line.startswith(str(bombs / name)), line
        assert any(words in line for words in _WORDS), line


def test_every_reader_of_strangers_refuses_them(bombs: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip"
    for name in ("img_emb", "metadata"):
        (clip / name).mkdir(parents=True)
    np.save(clip / "img_emb" / "img_emb_0.npy", np.zeros((5_000, 4), dtype=np.float32))
    (clip / "metadata" / "metadata_0.parquet").hardlink_to(bombs / "repeated.parquet")
    (tmp_path / "line.txt").hardlink_to(bombs / "text.json")
    np.save(tmp_path / "head.npy", np.zeros((4, 2), dtype=np.float32))
    (tmp_path / "head.json").hardlink_to(bombs / "text.json")
    pictures = pa.table({
        "image": pa.array([{"bytes": b"x", "path": "a.jpg"}] * 5_000),
        "species": _repeat("x" * 900_000, 5_000),
    })  # fmt: skip
    pq.write_table(pictures, tmp_path / "pictures.parquet")
    options = ReadOptions("sketch")
    readers: dict[str, Callable[[], object]] = {
        "source table": lambda: find_images([bombs / "line.csv"]),
        "source list": lambda: find_images([bombs / "text.json"], SourceOptions()),
        "source data set": lambda: find_images([tmp_path / "pictures.parquet"]),
        "taxa": lambda: read_taxa(bombs / "text.json"),
        "taxa records": lambda: read_taxa(bombs / "records.json"),
        "emb-explorer": lambda: open_parquet(bombs / "repeated.parquet", options),
        "clip-retrieval": lambda: open_clip_retrieval(clip, options),
        "names": lambda: read_text_head(tmp_path / "head.npy"),
    }
    for name, read in readers.items():
        with pytest.raises(SourceError) as told:
            read()
        assert any(words in str(told.value) for words in _WORDS), name


def test_what_people_have_is_read(tmp_path: Path) -> None:
    long = "x" * 999_000
    frame = pd.DataFrame({"path": ["a.jpg", "b.jpg"], "note": [long, "short"]})
    frame.to_csv(tmp_path / "long.csv", index=False)
    frame.to_parquet(tmp_path / "long.parquet")
    for name in ("long.csv", "long.parquet"):
        assert read_table(tmp_path / name)["note"].tolist() == [long, "short"]
    (tmp_path / "wide.csv").write_text(",".join(["c"] * 10_000) + "\n")
    check_lines(tmp_path / "wide.csv", separator=",")
    n = 50_000
    names = pa.DictionaryArray.from_arrays(
        pa.array(np.arange(n, dtype=np.int32) % 3), pa.array(["Vulpes vulpes", "Puma", "Lynx"])
    )
    for compression in ("zstd", "none"):
        file = tmp_path / f"{compression}.parquet"
        pq.write_table(pa.table({f"c{k}": names for k in range(12)}), file, compression=compression)
        check_parquet(file)
    (tmp_path / "vectors.json").write_text(json.dumps([[0.5] * 400_000]))
    check_json(tmp_path / "vectors.json")


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_are_measured_across_blocks(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(end.join([b"x" * 700_000] * 4))
    check_lines(path)
    assert read_lines(path) == [*["x" * 700_000] * 4]
    path.write_bytes(end.join([b"x" * 700_000, b"x" * 1_000_001, b"x"]))
    with pytest.raises(SourceError, match=r"list\.txt line [12] has more than 1,000,000 bytes"):
        read_lines(path)


def test_the_shape_is_refused_before_the_size(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x")
    with pytest.raises(SourceError, match="10,001 columns, expected 10,000 at most"):
        check_shape(tmp_path / "t.csv", 1, 10_001)
    with pytest.raises(SourceError, match="has 1 bytes and would take 1,000,000,000 in memory"):
        check_shape(tmp_path / "t.csv", 12_500_000, 10)
