"""A store of drawn pictures, its server, and a browser, each once for all tests of the page."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import uvicorn
from fastapi.testclient import TestClient

import bioprobe as bp
from bioprobe.sketch import draw_animal, read_species
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import write_selection
from bioprobe.taxonomy import RANKS
from bioprobe.web.app import build_app
from bioprobe.web.desk import Settings
from tests.browsing import open_browser
from tests.conftest import PlainEncoder

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SPECIES = ("Panthera pardus", "Panthera tigris", "Danaus plexippus", "Bubo scandiacus")


@pytest.fixture(scope="session")
def drawn(make_once: Callable[..., Path]) -> Path:
    """Draw twelve pictures of four species at three sites, and embed them with sketch once.

    The first has two boxes. The mask ``filters/made`` drops the last row, as ``blurred``.
    """
    return make_once("web", _fill) / "store"


def _fill(folder: Path) -> None:
    random = np.random.default_rng(0)
    rows = []
    for one in read_species():
        for number in range(3 if one.name in SPECIES else 0):
            path = f"{one.name.replace(' ', '-')}-{number}.jpg"
            draw_animal(one, random).save(folder / path)
            names = dict(zip(RANKS, one.lineage, strict=True))
            rows.append({"path": path, "common_name": one.common_name} | names)
    frame = pd.DataFrame(rows)
    frame["site"] = [f"site {at % 3}" for at in range(len(frame))]
    frame["sequence_id"] = [f"burst {at // 2}" for at in range(len(frame))]
    box = ["box_x", "box_y", "box_width", "box_height"]
    frame.loc[0, box] = [0.1, 0.2, 0.4, 0.5]
    frame.loc[len(frame)] = frame.iloc[0]
    frame.loc[len(frame) - 1, box] = [0.5, 0.5, 0.4, 0.3]
    frame.to_csv(folder / "pictures.csv", index=False)
    bp.embed(folder / "pictures.csv", store=folder / "store", model="sketch")
    store = EmbeddingStore.open(folder / "store")
    kept = store.rows < len(store) - 1
    reasons = np.where(kept, "", "blurred")
    write_selection(store, "filters/made", store.rows, kept, columns={"reason": reasons})


@pytest.fixture
def own(drawn: Path, tmp_path: Path) -> Path:
    """Copy the store, to write to it."""
    return Path(shutil.copytree(drawn, tmp_path / "own"))


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a store in a thread.

    Yields
    ------
    str
        Its address, without a slash at the end.
    """
    listening = uvicorn.Config(build_app(folder), host="127.0.0.1", port=0, log_level="warning")
    bound, server = listening.bind_socket(), uvicorn.Server(listening)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    bound.close()


@pytest.fixture(scope="session")
def address(drawn: Path) -> Iterator[str]:
    """Serve the store, and return where."""
    with serving(drawn) as at:
        yield at


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Open a browser for as long as a module: the library that drives it is there but once."""
    with open_browser() as opened:
        yield opened


def ask_server(store: EmbeddingStore, **given: object) -> TestClient:
    """Return a client of a store's server with some settings."""
    settings = Settings(**given)  # type: ignore[arg-type]
    return TestClient(build_app(store.folder, settings), base_url="http://127.0.0.1")


@pytest.fixture(scope="session")
def station(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    """Return a store of 40 images of two orders with two families each; nobody writes to it."""
    folder, encoder = tmp_path_factory.mktemp("station") / "store", PlainEncoder()
    families = {"Felidae": "Carnivora", "Canidae": "Carnivora", "Bovidae": "Artiodactyla",
                "Muridae": "Rodentia"}  # fmt: skip
    random = np.random.default_rng(0)
    rows = [
        {"path": f"{family}/{n:02d}.jpg", "sha256": f"{family}{n}", "kingdom": "Animalia",
         "order": order, "family": family}
        for family, order in families.items()
        for n in range(10)
    ]  # fmt: skip
    means = np.repeat(random.normal(size=(4, 16)), 10, axis=0)
    vectors = means + 0.5 * random.normal(size=(40, 16))
    made = EmbeddingStore.create(folder, encoder.fingerprint, dim=16, has_text_tower=True,
                                 logit_scale=20.0)  # fmt: skip
    return made.append(pd.DataFrame(rows), vectors)


@pytest.fixture(scope="session")
def station_client(station: EmbeddingStore) -> TestClient:
    return ask_server(station)


@pytest.fixture
def client(station_client: TestClient) -> TestClient:
    """Return who asks it as a program on the same machine; it has no cookies."""
    station_client.cookies.clear()
    return station_client
