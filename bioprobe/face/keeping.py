"""What lies in a store on disk: its facts, whether it is whole, its index, and its exchange."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bioprobe.errors import MisuseError, SelectionError, StoreError
from bioprobe.face.lists import read_rank_columns
from bioprobe.face.opened import Opened, tell_emptied, tell_placeholders
from bioprobe.options import (
    TEXT_HEAD,
    Level,
    NoLabel,
    Option,
    RankColumns,
    SeedOption,
    StoreFolder,
    Taxa,
    Templates,
    TextTypeName,
    Unless,
    With,
    WithAny,
    Without,
    question,
    split_given,
    split_names,
)
from bioprobe.registry import EXPORTERS
from bioprobe.result import PROBLEM, WARNING, Listing, Note, Table, count

if TYPE_CHECKING:
    from bioprobe.index.tuning import IndexReport
    from bioprobe.interchange import ExportSummary, HeadSummary, ImportSummary, PartSummary
    from bioprobe.progress import Progress
    from bioprobe.quality.description import StoreFacts
    from bioprobe.store import EmbeddingStore
    from bioprobe.store.health import Problem, Repair, Restoration, Verification
    from bioprobe.types import Rows

INDEX_KINDS = ("flat", "hnsw", "ivf", "ivfpq", "sq8", "ivfsq8", "ivfpqfs", "ivfrabitq")
_LAYOUT_NAMES = (*EXPORTERS.places, TEXT_HEAD)

Layout = Annotated[
    str | None,
    Option(
        f"Layout of the file: {', '.join(_LAYOUT_NAMES)}. Recognised when it is read.",
        choices=_LAYOUT_NAMES,
    ),
]
_AS_HEAD = With("layout", (TEXT_HEAD,))
_APPROXIMATE = Unless("kind", ("flat",))


class Keeps(Opened):
    """What lies on disk."""

    @question
    def info(self) -> StoreFacts:
        """Tell the encoder, the counts, the labels and the failures of the store."""
        from bioprobe.quality.description import StoreFacts, describe_store

        store = self._view.store
        return StoreFacts(describe_store(store)).say(_advise(store))

    @question
    def verify(
        self,
        *,
        repair: Annotated[
            bool, Option("Take damaged shards out and lay them aside; nothing is deleted.")
        ] = False,
        restore: Annotated[
            bool,
            Option(
                "Put back what was taken out, where its files in damaged/ have their checksums "
                "again, as from a copy.",
                when=(Without("repair"),),
            ),
        ] = False,
    ) -> Verification:
        """Check every byte of the store against its manifest.

        Parameters
        ----------
        repair : bool
            Whether damaged shards are taken out first and laid aside; nothing is deleted. Open
            the store anew then. What cannot be read just now is never taken out.
        restore : bool
            Whether what was taken out is put back first, where its files in ``damaged/`` have the
            checksums that they had. Open the store anew then.

        Raises
        ------
        StoreLockedError
            If it is to be changed and another process is writing to it.
        """
        from bioprobe.store import EmbeddingStore, repair_store, restore_store, verify_store
        from bioprobe.store.health import Verification

        folder = self.folder
        repaired = repair_store(folder) if repair else None
        restored = restore_store(folder) if restore else None
        store = EmbeddingStore.open(folder)
        problems = tuple(verify_store(store))
        said = list(_tell_repair(repaired, folder)) if repaired is not None else []
        said += _tell_restoration(restored, folder) if restored is not None else []
        if problems:
            said.append(Note(_tell_problems(problems, folder), PROBLEM))
        else:
            n_shards = count(len(store.manifest.present_shards), "shard")
            said.append(Note(f"{folder} is whole: {count(len(store), 'image')} in {n_shards}"))
        said += _advise(store)
        return Verification(folder, len(store), problems, repaired, restored).say(said)

    def masks(self) -> Listing:
        """List the masks that the store keeps, one a row, and what a search asked that made one.

        See :meth:`filter`, :meth:`dedupe` and :meth:`search`.
        """
        from bioprobe.store.selections import list_masks, read_selection

        store = self._view.store
        rows = []
        for name in list_masks(store):
            found = read_selection(store, name)
            kept, judged = found.kept[store.rows], found.judged[store.rows]
            n_dropped, n_unjudged = int((judged & ~kept).sum()), int((~judged).sum())
            made_by = _describe_maker(found.provenance.get("options", {}))
            rows.append((name, int(kept.sum()), n_dropped, n_unjudged, made_by))
        names = ["name", "kept", "dropped", "not_judged", "made_by"]
        return Listing({name: [row[i] for row in rows] for i, name in enumerate(names)})

    @question
    def keep_mask(self, name: str, rows: Sequence[int] | Rows) -> Table:
        """Keep some rows as a mask, such as those that were chosen by eye on a map.

        Parameters
        ----------
        name : str
            Of the mask, which must be new; ``--mask`` takes it then.
        rows : sequence of int
            Rows of the store that it keeps; all others that are asked it drops.

        Raises
        ------
        SelectionError
            If the name cannot be used, or none of the rows is in the store.
        StoreError
            If there is a mask of that name, or the disk refuses.
        """
        import numpy as np
        import pandas as pd

        from bioprobe.store.selections import SPLITS, list_selections, write_selection

        view = self._view
        if name.startswith(SPLITS) or name in list_selections(view.store):
            msg = f"there is a mask or split {name!r} in {self.folder}; give another name"
            raise StoreError(msg)
        kept = np.isin(view.rows, np.asarray(rows, dtype=np.int64))
        if not kept.any():
            msg = f"none of the {len(rows):,} rows is among the {len(view):,} images that are asked"
            raise SelectionError(msg)
        provenance = view.describe({"kind": "chosen rows"}, n_rows=int(kept.sum()))
        write_selection(view.store, name, view.rows, kept, provenance=provenance.to_dict())
        text = f"{int(kept.sum()):,} images are kept as a mask; use it with: --mask {name}"
        return Table(pd.DataFrame()).say([text])

    @question
    def remove_mask(
        self, name: Annotated[str, Option("Name of the mask, such as filters/animal.", ("-",))]
    ) -> Table:
        """Forget a mask; the images that it is about are not touched.

        Parameters
        ----------
        name : str
            Its name; see :meth:`masks`.

        Raises
        ------
        StoreError
            If there is no such mask.
        """
        from bioprobe.store.selections import SPLITS, remove_selection

        if name.startswith(SPLITS):
            msg = f"{name} is a split, no mask; a split of the same name takes its place"
            raise StoreError(msg)
        remove_selection(self._view.store, name)
        return self._tell_removed(f"mask {name}")

    @question
    def index(
        self,
        kind: Annotated[
            str | None,
            Option(
                "flat: exact, no index. hnsw: quickest one by one, larger than the vectors. ivf: "
                "as large. sq8, ivfsq8: a quarter. ivfpq: small. ivfpqfs: smallest, and quick. "
                "ivfrabitq: small. Candidates are compared again by their vectors. [default: "
                "hnsw; with --max-memory or --max-query-ms whichever keeps them]",
                ("--kind",),
                INDEX_KINDS,
            ),
        ] = None,
        *,
        recall: Annotated[
            float,
            Option(
                "Least share of the k nearest images that is found, in (0, 1].",
                when=(_APPROXIMATE,),
            ),
        ] = 0.95,
        max_memory: Annotated[
            int | str | None,
            Option(
                "Most that the index may take in memory and on disk, such as 500MB or 2GiB; the "
                "vectors stay on disk.",
                shell=str,
                metavar="SIZE",
                when=(_APPROXIMATE,),
            ),
        ] = None,
        max_query_ms: Annotated[
            float | None,
            Option(
                "Most milliseconds of a query that is asked alone, as measured on this machine.",
                least=0,
                when=(_APPROXIMATE,),
            ),
        ] = None,
        best: Annotated[
            bool,
            Option(
                "Keep what comes closest where nothing keeps --recall, --max-memory and "
                "--max-query-ms; without, nothing is changed then.",
                when=(WithAny("max_memory", "max_query_ms"),),
            ),
        ] = False,
        k: Annotated[int, Option("Answers the recall is about.", ("-k", "--k"), least=1)] = 10,
        seed: Annotated[
            int, SeedOption("Seed of the held-out images and the training.", when=(_APPROXIMATE,))
        ] = 0,
    ) -> IndexReport:
        """Build the index that search uses, as quick as a recall allows, and measure it.

        Parameters
        ----------
        kind : str, optional
            ``flat``, which is exact and needs none, ``hnsw``, ``ivf``, ``ivfpq``, ``sq8``,
            ``ivfsq8``, ``ivfpqfs`` or ``ivfrabitq``; by default ``hnsw``, and where memory or time
            is limited the first that keeps the limits.
        recall : float
            Least share of the ``k`` nearest images that is found, in (0, 1].
        max_memory : int or str, optional
            Most bytes of the index, or a size such as ``500MB``.
        max_query_ms : float, optional
            Most milliseconds of a query that is asked alone.
        best : bool
            Whether what comes closest is kept where nothing keeps the limits.
        k : int
            Answers that the recall is about, ≥ 1.
        seed : int
            Of the held-out images and the training.

        See Also
        --------
        bioprobe.index.build_index : how it is chosen, and what it raises.
        """
        from bioprobe.index.tuning import build_index

        report = build_index(
            self._view.store, kind, recall=recall, max_memory=max_memory,
            max_query_ms=max_query_ms, best=best, k=k, seed=seed,
        )  # fmt: skip
        said = [Note(f"tried {one}") for one in report.tried]
        if report.tried and report.note is None and report.is_reached:
            said.append(Note("exact search keeps the limits, so that no index is needed"))
        if not report.is_reached:
            missed = ", ".join(report.missed)
            text = (
                f"{missed}: what was measured at last is not what was asked for"
                + (", and is the closest" if best else ", within the error of measuring")
                + "; kept all the same"
            )
            said.append(Note(text, PROBLEM))
        said.append(Note(f"search in {self.folder} now uses it"))
        return report.say(said)

    @question
    def export(
        self,
        target: Annotated[
            str | Path, Option("File or folder to write.", ("-",), shell=Path, writes="any")
        ],
        layout: Layout = None,
        *,
        level: Annotated[Level, _AS_HEAD] = "species",
        taxa: Annotated[Taxa, _AS_HEAD] = None,
        text_type: Annotated[TextTypeName, _AS_HEAD] = "taxon_com",
        templates: Annotated[Templates, _AS_HEAD] = "plain",
    ) -> ExportSummary:
        """Write the vectors for another tool, with all that is known of the images.

        Parameters
        ----------
        target : str or Path
            File, or folder for the layouts that are one.
        layout : str
            ``clip-retrieval``, ``datasets``, ``emb-explorer``, ``hpc-inference`` or ``npy``. As
            ``treeoflife`` the classes that zero-shot would ask for are written instead, as a text
            head.
        level, taxa, text_type, templates : str
            The classes of a text head, and how they are written.

        Raises
        ------
        MisuseError
            If no layout is named.
        SourceError
            If there is no such layout, the target's ending is another's, or a folder is there.
        """
        if layout is None:
            msg = f"say which layout to write: --layout {' | '.join(_LAYOUT_NAMES)}"
            raise MisuseError(msg)
        if layout == TEXT_HEAD:
            return self._export_head(Path(target), level, taxa, text_type, templates)
        from bioprobe.interchange import export_store
        from bioprobe.store.kept import list_kept

        summary = export_store(self._view, Path(target), layout)
        said: list[Note | str] = [
            f"{summary.n_exported:,} vectors of dim {summary.dim} ({layout}) -> {target}"
        ]
        if cards := list_kept(self.folder):
            kinds = " and ".join(card.kind for card in cards)
            text = (
                f"{kinds} that the store keeps are not among them: a layout holds vectors alone; "
                f"take them along by copying the folder {self.folder}"
            )
            said.append(Note(text))
        return summary.say((*self._notes, *said))

    def _export_head(
        self, target: Path, level: str, taxa: str | Path | None, text_type: str, templates: str
    ) -> ExportSummary:
        from bioprobe.interchange import ExportSummary
        from bioprobe.interchange.treeoflife import export_text_head
        from bioprobe.prompts import PromptSet, TextType, read_templates
        from bioprobe.taxonomy import Rank
        from bioprobe.zeroshot.candidates import find_candidates

        named = None if taxa is None else str(taxa)
        classes = find_candidates(self._view.store, named, Rank.parse(level))
        prompts = PromptSet(classes, TextType.parse(text_type), read_templates(templates))
        export_text_head(target, classes, prompts.embed(self._texts.encode_text))
        summary = ExportSummary(target, TEXT_HEAD, len(classes), self._view.manifest.dim)
        return summary.say([f"{len(classes):,} classes -> {target}"])


def find_layout_ending(layout: str) -> str:
    """Return the ending of the file that a layout of vectors is, ``""`` where it is a folder."""
    ending: str = EXPORTERS.load(layout).suffix
    return ending


@question
def import_vectors(
    source: Annotated[
        str | Path,
        Option(
            "File or folder of vectors, or a text head; or an address of Parquet files, such as "
            "hf://datasets/imageomics/TreeOfLife-200M-Embeddings, of which with --within only the "
            "parts that are needed are read.",
            ("-",),
            shell=str,
        ),
    ],
    *,
    model: Annotated[
        str | None,
        Option(
            "Encoder that made them, on your word; not needed where folders are named by models.",
            ("--model", "-m"),
        ),
    ] = None,
    store: StoreFolder,
    within: Annotated[
        str | Sequence[str] | None,
        Option(
            "Taxa to bring, at any rank, of sorted Parquet files: Felidae, 'Panthera leo', "
            "order=Carnivora where a name is at two ranks, genus=Animalia/Morus where it is in two "
            "kingdoms. Give it several times, or with commas between.",
            shell=list[str],
            metavar="TAXON",
        ),
    ] = None,
    layout: Layout = None,
    column: Annotated[str | None, Option("Column of the vectors.")] = None,
    path_column: Annotated[str | None, Option("Column that names the image.")] = None,
    rank_column: RankColumns = None,
    root: Annotated[
        str | Path | None,
        Option("Folder that the names of the images start from.", shell=Path),
    ] = None,
    no_label: NoLabel = None,
    logit_scale: Annotated[
        float | None,
        Option(
            "Factor from similarity to logits; known for BioCLIP, CLIP and models that are on "
            "this machine."
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        Option(
            "How a new store keeps vectors: float32 or float16. [default: float32; of an address "
            "as it has them]"
        ),
    ] = None,
    name: Annotated[
        str | None, Option("Name of a text head in the store; by default the file's.")
    ] = None,
    progress: Progress | None = None,
) -> ImportSummary | HeadSummary:
    """Bring vectors that another tool made into a store, or a text head into one that is there.

    Parameters
    ----------
    source : str or Path
        File or folder of vectors, or a text head; or an address that fsspec knows, of Parquet
        files.
    model : str, optional
        Encoder that made them, on your word. Where folders are named by models, it is one of
        these.
    store : str or Path
        Folder of the store.
    within : str or sequence of str, optional
        Taxa of which rows are brought: names, ``RANK=NAME`` or ``KINGDOM/NAME``. Only row groups
        that hold any are read, and rows that the store has are passed over.
    layout : str, optional
        Layout of the source; recognised by default.
    column, path_column : str, optional
        Columns of the vectors, and of the names of the images.
    rank_column : mapping of str to str, or sequence of str, optional
        Rank to column, or ``rank=column``; an empty column is none.
    root : str or Path, optional
        Folder that the names of the images start from.
    no_label : str or sequence of str, optional
        Labels that are none, such as ``#N/A``: these cells are left empty, whatever their case.
    logit_scale : float, optional
        Factor from similarity to logits.
    dtype : str, optional
        How a new store keeps vectors, ``float32`` or ``float16``.
    name : str, optional
        Name of a text head in the store.
    progress : callable, optional
        Told how far it is.

    Raises
    ------
    MisuseError
        If an option is given that is for the other kind of source, or no encoder is named where
        nothing else does.

    See Also
    --------
    bioprobe.interchange.import_vectors : what it raises besides.
    bioprobe.interchange.import_in_part : the same of an address, or within taxa.
    """
    from bioprobe.interchange import import_in_part, is_read_in_part, recognise_layout

    if within is not None or is_read_in_part(source):
        of_parts = "Parquet files are read in part"
        _refuse({"--layout": layout, "--root": root, "--name": name}, of_parts)
        brought = import_in_part(
            source, Path(store), within=split_given(within), model=model, dtype=dtype,
            logit_scale=logit_scale, column=column, path_column=path_column,
            no_label=split_names(no_label or ()), rank_columns=read_rank_columns(rank_column),
            progress=progress,
        )  # fmt: skip
        return brought.say((*_tell_reading(brought), *tell_import(brought)))
    source = Path(source)
    if model is None:
        msg = f"nothing in {source} says whose vectors these are; name the encoder: --model"
        raise MisuseError(msg)
    chosen = layout or recognise_layout(source)
    for_vectors = {
        "--column": column, "--path-column": path_column, "--root": root,
        "--logit-scale": logit_scale, "--dtype": dtype, "--no-label": no_label,
        "--rank-column": rank_column,
    }  # fmt: skip
    if chosen == TEXT_HEAD:
        _refuse(for_vectors, f"{source} is a text head")
        return _import_head(source, Path(store), model, name)
    _refuse({"--name": name}, f"{source} is no text head")
    from bioprobe.interchange import import_vectors as bring

    summary = bring(
        source, Path(store), model=model, layout=layout, logit_scale=logit_scale, dtype=dtype,
        root=None if root is None else Path(root), column=column, path_column=path_column,
        no_label=split_names(no_label or ()), rank_columns=read_rank_columns(rank_column),
    )  # fmt: skip
    return summary.say(tell_import(summary))


import_vectors.__module__ = "bioprobe"


def _refuse(given: Mapping[str, object], reason: str) -> None:
    for flag, value in given.items():
        if value is not None:
            msg = f"{flag} does not count here, since {reason}; leave it out"
            raise MisuseError(msg)


def _import_head(source: Path, store: Path, model: str, name: str | None) -> HeadSummary:
    from bioprobe.interchange import import_text_head
    from bioprobe.store import EmbeddingStore

    head = import_text_head(source, EmbeddingStore.open(store), model=model, name=name)
    more = ", …" if head.n_left_out > len(head.left_out) else ""
    named = f" ({', '.join(head.left_out)}{more})" if head.left_out else ""
    what = f"image prototypes of {head.n_pictures:,} pictures" if head.n_pictures else "texts"
    said = (
        f"{head.n_imported:,} {what} as the head {head.name}, {head.n_left_out:,} without a "
        f"direction left out{named} -> {store}; ask: bioprobe zeroshot --head {head.name}"
    )
    notes: list[Note | str] = [said]
    if head.is_on_word:
        text = (
            f"these prototypes are of imported vectors, whose weights nobody here saw: that they "
            f"are of {model}, as the store's are, is on your word"
        )
        notes.append(Note(text))
    return head.say(notes)


# Vectors of encoders lie in a cone, but not in one as narrow as this; of a few it says nothing.
_TOO_ALIKE = 0.95
_ENOUGH_PAIRED = 5


def _tell_reading(summary: PartSummary) -> list[Note]:
    """Say what was read of a source, and what that leaves open."""
    read, said = summary.reading, []
    text = (
        f"{summary.model}: read {read.n_read:,} of {read.n_groups:,} row groups in "
        f"{read.n_files:,} files, {_write_bytes(read.n_bytes)} of {_write_bytes(read.all_bytes)}"
    )
    if read.n_known:
        text += f"; {read.n_known:,} rows are in the store already"
    if read.n_retries:
        text += f"; {read.n_retries:,} requests failed and were made again"
    said.append(Note(text))
    if summary.others:
        others = " and ".join(summary.others)
        said.append(Note(f"there are vectors of {others} too: --model, and another --store"))
    if read.n_unknown:
        text = (
            f"the footers of {read.n_unknown:,} row groups do not say which names they hold, so "
            "that the names in all of these were read"
        )
        said.append(Note(text))
    if summary.lacking:
        text = f"not all files have the columns {', '.join(summary.lacking)}: empty where not"
        said.append(Note(text))
    if summary.changed:
        text = (
            f"{len(summary.changed):,} files are others than when rows of them were imported "
            f"before (the first is {summary.changed[0]}): the store has rows of both versions"
        )
        said.append(Note(text, WARNING))
    return said


def _write_bytes(n_bytes: int) -> str:
    """Return a size in the largest unit of which there is one."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:,.3g} {unit}"
    return f"{n_bytes} bytes"


def tell_import(summary: ImportSummary) -> list[Note]:
    """Say what was brought in, and what is not known of it."""
    low, high = summary.norms
    was = "; they were unit"
    if not summary.is_normalised:
        was = f"; they had norms {low:.3g} to {high:.3g}, now 1" if summary.n_imported else ""
    said = [
        Note(
            f"{summary.n_imported:,} vectors of dim {summary.dim} ({summary.layout}{was}), "
            f"{summary.n_unlabelled:,} without a label, {summary.n_failed:,} failed -> "
            f"{summary.store}"
        )
    ]
    if summary.left_out:
        columns = ", ".join(summary.left_out)
        said.append(Note(f"columns that a table of images cannot hold: {columns}"))
    said += tell_emptied(summary.n_emptied, summary.emptied)
    said += tell_placeholders(summary.n_placeholders, summary.placeholders)
    if summary.is_whole_numbers and summary.n_imported:
        text = (
            "all numbers of the vectors are whole, which no encoder's are: they may have been "
            "rounded or cast to integers, or be no vectors but a table of counts"
        )
        said.append(Note(text, WARNING))
    if summary.n_imported >= _ENOUGH_PAIRED and summary.mean_cosine > _TOO_ALIKE:
        text = (
            f"any two of the vectors are nearly the same (mean cosine {summary.mean_cosine:.3f}): "
            "they may be of another layer, not of the image, or lack the mean that was taken off"
        )
        said.append(Note(text, WARNING))
    if summary.logit_scale == 1:
        text = "the logit scale is not known, so probabilities are flat: give --logit-scale"
        said.append(Note(text))
    if summary.n_failed:
        failures = summary.store / "failures.parquet"
        text = f"What failed and why: {failures}, or bioprobe store info"
        said.append(Note(text, PROBLEM))
    return said


def _advise(store: EmbeddingStore) -> list[Note]:
    """Say what a compaction would be good for."""
    from bioprobe.store.compaction import is_scattered, plan_shards
    from bioprobe.store.lease import list_outdated

    manifest = store.manifest
    said, advice = [], "; see: bioprobe store compact"
    if not manifest.is_cleared:
        text = f"a compaction was interrupted, and what was removed is on the disk still{advice}"
        said.append(Note(text, PROBLEM))
    elif outdated := list_outdated(store.folder, manifest):
        text = (
            f"{len(outdated):,} shards of before a compaction are on the disk still, as somebody "
            "read them; they go with the next command that writes or compacts"
        )
        said.append(Note(text, WARNING))
    if manifest.removals:
        text = (
            f"{len(manifest.removed):,} rows were removed, in {len(manifest.removals):,} removals, "
            f"and are in the files still (bioprobe store removed lists them){advice}"
        )
        said.append(Note(text))
    if is_scattered(manifest):
        text = (
            f"{len(manifest.present_shards):,} shards would be {len(plan_shards(manifest)):,}, "
            f"and be read faster{advice}"
        )
        said.append(Note(text))
    return said


def _tell_repair(repair: Repair, store: Path) -> list[Note]:
    said = []
    if repair.n_kept_lost:
        text = (
            f"what was kept beside the vectors of {repair.n_kept_lost:,} images is damaged, and "
            f"lies in {store / 'damaged'} now; run bioprobe embed on the same sources again, with "
            "the --keep that they had"
        )
        said.append(Note(text, PROBLEM))
    if repair.maps:
        text = (
            f"the maps {', '.join(repair.maps)} are damaged, and lie in {store / 'damaged'} now; "
            "make them again: bioprobe map --name NAME"
        )
        said.append(Note(text, PROBLEM))
    if repair.columns:
        text = (
            f"the columns {', '.join(repair.columns)} are damaged, and lie in {store / 'damaged'} "
            "now; compute them again"
        )
        said.append(Note(text, PROBLEM))
    if repair.n_lines_lost:
        text = (
            f"{count(repair.n_lines_lost, 'damaged line')} of what people said taken out; the log "
            f"as it was lies in {store / 'damaged'}: say again what is missing"
        )
        said.append(Note(text, PROBLEM))
    if not repair.shards:
        return said
    text = (
        f"{repair.n_lost:,} images in {len(repair.shards)} damaged shards taken out, which now "
        f"lie in {store / 'damaged'}; run bioprobe embed on the same sources again"
    )
    return [Note(text, PROBLEM), *said]


def _tell_restoration(restored: Restoration, store: Path) -> list[Note]:
    said = []
    if restored.shards:
        text = f"{restored.n_images:,} images in {len(restored.shards)} shards put back"
        if restored.n_replaced:
            text += f"; {restored.n_replaced:,} others were embedded again since, which counts"
        said.append(Note(text))
    if restored.n_kept:
        text = f"what is kept beside the vectors of {restored.n_kept:,} images put back"
        said.append(Note(text))
    if restored.left:
        text = (
            "Error: not all was put back; restore these files from a copy, then run: bioprobe "
            "store verify --restore"
        )
        said.append(Note(text, PROBLEM))
    elif not restored.shards and not restored.n_kept:
        said.append(Note(f"nothing was taken out of {store}"))
    return said


def _describe_maker(options: Mapping[str, Any]) -> str:
    """Say what a search asked that made a mask, and what was enough."""
    if "question" not in options:
        return ""
    from bioprobe.index.enough import describe_enough

    enough = describe_enough(options) or f"the {options['k']} nearest"
    return f"search {options['question']}: {enough}"


def _tell_problems(problems: Sequence[Problem], store: Path) -> str:
    from bioprobe.store.health import find_repairable

    n_unread = sum(not problem.is_damage for problem in problems)
    said = f"Error: {len(problems)} problem(s) in {store}; "
    if not find_repairable(problems):
        return said + "what cannot be read just now is left as it is"
    said += "restore these files from a copy, or run: bioprobe store verify --repair"
    return said + (f" ({n_unread} that cannot be read are left as they are)" if n_unread else "")
