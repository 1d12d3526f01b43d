"""Encoders: which there are, what is known of one, whether it works here, and bringing it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bioprobe.encoders.quantised import INT8, QUANTISED
from bioprobe.errors import BioprobeError, SelectionError
from bioprobe.face.lists import read_rank_columns
from bioprobe.options import (
    Backend,
    Device,
    Option,
    Precision,
    RankColumns,
    With,
    question,
)
from bioprobe.progress import Progress

if TYPE_CHECKING:
    from bioprobe.embedding.quantising import Quantised, Trial
    from bioprobe.encoders.checking import EncoderCheck
    from bioprobe.encoders.downloading import Download, Models, ModelStatus
    from bioprobe.encoders.encoder import Encoder
    from bioprobe.store import EmbeddingStore

# The question ``list`` below takes the name of the type.
_PATHS = list[Path]

__all__ = ["check", "download", "info", "list", "quantise"]

ModelName = Annotated[
    str,
    Option(
        "A short name, hf-hub:org/name[@revision], local-dir:path, arch/pretrained-tag, "
        "arch/checkpoint.pt, "
        "transformers:org/name-or-dir, timm:name or onnx:file.onnx.",
        ("-",),
        metavar="ID",
    ),
]


@question
def list() -> Models:
    """List the models that have a short name, and whether each is on this machine.

    Examples
    --------
    >>> import bioprobe as bp
    >>> "bioclip-2" in set(bp.models.list().to_frame()["name"])
    True
    """
    from bioprobe.encoders.downloading import Models, list_models

    models = Models(tuple(list_models()))
    return models.say(["More of one: bioprobe models info ID"])


@question
def info(model: ModelName) -> ModelStatus:
    """Tell what is known of one model, without loading it.

    Parameters
    ----------
    model : str
        Its name.

    Raises
    ------
    ModelUnavailableError
        If the name has no known form.
    """
    from bioprobe.encoders.downloading import describe_model
    from bioprobe.encoders.taught import read_training_of

    found = describe_model(model)
    training = None if found.folder is None else read_training_of(model)
    return found if training is None else found.say([training.describe()])


@question
def download(
    model: ModelName,
    *,
    to: Annotated[
        str | Path | None,
        Option(
            "Folder to fill, to be copied to a machine without a network.", shell=Path, writes="any"
        ),
    ] = None,
) -> Download:
    """Fetch a model from the hub, into the cache or into a folder.

    Parameters
    ----------
    model : str
        Its name.
    to : str or Path, optional
        Folder to fill.

    Raises
    ------
    ModelUnavailableError
        If the hub cannot be reached, or the model is a folder or file already.
    """
    from bioprobe.encoders.downloading import download_model

    found = download_model(model, to=None if to is None else Path(to))
    return found.say(
        [
            f"{found.size_bytes / 1e6:,.0f} MB of weights lie in {found.folder}",
            f"Use it with --model {found.name}",
        ]
    )


@question
def check(
    model: ModelName,
    *,
    device: Device = "auto",
    precision: Precision = None,
    backend: Backend = "auto",
) -> EncoderCheck:
    """Load a model, and encode a drawn picture and a text with it.

    Parameters
    ----------
    model : str
        Its name.
    device : str
        Where it runs.
    precision : str, optional
        What its weights are cast to; by default what a new store would have, measured here if it
        never was, and kept.
    backend : str
        What runs whole batches; what ``auto`` chooses is measured here if it never was, and kept.

    Raises
    ------
    ModelUnavailableError
        If it is not on this machine and cannot be fetched.
    BioprobeError
        If its vectors are not what it says.
    """
    from bioprobe.encoders.checking import check_model

    return check_model(model, device=device, precision=precision or "auto", backend=backend)


@question
def quantise(
    model: ModelName,
    sources: Annotated[
        str | Path | Sequence[str | Path],
        Option("Pictures of the kind that it is for, as embed takes them.", ("-",), shell=_PATHS),
    ],
    *,
    root: Annotated[
        str | Path | None,
        Option("Folder that the paths of a table or list start from.", shell=Path),
    ] = None,
    level: Annotated[
        str | None,
        Option(
            "Rank, or column of a table, whose labels tell how often zero-shot and a probe are "
            "right, in fp32 and quantised.",
            ("--level", "--rank", "-l"),
        ),
    ] = None,
    folder_rank: Annotated[
        str | None,
        Option(
            "Rank that the names of the pictures' folders are labels of.", when=(With("level"),)
        ),
    ] = None,
    rank_column: Annotated[RankColumns, With("level")] = None,
    precision: Annotated[
        str,
        Option(
            "int8, of the whole image tower, on processors; or fp8, of its MLPs, on NVIDIA's GPUs "
            "of compute capability 8.9 or more, and slowly, as a trial, on processors.",
            choices=QUANTISED,
        ),
    ] = "int8",
    device: Device = "auto",
    calibrate: Annotated[
        int, Option("Most pictures that calibrate.", least=1, when=(With("precision", ("int8",)),))
    ] = 64,
    check: Annotated[
        int, Option("Most pictures that do not calibrate, and are compared.", least=2)
    ] = 256,
    progress: Progress | None = None,
) -> Quantised:
    """Quantise a model to 8 bits, on pictures of yours, and tell what that does to answers.

    It is kept in the cache, as ``MODEL+int8`` or ``MODEL+fp8``, which ``--precision`` names too:
    another encoder, whose vectors go into stores of their own. Nothing is kept where a picture that
    did not calibrate has a cosine under .998 to its vector in fp32.

    Parameters
    ----------
    model : str
        Its name.
    sources : str, Path or sequence of them
        Pictures, as :func:`bioprobe.embed` takes them; taken evenly from all of them.
    root : str or Path, optional
        Folder that the paths of a table or list start from.
    level : str, optional
        Rank or column of the labels, for what it does to accuracy. Zero-shot and the nearest class
        mean are compared on half of the checked pictures, the mean learnt on the other.
    folder_rank : str, optional
        Rank of which the name of a picture's folder is the label.
    rank_column : mapping of str to str, or sequence of str, optional
        Rank to column of a table.
    precision : str
        ``int8``, or ``fp8``, for which nothing calibrates.
    device : str
        Where it runs: of int8 a processor.
    calibrate, check : int
        Most pictures that calibrate, and further ones that are encoded by both.
    progress : callable, optional
        Told a step after each picture that is encoded.

    Raises
    ------
    SelectionError
        If no picture has a label at the level.
    BioprobeError
        If it was quantised to int8 before, cannot be on that device, or comes out too far from
        fp32.
    MissingExtraError
        If ONNX Runtime is not installed.
    """
    import tempfile

    from bioprobe.embedding.quantising import note_answers, quantise_model
    from bioprobe.encoders import load_encoder
    from bioprobe.face.pictures import count_outcomes
    from bioprobe.options import list_given
    from bioprobe.sources.source import SourceOptions, find_images
    from bioprobe.taxonomy import Rank

    options = SourceOptions(
        None if root is None else Path(root),
        rank_columns=read_rank_columns(rank_column),
        folder_rank=None if folder_rank is None else Rank.parse(folder_rank),
    )
    table = find_images([Path(one) for one in list_given(sources)], options)
    if level is not None and not table.has_label(level):
        msg = (
            f"none of the {len(table):,} pictures has a label at {level}; say another --level, or "
            "where its labels are: --folder-rank RANK or --rank-column RANK=COLUMN"
        )
        raise SelectionError(msg)
    if precision == INT8:
        if device not in {"auto", "cpu"}:
            msg = f"int8 runs on processors only, got --device {device}; leave the option out"
            raise BioprobeError(msg)
        device = "cpu"
    encoder = load_encoder(model, device=device, decoding="fast")
    with tempfile.TemporaryDirectory(prefix="bioprobe-") as scratch:
        trial = quantise_model(
            encoder, table, Path(scratch), precision=precision, n_calibrated=calibrate,
            n_checked=check,
            advance=progress and count_outcomes(progress, 2 * min(len(table), check)),
        )  # fmt: skip
        found, said = trial.found, [] if level is None else _tell_answers(trial, level)
    note_answers(found, said)
    return found.say(
        [
            f"{found.judged}: least cosine to fp32 "
            f"{found.least_cosine:.4f}, mean {found.mean_cosine:.4f}; "
            f"{found.same_neighbour_fraction:.1%} keep their nearest neighbour",
            f"{found.gain:.2f} x the speed of torch in {found.beside}; what is fastest otherwise "
            f"says: bioprobe models check {encoder.name}",
            *said,
            f"Embed with it into a store of its own: bioprobe embed … --model {found.model}",
        ]
    )


def _tell_answers(trial: Trial, level: str) -> Sequence[str]:
    """Say what it does to answers, or why that cannot be told: the model is kept already."""
    try:
        return _compare(trial, level)
    except BioprobeError as error:
        return [f"what it does to answers at {level} cannot be told: {error}"]


def _compare(trial: Trial, level: str) -> Sequence[str]:
    """Say how often zero-shot and the nearest class mean are right, by both encoders."""
    from bioprobe.face.opened import TextFinder
    from bioprobe.face.store import Store
    from bioprobe.store.view import View

    def split(store: EmbeddingStore, encoder: Encoder) -> Store:
        opened = Store(View.all(store), texts=TextFinder(store, lambda: encoder))
        opened.split(level, fractions=(0.5, 0.0, 0.5))
        return opened

    exact, rough = map(split, trial.stores, trial.encoders)
    methods = "zeroshot,centroid" if trial.encoders[0].has_text_tower else "centroid"
    exact.evaluate(level, methods=methods)
    found = rough.evaluate(level, methods=methods, beside=exact.folder)
    return [
        f"{one['method']} at {level}, {one['n_images']:,} pictures: right "
        f"{one['other_accuracy']:.3f} in fp32, {one['accuracy']:.3f} in {trial.precision} "
        f"({one['difference']:+.3f}, 95% interval {one['low']:+.3f} to {one['high']:+.3f})"
        for one in found.provenance["options"]["beside"]["gains"]
    ]


def __dir__() -> Sequence[str]:
    return __all__
