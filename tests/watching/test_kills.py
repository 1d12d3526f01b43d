from __future__ import annotations

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bioprobe.store import EmbeddingStore
from tests.conftest import draw_picture

N_PICTURES = 3


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_a_watch_that_is_killed_again_and_again_does_each_thing_once(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    files = [tmp_path / "inbox" / f"{number}.png" for number in range(N_PICTURES)]
    for number, file in enumerate(files):
        draw_picture(number, (16, 16)).save(file)
    (tmp_path / "taxa.csv").write_text("class,family\nMammalia,Felidae\nMammalia,Canidae\n")
    seed, n_kills = 5, 2
    done = subprocess.run(
        [sys.executable, "-m", "tests.watching.killing", str(tmp_path), str(seed), str(n_kills)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    store = EmbeddingStore.open(tmp_path / "store")
    names = [file.name for file in files]
    assert sorted(store.images.frame["path"].iloc[store.rows]) == names
    assert len(store) == N_PICTURES
    with (tmp_path / "answers.csv").open() as stream:
        assert Counter(row["file_name"] for row in csv.DictReader(stream)) == Counter(names)
    told = (tmp_path / "told").read_text().splitlines()
    assert Counter(told) == Counter(map(str, files))
    assert not (tmp_path / "store" / "watching").exists()
