"""JSON files of a store from somebody else: whatever stands under a key, no reader breaks down."""

from __future__ import annotations

import json
import random
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bioprobe as bp
from bioprobe.cli.app import run
from bioprobe.errors import BioprobeError
from bioprobe.store import EmbeddingStore
from bioprobe.zeroshot.seen_offset import read_offset

# Tried at each key, by chance.
_N_WRONG = 1
_GONE = object()


def _nest(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


WRONG = [
    None, "text", 7, -1, 1.5, True, 10**30, [], {}, [1, "a"], {"a": [1]}, _nest(30), _GONE,
]  # fmt: skip
COMMANDS = (
    "split --level class --output s.csv",
    "probe fit centroid --level class --name mine",
    "evaluate --level class --name kept --n-resamples 20 --methods centroid,knn",
    "store index --kind ivf --recall 0.5",
    "taxa add Vulpes --prompt fox",
    "taxa measure --unseen-where \"role == 'unseen'\" --output m.csv",
    "store export h.npy --layout treeoflife --level family",
    "store import h.npy --model sketch --name head",
)


def _read_all(card: str) -> None:
    store = bp.open("store")
    if card == "evaluations/kept.json":
        repr(store.evaluation("kept").to_frame())
    elif card == "probes/mine/probe.json":
        repr(store.probes().to_frame())
        store.predict("mine")
    elif card == "text/heads/head/head.json":
        store.zeroshot(head="head", level="family")
    elif card == "seen-offset.json":
        offset = read_offset(EmbeddingStore.open("store"))
        assert offset is None or isinstance(offset.value, float)
    else:
        store.search(row=1, k=2)


CARDS = {
    "evaluations/kept.json": "report --output page.html",
    "probes/mine/probe.json": "probe predict mine --output p.csv",
    "text/heads/head/head.json": "zeroshot --head head --level family --output z.csv",
    "seen-offset.json": "zeroshot --level species --output z.csv",
    "index.json": "search --row 1 --output n.csv",
    "manifest.json": "store info",
}


def _list_keys(value: object, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value[:1])  # type: ignore[index]
    for key, one in inner:
        if isinstance(one, dict | list):
            yield from _list_keys(one, (*at, key))
        else:
            yield (*at, key)


def _put(card: object, at: tuple[Any, ...], value: object) -> object:
    if not at:
        return None if value is _GONE else value
    inner: Any = card
    for key in at[:-1]:
        inner = inner[key]
    if value is _GONE:
        del inner[at[-1]]
    else:
        inner[at[-1]] = value
    return card


def test_no_value_in_a_card_breaks_its_readers(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for argv in COMMANDS:
        assert run([*shlex.split(argv), "--quiet"]) == 0
    n_refused, broken = 0, []
    for name, command in CARDS.items():
        text = (store / name).read_text()
        drawn = random.Random(name)
        for at in _list_keys(json.loads(text)):
            for value in drawn.sample(WRONG, len(WRONG) if not at else _N_WRONG):
                (store / name).write_text(json.dumps(_put(json.loads(text), at, value)))
                try:
                    _read_all(name)
                except BioprobeError:
                    n_refused += 1
                except Exception as error:  # noqa: BLE001 - none may come
                    broken.append(f"{name} {at} {str(value)[:40]}: {error!r}")
        for wrong in ("[]", '"text"', "{}"):
            (store / name).write_text(wrong)
            capsys.readouterr()
            code = run(shlex.split(command))
            errors = [line for line in capsys.readouterr().err.splitlines() if "Error" in line]
            assert (code, len(errors)) in {(1, 1), (2, 1), (0, 0)}, (name, wrong, errors)
        (store / name).write_text(text)
    assert not broken
    assert n_refused > 60
