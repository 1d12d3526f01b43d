"""The same run on a Ray cluster: shares of the sources, embedded by actors that hold the encoder.

Each block of the data set is a share of the listing, and each share has a store of its own, beside
the store that is wanted, on a disk that all nodes have: an actor writes it as any run does. So a
share whose node is lost goes on, on another node, from the last shard that was closed; and where
the driver is lost, the same command goes on with the shares that are not finished. Blocks are
handed to actors as these are done with others.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bioprobe.embedding.encoder_choice import load_encoder_for, names_encoder_of
from bioprobe.embedding.shard_buffer import SHARD_IMAGES, EmbedSummary
from bioprobe.embedding.sharing import embed_share
from bioprobe.encoders.encoder import Encoder
from bioprobe.encoders.keeping import need_keeping
from bioprobe.engines import check_folders, connect, plan_cores
from bioprobe.sources.listing import Listing
from bioprobe.sources.shares import Order, Share, split
from bioprobe.store import EmbeddingStore
from bioprobe.store.share_card import ShareCard

#: Pictures of a share, about.
SHARE_IMAGES = SHARD_IMAGES
_COUNTS = ("n_embedded", "n_reused", "n_kept", "n_failed", "n_damaged", "n_regions", "n_pictures")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How every share is embedded.

    Parameters
    ----------
    store : Path
        Folder of the store, without a share.
    encoder : mapping
        Arguments of :func:`bioprobe.embedding.load_encoder_for`.
    dtype : str or None
        Of the store.
    run : mapping
        Arguments of :func:`bioprobe.embedding.embed_images`.
    options : mapping of str to str
        Of the command, that the card of every share names.
    threads : int or None
        That read and decode, and cores of an actor; None chooses.
    folders : tuple of str
        That the driver sees and every node must: of sources, and that of the stores.
    """

    store: Path
    encoder: Mapping[str, Any]
    dtype: str | None
    run: Mapping[str, Any]
    options: Mapping[str, str]
    threads: int | None = None
    folders: tuple[str, ...] = ()


def embed_on_ray(
    listing: Listing, settings: Settings, advance: Callable[[int], None] | None = None
) -> tuple[list[Path], EmbedSummary]:
    """Embed a listing in shares on a Ray cluster.

    The cluster is the one that ``RAY_ADDRESS`` or ``ray start`` says; without one it is this
    machine.

    Returns
    -------
    folders : list of Path
        Stores of the shares, all finished.
    summary : EmbedSummary
        Of all of them together.

    Raises
    ------
    MissingExtraError
        If Ray is not installed.
    BioprobeError
        What stopped a share; the others stay as they are, and the same run goes on with them.
    """
    ray = connect()
    start_s, order = time.monotonic(), Order.of(listing)
    shares = dict(split(listing, max(1, -(-order.n_files // SHARE_IMAGES))))
    settings = dataclasses.replace(settings, folders=_find_folders(listing, settings.store))
    waiting = {one: part for one, part in shares.items() if not _is_done(one, order, settings)}
    # By the name of a field of the summary.
    counts: dict[str, Any] = dict.fromkeys(_COUNTS, 0)
    for one in shares.keys() - waiting.keys():
        counts["n_kept"] += len(EmbeddingStore.open(one.name_store(settings.store)).rows)
    reasons = list[tuple[str, str]]()
    if waiting:
        needs, n_actors = _plan_actors(ray.nodes(), settings.threads)
        for done in _run(waiting, order, settings, needs, n_actors):
            for name in _COUNTS:
                counts[name] += getattr(done, name)
            reasons += done.reasons
            if advance is not None:
                advance(done.n_images)
    summary = EmbedSummary(**counts, seconds_s=time.monotonic() - start_s, reasons=tuple(reasons))
    return [one.name_store(settings.store) for one in shares], summary


def _find_folders(listing: Listing, store: Path) -> tuple[str, ...]:
    """Return the folders that a run reads and writes, as far as they are there."""
    named = {*map(str, listing.frame["root"].unique()), str(store.parent)}
    return tuple(sorted(one for one in named if os.path.isabs(one) and Path(one).is_dir()))  # noqa: PTH117


def _is_done(share: Share, order: Order, settings: Settings) -> bool:
    """Tell whether an earlier run has finished a share of the same sources in the same way."""
    folder = share.name_store(settings.store)
    if not EmbeddingStore.exists(folder):
        return False
    card = ShareCard.read(folder)
    if card is None or not card.is_finished:
        return False
    is_alike = card.listing == order.digest and card.options == settings.options
    return is_alike and names_encoder_of(EmbeddingStore.open(folder), settings.encoder.get("model"))


def _run(
    shares: Mapping[Share, Listing],
    order: Order,
    settings: Settings,
    needs: Mapping[str, int],
    n_actors: int,
) -> Iterator[EmbedSummary]:
    """Run shares, and return what came of each as it is done."""
    import ray.data as blocks

    # Progress is told by ours.
    blocks.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    items = [{"work": pickle.dumps((one, part, order.only(part)))} for one, part in shares.items()]
    threads = needs["num_cpus"]
    embedded = blocks.from_items(items, override_num_blocks=len(items)).map_batches(
        _Embed, fn_constructor_args=(dataclasses.replace(settings, threads=threads),),
        batch_size=None, **needs,
        compute=blocks.ActorPoolStrategy(min_size=1, max_size=min(n_actors, len(items))),
    )  # fmt: skip
    for row in embedded.iter_rows():
        found = pickle.loads(row["done"])
        if isinstance(found, Exception):
            raise found
        yield found


def _plan_actors(
    nodes: Sequence[Mapping[str, Any]], threads: int | None
) -> tuple[dict[str, int], int]:
    """Return what an actor takes of the cluster, and how many there may be."""
    alive = [one["Resources"] for one in nodes if one["Alive"]]
    cores = [int(one.get("CPU", 0)) for one in alive]
    gpus = [int(one.get("GPU", 0)) for one in alive]
    if any(gpus):
        taken = threads or max(1, min(n // g for n, g in zip(cores, gpus, strict=True) if g))
        return {"num_cpus": taken, "num_gpus": 1}, sum(gpus)
    taken, n_actors = plan_cores(nodes, threads)
    return {"num_cpus": taken}, n_actors


class _Embed:
    """An actor: loads the encoder once, and embeds one share after another."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @functools.cached_property
    def _encoder(self) -> Encoder:
        # A new store of any share says the same of the encoder.
        encoder = load_encoder_for(self._settings.store, **self._settings.encoder)
        kinds = self._settings.run.get("keep")
        return need_keeping(encoder, kinds) if kinds else encoder

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Embed the shares of a block, which is one."""
        return {"done": [pickle.dumps(self._embed(one)) for one in batch["work"]]}

    def _embed(self, work: bytes) -> EmbedSummary | Exception:
        share, listing, order = pickle.loads(work)
        settings = self._settings
        try:
            check_folders(settings.folders)
            return embed_share(
                listing, share, order, settings.store, lambda: self._encoder,
                model=settings.encoder.get("model"), dtype=settings.dtype,
                options=settings.options, n_threads=settings.threads, **settings.run,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001 - the driver raises it, as it is
            return error
