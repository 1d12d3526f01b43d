"""What the README and the docs show is all there, and all runs, page by page."""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import datasets
import fsspec
import pandas as pd
import pytest
from PIL import Image

import bioprobe
from bioprobe import sketch
from bioprobe.cli.app import get_program, run
from bioprobe.evaluation.binary_metrics import BINARY_METRICS
from bioprobe.evaluation.method_scores import AT_THRESHOLD, CALIBRATED, METRICS
from bioprobe.evaluation.tree_metrics import TREE_METRICS
from bioprobe.page.words import EXPLANATIONS
from scripts.command_reference import write_commands
from scripts.picture_report import find_browser, picture_page

CHECKOUT = Path(__file__).parents[2]
DOCS = CHECKOUT / "docs"
PAGES = {
    str(path.relative_to(CHECKOUT)): path.read_text(encoding="utf-8")
    for path in (CHECKOUT / "README.md", *sorted(DOCS.rglob("*.md")))
}
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
BLOCKS = {page: BLOCK.findall(text) for page, text in PAGES.items()}
# These begin where the README's first command has been run.
AFTER_EMBED = re.compile(r"docs/guide/.*")
# No network here: a download is tried, and fails with its remedy; sketch is refused in int8.
FAILS = ("bioprobe models download", "bioprobe models quantise", "bioprobe taxa download")
# What sets up the machine, or brings what is not here.
SETS_UP = re.compile(r"source |python3 -m venv |\.venv/bin/uv |make ")
LARGE_MODEL = re.compile(r"bioclip-2(\.5)?")
# What the pages ask for by name, and of each enough for every part of a split.
FAMILIES = {
    *("Felidae", "Canidae", "Equidae", "Corvidae"),
    *("Acanthuridae", "Coccinellidae", "Nymphalidae"),
}


def _split_lines(block: str) -> list[str]:
    """Return the commands of a block: a backslash carries one on, a line may be a comment."""
    lines = block.replace("\\\n", " ").splitlines()
    return [line for line in map(str.strip, lines) if line and not line.startswith("#")]


LINES = [
    line
    for blocks in BLOCKS.values()
    for language, block in blocks
    if language == "bash"
    for line in _split_lines(block)
]


def _iter_commands(made: object, name: str = "bioprobe") -> Iterator[tuple[str, object]]:
    inner = getattr(made, "commands", None)
    if inner is None:
        yield name, made
    else:
        for word, command in inner.items():
            yield from _iter_commands(command, f"{name} {word}")


COMMANDS = dict(_iter_commands(get_program()))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example_in_the_docs(command: str) -> None:
    assert any(line == command or line.startswith(f"{command} ") for line in LINES)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_has_help_and_an_example(command: str) -> None:
    made = COMMANDS[command]
    assert f"Example: {command}" in " ".join(str(made.help).split())  # type: ignore[attr-defined]
    for parameter in made.params:  # type: ignore[attr-defined]
        assert parameter.name == "help" or getattr(parameter, "help", None), parameter.name
    shown = made.get_help(made.make_context(command, ["--help"], resilient_parsing=True))  # type: ignore[attr-defined]
    assert not re.search(r"[\w-]-$|<\w+(\[\w+\])?( range)?>|\{\w+\}\.*$", shown, re.M)


def test_the_reference_names_every_command_and_option() -> None:
    sections = dict(re.findall(r"^## `(.*?)`\n(.*?)(?=^## |\Z)", write_commands(), re.S | re.M))
    assert sections.keys() == COMMANDS.keys()
    for command, made in COMMANDS.items():
        for parameter in made.params:  # type: ignore[attr-defined]
            for flag in parameter.opts if parameter.opts[0].startswith("-") else ():
                assert f"`{flag}`" in sections[command], (command, flag)


def test_the_python_reference_names_all_that_is_public() -> None:
    page = PAGES["docs/reference/python.md"]
    modules = {"models": "bioprobe.face.models", "taxa": "bioprobe.face.taxa"}
    for name in bioprobe.__all__:
        if not name.endswith("Error") and name != "__version__":
            assert f":: {modules.get(name, f'bioprobe.{name}')}\n" in page, name
    assert ":: bioprobe.errors\n" in page


@pytest.mark.parametrize(
    "metric", [*METRICS, *TREE_METRICS, *BINARY_METRICS, *CALIBRATED, *AT_THRESHOLD]
)
def test_every_metric_is_explained(metric: str) -> None:
    rows = re.findall(r"^\| ([^|]*) \|", PAGES["docs/figures.md"], re.MULTILINE)
    assert any(f"`{metric}`" in row for row in rows)


@pytest.mark.parametrize("word", EXPLANATIONS)
def test_every_word_that_a_report_explains_is_explained(word: str) -> None:
    rows = re.findall(r"^\| ([^|]*) \|", PAGES["docs/figures.md"], re.MULTILINE)
    named = [re.sub("`.*?`", "", row).strip() for row in rows]
    assert any(word in {row, *row.split(", ")} for row in named)


def test_the_picture_of_the_report_is_small() -> None:
    with Image.open(DOCS / "report.png") as picture:
        assert min(picture.size) > 500
    assert (DOCS / "report.png").stat().st_size < 150_000


def test_a_picture_is_taken_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<body style='background: #204060'>")
    if find_browser() is None:
        pytest.skip("no Chromium is on this machine")
    n_bytes = picture_page(page, tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as picture:
        assert picture.convert("RGB").getpixel((5, 5)) == (0x20, 0x40, 0x60)
    assert n_bytes == (tmp_path / "page.png").stat().st_size


def test_the_site_is_made_without_a_warning(tmp_path: Path) -> None:
    for library in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(library, reason="make docs installs it")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", "-d", str(tmp_path / "trees"),
         str(DOCS), str(tmp_path / "site")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "bioprobe.Store.zeroshot" in (tmp_path / "site/reference/python.html").read_text()
    assert "--open-set" in (tmp_path / "site/reference/commands.html").read_text()


def test_the_readme_is_short_and_keeps_its_two_commands() -> None:
    readme = PAGES["README.md"]
    assert readme.count("\n") <= 200
    assert re.findall(r"^make (\S+)", readme, re.MULTILINE) == ["demo", "test"]
    shell, python = (block for _, block in BLOCKS["README.md"])
    assert len(_split_lines(shell)) == 10
    assert len([line for line in python.splitlines() if line]) == 10


def test_links_lead_somewhere() -> None:
    lost = [
        f"{page}: {target}"
        for page, text in PAGES.items()
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
        if "://" not in target and not ((CHECKOUT / page).parent / target).exists()
    ]
    assert not lost


def test_every_page_of_the_docs_is_in_a_table_of_contents() -> None:
    listed = {"docs/index.md"}
    for page, text in PAGES.items():
        for block in re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL):
            names = [line for line in block.split() if not line.startswith(":")]
            folder = Path(page).parent
            listed |= {str(folder / f"{name}.md") for name in names}
    assert {page for page in PAGES if page.startswith("docs/")} <= listed


@pytest.fixture(scope="module")
def inputs(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with everything that the pages name as the reader's own."""
    folder = tmp_path_factory.mktemp("inputs")
    table = pd.read_csv(drawn / "photos" / "pictures.csv", keep_default_na=False)
    table = table[table["family"].isin(FAMILIES | {""})].reset_index(drop=True)
    for path in table["path"]:
        (folder / "photos" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(drawn / "photos" / path, folder / "photos" / path)
    table.to_csv(folder / "photos" / "pictures.csv", index=False)
    shutil.copy(folder / "photos" / "panthera-pardus" / "000.jpg", folder / "leopard.jpg")
    shutil.copy(folder / "photos" / "panthera-leo" / "000.jpg", folder / "more.jpg")
    (folder / "table.csv").write_text("file,label,sex\npanthera-leo/000.jpg,Panthera leo,male\n")
    (folder / "list.txt").write_text("leopard.jpg\nmore.jpg\n")
    (folder / "secret.txt").write_text("Panthera\n")
    (folder / "park.csv").write_text("taxon,site,rule\nFelidae,north,allow\nAves,south,allow\n")
    (folder / "synonyms.csv").write_text("synonym,accepted\nFelis leo,Panthera leo\n")
    leopard = (folder / "leopard.jpg").read_bytes()
    pd.DataFrame({"image": [{"bytes": leopard, "path": "leopard.jpg"}]}).to_parquet(
        folder / "pictures.parquet"
    )
    table = table.rename(columns={"path": "file"})
    species = sorted(set(table.species) - {""})
    codes = ["VU", "Least Concern", "EN", "LR/nt", "LC"]
    said = [f"{name},{codes[place % len(codes)]}" for place, name in enumerate(species)]
    (folder / "statuses.csv").write_text("\n".join(["Scientific name,Red List", *said]) + "\n")
    number = pd.Series(range(len(table)))
    days = pd.to_timedelta(number * 37 % 120, unit="D")
    table.assign(
        station="A" + (number % 3 + 1).astype(str),
        taken=(pd.Timestamp("2024-03-01 06:00") + days).dt.strftime("%Y-%m-%d %H:%M:%S"),
        sequence_id="S" + (number // 2).astype(str),
    ).to_csv(folder / "cameras.csv", index=False)
    # Every picture in one of three years, at one of six places.
    table.assign(
        deployment_id="P" + (number % 6).astype(str) + "-" + (2021 + number // 6 % 3).astype(str),
        captured_at=(
            pd.to_datetime((2021 + number // 6 % 3).astype(str) + "-05-02 04:00")
            + pd.to_timedelta(number * 37 % 1900, unit="h")
        ).dt.strftime("%Y-%m-%d %H:%M:%S"),
    ).to_csv(folder / "traps.csv", index=False)
    pd.DataFrame(
        [{"deploymentID": f"P{place}-{year}", "locationName": f"P{place}", "latitude": 47.1,
          "longitude": 8.2, "deploymentStart": f"{year}-05-01T12:00:00+02:00",
          "deploymentEnd": f"{year}-08-01T12:00:00+02:00"}
         for place in range(6) for year in (2021, 2022, 2023)]
    ).to_csv(folder / "deployments.csv", index=False)  # fmt: skip
    table.assign(
        scientificName=table.species.where(
            table.species == "", table.species + " (Linnaeus, 1758)"
        ),
        catalogNumber=(number // 2).map("{:05}".format),
        institutionCode="M" + (number % 2).astype(str),
    )[["file", "scientificName", "family", "catalogNumber", "institutionCode"]].to_csv(
        folder / "specimens.csv", index=False
    )
    return folder


@pytest.fixture(scope="module")
def embedded(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a folder of the inputs, where the README's first command was run, and a copy of it.

    A store names its pictures by their whole paths, so that each page is run in the same folder.
    """
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(inputs, folder, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.delenv("BIOPROBE_STORE", raising=False)
        assert run(["embed", "photos/pictures.csv", "--model", "sketch"]) == 0
    copy = tmp_path_factory.mktemp("embedded") / "copy"
    shutil.copytree(folder, copy)
    return folder, copy


@pytest.fixture
def drawn_before(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what a page draws be what was drawn for them all."""

    def copy(folder: Path, n_per_species: int, n_scenes: int, seed: int) -> Path:
        assert min(n_per_species, n_scenes) >= 1
        assert seed == 0
        shutil.copytree(inputs / "photos", folder)
        return folder / "pictures.csv"

    monkeypatch.setattr(sketch, "write_pictures", copy)


@pytest.mark.usefixtures("drawn_before")
@pytest.mark.parametrize("page", [page for page, blocks in BLOCKS.items() if blocks])
def test_what_a_page_shows_runs(
    page: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Run it from top to bottom in one folder, on drawn pictures and with sketch."""
    if AFTER_EMBED.fullmatch(page):
        folder, copy = request.getfixturevalue("embedded")
        shutil.rmtree(folder)
    else:
        folder, copy = tmp_path, request.getfixturevalue("inputs")
    shutil.copytree(copy, folder, dirs_exist_ok=True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("BIOPROBE_CACHE", str(tmp_path / "kept"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    monkeypatch.chdir(folder)
    monkeypatch.delenv("BIOPROBE_STORE", raising=False)
    if any("s3://" in block for _, block in BLOCKS[page]):
        _fill_bucket(folder / "photos")
    names: dict[str, object] = {}
    serving = request.getfixturevalue("serving") if "bioprobe serve" in PAGES[page] else None
    for language, block in BLOCKS[page]:
        if serving is not None:
            block = block.replace("8765", str(serving))
        if language == "python":
            exec(compile(LARGE_MODEL.sub("sketch", block), page, "exec"), names)
            continue
        for line in _split_lines(block):
            code = _run_line(line, monkeypatch)
            expected = 1 if line.startswith(FAILS) else 0
            assert code == expected, f"{line}\n{capsys.readouterr().err}"


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Let what is served be served beside the page, until its end.

    Yields
    ------
    int
        A port that is free.
    """
    from bioprobe.web.listening import Server, bind

    serve, begun = Server.run, list[tuple[Server, threading.Thread]]()

    def begin(server: Server, sockets: list[socket.socket]) -> None:
        thread = threading.Thread(target=serve, args=(server, sockets), daemon=True)
        begun.append((server, thread))
        thread.start()

    monkeypatch.setattr(Server, "run", begin)
    with bind("127.0.0.1", 0) as free:
        port: int = free.getsockname()[1]
    yield port
    for server, thread in begun:
        server.should_exit = True
        thread.join(20)


def _run_line(line: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a line: bioprobe here, other programs by the shell; what sets up is looked at."""
    if SETS_UP.match(line):
        _check_set_up(line)
        return 0
    first, _, command = line.rpartition(" | ")
    if line.startswith("python -c "):
        exec(compile(shlex.split(line)[2], line, "exec"), {})
        return 0
    if not command.startswith("bioprobe "):
        return subprocess.run(line, shell=True, check=False, capture_output=True).returncode
    if first:
        piped = subprocess.run(first, shell=True, check=True, capture_output=True).stdout
        assert piped
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped)))
    arguments = shlex.split(command, comments=True)[1:]
    if arguments == ["demo", "--output", "demo"]:  # tests/test_demo.py runs it, and its page's
        return 0
    if not line.startswith(FAILS):
        arguments = [LARGE_MODEL.sub("sketch", part) for part in arguments]
    return run([part.replace("s3://", "memory://") for part in arguments])


def _fill_bucket(photos: Path) -> None:
    """Put the pictures into what stands for a bucket: a file system in the memory."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    for file in filter(Path.is_file, photos.rglob("*")):
        system.pipe_file(f"/bucket/photos/{file.relative_to(photos)}", file.read_bytes())


def _check_set_up(line: str) -> None:
    """See that what a line names is there: a target of make, a file of pins."""
    words = shlex.split(line, comments=True)
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):.*##", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
        assert set(words[1:]) <= set(targets), line
    elif "--constraint" in words:
        assert (CHECKOUT / words[words.index("--constraint") + 1]).is_file(), line


def test_the_extras_that_are_named_are_there() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = set(re.findall(r"bioprobe\[(\w+)\]", "\n".join(PAGES.values())))
    assert named == set(project["optional-dependencies"])
