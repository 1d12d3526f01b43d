from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import filelock  # noqa: F401 - so that the first lock takes no second to import
import pytest

from bioprobe.errors import StoreLockedError, TaxonomyError
from bioprobe.store import EmbeddingStore, read_added_taxa
from bioprobe.store.added_taxa import AddedList, read_user_taxa
from bioprobe.taxonomy import Taxon
from bioprobe.taxonomy.taxon import complete_taxon

if TYPE_CHECKING:
    from tests.conftest import PlainEncoder

UNCIA = complete_taxon(
    "Panthera uncia", "Animalia,Chordata,Mammalia,Carnivora,Felidae", common_name="snow leopard"
)
BLANK = Taxon.from_names(
    {"species": "Blank"}, common_name='nothing, "really"', prompts=("an empty scene", "only grass")
)
FELIDAE = Taxon.from_names({"family": "Felidae"}, common_name="NA")


@pytest.fixture
def store(make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder) -> EmbeddingStore:
    return make_store(encoder)


def test_a_new_store_has_none(store: EmbeddingStore) -> None:
    assert len(read_added_taxa(store)) == 0


@pytest.mark.parametrize("taxa", [[UNCIA], [BLANK], [FELIDAE, BLANK, UNCIA]])
def test_they_come_back_as_they_were_added(store: EmbeddingStore, taxa: list[Taxon]) -> None:
    for taxon in taxa:
        AddedList.of_store(store).add(taxon)
    assert list(read_added_taxa(EmbeddingStore.open(store.folder))) == taxa


def test_a_lineage_is_added_once(store: EmbeddingStore) -> None:
    AddedList.of_store(store).add(UNCIA)
    with pytest.raises(TaxonomyError, match="'Panthera uncia' was added before; remove it first"):
        AddedList.of_store(store).add(Taxon(UNCIA.lineage, "ounce"))


@pytest.mark.parametrize("name", ["Panthera uncia", "SNOW LEOPARD"])
def test_one_is_removed_by_either_name(store: EmbeddingStore, name: str) -> None:
    for taxon in (UNCIA, BLANK):
        AddedList.of_store(store).add(taxon)
    assert AddedList.of_store(store).remove(name) == UNCIA
    assert list(read_added_taxa(store)) == [BLANK]


def test_the_last_one_can_be_removed(store: EmbeddingStore) -> None:
    AddedList.of_store(store).add(UNCIA)
    AddedList.of_store(store).remove("Panthera uncia")
    assert list(read_added_taxa(store)) == []
    AddedList.of_store(store).add(UNCIA)
    assert list(read_added_taxa(store)) == [UNCIA]


@pytest.mark.parametrize("name", ["Puma", ""])
def test_one_that_was_not_added_is_refused_with_those_that_were(
    store: EmbeddingStore, name: str
) -> None:
    with pytest.raises(TaxonomyError, match=f"no taxon '{name}' was added to .*were: none"):
        AddedList.of_store(store).remove(name)
    AddedList.of_store(store).add(Taxon.from_names({"genus": "Lynx"}))
    with pytest.raises(TaxonomyError, match=r"; added were: Lynx$"):
        AddedList.of_store(store).remove(name)


def test_the_users_list_is_one_for_all_stores_and_apart_from_theirs(
    store: EmbeddingStore, no_taxa_of_the_user: Path
) -> None:
    assert len(read_user_taxa()) == 0
    mine = AddedList.of_user()
    with mine.lock():
        mine.add(UNCIA)
    assert mine.file == no_taxa_of_the_user
    assert list(read_user_taxa()) == [UNCIA]
    assert len(read_added_taxa(store)) == 0
    assert mine.remove("snow leopard") == UNCIA
    assert not no_taxa_of_the_user.exists()
    with pytest.raises(TaxonomyError, match="to the user-wide list"):
        mine.remove("snow leopard")


HOLD = """
import sys, time
from pathlib import Path
from bioprobe.store import EmbeddingStore
from bioprobe.store.added_taxa import AddedList
stores = [EmbeddingStore.open(folder) for folder in sys.argv[1:]]
with AddedList.of_store(stores[0]).lock() if stores else AddedList.of_user().lock():
    print("held", flush=True)
    sys.stdin.readline()
    time.sleep(1)
"""


@contextlib.contextmanager
def _held_for_a_second(*arguments: str) -> Iterator[None]:
    """Let another process hold the lock until a second after the block has begun."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        other.stdin.write("a second more\n")
        other.stdin.flush()
        yield
    assert other.returncode == 0


def test_another_writer_is_waited_for(store: EmbeddingStore) -> None:
    added = AddedList.of_store(store)
    with _held_for_a_second(str(store.folder)), added.lock():
        added.add(UNCIA)
    assert list(read_added_taxa(store)) == [UNCIA]


@pytest.mark.usefixtures("no_taxa_of_the_user")
def test_another_writer_of_the_users_list_is_waited_for_too() -> None:
    mine = AddedList.of_user()
    with _held_for_a_second(), mine.lock():
        mine.add(UNCIA)
    assert list(read_user_taxa()) == [UNCIA]


def test_a_writer_who_goes_on_is_named(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bioprobe.store.added_taxa.QUICK_WAIT_S", 0.1)
    expected = rf"is writing to {store.folder}, and was not done within 0\.1 s; wait until"
    with (
        store.lock(),
        pytest.raises(StoreLockedError, match=expected),
        AddedList.of_store(store).lock(),
    ):
        pass


@pytest.mark.usefixtures("no_taxa_of_the_user")
def test_the_users_list_has_one_writer_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bioprobe.store.added_taxa.QUICK_WAIT_S", 0.1)
    with (
        AddedList.of_user().lock(),
        pytest.raises(StoreLockedError, match="another process is changing"),
        AddedList.of_user().lock(),
    ):
        pass


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_DATA_HOME", "data/bioprobe/taxa.csv"),
        ("win32", "LOCALAPPDATA", "data/bioprobe/taxa.csv"),
        ("darwin", "", "Library/Application Support/bioprobe/taxa.csv"),
        ("linux", "", ".local/share/bioprobe/taxa.csv"),
        ("win32", "", "AppData/Local/bioprobe/taxa.csv"),
    ],
)
def test_the_users_list_lies_where_the_system_keeps_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str, variable: str, expected: str
) -> None:
    for name in ("BIOPROBE_TAXA", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "data"))
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert AddedList.of_user().file == tmp_path / expected
