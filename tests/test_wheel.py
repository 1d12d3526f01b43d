"""What ships: the wheel carries the data that the package reads."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and unpack it, as an installation does."""
    folder = tmp_path_factory.mktemp("wheel")
    environment = [f"BIN={Path(sys.executable).parent}", "READY=", f"DIST={folder}"]
    subprocess.run(["make", "wheel", *environment], cwd=CHECKOUT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_every_shipped_prompt_file_is_in_the_wheel(installed: Path) -> None:
    for file in (CHECKOUT / "prompts").rglob("*.*"):
        shipped = installed / "bioprobe" / "prompt_data" / file.relative_to(CHECKOUT / "prompts")
        assert shipped.read_bytes() == file.read_bytes()


def test_no_test_or_store_is_in_the_wheel(installed: Path) -> None:
    assert {path.name for path in installed.iterdir() if path.is_dir()} - {"bioprobe"} == {
        path.name for path in installed.glob("*.dist-info")
    }


def test_the_wheel_alone_labels_a_drawing_without_a_warning(
    installed: Path, tmp_path: Path
) -> None:
    code = (
        "import bioprobe, sys; from pathlib import Path; from bioprobe.cli.app import run;"
        "assert Path(bioprobe.__file__).parent.parent == Path(sys.argv[1]);"
        "import numpy as np; from bioprobe.sketch import draw_animal, read_species;"
        "draw_animal(read_species()[0], np.random.default_rng(0)).save('drawing.png');"
        "assert run(['embed', 'drawing.png', '--model', 'sketch', '-s', 'store']) == 0;"
        "asked = ['zeroshot', '-s', 'store', '--taxa', 'sketch', '-k', '1', '-o', 'answers.csv'];"
        "assert run(asked) == 0"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code, str(installed)],
        cwd=tmp_path, env={"PYTHONPATH": str(installed), "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert (tmp_path / "answers.csv").read_text().startswith("file_name,kingdom,phylum,class")
