"""Fixtures that several parts share: pictures, a small encoder in plain numpy, labelled vectors."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import itertools
import multiprocessing
import os
import shutil
import tomllib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from filelock import FileLock
from PIL import Image

from bioprobe.cli.app import run
from bioprobe.embedding import embed_images
from bioprobe.encoders import load_encoder
from bioprobe.encoders.encoder import Encoder, Fingerprint, hash_description, normalise_rows
from bioprobe.images import ImageTable
from bioprobe.sources.source import SourceOptions, find_images
from bioprobe.splits import Split
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Rank

if TYPE_CHECKING:
    import torch

Vectors = npt.NDArray[np.float32]

SIDE_PX = 8

FAMILIES = {
    "Felidae": "Carnivora",
    "Canidae": "Carnivora",
    "Bovidae": "Artiodactyla",
    "Cervidae": "Artiodactyla",
    "Muridae": "Rodentia",
}
N_PER_FAMILY = 16


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage in the tests while they are collected, nor later: they all stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        # A search takes long once the libraries of models are loaded, and finds little.
        gc.set_threshold(20_000, 10, 50)
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Let every second worker begin at the end of the folders, where the others come last.

    Of a new checkout each compiles one half, and reads the other, which is compiled by then.
    """
    report = yield
    number = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    if isinstance(collector, pytest.Dir) and int(number) % 2 and report.result:
        report.result.reverse()
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests into one order; leave out what is long, unless it is asked for."""
    items.sort(key=lambda item: item.path)
    if "BIOPROBE_LONG" not in os.environ:
        skipped = pytest.mark.skip(reason="long: make test-long runs it")
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(skipped)


def alter_images(store: EmbeddingStore, **columns: Any) -> None:  # noqa: ANN401 - of any type
    """Give a store that is open other columns than its files have; None takes one out."""
    gone = [name for name, values in columns.items() if values is None]
    frame = store.images.frame.assign(**columns).drop(columns=gone)
    store.__dict__["given"] = ImageTable(frame)
    store.__dict__["images"] = store.given


class PlainEncoder:
    """Encode an image by a fixed random projection of its small copy, a text by its hash.

    It counts what it is asked, so that tests can tell what was encoded again.

    Parameters
    ----------
    seed : int
        Stands for the weights.
    dim : int
        Length of a vector.
    precision : str
        Only said in the fingerprint.
    """

    has_text_tower = True
    logit_scale = 20.0
    device = "cpu"
    batch_size = 16
    draft_side_px = 0

    def __init__(self, seed: int = 1, *, dim: int = 16, precision: str = "fp32") -> None:
        self.name = f"plain-{seed}"
        self.dim = dim
        random = np.random.default_rng(seed)
        self._projection = random.normal(size=(3 * SIDE_PX**2, dim)).astype(np.float32)
        self._seed = seed
        self.fingerprint = Fingerprint(
            model=self.name,
            weights_sha256=hashlib.sha256(self._projection.tobytes()).hexdigest(),
            preprocessing_sha256=hash_description({"resize_px": SIDE_PX}),
            precision=precision,
            backend="numpy",
        )
        self.batch_sizes: list[int] = []
        self.texts_seen: list[str] = []

    @property
    def n_images_seen(self) -> int:
        return sum(self.batch_sizes)

    def preprocess(self, image: Image.Image) -> npt.NDArray[np.float32]:
        small = np.asarray(image.resize((SIDE_PX, SIDE_PX)), dtype=np.float32)
        # A constant is added so that black has a direction too.
        return np.asarray(small.transpose(2, 0, 1) / 255 + 0.1, dtype=np.float32)

    def encode_pixels(self, pixels: npt.NDArray[np.float32]) -> Vectors:
        self.batch_sizes.append(len(pixels))
        return normalise_rows(pixels.reshape(len(pixels), 3 * SIDE_PX**2) @ self._projection)

    def encode_image(self, images: Sequence[Image.Image]) -> Vectors:
        empty = np.zeros((0, 3, SIDE_PX, SIDE_PX), dtype=np.float32)
        pixels = [self.preprocess(image) for image in images]
        return self.encode_pixels(np.stack(pixels) if pixels else empty)

    def encode_text(self, texts: Sequence[str]) -> Vectors:
        self.texts_seen += texts
        rows = [self._draw(text) for text in texts]
        return normalise_rows(np.array(rows, dtype=np.float32).reshape(len(texts), self.dim))

    def _draw(self, text: str) -> npt.NDArray[np.float64]:
        seed = int.from_bytes(hashlib.sha256(f"{self._seed} {text}".encode()).digest()[:8])
        return np.random.default_rng(seed).normal(size=self.dim)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder of real data and models beside the checkout; the test is skipped without it."""
    folder = Path(__file__).parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("the folder ../shared of real data is not here")
    return folder


@pytest.fixture(scope="session")
def wildlife_mini(shared_dir: Path) -> Encoder:
    """Load a small model that was trained on photographs of 65 species."""
    return load_encoder(_name_wildlife_mini(shared_dir), device="cpu", batch_size=4)


def _name_wildlife_mini(shared_dir: Path) -> str:
    return f"local-dir:{shared_dir / 'models' / 'wildlife-mini'}"


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Fill a folder once for all processes that run the tests, and return it."""

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        base = tmp_path_factory.getbasetemp()
        # Each worker of pytest-xdist has a folder of its own in that of them all.
        common = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
        folder, done = common / f"once-{name}", common / f"once-{name}.done"
        with FileLock(common / f"once-{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def held_out_photos(photographs: Path) -> Path:
    """Embed the photographs that it was not trained on, once for all; copy to write beside them."""
    return photographs / "held out"


@pytest.fixture(scope="session")
def noise_photos(photographs: Path) -> Path:
    """Embed photographs of animals and of what is none, once for all; copy to write beside them."""
    return photographs / "noise"


@pytest.fixture(scope="session")
def photographs(shared_dir: Path, make_once: Callable[..., Path]) -> Path:
    """Embed photographs by the small model, which is loaded and exported for all of them once."""

    def fill(folder: Path) -> None:
        # Twice as fast as PyTorch. Of more images at once the activations are too large to be kept.
        encoder = load_encoder(
            _name_wildlife_mini(shared_dir), device="cpu", batch_size=4, backend="onnx"
        )
        listed = find_images(
            [shared_dir / "data" / "photos" / "photos.csv"],
            SourceOptions(rank_columns={Rank.SPECIES: "class", Rank.CLASS: "class_rank"}),
        )
        frame = listed.frame[listed.frame["role"] != "train"].reset_index(drop=True)
        held_out = dataclasses.replace(listed, frame=frame)
        # By their folder: without labels.
        noise = find_images([shared_dir / "data" / "noise-photos"])
        for name, table in (("held out", held_out), ("noise", noise)):
            embed_images(table, encoder, EmbeddingStore.open_for(folder / name, encoder))

    return make_once("photographs", fill)


@pytest.fixture(scope="session")
def computed() -> dict[bytes, torch.Tensor]:
    """Keep what a model made of a picture or text, by the digest of both."""
    return {}


@pytest.fixture
def each_input_once(computed: dict[bytes, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests share what a model computes of the pictures and texts that many of them embed."""
    # Tests that embed nothing do without it.
    import torch

    from bioprobe.encoders.families.batch_runner import BatchRunner

    compute = BatchRunner._exactly

    def digest(model: bytes, *row: torch.Tensor) -> bytes:
        made = hashlib.sha256(model)
        for one in row:
            made.update(repr((one.shape, one.dtype)).encode())
            # As bytes: numpy knows no bf16.
            made.update(one.reshape(-1).cpu().view(torch.uint8).numpy().tobytes())
        return made.digest()

    def compute_once(runner: BatchRunner, *inputs: torch.Tensor) -> torch.Tensor:
        model = repr((runner._what, sorted(runner._model.items()))).encode()
        keys = [digest(model, *row) for row in zip(*inputs, strict=True)]
        new = [place for place, key in enumerate(keys) if key not in computed]
        if new or not keys:
            found = compute(runner, *(one[new] for one in inputs))
            computed.update(zip((keys[place] for place in new), found.clone(), strict=True))
            if len(new) == len(keys):
                return found
        return torch.stack([computed[key] for key in keys])

    monkeypatch.setattr(BatchRunner, "_exactly", compute_once)


@pytest.fixture(scope="session")
def demo(make_once: Callable[..., Path]) -> Path:
    """Show the demonstration once for all, of a picture of each species; copy to change it."""

    def fill(folder: Path) -> None:
        command = ["demo", "--output", str(folder / "here"), "--per-species", "1", "--quiet"]
        assert run(command) == 0

    return make_once("demo", fill) / "here"


@pytest.fixture(scope="session", autouse=True)
def no_power_cut() -> Iterator[None]:
    """Wait for no disk: what is written lasts as long as the machine runs.

    A command that is a process of its own waits as ever.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", os.fstat)
        yield


@pytest.fixture(scope="session")
def user_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return folders that are not there, each test's own: few write in theirs."""
    base = tmp_path_factory.mktemp("users")
    return (base / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def nothing_of_the_user(user_folders: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the taxa and pictures of whoever runs the tests out of them, and theirs out of those."""
    folder = next(user_folders)
    monkeypatch.setenv("BIOPROBE_TAXA", str(folder / "taxa.csv"))
    monkeypatch.setenv("BIOPROBE_CACHE", str(folder / "cache"))
    return folder


@pytest.fixture
def no_taxa_of_the_user(nothing_of_the_user: Path) -> Path:
    """Return where a test's own list of taxa would be."""
    return nothing_of_the_user / "taxa.csv"


@pytest.fixture
def no_pictures_of_the_user(nothing_of_the_user: Path) -> Path:
    """Return where a test's own cache of pictures would be."""
    return nothing_of_the_user / "cache" / "pictures"


# What processes of tests import, once in the server that each of them is forked from. The server
# is one for all tests of a worker, so that it is one list.
_PRELOADED = (
    "tests.cli.test_killed_commands", "tests.embedding.test_shares",
    "tests.embedding.test_survival", "tests.encoders.families.test_batch_runner",
    "bioprobe.evaluation.keeping", "bioprobe.index", "bioprobe.interchange",
    "bioprobe.learning.tune", "bioprobe.merging", "bioprobe.quality", "bioprobe.report",
    "bioprobe.sources.source", "bioprobe.zeroshot.unseen",
    "datasets", "faiss", "filelock", "pandas", "pydantic", "pyarrow.dataset", "pyarrow.parquet",
    "safetensors.numpy", "scipy.stats", "sklearn.linear_model", "sklearn.discriminant_analysis",
)  # fmt: skip


@pytest.fixture(scope="session")
def processes() -> ForkServerContext:
    """Return what starts processes of their own, which have imported what they need already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    first = context.Process(target=os.getpid)
    first.start()
    first.join()
    return context


@pytest.fixture
def encoder() -> PlainEncoder:
    return PlainEncoder()


def draw_picture(number: int, size_px: tuple[int, int]) -> Image.Image:
    """Draw the picture of a number: coarse coloured noise, the same on every machine."""
    width_px, height_px = size_px
    noise = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width_px, height_px))


@pytest.fixture
def write_pictures(tmp_path: Path) -> Callable[..., Path]:
    """Write n different pictures into a folder, as 000.png, 001.png and so on."""

    def write(n: int, folder: str = "pictures", *, first: int = 0) -> Path:
        path = tmp_path / folder
        path.mkdir(exist_ok=True)
        for number in range(first, first + n):
            draw_picture(number, (20 + number, 30)).save(path / f"{number:03d}.png")
        return path

    return write


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., EmbeddingStore]:
    """Make an empty store of an encoder."""

    def make(
        encoder: PlainEncoder, name: str = "store", *, dtype: str = "float32"
    ) -> EmbeddingStore:
        return EmbeddingStore.open_for(tmp_path / name, encoder, dtype=dtype)

    return make


EntryPoints = Mapping[str, Mapping[str, str]]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, EntryPoints], None]:
    """Install a package's entry points, by group and name, as pip would write them down."""

    def install_points(package: str, points: EntryPoints) -> None:
        folder = tmp_path / "site" / package
        lines = [
            line
            for group, named in points.items()
            for line in (f"[{group}]", *(f"{name} = {place}" for name, place in named.items()))
        ]
        about = folder / f"{package}-1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(folder)

    return install_points


@pytest.fixture
def example_package(
    install: Callable[[str, EntryPoints], None], monkeypatch: pytest.MonkeyPatch
) -> EntryPoints:
    """Install the example of a package that adds one of each kind."""
    folder = Path(__file__).parent / "plugin_example"
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    monkeypatch.syspath_prepend(folder)
    points: EntryPoints = project["entry-points"]
    install("bioprobe_example", points)
    return points


@pytest.fixture
def broken_package(install: Callable[[str, EntryPoints], None]) -> EntryPoints:
    """Install a package that adds one of each kind, of which none can be imported."""
    kinds = ("methods", "encoders", "sources", "exporters", "templates")
    points = {f"bioprobe.{kind}": {"broken": "package_that_is_gone:thing"} for kind in kinds}
    install("bioprobe_broken", points)
    return points


@pytest.fixture
def families(families_once: Path, tmp_path: Path) -> EmbeddingStore:
    """Return 80 images of five families; those of one order lie nearer to each other.

    Images stand in the order of the families; every fourth one of each has ``part`` test, the one
    after it validation. The last two of all have no family.
    """
    return EmbeddingStore.open(shutil.copytree(families_once, tmp_path / "store"))


@pytest.fixture(scope="session")
def families_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that ``families`` is copied from: copy to write beside them."""
    folder = tmp_path_factory.mktemp("families") / "store"
    _add_families(EmbeddingStore.open_for(folder, PlainEncoder()))
    return folder


def _add_families(store: EmbeddingStore) -> None:
    random = np.random.default_rng(0)
    orders = {order: random.normal(size=16) for order in sorted(set(FAMILIES.values()))}
    vectors, rows = [], []
    for family, order in FAMILIES.items():
        mean = orders[order] + 0.8 * random.normal(size=16)
        for number in range(N_PER_FAMILY):
            vectors.append(mean + 0.7 * random.normal(size=16))
            rows.append(
                {
                    "path": f"{family}/{number:02d}.jpg",
                    "sha256": f"{family}{number}",
                    "kingdom": "Animalia",
                    "order": order,
                    "family": family,
                    "part": {0: "test", 1: "validation"}.get(number % 4, "train"),
                }
            )
    frame = pd.DataFrame(rows)
    frame.loc[frame.index[-2:], "family"] = ""
    store.append(frame, np.array(vectors))


def make_parts(
    parts: npt.ArrayLike,
    folds: npt.ArrayLike = -1,
    groups: npt.ArrayLike = "",
    *,
    name: str = "made",
) -> Split:
    """Make a split that is not kept from parts, folds and groups."""
    named = np.array(parts, dtype=object)
    return Split(
        name,
        named,
        np.broadcast_to(np.asarray(folds, dtype=np.int64), named.shape).copy(),
        np.broadcast_to(np.asarray(groups, dtype=object), named.shape).copy(),
        {"hash": "abc", "method": "imported"},
    )


def split_by_part(store: EmbeddingStore) -> Split:
    """Make the split that the column ``part`` of the images says, with two folds of train."""
    parts = store.images.frame["part"].to_numpy(dtype=object)
    return make_parts(parts, np.where(parts == "train", np.arange(len(parts)) % 2, -1))


@pytest.fixture
def split(families: EmbeddingStore) -> Split:
    """Return the split of the families."""
    return split_by_part(families)
