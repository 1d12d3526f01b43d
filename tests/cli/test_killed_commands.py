"""Commands that write, killed or refused at a change of a file: before or after, never between.

A command runs in a process of its own, forked from a server that has imported all, on a copy of a
store in which its work was done before with other settings. Before a numbered change to the files
it is ended by SIGKILL, or the disk is full from there on. Then what people see must be all as it
was, or all as the command leaves it; the same command must finish, and leave no other files than
a run that nobody disturbed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

import bioprobe as bp
from bioprobe.cli.app import run
from bioprobe.store import EmbeddingStore

pytestmark = pytest.mark.slow

# Every change of every command takes many minutes: BIOPROBE_EVERY_CHANGE=1, or the number of
# changes to be drawn besides the renames.
EVERY = int(os.environ.get("BIOPROBE_EVERY_CHANGE", "0"))
CHANGES = {
    "open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.chmod",
    "shutil.rmtree", "tempfile.mkstemp", "tempfile.mkdtemp",
}  # fmt: skip
_NEEDS_SPACE = {"open", "os.mkdir"}


@dataclasses.dataclass(frozen=True)
class Case:
    """A command, and what was done before it.

    Parameters
    ----------
    argv : str
        The command.
    before : tuple of str
        Commands of the same kind that ran before, so that there is something to lose.
    outputs : tuple of str
        Files and folders that it writes beside the store.
    by_part : bool
        Whether each part of the store is as it was or as it will be, where rows are one change,
        and what quotes them follows.
    """

    argv: str
    before: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    by_part: bool = False


_EVALUATE = "evaluate --level class --name kept --n-resamples 20 --methods"
CASES = {
    "probe fit": Case(
        "probe fit lda --level class --name mine --quiet",
        ("probe fit centroid --level class --name mine --quiet",),
    ),
    "probe remove": Case(
        "probe remove mine", ("probe fit centroid --level class --name mine --quiet",)
    ),
    "evaluate": Case(
        f"{_EVALUATE} centroid,knn --output r.json --predictions p.parquet --quiet",
        (f"{_EVALUATE} centroid --output r.json --predictions p.parquet --quiet",),
        ("r.json", "p.parquet"),
    ),
    "report": Case(
        "report --output page.html --quiet",
        (f"{_EVALUATE} centroid --quiet --output r.csv", "report --output page.html --quiet"),
        ("page.html",),
    ),
    "index": Case(
        "store index --kind sq8 --recall 0.5 --quiet",
        ("store index --kind ivf --recall 0.5 --quiet",),
    ),
    "index flat": Case(
        "store index --kind flat --quiet", ("store index --kind ivf --recall 0.5 --quiet",)
    ),
    "split": Case(
        "split --level class --seed 2 --output s.csv --quiet",
        ("split --level class --seed 1 --output s.csv --quiet",),
        ("s.csv",),
    ),
    "filter": Case(
        "filter --output f.csv --quiet", ("filter --keep plant --output f.csv --quiet",), ("f.csv",)
    ),
    "dedupe": Case(
        "dedupe --threshold 0.5 --no-confirm --output d.parquet --quiet",
        ("dedupe --threshold 0.99 --no-confirm --output d.parquet --quiet",),
        ("d.parquet",),
    ),
    "remove-mask": Case("store remove-mask filters/duplicates", ("dedupe --quiet -o x.csv",)),
    "remove": Case(
        "store remove --row 3 --yes --quiet", ("store remove --row 4 --row 5 --yes --quiet",)
    ),
    "remove --undo": Case(
        "store remove --undo all --quiet", ("store remove --row 4 --row 5 --yes --quiet",)
    ),
    "compact": Case(
        "store compact --quiet",
        (
            "probe fit centroid --level class --name mine --quiet",
            "store remove --row 3 --yes --quiet",
        ),
        by_part=True,
    ),
    "compact all": Case(
        "store compact --quiet",
        (
            "probe fit knn --level class --name mine --quiet",
            f"{_EVALUATE} centroid --quiet --output r.csv",
            "store index --kind ivf --recall 0.5 --quiet",
            "filter --output f.csv --quiet",
            "taxa add Vulpes --prompt fox --images photos/PICTURE",
            "store remove --paths removed.txt --yes --quiet",
        ),
        by_part=True,
    ),
    "zeroshot": Case(
        "zeroshot --level family --output z.csv --quiet",
        ("zeroshot --level order --output z.csv --quiet",),
        ("z.csv",),
    ),
    "search": Case(
        "search --row 3 --output n.txt --html n.html --quiet",
        ("search --row 5 --output n.txt --html n.html --quiet",),
        ("n.txt", "n.html"),
    ),
    "taxa add": Case("taxa add Vulpes --prompt fox", ("taxa add Puma --prompt cat",)),
    "taxa add --images": Case(
        "taxa add Vulpes --prompt fox --images photos/PICTURE",
        ("taxa add Puma --prompt cat --images photos/OTHER",),
    ),
    "taxa remove": Case(
        "taxa remove Vulpes", ("taxa add Vulpes --prompt fox --images photos/PICTURE",)
    ),
    "taxa import": Case("taxa import list.csv", ("taxa add Lynx --prompt cat",)),
    "taxa export": Case(
        "taxa export t.csv", ("taxa add Puma", "taxa export t.csv", "taxa add Vulpes"), ("t.csv",)
    ),
    "taxa export head": Case(
        "taxa export t.npy --quiet",
        ("taxa add Puma", "taxa export t.npy --quiet", "taxa add Vulpes"),
        ("t.npy",),
    ),
    "taxa measure": Case(
        "taxa measure --unseen-where \"role == 'unseen'\" --output m.csv --quiet", (), ("m.csv",)
    ),
    "resolve": Case("taxa resolve --names sketch --apply --output l.csv --quiet", (), ("l.csv",)),
    "export npy": Case(
        "store export v.npy --layout npy --quiet",
        ("store export v.npy --layout npy --where \"kind == 'animal'\" --quiet",),
        ("v.npy",),
    ),
    "export parquet": Case(
        "store export v.parquet --layout emb-explorer --quiet",
        ("store export v.parquet --layout emb-explorer --where \"kind == 'animal'\" --quiet",),
        ("v.parquet",),
    ),
    "export folder": Case(
        "store export clip --layout clip-retrieval --quiet", (), ("clip",)
    ),
    "export dataset": Case("store export saved --layout datasets --quiet", (), ("saved",)),
    "export head": Case(
        "store export h.npy --layout treeoflife --level family --quiet",
        ("store export h.npy --layout treeoflife --level family --templates bare --quiet",),
        ("h.npy",),
    ),
    "import": Case(
        "store import v.npy --model sketch --store new --quiet",
        ("store export v.npy --layout npy --quiet",),
        ("new",),
    ),
    "import head": Case(
        "store import h.npy --model sketch --name head --quiet",
        ("store export h.npy --layout treeoflife --level family --quiet",),
    ),
}  # fmt: skip


# Those that write several files, which one rename must make one change.
LEAN = (
    "probe fit", "probe remove", "evaluate", "index", "filter", "taxa add --images", "export npy",
    "import",
)  # fmt: skip
# They write as others do: a list of taxa, a file of vectors, and texts of classes.
LONG = ("taxa remove", "export head", "import head")


ENCODING = ("filter", "taxa add --images", *(LONG[1:2] if "BIOPROBE_LONG" in os.environ else ()))


def _act_at(number: int, folder: Path, act: Callable[[str], None]) -> list[str]:
    """Call a function before a numbered change below a folder; return what was counted."""
    seen: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in CHANGES or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        if event == "open" and (len(arguments) < 3 or not arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        path = os.path.join(os.getcwd(), os.fsdecode(arguments[0]))  # noqa: PTH109, PTH118
        if path.startswith(str(folder)):
            seen.append(event)
            if len(seen) >= number:
                act(event)

    sys.addaudithook(watch)
    return seen


_IS_FULL = [True]


def _fill_disk(event: str) -> None:
    if _IS_FULL[0]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, resource.RLIM_INFINITY))
        if event in _NEEDS_SPACE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _split(argv: str) -> list[str]:
    import shlex

    return shlex.split(argv)


def _run(argv: str) -> tuple[int, str]:
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(said):
        code = run(_split(argv))
    return code, said.getvalue()


def _prepare_process(folder: Path) -> None:
    os.chdir(folder)
    os.environ["BIOPROBE_STORE"] = "store"
    os.environ["BIOPROBE_TAXA"] = str(folder / "user.csv")


def _hash(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:12]


def _see(outputs: tuple[str, ...]) -> dict[str, Any]:
    """Return what people see: of the store all in one, and each output."""
    return {"store": _see_store(), **{name: _see_output(Path(name)) for name in outputs}}


def _see_store() -> dict[str, Any]:
    from bioprobe.evaluation.keeping import list_evaluations
    from bioprobe.index import NeighborIndex
    from bioprobe.zeroshot.seen_offset import read_offset
    from bioprobe.zeroshot.text_head import list_heads, read_head

    store = bp.open("store")
    opened = EmbeddingStore.open("store")
    index = NeighborIndex.open(opened)
    offset = read_offset(opened)
    frame = opened.images.frame.iloc[opened.rows].sort_values("path")
    return {
        "probes": {
            name: (
                _hash(store.predict(name).to_frame().to_csv()),
                store.probe(name).calibration is not None,
            )
            for name in store.probes().to_frame()["name"]
        },
        "evaluations": {
            name: _hash(store.evaluation(name).predictions.astype(str).to_csv())
            for name in list_evaluations(opened)
        },
        "masks": store.masks().to_frame().to_csv(),
        "splits": store.splits().to_frame().to_csv(),
        "taxa": store.taxa().to_frame().to_csv(),
        "index": (index.kind, store.search(row=1, k=3).rows.tolist()),
        "heads": [(name, len(read_head(opened, name))) for name in list_heads(opened)],
        "offset": offset and offset.value,
        "removed": store.removed().to_frame()["rows"].tolist(),
        "images": _hash(frame.to_csv(index=False)),
        "whole": store.verify().is_whole,
    }


def _see_output(path: Path) -> object:
    """Return what readers make of a file or folder; whoever reads half of one fails here."""
    if not path.exists():
        return None
    if (path / "manifest.json").is_file():
        opened = EmbeddingStore.open(path)
        return _hash((opened.images.frame.to_csv(), opened.read_vectors().tobytes()))
    if path.name == "new":
        # A store that is not one yet.
        return None
    if path.suffix == ".json":
        return [one["method"] for one in json.loads(path.read_text())]
    if path.name in {"p.parquet", "d.parquet"}:
        import pandas as pd

        return _hash(pd.read_parquet(path).astype(str).to_csv())
    if path.suffix == ".html":
        text = path.read_text()
        assert text.rstrip().endswith("</html>")
        return "page"
    if path.name in {"h.npy", "t.npy"}:
        from bioprobe.zeroshot.head_files import read_text_head

        taxa, vectors = read_text_head(path)
        return _hash((taxa.to_csv(), vectors.tobytes()))
    if path.is_dir() or path.suffix in {".npy", ".parquet"}:
        from bioprobe.interchange import recognise_layout
        from bioprobe.interchange.layouts import find_layout
        from bioprobe.interchange.vector_source import ReadOptions

        read = find_layout(recognise_layout(path)).open_source
        assert read is not None
        batches = list(read(path, ReadOptions("sketch")).read())
        return _hash([(one.table.to_csv(), one.vectors.tobytes()) for one in batches])
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _list_files() -> list[str]:
    """Return the files and folders; whatever a text cache has, which is not of one command."""
    found = (path.as_posix() for path in Path().rglob("*"))
    return sorted(one for one in found if not one.endswith(".lock") and "/text/" not in one)


def _watch_undisturbed(told: Connection, folder: Path, case: Case) -> None:
    _prepare_process(folder)
    for argv in case.before:
        code, said = _run(argv)
        assert code == 0, said
    shutil.copytree(folder, f"{folder}-before")
    before = _see(case.outputs)
    seen = _act_at(10**9, folder, lambda _: None)
    code, said = _run(case.argv)
    seen = list(seen)
    assert code == 0, said
    told.send((before, _see(case.outputs), _list_files(), seen))


def _kill(folder: Path, case: Case, number: int) -> None:
    _prepare_process(folder)
    _act_at(number, folder, lambda _: os.kill(os.getpid(), signal.SIGKILL))
    _run(case.argv)


def _look_and_finish(told: Connection, folder: Path, case: Case) -> None:
    _prepare_process(folder)
    found = _see(case.outputs)
    again = _run(case.argv)
    _let_another_write(again)
    told.send((found, again, _see(case.outputs), _list_files()))


def _let_another_write(again: tuple[int, str]) -> None:
    """Where a command was done before, and is refused now, the next writer clears up."""
    if again[0]:
        with EmbeddingStore.open("store").lock():
            pass


def _be_refused(told: Connection, folder: Path, case: Case, number: int) -> None:
    _prepare_process(folder)
    _act_at(number, folder, _fill_disk)
    code, said = _run(case.argv)
    _IS_FULL[0] = False
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    found = _see(case.outputs)
    again = _run(case.argv)
    _let_another_write(again)
    told.send((code, said, found, again, _see(case.outputs), _list_files()))


Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def ask(processes: ForkServerContext) -> Ask:
    """Run a function in a process of its own and return what it tells; None where it is killed."""

    def run_there(function: Callable[..., None], *arguments: object) -> Any:  # noqa: ANN401
        receiver, sender = processes.Pipe(duplex=False)
        process = processes.Process(target=function, args=(sender, *arguments))
        process.start()
        sender.close()
        try:
            return receiver.recv()
        except EOFError:
            return None
        finally:
            process.join()

    return run_there


@pytest.fixture(scope="module")
def template(drawn: Path, tmp_path_factory: pytest.TempPathFactory, ask: Ask) -> Path:
    """Return a folder with photos, and a store in whose cache are the texts of all commands."""
    folder = tmp_path_factory.mktemp("template") / "case"
    shutil.copytree(drawn, folder)
    pictures = sorted(path.relative_to(folder / "photos") for path in folder.rglob("*.jpg"))
    (folder / "removed.txt").write_text("\n".join(map(str, (pictures[0], pictures[7]))))
    (folder / "list.csv").write_text("genus,species\nVulpes,Vulpes lagopus\nPuma,Puma concolor\n")
    warm = folder.with_name("warm")
    shutil.copytree(folder, warm)
    ask(_warm, warm)
    for name in ("text", "selections/splits"):
        shutil.copytree(warm / "store" / name, folder / "store" / name, dirs_exist_ok=True)
    shutil.rmtree(folder / "store" / "text" / "heads", ignore_errors=True)
    return folder


def _name_pictures(case: Case, folder: Path) -> Case:
    pictures = sorted(path.relative_to(folder / "photos") for path in folder.rglob("*.jpg"))

    def name(argv: str) -> str:
        return argv.replace("PICTURE", str(pictures[0])).replace("OTHER", str(pictures[-1]))

    return dataclasses.replace(case, argv=name(case.argv), before=tuple(map(name, case.before)))


def _warm(told: Connection, folder: Path) -> None:
    _prepare_process(folder)
    _run("split --level class --quiet")
    for case in [CASES[name] for name in (CASES if EVERY else ENCODING)]:
        named = _name_pictures(case, folder)
        for argv in (*named.before, named.argv):
            _run(argv)
        shutil.rmtree("store/probes", ignore_errors=True)
        Path("store/taxa.csv").unlink(missing_ok=True)
    told.send(None)


def _choose(seen: list[str], name: str) -> list[int]:
    """Return the numbers of the changes to be tried: each rename and some others, or one."""
    numbers = range(1, len(seen) + 1)
    if EVERY == 1:
        return list(numbers)
    renames = [number for number in numbers if seen[number - 1] == "os.rename"]
    others = sorted(set(numbers) - set(renames))
    drawn = random.Random(name)
    if EVERY:
        return sorted({*renames, *drawn.sample(others, min(EVERY, len(others)))})
    return [drawn.choice(renames or others)]


def _check_between(
    found: Mapping[str, Any],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    *,
    by_part: bool = False,
) -> None:
    for name, value in found.items():
        if by_part and isinstance(value, dict):
            there = before.get(name, {}), after.get(name, {})
            _check_between(
                value, *({key: one.get(key) for key in value} for one in there), by_part=True
            )
        else:
            assert value in (before[name], after[name]), name


@pytest.mark.parametrize(
    "name",
    CASES if EVERY else [*LEAN, *(pytest.param(name, marks=pytest.mark.long) for name in LONG)],
)
def test_a_command_is_done_or_not_done(
    name: str, template: Path, tmp_path: Path, ask: Ask, processes: ForkServerContext
) -> None:
    case = _name_pictures(CASES[name], template)
    shutil.copytree(template, tmp_path / "case")
    before, after, files, seen = ask(_watch_undisturbed, tmp_path / "case", case)
    start = tmp_path / "case-before"
    assert before != after or name == "report"

    def copy() -> Path:
        shutil.rmtree(tmp_path / "case")
        shutil.copytree(start, tmp_path / "case")
        return tmp_path / "case"

    for number in _choose(seen, name):
        folder = copy()
        process = processes.Process(target=_kill, args=(folder, case, number))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL, (number, seen)
        found, (code, said), finished, left = ask(_look_and_finish, folder, case)
        where = f"killed at {number} {seen[number - 1]}: {said}"
        _check_between(found, before, after, by_part=case.by_part)
        if code:
            # It was done: what it removes or makes is gone or there.
            assert found == after, where
        assert finished == after, where
        assert left == files, where
    for number in _choose(seen, f"full {name}"):
        told = ask(_be_refused, copy(), case, number)
        code, said, found, (again, said_again), finished, left = told
        where = f"full from {number} {seen[number - 1]}: {said} {said_again}"
        assert code in {0, 1}, where
        if code:
            assert "cannot be written: " in said, where
        _check_between(found, before, after, by_part=case.by_part)
        assert again == 0 or found == after, where
        assert (finished, left) == (after, files), where
