"""Wherever a picture is named on this machine, an address is said to be one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bioprobe as bp
from bioprobe.errors import BioprobeError

pytestmark = pytest.mark.usefixtures("loads")

ADDRESS = "https://example.org/photos/a.jpg"
ASKS: dict[str, Callable[[bp.Store, Any], object]] = {
    "search": lambda store, named: store.search(image=named),
    "search, weighed": lambda store, named: store.search(image=f"{named}::2"),
    "search, minus": lambda store, named: store.search(row=1, minus_image=[named]),
    "taxa add": lambda store, named: store.add_taxon("Aus bus", parent="Felidae", images=[named]),
    "taxa check": lambda store, named: store.check_taxon("Felidae", images=[named]),
    "predict": lambda store, named: store.probe("kept").predict([named]),
    "pictures": lambda store, named: store.pictures(named),
    "zeroshot": lambda _, named: bp.pictures([named], model="plain").zeroshot("family"),
    "embed": lambda store, named: bp.embed(named, store=store.folder, model="plain"),
    "sources show": lambda _, named: bp.show_source(named),
    "encoder": lambda _, named: bp.encoder("plain").images(named),
    "store import": lambda store, named: bp.import_vectors(
        named, model="plain", store=store.folder
    ),
}


def test_an_address_is_said_to_be_one(opened: bp.Store) -> None:
    opened.fit("centroid", "family", split="none", name="kept")
    for ask in ASKS.values():
        for named in (ADDRESS, Path(ADDRESS)):
            with pytest.raises(BioprobeError, match=f"{ADDRESS} is an address, .*--fetch"):
                ask(opened, named)


def test_a_file_whose_folder_is_called_so_is_a_file(
    opened: bp.Store,
    write_pictures: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = next(write_pictures(1).rglob("*.png"))
    monkeypatch.chdir(tmp_path)
    odd = Path("http:/example.org/a.png")
    odd.parent.mkdir(parents=True)
    odd.write_bytes(picture.read_bytes())
    assert len(opened.search(image=odd, k=1).rows) == 1
