"""What is shipped for clusters and containers: it parses, and all that it names is there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

from bioprobe.cli.app import get_program

CHECKOUT = Path(__file__).parents[1]
FOLDER = CHECKOUT / "docs" / "hpc"
BATCH, CONTAINER, APPTAINER = (
    (FOLDER / name).read_text(encoding="utf-8")
    for name in ("embed.sbatch", "Containerfile", "bioprobe.def")
)
SECTIONS = dict(re.findall(r"^%(\w+)\n(.*?)(?=^%|\Z)", APPTAINER, re.M | re.S))
INSTALLS = {
    "Containerfile": re.findall(r"^RUN (.*?)\n\n", CONTAINER, re.M | re.S)[0],
    "bioprobe.def": SECTIONS["post"],
}


def _join_lines(script: str) -> str:
    return script.replace("\\\n", " ")


@pytest.mark.parametrize("script", [BATCH, *INSTALLS.values(), SECTIONS["runscript"]])
def test_scripts_are_what_a_shell_can_read(script: str) -> None:
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_task_of_the_array_embeds_its_share(tmp_path: Path) -> None:
    """Also where two tasks alone are started again: of their number nothing depends."""
    srun = tmp_path / "srun"
    srun.write_text('#!/bin/sh\nprintf "%s\\n" "$SRUN_CPUS_PER_TASK" "$@"\n')
    srun.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path),
        "SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_CPUS_PER_TASK": "4",
    }  # fmt: skip
    batch = [str(FOLDER / "embed.sbatch"), "/data/my photos", "embeddings/all"]
    done = subprocess.run(
        ["bash", *batch], env=environment, capture_output=True, text=True, check=True
    )
    cores, program, command, *given = done.stdout.splitlines()
    assert (cores, program, command) == ("4", "bioprobe", "embed")
    made = get_program().commands[command]
    with made.make_context("embed", given) as context:
        asked = context.params
    assert list(map(str, asked["sources"])) == ["/data/my photos"]
    assert (str(asked["store"]), asked["shard"]) == ("embeddings/all", "7/8")
    assert (asked["model"], asked["threads"], asked["quiet"]) == ("bioclip-2", 4, True)
    # As many tasks as there are shares.
    assert re.search(r"^#SBATCH --array=1-(\d+)$", BATCH, re.M)[1] == "8"  # type: ignore[index]


def test_the_batch_script_says_to_slurm_what_it_must_know() -> None:
    said = re.findall(r"^#SBATCH --([\w-]+)=?(\S*)$", BATCH, re.M)
    assert len(said) == BATCH.count("\n#SBATCH ")
    assert {"array", "cpus-per-task", "mem", "gres", "time", "signal"} <= {name for name, _ in said}
    # It reads directives up to the first command.
    assert BATCH.index("set -euo pipefail") > BATCH.rindex("\n#SBATCH")


def test_containers_copy_what_is_there_and_all_that_a_wheel_needs() -> None:
    copied = {
        name for line in re.findall(r"^COPY (.*)$", CONTAINER, re.M) for name in line.split()[:-1]
    }
    files = [line.split() for line in SECTIONS["files"].strip().splitlines()]
    assert {name for name, _ in files} == copied
    assert all((CHECKOUT / name).exists() for name in copied)
    assert all(place == f"/src/{name}" for name, place in files)
    about = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = about["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["packages"], *wheel["force-include"], about["project"]["readme"], "LICENSE"}
    assert needed <= copied


@pytest.mark.parametrize("name", INSTALLS)
def test_containers_install_as_make_does(name: str) -> None:
    script = _join_lines(INSTALLS[name])
    about = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (extras,) = re.findall(r"'\.\[([\w,]+)\]'", script)
    assert set(extras.split(",")) <= about["optional-dependencies"].keys()
    (installs,) = (line for line in re.split(r"\n|&&", script) if "uv pip install" in line)
    words = shlex.split(installs)
    for flag in ("--constraint", "--build-constraint"):
        assert words[words.index(flag) + 1] == "constraints.txt"
    assert "--verify-hashes" in words
    makefile = _join_lines((CHECKOUT / "Makefile").read_text(encoding="utf-8"))
    assert "--verify-hashes" in makefile
    (cut,) = re.findall(r"sed -n '(.*?)' constraints\.txt", script)
    found = subprocess.run(
        ["sed", "-n", cut, CHECKOUT / "constraints.txt"], capture_output=True, text=True, check=True
    ).stdout
    assert re.match(r"uv==[\d.]+ \\\n    --hash=sha256:", found)
    assert re.fullmatch(r"(.+\n)+", found)
    assert found.count("==") == 1
    base = {"Containerfile": r"^FROM \S*python:3\.(\d+)-slim$",
            "bioprobe.def": r"^From: python:3\.(\d+)-slim$"}[name]  # fmt: skip
    text = {"Containerfile": CONTAINER, "bioprobe.def": APPTAINER}[name]
    minor = int(re.search(base, text, re.M)[1])  # type: ignore[index]
    assert about["requires-python"] == f">=3.{minor}"


def test_weights_are_bound_where_both_containers_look_for_them() -> None:
    for text in (CONTAINER, APPTAINER):
        assert "HF_HOME=/weights" in text
        assert '$HF_HOME:/weights"' in text
    assert set(SECTIONS) == {"files", "post", "environment", "runscript", "test", "labels"}
