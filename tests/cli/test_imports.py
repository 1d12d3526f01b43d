"""What each command imports: what is asked of a store waits for no library without a use for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bioprobe.cli.app import run

# Whatever takes long to import, beside typer.
HEAVY = {
    *("IPython", "PIL", "datasets", "faiss", "httpx", "huggingface_hub", "imblearn", "jinja2"),
    *("matplotlib", "numba", "numpy", "onnxruntime", "open_clip", "optuna", "pandas", "pyarrow"),
    *("pydantic", "requests", "rich", "safetensors", "scipy", "sklearn", "starlette", "timm"),
    *("tokenizers", "torch", "torchvision", "tqdm", "transformers"),
}
# What reads a stored table; the library of frames takes as long as all else together.
TABLE = {"numpy", "pyarrow"}
# Commands that may import the same, which run in one process; texts are known from a run before.
ALLOWED = {
    "help": (set(), ("--help", "zeroshot --help", "store --help", "probe stack fit --help")),
    "models": ({"huggingface_hub", "numpy", "tqdm"}, ("models list --format json",)),
    "table": (
        TABLE,
        (
            "zeroshot --level family", "zeroshot --level family -k 2",
            "store info", "store masks", "annotations show", "taxa list",
            "search --row 0 -k 3", "search --text leopard -k 3",
        ),
    ),
    "probe": (
        TABLE | {"pandas", "safetensors", "scipy", "sklearn"},
        ("probe list", "probe predict lda", "probe predict linear", "probe predict knn"),
    ),
    # Of few pictures all pairs are multiplied before PyTorch would be there.
    "cluster": (
        TABLE | {"pandas", "rich", "scipy", "sklearn"},
        ("cluster --name mine", "cluster --method kmeans -n 3 --name ours"),
    ),
    # A text that no run has asked before loads the model.
    "model": (HEAVY - {"timm", "transformers"}, ("search --text jaguarundi -k 3",)),
}  # fmt: skip
# Modules that a plain question, the first of its process, has no use for; each takes milliseconds.
UNASKED = {
    "zeroshot --level family": {
        "bioprobe.encoders.hub", "bioprobe.face.pooled_pages", "bioprobe.face.sitting",
        "bioprobe.images.archives", "bioprobe.images.reading", "bioprobe.images.times",
        "bioprobe.index", "bioprobe.sources.listing", "bioprobe.splits", "bioprobe.store.kept",
        "bioprobe.store.remote", "bioprobe.tables", "bioprobe.task.listed", "bioprobe.task.pooling",
        "bioprobe.task.prior", "bioprobe.task.sequences", "bioprobe.taxonomy.checklists",
        "bioprobe.zeroshot.added_taxa", "bioprobe.zeroshot.fusion",
        "bioprobe.zeroshot.head_recipe", "bioprobe.zeroshot.text_head", "numpy.ma",
    },
}  # fmt: skip
# What one of them may import beside.
ALSO = {"probe predict knn": {"faiss"}}
# Modules that may be loaded, Python's own too.
MOST = {"help": 350, "table": 600}
# Runs commands one after another, and says after each what it brought.
LISTING = """
import json, os, sys
kept = os.dup(1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
from bioprobe.cli.app import run
heavy, commands, unasked = json.loads(sys.argv[1])
seen, said = set(), []
for command in commands:
    code = run(command.split())
    loaded = {name.partition(".")[0] for name in sys.modules} & set(heavy)
    needless = sorted(sys.modules.keys() & set(unasked.get(command, ())))
    said.append([command, code, sorted(loaded - seen), len(sys.modules), needless])
    seen |= loaded
os.write(kept, json.dumps(said).encode())
"""


@pytest.mark.parametrize("group", ALLOWED)
def test_a_command_imports_no_library_that_it_has_no_use_for(group: str, store: Path) -> None:
    assert store.is_dir()
    allowed, commands = ALLOWED[group]
    if group == "table":
        assert run(["search", "--text", "leopard", "-k", "3", "--quiet"]) == 0
        assert run(["zeroshot", "--level", "family", "--quiet"]) == 0
    if group == "probe":
        assert run(["split", "--level", "class", "--fractions", "0.5,0.25,0.25", "--quiet"]) == 0
        for kind, setting in (("lda", "shrinkage=0.5"), ("linear", "C=10"), ("knn", "k=3")):
            fit = ["probe", "fit", kind, "--level", "class", "--setting", setting, "--quiet"]
            assert run(fit) == 0
    unasked = {command: sorted(names) for command, names in UNASKED.items()}
    asked = json.dumps([sorted(HEAVY), commands, unasked])
    done = subprocess.run(
        [sys.executable, "-c", LISTING, asked], capture_output=True, text=True, check=True
    )
    for command, code, loaded, n_modules, needless in json.loads(done.stdout):
        assert code == 0, f"{command}: {done.stderr}"
        assert set(loaded) <= allowed | ALSO.get(command, set()), command
        assert not needless, command
        # A help takes some 250 today, of a fraction of a millisecond each.
        assert n_modules < MOST.get(group, n_modules + 1), command
