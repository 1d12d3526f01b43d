"""The page of measurements says what was measured, and no better than it was."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import dedupe, embed_speed
from benchmarks.harness import Row, alternate, make_rows
from benchmarks.results import __main__ as results
from benchmarks.results.page import draw_growth, write_row, write_table

ROOT = Path(__file__).parents[1]


def test_ways_take_turns_and_each_runs_once_untimed() -> None:
    called: list[str] = []
    took_s = alternate({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, 2)
    assert called == ["a", "b"] * 3
    assert [len(one) for one in took_s.values()] == [2, 2]
    alternate({"a": lambda: called.append("a")}, 1, warm=False)
    assert len(called) == 7


def test_ratios_say_how_many_times_as_good_round_by_round() -> None:
    took_s = {"ours": [1.0, 2.0, 4.0], "theirs": [2.0, 2.0, 2.0]}
    (time,) = make_rows("work", "size", took_s, own="ours")
    assert time.ratios == [2.0, 1.0, 0.5]
    assert time.ratio == 1.0
    (rate,) = make_rows("work", "size", took_s, own="ours", unit="images/s", n_done=8)
    assert rate.ours == (8.0, 4.0, 2.0)
    assert rate.ratios == time.ratios
    assert math.isnan(make_rows("work", "size", {"ours": [1.0]}, own="ours")[0].ratio)


def test_the_share_of_a_limit_is_the_same_for_times_and_rates() -> None:
    time = Row(work="w", size="s", unit="s", ours=(4.0,), limit="product", best=1.0)
    rate = Row(work="w", size="s", unit="images/s", ours=(2.0,), limit="product", best=8.0)
    assert time.share == rate.share == 0.25


def test_a_ratio_that_misses_what_is_wanted_is_said() -> None:
    row = Row(work="w", size="s", unit="s", ours=(2.0,), peer="p", theirs=(3.0,), wanted=1.51)
    assert "| p: 3 | 1.50 (1.50 to 1.50) | 1.51: no |" in write_row(row)
    assert "1.50: yes" in write_row(dataclasses.replace(row, wanted=1.5))
    lines = write_table([row, row]).splitlines()
    assert {line.count("|") for line in lines} == {9}


def test_growth_is_drawn_of_three_points_or_more(tmp_path: Path) -> None:
    rows = [Row(work="dedupe", size="", unit="s", ours=(n / 10,), n=n) for n in (10, 20, 40)]
    assert not draw_growth(rows[:2], tmp_path / "few.png")
    assert draw_growth(rows, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_has_every_row_the_machine_and_what_did_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = Row(work="dedupe", size="9 x 2", unit="s", ours=(1.0, 3.0, 2.0))

    def run_one(name: str, *, is_quick: bool) -> tuple[list[Row], str]:
        assert is_quick
        return ([row], "") if name == "dedupe" else ([], f"{name} did not run: no disk")

    monkeypatch.setattr(results, "run_one", run_one)
    output = tmp_path / "RESULTS.md"
    results.main(["--quick", "--only", "dedupe", "serve", "--output", str(output),
                  "--growth", str(tmp_path / "growth.png")])  # fmt: skip
    said = output.read_text(encoding="utf-8")
    assert "| dedupe | 9 x 2 | 2 (1 to 3) s |" in said
    assert "- serve did not run: no disk" in said
    assert "- processor: " in said
    assert "- versions: bioprobe " in said
    assert str(output) in capsys.readouterr().out


def test_each_benchmark_of_the_page_gives_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = dedupe.draw_store
    monkeypatch.setattr(dedupe, "find_flops", lambda: 1e9)
    monkeypatch.setattr(dedupe, "draw_store", lambda at, n, dim: draw(at, n // 100, dim // 16))
    rows = dedupe.list_rows(is_quick=True)
    assert [row.n for row in rows] == [2_000, 4_000, 8_000]
    assert {row.peer for row in rows} == {"numpy"}
    kept = json.loads(json.dumps([dataclasses.asdict(row) for row in rows]))
    assert [Row.from_dict(one) for one in kept] == rows


def test_embedding_stands_beside_the_loop_and_the_fastest_forward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bioprobe-bench" / "photos").mkdir(parents=True)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    for name in ("write_pictures", "write_model"):
        monkeypatch.setattr(embed_speed, name, lambda *_: None)
    monkeypatch.setattr(embed_speed, "find_flops", lambda: 1e9)
    monkeypatch.setattr(embed_speed, "_list_text_rows", lambda *_, **__: [])

    def prepare(*_: object) -> Callable[[], object]:
        return lambda: None

    def miss(*_: object) -> Callable[[], object]:
        raise ModuleNotFoundError

    ways = dict.fromkeys(embed_speed.METHODS, prepare) | {"pybioclip embed": miss}
    monkeypatch.setattr(embed_speed, "METHODS", ways)
    rows = embed_speed.list_rows(is_quick=True)
    assert [(row.work, row.peer, row.wanted) for row in rows] == [
        ("embed", "open_clip loop, fp32", 1.5),
        ("embed", "forward alone, auto", 0.9),
        ("forward alone, auto", "", None),
    ]
    assert rows[0].limit == "the fastest forward alone"
    assert write_table(rows)


def test_the_script_for_a_gpu_is_whole() -> None:
    subprocess.run(["bash", "-n", "benchmarks/gpu.sh"], check=True, cwd=ROOT)


@pytest.mark.long
@pytest.mark.slow
def test_every_step_for_a_gpu_runs_on_a_processor(tmp_path: Path) -> None:
    table = tmp_path / "gpu.md"
    done = subprocess.run(
        ["bash", "benchmarks/gpu.sh", "--tiny", "--output", str(table)],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHON": sys.executable},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = table.read_text(encoding="utf-8")
    assert said.count("100.000% of rows equal") >= 4
    assert said.count("least cosine to fp32 1.000000") == 2
    for way in ("eager", "compiled"):
        assert f"| forward alone, fp8 MLPs, {way} | tiny, " in said
    assert "| embed | tiny, 12 JPEGs of 224 pixels |" in said
