"""Commands of several processes on one store at one time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bioprobe as bp
from bioprobe.cli.app import run

_N_NEW = 100


@pytest.mark.usefixtures("example_package")
def test_a_store_is_read_and_learnt_from_while_another_process_embeds(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    # An encoder for which a process need not import the libraries of models.
    asked = ["embed", str(drawn / "photos" / "pictures.csv"), "--model", "tint:4"]
    assert run([*asked, "--store", str(store), "--quiet"]) == 0
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    (new := tmp_path / "new").mkdir()
    random = np.random.default_rng(0)
    for number in range(_N_NEW):
        noise = random.integers(0, 256, (200, 300, 3), dtype=np.uint8)
        Image.fromarray(noise).save(new / f"{number:02d}.png")
    before = len(bp.open(store))
    writer = subprocess.Popen(
        [sys.executable, "-m", "bioprobe", "embed", str(new), "--store", str(store), "--quiet"]
    )
    counted, n_fits = set(), 0
    while writer.poll() is None or not n_fits:
        asked = ["probe", "fit", "centroid", "--level", "family", "--split", "none"]
        assert run([*asked, "--store", str(store), "--quiet"]) == 0
        n_fits += 1
        assert run(["store", "verify", "--store", str(store), "--quiet"]) == 0
        counted.add(len(bp.open(store).probe("centroid").predict(k=1)))
        time.sleep(0.2)  # Or the writer would have half a processor.
    assert writer.returncode == 0
    # What a busy machine has embedded within a minute is kept, the rest after it.
    assert counted <= set(range(before, before + _N_NEW + 1))
    capsys.readouterr()
    assert run(["store", "verify", "--store", str(store)]) == 0
    assert f"is whole: {before + _N_NEW:,} images" in capsys.readouterr().err
    found = bp.open(store).probe("centroid").predict(k=1)
    assert len(found) == before + _N_NEW
    assert not [path for path in store.rglob("*") if ".tmp" in path.name]


def test_a_clock_that_goes_back_loses_nothing(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    shutil.copytree(drawn / "store", store)
    at = ["--store", str(store), "--quiet"]
    fit = ["probe", "fit", "centroid", "--level", "family", "--split", "none", *at]
    assert run(fit) == 0
    assert run(["search", "--text", "a lion", *at]) == 0
    capsys.readouterr()
    assert run(["probe", "predict", "centroid", "--format", "csv", *at]) == 0
    before = capsys.readouterr().out
    # As all would be that was written before the clock was put back by a year.
    for path in store.rglob("*"):
        stat = path.stat()
        os.utime(path, (stat.st_atime + 3e7, stat.st_mtime + 3e7))
    assert run(fit) == 0
    assert run(["search", "--text", "a lion", *at]) == 0
    assert run(["store", "verify", *at]) == 0
    capsys.readouterr()
    assert run(["probe", "predict", "centroid", "--format", "csv", *at]) == 0
    assert capsys.readouterr().out == before
