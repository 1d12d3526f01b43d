"""The page of measurements says what was measured, and no better than it was."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import dedupe, embed_speed, limits, search_index
from benchmarks.harness import Row, alternate, make_rows, tell_absent
from benchmarks.results import __main__ as results
from benchmarks.results import machine
from benchmarks.results.machine import Look, find_others, find_revision, look_at_cores
from benchmarks.results.measured import Measured, Place
from benchmarks.results.page import draw_growth, read_sections, write_row, write_table

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


def test_what_is_wanted_of_ours_itself_is_said_with_its_unit() -> None:
    row = Row(work="w", size="s", unit="MB", ours=(201.0,), most=200)
    assert "| ≤ 200 MB: no |" in write_row(row)
    assert "| ≤ 200 MB: yes |" in write_row(dataclasses.replace(row, ours=(200.0,)))
    share = Row(work="w", size="s", unit="found", ours=(0.9985,), most=0.999)
    assert "| 0.9985 found |  |  | ≥ 0.999 found: no |" in write_row(share)
    assert "0.999 found: yes |" in write_row(dataclasses.replace(share, ours=(0.9991,)))


def test_a_peer_or_a_way_that_could_not_be_had_has_a_row_that_says_so() -> None:
    row = Row(work="w", size="s", unit="s", ours=(2.0,), peer="p", theirs=(3.0,), wanted=1.0)
    (absent,) = tell_absent(row, "q", "not installed")
    assert write_row(absent) == "| w | s | 2 s | q: not installed |  |  |  |  |"
    none = Row(work="w", size="s: recall not reached", unit="s", ours=())
    assert write_row(none) == "| w | s: recall not reached | none |  |  |  |  |  |"


def test_growth_is_drawn_of_three_points_or_more(tmp_path: Path) -> None:
    rows = [Row(work="dedupe", size="", unit="s", ours=(n / 10,), n=n) for n in (10, 20, 40)]
    assert not draw_growth(rows[:2], tmp_path / "few.png")
    assert draw_growth(rows, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


ROW = Row(work="dedupe", size="9 x 2", unit="s", ours=(1.0, 3.0, 2.0))


class Bench:
    """A bench whose parts give one row each, but those that fail; no process is started."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.page, self.kept = folder / "RESULTS.md", folder / "measured"
        self._options = ["--output", str(self.page), "--growth", str(folder / "growth.png"),
                         "--kept", str(self.kept)]  # fmt: skip
        self.run: list[str] = []
        self.failing: dict[str, str] = {}
        self.row, self.revision, self.others = ROW, "abc1234", 0.25
        monkeypatch.setattr(results, "run_part", self._run_part)
        monkeypatch.setattr(results, "find_revision", lambda: self.revision)
        monkeypatch.setattr(results, "PARTS", ("limits", "dedupe", "serve"))

    def measure(self, *options: str) -> list[str]:
        """Run the command, and return which parts it measured."""
        self.run = []
        results.main([*options, *self._options])
        return self.run

    @property
    def sections(self) -> dict[str, str]:
        return read_sections(self.page.read_text(encoding="utf-8"))

    def _run_part(self, name: str, place: Place, *, is_quick: bool) -> Measured | str:
        self.run.append(name)
        return self.failing.get(name) or Measured(
            part=name, is_quick=is_quick, revision=self.revision, place=place,
            begun=datetime(2026, 5, 4, tzinfo=UTC), took_s=120, others=self.others,
            rows=(self.row,),
        )  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def test_each_part_says_when_where_and_how_busy_it_was_measured(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.failing = {"serve": "no disk"}
    assert bench.measure("--quick") == ["limits", "dedupe", "serve"]
    said = bench.page.read_text(encoding="utf-8")
    assert "- serve did not run: no disk" in said
    assert "Pictures, vectors and weights are drawn" in " ".join(said.split())
    section = bench.sections["dedupe"]
    assert "| dedupe | 9 x 2 | 2 (1 to 3) s |" in section
    assert section.startswith("Small sizes, 04 May 2026, at abc1234, in 2.0 minutes; **other work "
                              "kept 25 % of the cores busy: times are longer")  # fmt: skip
    assert "processor: " in section
    assert "With bioprobe " in section
    assert str(bench.page) in capsys.readouterr().out
    bench.others = 0.01
    bench.measure("--only", "dedupe")
    assert "; other work kept 1 % of the cores busy." in bench.sections["dedupe"]


def test_a_run_goes_on_with_what_is_not_measured_of_this_commit(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.failing = {"dedupe": "ended"}
    bench.measure()
    assert "no time is known" in capsys.readouterr().out
    bench.failing = {}
    assert bench.measure() == ["dedupe"]
    said = capsys.readouterr().out
    assert "taken from there: limits, serve" in said
    assert "to measure: dedupe; no time is known; not measured here before: dedupe" in said
    assert list(bench.sections) == ["limits", "dedupe", "serve"]
    assert bench.measure() == []
    assert bench.measure("--quick") == ["limits", "dedupe", "serve"]
    capsys.readouterr()
    bench.revision = "def5678"
    assert bench.measure() == ["limits", "dedupe", "serve"]
    assert "about 6 minutes, as the last time\n" in capsys.readouterr().out
    assert bench.measure("--anew") == ["limits", "dedupe", "serve"]


@pytest.mark.parametrize("fields", ["", "{}", '{"place": {}}'])
def test_what_is_not_kept_whole_is_measured_again(bench: Bench, fields: str) -> None:
    bench.measure()
    (bench.kept / "dedupe-whole.json").write_text(fields)
    assert bench.measure() == ["dedupe"]


def test_what_another_machine_or_other_versions_gave_is_measured_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.measure()
    monkeypatch.setattr(results, "list_versions", lambda: ["numpy 99"])
    assert bench.measure() == ["limits", "dedupe", "serve"]
    monkeypatch.setattr(results, "describe_machine", lambda: ["processor: another"])
    assert bench.measure() == ["limits", "dedupe", "serve"]


def test_parts_that_are_not_asked_for_or_fail_stay_as_they_stood(bench: Bench) -> None:
    bench.measure()
    before = bench.sections
    bench.row, bench.failing = dataclasses.replace(ROW, ours=(5.0,)), {"serve": "no disk"}
    assert bench.measure("--only", "dedupe", "serve") == ["dedupe", "serve"]
    assert "| 5 s |" in bench.sections["dedupe"]
    assert {**bench.sections, "dedupe": before["dedupe"]} == before
    # Where nothing was kept, as in a new clone, the page alone says what was.
    for file in bench.kept.iterdir():
        file.unlink()
    assert bench.measure("--only", "dedupe") == ["dedupe"]
    assert bench.sections["limits"] == before["limits"]


def test_the_curves_are_left_where_a_part_of_them_was_not_kept(
    bench: Bench, tmp_path: Path
) -> None:
    growth = tmp_path / "growth.png"
    bench.row = dataclasses.replace(ROW, n=10)
    bench.measure()
    growth.write_bytes(b"before")
    (bench.kept / "limits-whole.json").unlink()
    bench.measure("--only", "dedupe")
    assert growth.read_bytes() == b"before"


def test_other_work_is_what_this_run_did_not_do() -> None:
    before = look_at_cores()
    if before is None:
        pytest.skip("the system does not say how long its cores have worked")
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    after = look_at_cores()
    assert after is not None
    assert after.own_s - before.own_s >= 0.2 - 0.02
    share = find_others(before, after)
    assert share is not None
    assert 0 <= share <= 1
    # All that was worked counts where none of it is its own.
    worked = after._replace(own_s=before.own_s)
    assert (find_others(before, worked) or 0) >= share
    assert find_others(Look(100, 1000, 5), Look(112, 1020, 13)) == 0.2
    assert find_others(None, after) is None


def test_what_is_changed_of_what_runs_is_another_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = functools.partial(subprocess.run, cwd=tmp_path, check=True, capture_output=True)
    for name in ("bioprobe/a.py", "benchmarks/RESULTS.md", "docs/a.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init"], ["add", "."], [*who, "commit", "--message", "first"]):
        ask(["git", *command])
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    first = find_revision()
    for name in ("benchmarks/RESULTS.md", "docs/a.md"):
        (tmp_path / name).write_text("2\n")
    assert find_revision() == first
    (tmp_path / "bioprobe" / "a.py").write_text("2\n")
    second = find_revision()
    assert second.startswith(f"{first}-changed-")
    (tmp_path / "bioprobe" / "a.py").write_text("3\n")
    assert find_revision() not in {first, second}


def test_a_part_gives_rows_that_can_be_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, small in {"_SIDE": 64, "_COPIED_BYTES": 1 << 16, "_N_ROUNDS": 2}.items():
        monkeypatch.setattr(limits, name, small)
    monkeypatch.setattr(limits, "measure_decoding", lambda _: [2.0, 3.0])
    results.main(["--rows", "limits", "--quick"])
    rows = [Row.from_dict(one) for one in json.loads(capsys.readouterr().out.splitlines()[-1])]
    assert {row.work for row in rows} >= {"product of matrices, fp32", "reading of memory"}
    assert all(min(row.ours) > 0 for row in rows)
    assert write_table(rows).count("decoding of JPEGs | 20 mixed | 2.5 (2 to 3) images/s") == 1


def test_the_limit_is_what_the_machine_did_at_its_best(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "measure_products", lambda: [1.0, 9.0, 2.0])
    monkeypatch.setattr(limits, "measure_memory", lambda: [1.0, 8.0, 2.0])
    assert (limits.find_flops(), limits.find_bandwidth()) == (9.0, 8.0)


@pytest.mark.long
def test_a_part_is_measured_in_a_process_of_its_own() -> None:
    place = Place(("this",), ("these",))
    found = results.run_part("limits", place, is_quick=True)
    assert isinstance(found, Measured)
    assert found.place == place
    assert found.took_s > 0
    assert found.rows[0].work == "product of matrices, fp32"
    if not torch.cuda.is_available():
        assert results.run_part("gpu", place, is_quick=True) == "PyTorch sees no GPU here"


def _measure_here(way: str, store: Path) -> dict[str, float]:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        dedupe.main(["--way", way, "--store", str(store)])
    found: dict[str, float] = json.loads(said.getvalue())
    return found


def test_each_benchmark_of_the_page_gives_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = dedupe.draw_store
    monkeypatch.setattr(dedupe, "find_flops", lambda: 1e9)
    monkeypatch.setattr(dedupe, "draw_store", lambda at, n, dim: draw(at, n // 100, dim // 16))
    monkeypatch.setattr(dedupe, "measure_apart", _measure_here)
    rows = dedupe.list_rows(is_quick=True)
    assert [row.n for row in rows[:3]] == [2_000, 4_000, 8_000]
    assert {row.peer for row in rows[:3]} == {"numpy"}
    assert [(row.unit, row.most) for row in rows[3:]] == [
        ("s", 600), ("MB", 3000), ("found", 0.999)
    ]  # fmt: skip
    assert rows[5].ours == (1.0,)
    assert rows[4].ours[0] > 10
    # What is not a number equals nothing, but its text does.
    said = json.dumps([dataclasses.asdict(row) for row in rows])
    kept = [Row.from_dict(one) for one in json.loads(said)]
    assert json.dumps([dataclasses.asdict(row) for row in kept]) == said
    assert kept[:3] == rows[:3]


def test_the_plain_loop_finds_the_groups_that_ours_does(tmp_path: Path) -> None:
    store = dedupe.draw_store(tmp_path, 2_500, 64)
    by_numpy, ours = dedupe.group_by_numpy(store), dedupe.group_by_bioprobe(store)
    assert ours.max() < len(ours) - 200
    np.testing.assert_array_equal(by_numpy, ours)


def test_faiss_is_asked_for_the_recall_that_ours_is_asked_for() -> None:
    drawn = search_index.draw_vectors(2_100, 32, 40)
    vectors, queries = drawn[:2_000].copy(), drawn[2_000:].copy()
    truth = search_index.search_by_numpy(vectors)(queries)
    index = search_index.build_by_faiss("ivf", vectors)
    said = search_index.tune_faiss(index, "ivf", queries, truth)
    recall = search_index.measure_recall(index.search(queries, search_index.K)[1], truth)
    assert said == f"FAISS IVF, recall@10 {recall:.3f}"
    assert recall >= search_index.RECALL
    one_by_one = search_index.one_by_one(search_index.search_by_numpy(vectors))
    np.testing.assert_array_equal(one_by_one(queries[:3]), truth[:3])


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
        return lambda: np.eye(16)

    def miss(*_: object) -> Callable[[], object]:
        raise ModuleNotFoundError

    ways = dict.fromkeys(embed_speed.METHODS, prepare) | {"pybioclip, fp32": miss}
    monkeypatch.setattr(embed_speed, "METHODS", ways)
    rows = embed_speed.list_rows(is_quick=True)
    assert [(row.work, row.peer, row.wanted) for row in rows] == [
        ("embed", "open_clip loop, fp32", 1.5),
        ("embed", "pybioclip, fp32: only in the whole bench", None),
        ("embed", "forward alone, auto", 0.9),
        ("forward alone, auto", "", None),
    ]
    assert rows[0].size.endswith("least cosine to the loop 1.000000")
    assert rows[0].limit == "the fastest forward alone"
    assert write_table(rows)
    monkeypatch.setattr(embed_speed, "_compare_memory", lambda *_: rows[0])
    whole = embed_speed.list_rows(is_quick=False)
    assert whole[1].peer == "pybioclip, fp32: not installed"


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
