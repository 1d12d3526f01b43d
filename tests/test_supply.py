"""What is installed: pinned with hashes, under licences that are known, asked for advisories."""

from __future__ import annotations

import csv
import hashlib
import http.server
import json
import os
import subprocess
import sys
import sysconfig
import threading
import tomllib
import venv
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import Distribution
from pathlib import Path

import pip
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.audit import KNOWN_FAULTY
from scripts.licences import (
    LICENCES,
    PROPRIETARY,
    UNKNOWN,
    Licence,
    find_forbidden,
    find_licence,
    find_needed,
    list_licences,
)
from scripts.pins import CONSTRAINTS, Pin, read_pins, write_pins

CHECKOUT = CONSTRAINTS.parent


@pytest.fixture(scope="module")
def pins() -> dict[str, Pin]:
    return read_pins(CONSTRAINTS.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def here(pins: dict[str, Pin]) -> list[Licence]:
    """Return the licences of what is installed."""
    return list_licences(pins)


def test_each_pin_has_hashes_and_stands_as_the_command_writes_it(pins: dict[str, Pin]) -> None:
    assert [pin.name for pin in pins.values() if not pin.hashes] == []
    assert write_pins(pins.values()) == CONSTRAINTS.read_text(encoding="utf-8")


def test_all_that_bioprobe_asks_for_is_installed_as_pinned(
    pins: dict[str, Pin], here: list[Licence]
) -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    groups, extras = project["dependency-groups"], project["project"]["optional-dependencies"]
    lists = [project["build-system"]["requires"], *groups.values(), *extras.values()]
    asked = {canonicalize_name(Requirement(text).name) for some in lists for text in some}
    asked |= find_needed("bioprobe", extras) - {"bioprobe"}
    for text in groups["dev"]:
        asked |= find_needed(canonicalize_name(Requirement(text).name))
    assert asked <= pins.keys()
    licences = {found.name for found in here}
    # What benchmarks, builds, docs and notebooks alone need is installed when these are made.
    on_demand = {found.name for found in read_licences() if found.needed_to == "show"}
    assert pins.keys() - licences <= {"editables", "prettytable", "pybioclip", "uv"} | on_demand
    assert not on_demand & find_needed("bioprobe", {"excel", "heif", "onnx", "raw"})


@pytest.mark.parametrize("line", ["--index-url https://host/simple", "a>=1", "a==1\na==2"])
def test_what_is_no_pin_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not one pin"):
        read_pins(f"{line}\n")


def read_licences() -> list[Licence]:
    with LICENCES.open(encoding="utf-8", newline="") as file:
        return [Licence(**row) for row in csv.DictReader(file)]


def test_the_list_of_licences_is_of_what_is_pinned(
    pins: dict[str, Pin], here: list[Licence]
) -> None:
    listed = read_licences()
    assert [found[:2] for found in listed] == [pin[:2] for pin in sorted(pins.values())]
    known = {found.name: found for found in listed}
    assert [known[found.name].licence for found in here] == [found.licence for found in here]
    if "nvidia-cublas" in {found.name for found in here}:  # torch's build asks for what is listed
        assert [known[found.name] for found in here] == here


def test_no_licence_is_unknown_or_forbidden(here: list[Licence]) -> None:
    assert find_forbidden(read_licences()) == []
    assert find_forbidden(here) == []


@pytest.mark.parametrize(
    ("name", "licence", "is_forbidden"),
    [
        ("a", "MIT", False),
        ("a", "(MIT AND BSD-3-Clause) OR Apache-2.0", False),
        ("a", "MIT OR GPL-3.0-only", True),
        ("a", "AGPL-3.0-or-later", True),
        ("a", UNKNOWN, True),
        ("a", PROPRIETARY, True),
        ("nvidia-cublas", PROPRIETARY, False),
    ],
)
def test_forbidden_is_what_is_not_known_to_be_free(
    name: str, licence: str, is_forbidden: bool
) -> None:
    assert bool(find_forbidden([Licence(name, "1", licence, "run")])) == is_forbidden


@pytest.mark.parametrize(
    ("said", "licence"),
    [
        ("License-Expression: GPL-3.0-only\nClassifier: License :: MIT License", UNKNOWN),
        ("License: MIT License", "MIT"),
        ("License: a text\n  of lines\nClassifier: License :: OSI Approved :: BSD License", "BSD"),
        (
            "Classifier: License :: OSI Approved :: MIT License\n"
            "Classifier: License :: OSI Approved :: GNU General Public License (GPL)",
            UNKNOWN,
        ),
        ("License: whatever you like", UNKNOWN),
        ("Summary: nothing of it", UNKNOWN),
    ],
)
def test_a_licence_is_what_the_package_says_first(said: str, licence: str, tmp_path: Path) -> None:
    folder = tmp_path / "a-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: a\nVersion: 1\n{said}\n")
    assert find_licence(Distribution.at(folder)) == licence


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Make a folder of three packages the only index there is; return each one's SHA-256."""
    found = {}
    for name, version in (("tiny", "1.0"), ("uv", "0.1"), KNOWN_FAULTY[:2]):
        folder, stem = tmp_path / "index" / name, f"{name}-{version}"
        folder.mkdir(parents=True)
        said = f"Name: {name}\nVersion: {version}\n"
        files = {
            f"{name}.py": "",
            f"tests/test_{name}.py": "",
            f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\n{said}",
            f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n",
        }
        files[f"{stem}.dist-info/RECORD"] = "".join(f"{file},,\n" for file in files)
        wheel = folder / f"{stem}-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for file, text in files.items():
                archive.writestr(file, text)
        found[name] = hashlib.sha256(wheel.read_bytes()).hexdigest()
        link = f'<a href="{wheel.name}#sha256={found[name]}">{wheel.name}</a>'
        (folder / "index.html").write_text(f"<!DOCTYPE html><html><body>{link}</body></html>")
    address = (tmp_path / "index").as_uri()
    for variable in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "UV_INDEX", "UV_FIND_LINKS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", address)
    monkeypatch.setenv("UV_DEFAULT_INDEX", address)
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    return found


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)


def test_the_command_writes_the_hashes_that_the_index_has(
    index: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "constraints.txt"
    file.write_text("tiny==1.0\n")
    done = run("-m", "scripts.pins", file)
    assert done.returncode == 0, done.stderr
    assert file.read_text() == f"tiny==1.0 \\\n    --hash=sha256:{index['tiny']}\n"


@pytest.mark.usefixtures("index")
def test_without_an_answer_of_the_index_the_pins_stay(tmp_path: Path) -> None:
    file = tmp_path / "constraints.txt"
    file.write_text("absent==1.0\n")
    done = run("-m", "scripts.pins", file)
    assert done.returncode == 1
    assert "Error: the package index gave no hashes" in done.stderr
    assert file.read_text() == "absent==1.0\n"


def make(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["make", "--file", str(CHECKOUT / "Makefile"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("is_right", [True, False])
def test_a_package_of_another_hash_than_its_pin_is_not_installed(
    is_right: bool, index: dict[str, str], tmp_path: Path
) -> None:
    pin = Pin("tiny", "1.0", (index["tiny"] if is_right else "0" * 64,))
    (tmp_path / "constraints.txt").write_text(write_pins([pin]))
    installing = "try: ; $(INSTALL) --target made/lib tiny && $(COMPILE)"
    folder, library = Path(sys.executable).parent, tmp_path / "made" / "lib"
    done = make(f"--eval={installing}", f"BIN={folder}", "VENV=made", "try", folder=tmp_path)
    assert (library / "tiny.py").is_file() == is_right, done.stderr
    assert (library / "tests" / "test_tiny.py").is_file() == is_right
    assert ("Hash mismatch for `tiny==1.0`" in done.stderr) == (not is_right)
    # Its own tests are not compiled.
    compiled = [file.name.partition(".")[0] for file in library.rglob("*.pyc")]
    assert compiled == ["tiny"] * is_right


def test_an_installer_of_another_hash_than_its_pin_is_not_installed(
    index: dict[str, str], tmp_path: Path
) -> None:
    pins = [Pin("tiny", "1.0", (index["tiny"],)), Pin("uv", "0.1", ("0" * 64,))]
    (tmp_path / "constraints.txt").write_text(write_pins(pins))
    (tmp_path / "pyproject.toml").touch()
    # An environment that borrows pip, since giving it one of its own takes long.
    venv.create(tmp_path / ".venv", with_pip=False)
    site = sysconfig.get_path("purelib", vars={"base": str(tmp_path / ".venv")})
    Path(site, "pip.pth").write_text(str(Path(pip.__file__).parents[1]))
    done = make("setup", folder=tmp_path)
    assert done.returncode == 2
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert index["uv"] in done.stderr


class _Advisories(http.server.BaseHTTPRequestHandler):
    """Answers as OSV's interface does, of the packages in ``faulty``."""

    faulty: tuple[str, ...] = ()

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        vulns = {"vulns": [{"id": "GHSA-0000", "modified": "2026-01-01T00:00:00Z"}]}
        names = [query["package"]["name"] for query in asked]
        self._answer({"results": [vulns if name in self.faulty else {} for name in names]})

    def do_GET(self) -> None:
        fault = {"id": "GHSA-0000", "modified": "2026-01-01T00:00:00Z", "summary": "it hangs"}
        self._answer({**fault, "affected": []})

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, answer: object) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    servers = []

    def start(*faulty: str) -> str:
        handler = type("_Some", (_Advisories,), {"faulty": faulty})
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.usefixtures("index")
@pytest.mark.parametrize(
    ("faulty", "code", "said"),
    [
        ((KNOWN_FAULTY.name,), 0, "0 advisories against 1 pinned versions"),
        ((KNOWN_FAULTY.name, "tiny"), 1, "tiny 1.0: GHSA-0000: it hangs; mended in no version yet"),
        ((), 2, "could not be reached: what answered knows nothing against sqlparse 0.4.1"),
    ],
)
def test_an_audit_passes_only_where_the_advisories_know_a_known_fault(
    faulty: tuple[str, ...], code: int, said: str, serve: Callable[..., str], tmp_path: Path
) -> None:
    file = tmp_path / "constraints.txt"
    file.write_text("tiny==1.0\n")
    done = run("-m", "scripts.audit", file, "--service", serve(*faulty))
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr


@pytest.mark.usefixtures("index")
def test_an_audit_without_a_network_says_that_it_reached_nothing(tmp_path: Path) -> None:
    file = tmp_path / "constraints.txt"
    file.write_text("tiny==1.0\n")
    done = run("-m", "scripts.audit", file, "--service", "http://127.0.0.1:9/")
    assert done.returncode == 2
    assert "Error: the advisories could not be reached" in done.stderr
