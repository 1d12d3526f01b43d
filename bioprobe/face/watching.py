"""A folder that is watched: what arrives is embedded, labelled, written down and told."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bioprobe.access import is_absent
from bioprobe.errors import (
    MisuseError,
    PromptError,
    SelectionError,
    SourceError,
    StoreLockedError,
)
from bioprobe.face.store import DEFAULT_STORE, Store
from bioprobe.options import (
    RANK_NAMES,
    Device,
    Exclude,
    Include,
    Level,
    ListColumns,
    Model,
    NamedClasses,
    NumberOfAnswers,
    Option,
    OwnColumns,
    StoreFolder,
    Taxa,
    Templates,
    TextTypeName,
    With,
    WithAny,
    Without,
    list_given,
    question,
)
from bioprobe.result import PROBLEM, Note, Notes, Record

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.embedding import OnDemandEncoder
    from bioprobe.encoders.encoder import Encoder
    from bioprobe.images.times import Times
    from bioprobe.sources.files import SourceOptions
    from bioprobe.sources.listing import Listing
    from bioprobe.store import EmbeddingStore
    from bioprobe.taxonomy import Taxon
    from bioprobe.types import Rows, Scores
    from bioprobe.watching.alerts import Channel
    from bioprobe.watching.arrivals import Look, Ready, Stamp

Tell = Callable[[str], None]

# Pictures of before that are asked at once.
_AT_ONCE = 2048
# Looking takes no more than this share of the time.
_LOOKING_SHARE = 0.2
_LEAST_PAUSE_S = 0.05
# Tries of an alert in a run that ends by itself.
_TRIES_AT_END = 3
# Least probability of an alert.
_OVER = 0.9
# More than all classes that there are.
_ALL = 10**7
_ASKED = WithAny("output", "alert")
_NO_PROBE = Without("probe")


@dataclasses.dataclass(frozen=True, repr=False)
class Watched(Record):
    """What a watch did until it ended.

    Parameters
    ----------
    folder, store : Path
        What was watched, and where the vectors are.
    n_embedded, n_reused, n_moved, n_failed : int
        Pictures that the encoder saw, of which the store had the vector, that were followed to
        another path, and that could not be read.
    n_answered : int
        Pictures whose answers were written.
    n_alerts, n_undelivered : int
        Alerts that were delivered, and that wait for the next run.
    seconds_s : float
    notes : tuple of Note
    """

    folder: Path
    store: Path
    n_embedded: int = 0
    n_reused: int = 0
    n_moved: int = 0
    n_failed: int = 0
    n_answered: int = 0
    n_alerts: int = 0
    n_undelivered: int = 0
    seconds_s: float = 0.0
    notes: Notes = ()


@question
def watch(
    source: Annotated[
        str | Path,
        Option(
            "Folder, with all below it. Or a video whose frames are taken: rtsp://… and its like, "
            "camera:0 of this machine, or a file (by the extra video).",
            ("-",),
            shell=str,
        ),
    ],
    *,
    store: StoreFolder = DEFAULT_STORE,
    model: Model = None,
    device: Device = "auto",
    output: Annotated[
        str | Path | None,
        Option(
            "File that each answer is appended to as it comes: .csv, .jsonl or .ndjson; - writes "
            "JSON Lines to standard output.",
            ("--output", "-o"),
            shell=str,
            writes="file",
        ),
    ] = None,
    safe_csv: Annotated[
        bool,
        Option(
            "Put an apostrophe before texts in a CSV that begin with =, +, - or @, which a "
            "spreadsheet would compute.",
            when=(With("output"),),
        ),
    ] = False,
    level: Annotated[Level, _ASKED, _NO_PROBE] = "species",
    classes: Annotated[NamedClasses, _ASKED, _NO_PROBE] = None,
    taxa: Annotated[Taxa, _ASKED, _NO_PROBE, Without("classes")] = None,
    rank_column: Annotated[ListColumns, _NO_PROBE] = None,
    text_type: Annotated[TextTypeName, _ASKED, _NO_PROBE, Without("classes")] = "taxon_com",
    templates: Annotated[Templates, _ASKED, _NO_PROBE] = "plain",
    head: Annotated[
        str | None,
        Option(
            "Text head to take text embeddings from; see: bioprobe zeroshot.",
            when=(_ASKED, _NO_PROBE, Without("classes")),
        ),
    ] = None,
    within: Annotated[
        Sequence[str] | str | Path | None,
        Option(
            "What may occur: taxa with commas between, or files; see: bioprobe zeroshot.",
            shell=list[str],
            metavar="TAXA|FILE",
            when=(_ASKED, _NO_PROBE, Without("classes")),
        ),
    ] = None,
    probe: Annotated[
        str | None,
        Option("Probe in the store that labels, instead of texts.", metavar="NAME", when=(_ASKED,)),
    ] = None,
    k: Annotated[NumberOfAnswers, With("output"), Without("abstain")] = 1,
    abstain: Annotated[
        float | str | None,
        Option(
            "Answer at the deepest rank whose summed probability reaches this (0 to 1), or not at "
            "all; of a probe also auto, which promises --accuracy.",
            shell=str,
            when=(With("output"), Without("classes")),
        ),
    ] = None,
    accuracy: Annotated[
        float,
        Option(
            "Share of answers that --abstain auto promises to be right, with a chance of 95%.",
            least=0,
            most=1,
            when=(With("probe"), With("abstain", ("auto",))),
        ),
    ] = 0.95,
    unknown: Annotated[
        bool,
        Option(
            "Say of each picture whether it is of no class that the probe knows: of these nobody "
            "is alerted.",
            when=(With("probe"),),
        ),
    ] = False,
    columns: Annotated[OwnColumns, With("output")] = None,
    alert: Annotated[
        Sequence[str] | None,
        Option(
            "Taxon at any rank, or class, that is told of once for each event: a sequence of "
            "pictures of one camera or folder. Repeat for several.",
            shell=list[str],
            metavar="NAME",
        ),
    ] = None,
    over: Annotated[
        Sequence[float] | None,
        Option(
            "Least probability of an alert, summed over all below the taxon; one for all, or one "
            "for each --alert in order. By default 0.9.",
            shell=list[float],
            least=0,
            most=1,
            when=(With("alert"),),
        ),
    ] = None,
    command: Annotated[
        str | None,
        Option(
            'Command that is run for each alert, by no shell, such as "notify.sh {alert} {file}"; '
            "it gets all that is told as JSON on standard input and in BIOPROBE_ALERT_… variables.",
            metavar="LINE",
            when=(With("alert"),),
        ),
    ] = None,
    webhook: Annotated[
        str | None,
        Option(
            "Address that each alert is sent to as JSON, by POST, with an Idempotency-Key.",
            metavar="URL",
            when=(With("alert"),),
        ),
    ] = None,
    gap_seconds: Annotated[
        float,
        Option(
            "Pictures of one camera, else one folder, are one event that were taken no further "
            "apart.",
            least=0,
            when=(With("alert"),),
        ),
    ] = 60.0,
    settle: Annotated[
        float,
        Option("Seconds that size and times of a file stay the same before it is read.", least=0),
    ] = 2.0,
    patience: Annotated[
        float,
        Option(
            "Seconds after its last change that a picture which is not whole is waited for; then "
            "--damaged says what becomes of it.",
            least=0,
        ),
    ] = 60.0,
    rescan: Annotated[
        float,
        Option(
            "Seconds between looks through the whole folder, which find what no event told, as on "
            "a network share.",
            least=0.01,
        ),
    ] = 30.0,
    together: Annotated[int, Option("Pictures that are embedded together at most.", least=1)] = 64,
    wait: Annotated[
        float, Option("Seconds that a whole picture waits for others to go with it.", least=0)
    ] = 1.0,
    damaged: Annotated[
        str,
        Option(
            "Pictures of which something is missing or wrong for good; as for: bioprobe embed.",
            choices=("mark", "keep", "refuse"),
            fixed=True,
        ),
    ] = "mark",
    exclude: Exclude = None,
    include: Include = None,
    folder_rank: Annotated[
        str | None,
        Option("Rank of which the name of an image's folder is the label.", choices=RANK_NAMES),
    ] = None,
    frames_to: Annotated[
        str | Path | None,
        Option(
            "Folder that the frames of a video are written to as pictures, and watched in.",
            shell=Path,
            writes="any",
        ),
    ] = None,
    every: Annotated[
        float,
        Option(
            "Least seconds between two frames that are taken.", least=0, when=(With("frames_to"),)
        ),
    ] = 1.0,
    change: Annotated[
        float,
        Option(
            "Least share of the frame that differs from the last that was taken; 0 takes all.",
            least=0,
            most=1,
            when=(With("frames_to"),),
        ),
    ] = 0.02,
    begins: Annotated[
        str | None,
        Option(
            "When a video file begins, such as 2026-05-01T06:30:00. By default its last frame is "
            "of when it was last written.",
            metavar="TIME",
            when=(With("frames_to"),),
        ),
    ] = None,
    once: Annotated[
        bool, Option("Do what is there, and end; without, watch until it is interrupted.")
    ] = False,
    tell: Tell | None = None,
    emit: Tell | None = None,
    until: Callable[[], bool] | None = None,
) -> Watched:
    """Embed and label what arrives in a folder, as it arrives.

    What is there is done first. A file is read once it is whole; files with the names of what is
    still being written, and hidden ones, are left alone. All that is done survives a kill: the
    next watch goes on without a double or a loss.

    Parameters
    ----------
    source : str or Path
        Folder, or video.
    store : str or Path
        Folder of the store; made where there is none.
    model, device : str, optional
        Encoder, as for :func:`bioprobe.embed`.
    output : str or Path, optional
        ``.csv``, ``.jsonl`` or ``.ndjson`` that answers are appended to, or ``-``.
    safe_csv : bool
        Whether cells of a CSV that a spreadsheet would compute are written so that it does not.
    level, classes, taxa, rank_column, text_type, templates, head, within
        What is asked, as for :meth:`bioprobe.Store.zeroshot`.
    probe : str, optional
        Name of a probe in the store that is asked instead.
    k, abstain, columns
        As for :meth:`bioprobe.Store.zeroshot`; of a probe as for :meth:`bioprobe.Probe.predict`,
        whose ``accuracy`` and ``unknown`` the options of these names are.
    alert : str or sequence of str, optional
        Taxa or classes that are told of.
    over : float or sequence of float, optional
        Least summed probability of each; 0.9 by default.
    command, webhook : str, optional
        Who is told; by default ``tell`` is.
    gap_seconds : float
        Two pictures of one place are one event that were taken no further apart.
    settle, patience, rescan, wait : float
        Seconds: until a file counts as whole, until one that does not decode is given up, between
        looks through the folder, and that a picture waits for others.
    together : int
        Pictures that are embedded together at most.
    damaged, exclude, include, folder_rank
        As for :func:`bioprobe.embed`.
    frames_to : str or Path, optional
        Folder of the frames of a video.
    every, change : float
        Least seconds, and least share of the picture, between two frames that are taken.
    begins : str, optional
        When a video file begins.
    once : bool
        Whether it ends when all that was there is done.
    tell : callable, optional
        Told in a sentence what happens: one a batch.
    emit : callable, optional
        Given the answers as JSON Lines, one or more lines at a time, where ``output`` is ``-``.
    until : callable, optional
        Asked before each look; it ends when this returns true.

    Returns
    -------
    Watched

    Raises
    ------
    SourceError
        If there is no such folder, or it is away in a run that is to end.
    StoreLockedError
        If another process watches into the same store.
    MisuseError
        If options do not go together, or the file of answers is another's.

    Examples
    --------
    >>> bp.watch("inbox/", store="embeddings/live", output="answers.csv",
    ...          alert="Panthera pardus", command="notify.sh {file}")  # doctest: +SKIP
    """
    from bioprobe.sources.files import SourceOptions
    from bioprobe.sources.walking import Rules
    from bioprobe.taxonomy import Rank

    rules = _read_rules(list_given(alert), list_given(over))
    asked = _Asked(
        probe=probe, k=k, abstain=abstain, accuracy=accuracy, unknown=unknown, columns=columns,
        rules=rules,
        texts={
            "level": level, "classes": classes, "taxa": taxa, "rank_column": rank_column,
            "text_type": text_type, "templates": templates, "head": head,
            "within": list_given(within) or None,
        },
    )  # fmt: skip
    tells = tell or (lambda _line: None)
    folder, frames = _open_source(source, frames_to, every, change, begins, tells)
    watching = _Watching(
        folder=folder,
        place=Path(store),
        asked=asked,
        options=SourceOptions(
            folder, folder_rank=None if folder_rank is None else Rank.parse(folder_rank),
            exclude=tuple(list_given(exclude)), include=tuple(list_given(include)),
        ),
        walking=Rules(tuple(list_given(exclude)), tuple(list_given(include))),
        pace=_Pace(settle, 0 if once else patience, rescan, together, wait, settle + patience),
        damaged=damaged,
        gap_s=gap_seconds,
        tell=tells,
    )  # fmt: skip
    with contextlib.ExitStack() as held:
        watching.open(held, model, device, needs_folder=once and frames is None)
        watching.write_to(output, emit, safe_csv=safe_csv)
        watching.tell_to(held, command, webhook, is_quick=once)
        if frames is not None:
            held.callback(frames.stop)
            frames.start()
        ends = until or (lambda: False)
        watching.run(ends, once=once, feeds=frames and (lambda: frames.is_at_end))
        return watching.finish(once=once)


watch.__module__ = "bioprobe"


def _read_rules(names: Sequence[str], given: Sequence[float]) -> dict[str, float]:
    """Return the least probability of each alert."""
    overs = list(given) or [_OVER]
    if len(overs) > 1 and len(overs) != len(names):
        msg = (
            f"--over is one number, or one for each of the {len(names)} --alert in order; got "
            f"{len(overs)}"
        )
        raise MisuseError(msg)
    if len(set(names)) < len(names):
        msg = f"--alert names {next(n for n in names if names.count(n) > 1)!r} twice; name it once"
        raise MisuseError(msg)
    if blank := [name for name in names if not name.strip()]:
        msg = f"--alert is the name of a taxon or class, got {blank[0]!r}"
        raise MisuseError(msg)
    return dict(zip(names, overs * len(names) if len(overs) == 1 else overs, strict=True))


def _open_source(
    source: str | Path,
    frames_to: str | Path | None,
    every: float,
    change: float,
    begins: str | None,
    tell: Tell,
) -> tuple[Path, Any]:
    """Return the folder that is watched, and what fills it with frames, if anything does."""
    from bioprobe.sources.files import absolute
    from bioprobe.watching.frames import FrameOptions, FrameSource, is_video, read_beginning

    named = str(source)
    if not is_video(named) and not Path(named).is_file():
        if frames_to is not None:
            msg = f"--frames-to is for a video, and {named} is a folder; leave it out"
            raise MisuseError(msg)
        return Path(absolute(Path(named))), None
    if frames_to is None:
        msg = f"{named} is a video; say where its frames are written: --frames-to FOLDER"
        raise MisuseError(msg)
    folder = Path(absolute(Path(frames_to)))
    options = FrameOptions(every, change, None if begins is None else read_beginning(begins))
    if begins is not None and is_video(named):
        msg = f"--begins is for a video file, and {named} is live; leave it out"
        raise MisuseError(msg)
    frames = FrameSource(named, folder, options, tell)
    folder.mkdir(parents=True, exist_ok=True)
    return folder, frames


@dataclasses.dataclass(frozen=True)
class _Pace:
    """When what is done; see the options of these names."""

    settle_s: float
    patience_s: float
    rescan_s: float
    together: int
    wait_s: float
    leave_s: float


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What is asked of each picture."""

    probe: str | None
    k: int
    abstain: float | str | None
    accuracy: float
    unknown: bool
    columns: str | Sequence[str] | None
    rules: Mapping[str, float]
    texts: Mapping[str, Any]

    @property
    def key(self) -> str:
        """What tells the answers of one question from those of another."""
        fields = dataclasses.asdict(dataclasses.replace(self, rules={}))
        text = json.dumps(fields, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def ask(self, store: Store) -> pd.DataFrame:
        """Return the table of answers."""
        asked: dict[str, Any] = {"columns": self.columns}
        if self.probe is not None:
            asked |= {"abstain": self.abstain, "unknown": self.unknown, "k": self.k}
            asked |= {"accuracy": self.accuracy} if self.abstain == "auto" else {}
            return store.predict(self.probe, **asked).to_frame()
        if self.abstain is not None:
            asked["abstain"] = _read_share(self.abstain)
        else:
            asked["k"] = self.k
        return store.zeroshot(**self.texts, **asked).to_frame()

    def score(self, store: Store) -> tuple[Scores, list[tuple[str, float]]]:
        """Ask how probable what is alerted of is.

        Returns
        -------
        scores : ndarray of float32, shape (n_images, n_alerts)
            Summed probability of each.
        best : list of (str, float)
            Best answer to each picture, with its probability.
        """
        import numpy as np

        if self.probe is None and self.texts["classes"] is None and self._is_of_taxa(store):
            asked = [self._ask_also(store, name) for name in self.rules]
            columns = [one.also.scores.sum(axis=1) for one in asked]
            return np.stack(columns, axis=1).astype(np.float32), _list_best(asked[0])
        if self.probe is not None:
            answers: Any = store.predict(self.probe, k=_ALL, unknown=self.unknown)
        else:
            answers = store.zeroshot(**self.texts, k=_ALL)
        members = np.stack([_find_members(answers.classes, name) for name in self.rules], axis=1)
        found = answers.to_dense() @ members.astype(np.float32)
        if self.unknown:
            found[answers.columns["is_unknown"]] = 0
        return np.asarray(found, dtype=np.float32), _list_best(answers)

    def _is_of_taxa(self, store: Store) -> bool:
        from bioprobe.images.image_table import read_level

        return read_level(self.texts["level"], store._view.images) in RANK_NAMES

    def _ask_also(self, store: Store, name: str) -> Any:  # noqa: ANN401 - the answers
        try:
            return store.zeroshot(**self.texts, k=1, also=[name])
        except PromptError as error:
            raise PromptError(str(error).replace("--also", "--alert")) from error


def _list_best(answers: Any) -> list[tuple[str, float]]:  # noqa: ANN401
    names, scores = answers.names[:, 0].tolist(), answers.answer_scores[:, 0].tolist()
    return list(zip(names, scores, strict=True))


def _read_share(text: float | str) -> float:
    try:
        return float(text)
    except ValueError as error:
        msg = f"--abstain is a number between 0 and 1, or auto with --probe; got {text!r}"
        raise MisuseError(msg) from error


def _find_members(classes: Any, name: str) -> Any:  # noqa: ANN401 - a mask
    """Tell which classes are a taxon of a name, lie below it, or are called so.

    Raises
    ------
    PromptError
        If none is.
    """
    import numpy as np

    from bioprobe.names import suggest

    wanted = name.strip().casefold()
    named = [
        {one.casefold(), *(part for taxon in taxa for part in _list_names(taxon))}
        for one, taxa in zip(classes.names, _list_taxa(classes), strict=True)
    ]
    members = np.array([wanted in names for names in named], dtype=bool)
    if not members.any():
        known = sorted(set().union(*named) - {""})
        msg = f"no class is or lies below {name!r}, given by --alert{suggest(wanted, known)}"
        raise PromptError(msg)
    return members


def _list_taxa(classes: Any) -> Sequence[Sequence[Taxon]]:  # noqa: ANN401
    if classes.taxa:
        return [(taxon,) for taxon in classes.taxa]
    return classes.meant or [()] * len(classes)


def _list_names(taxon: Taxon) -> Iterator[str]:
    """List what a taxon and those above it are called.

    Yields
    ------
    str
    """
    for one in (taxon.name, *taxon.lineage, *taxon.common_name.replace("|", ";").split(";")):
        yield one.strip().casefold()


class _Stream:
    """Answers to whoever reads them as they come; what a killed watch had not given is given."""

    said = ""
    left_out: Mapping[str, None] = {}

    def __init__(self, ledger: Any, question: str, emit: Tell) -> None:  # noqa: ANN401
        self._ledger, self._question, self._emit = ledger, question, emit
        self.key = f"-{question}"

    def plan(self, frame: pd.DataFrame) -> None:
        """Put answers into the ledger, within a change of it."""
        from bioprobe.watching.answer_file import write_json_lines
        from bioprobe.watching.ledger import Output

        known = self._ledger.read_output(self.key)
        before = known.pending if known else ""
        output = Output(self._question, pending=before + write_json_lines(frame))
        self._ledger.write_output(self.key, output)

    def finish(self) -> None:
        """Give what is to be given."""
        from bioprobe.watching.ledger import Output

        known = self._ledger.read_output(self.key)
        if known is not None and known.pending:
            self._emit(known.pending)
            self._ledger.write_output(self.key, Output(self._question))


class _Watching:
    """One watch: what it holds open, and what it has done."""

    def __init__(
        self,
        *,
        folder: Path,
        place: Path,
        asked: _Asked,
        options: SourceOptions,
        walking: Any,  # noqa: ANN401 - Rules
        pace: _Pace,
        damaged: str,
        gap_s: float,
        tell: Tell,
    ) -> None:
        self._folder, self._place, self._asked = folder, place, asked
        self._options, self._walking, self._pace = options, walking, pace
        self._damaged, self._gap_s, self._tell = damaged, gap_s, tell
        self._begun_s = time.monotonic()
        self._counts = dict.fromkeys(
            ("n_embedded", "n_reused", "n_moved", "n_failed", "n_answered"), 0
        )
        self._file: Any = None
        self._channels: dict[str, Channel] = {}
        self._was_there: bool | None = None
        self._opened: EmbeddingStore | None = None
        self._said: set[str] = set()
        self._tables: dict[str, tuple[Stamp, float]] = {}
        self._named: list[Path] = []

    def open(
        self, held: contextlib.ExitStack, model: str | None, device: str, *, needs_folder: bool
    ) -> None:
        """Open the store, the ledger and the waker, and hold the right to watch into the store."""
        from bioprobe.embedding import load_encoder_for, open_on_demand
        from bioprobe.store import EmbeddingStore
        from bioprobe.store.writing import locking
        from bioprobe.watching.arrivals import Arrivals
        from bioprobe.watching.ledger import LOCK_NAME, Ledger
        from bioprobe.watching.waking import Waker

        self._model, self._device = model, device
        is_there = self._folder.is_dir()
        if needs_folder and not is_there:
            msg = f"no folder at {self._folder}; mount the share, or name another"
            raise SourceError(msg)
        if not is_there and not self._is_known():
            msg = (
                f"no folder at {self._folder}, and none was watched there before; make it, mount "
                "the share first, or name another"
            )
            raise SourceError(msg)
        self._is_new, had_folder = not EmbeddingStore.exists(self._place), self._place.exists()
        held.callback(self._discard, keeps_folder=had_folder)
        watching = f"watching a folder into {self._place}"
        lock = locking(self._place / LOCK_NAME, 0.0, watching, "choose another --store")
        if not self._is_new:
            # Before a model is loaded.
            held.enter_context(lock)
        load = functools.partial(load_encoder_for, self._place, model=model, device=device)
        opened, self._encoder = open_on_demand(self._place, load, model=model)
        if self._is_new:
            held.enter_context(lock)
        self._ledger = Ledger(opened.folder)
        held.callback(self._ledger.close)
        self._ledger.add_folder(str(self._folder))
        self._seen = self._ledger.read_seen()
        self._arrivals = Arrivals(self._seen, self._pace.settle_s, self._pace.patience_s)
        self._waker = Waker(self._folder, self._tell)
        held.callback(self._waker.close)

    def _discard(self, *, keeps_folder: bool) -> None:
        """Leave no store behind that is new, and that nothing came into: it binds to a model."""
        from bioprobe.store import EmbeddingStore
        from bioprobe.watching.ledger import LEDGER_NAME, LOCK_NAME

        if not self._is_new or not EmbeddingStore.exists(self._place):
            return
        store = self._open_store()
        if len(store) or len(store.read_failures()):
            return
        for name in (LEDGER_NAME, LOCK_NAME):
            (self._place / name).unlink(missing_ok=True)
        if not keeps_folder:
            shutil.rmtree(self._place / "text", ignore_errors=True)
        store.discard(keeps_folder=keeps_folder)

    def _is_known(self) -> bool:
        from bioprobe.watching.ledger import LEDGER_NAME, Ledger

        if not (self._place / LEDGER_NAME).is_file():
            return False
        ledger = Ledger(self._place)
        try:
            return ledger.knows_folder(str(self._folder))
        finally:
            ledger.close()

    def write_to(self, output: str | Path | None, emit: Tell | None, *, safe_csv: bool) -> None:
        """Open the file of answers, and write what a killed watch has not."""
        from bioprobe.sources.files import absolute
        from bioprobe.watching.answer_file import AnswerFile

        if output is None:
            return
        if str(output) == "-":
            if emit is None:
                msg = "output='-' gives answers to emit; name a callable that takes them"
                raise MisuseError(msg)
            self._file = _Stream(self._ledger, self._asked.key, emit)
        else:
            path = Path(absolute(Path(output)))
            self._file = AnswerFile(path, self._ledger, self._asked.key, safe_csv=safe_csv)
        if self._file.said:
            self._tell(self._file.said)
        self._file.finish()

    def tell_to(
        self,
        held: contextlib.ExitStack,
        command: str | None,
        webhook: str | None,
        *,
        is_quick: bool,
    ) -> None:
        """Open who is told of alerts, and begin to tell what is due from before."""
        from bioprobe.watching.alerts import Command, Delivery, Said, Webhook

        if command is not None:
            self._channels["command"] = Command(command, self._place / "watching")
        if webhook is not None:
            self._channels["webhook"] = Webhook(webhook)
        if self._asked.rules and not self._channels:
            self._channels["said"] = Said(self._tell)
        self._delivery = Delivery(self._ledger, self._channels, self._tell)
        if not is_quick and self._channels:
            held.callback(self._delivery.stop)
            self._delivery.start()

    def run(
        self, ends: Callable[[], bool], *, once: bool, feeds: Callable[[], bool] | None
    ) -> None:
        """Look, take what is whole, and wait, until it ends.

        Parameters
        ----------
        ends : callable
            Whether it is to end.
        once : bool
            Whether it ends when what was there at first is done.
        feeds : callable, optional
            Whether a video is at its end.
        """
        if self._is_asking:
            self._check_question()
            self._catch_up()
        first: set[str] | None = None
        first_s = 0.0
        looks_s = collections.deque[float](maxlen=3)
        self._tell(f"watching {self._folder} -> {self._place}")
        while not ends():
            is_fed = feeds is None or feeds()
            began_s = time.monotonic()
            look = self._look()
            # What one look took may be what the machine did beside it.
            looks_s.append(time.monotonic() - began_s)
            while (batch := self._choose(once=once)) and self._take(batch, look):
                pass
            if once and is_fed:
                if first is None:
                    first, first_s = set(look.files), time.monotonic()
                n_waiting = self._arrivals.count_waiting(first)
                if n_waiting and time.monotonic() - first_s > self._pace.leave_s:
                    self._tell(f"{n_waiting:,} files are still being written, and were left")
                if not n_waiting or time.monotonic() - first_s > self._pace.leave_s:
                    return
            self._pause(min(looks_s), once=once, is_fed=is_fed)

    @property
    def _is_asking(self) -> bool:
        return self._file is not None or bool(self._asked.rules)

    def _look(self) -> Look:
        """Look through the folder, and take in what is there."""
        from bioprobe.watching.arrivals import look_into

        look = look_into(self._folder, self._walking)
        if look.is_there != self._was_there:
            if not look.is_there:
                self._tell(
                    f"{self._folder} is away; it is waited for, and nothing is marked as gone"
                )
            elif self._was_there is False:
                self._tell(f"{self._folder} is back")
            self._was_there = look.is_there
        if look.is_there:
            for error in look.errors:
                self._tell_once(f"{error.filename} cannot be listed: {error.strerror}")
            if look.left_out:
                self._tell_once(f"left out below {self._folder}: {look.left_out}")
            self._arrivals.see(look.files, time.time())
            self._see_tables(look)
        return look

    def _see_tables(self, look: Look) -> None:
        """Let pictures be listed anew where a table beside them is new, or says something else."""
        from bioprobe.watching.arrivals import digest_path

        now_s = time.time()
        for path, stamp in look.tables.items():
            known = self._tables.get(path)
            if known is None or known[0] != stamp:
                self._tables[path] = known = (stamp, min(now_s, stamp.newest_s))
            key = digest_path(path)
            if now_s - known[1] < self._pace.settle_s or self._seen.get(key) == stamp.content:
                continue
            beside = f"{Path(path).parent}{os.sep}"
            self._arrivals.repeat(
                [file for file in look.files if file.startswith(beside)], look.files, now_s
            )
            self._seen[key] = stamp.content
            with self._ledger.change():
                self._ledger.add_seen({key: stamp.content})
        self._named = [Path(path) for path in look.tables]

    def _tell_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._tell(text)

    def _choose(self, *, once: bool) -> list[Ready]:
        """Return the files that go together now, none where more are waited for."""
        ready = self._arrivals.list_ready()
        is_due = self._arrivals.find_longest(time.time()) >= self._pace.wait_s
        if once or is_due or len(ready) >= self._pace.together:
            return ready[: self._pace.together]
        return []

    def _pause(self, looking_s: float, *, once: bool, is_fed: bool) -> None:
        """Wait until something may have changed or become whole."""
        due_s = self._arrivals.find_next(time.time())
        longest_s = self._pace.rescan_s
        if due_s is not None:
            longest_s = min(longest_s, due_s + (0 if once else self._pace.wait_s))
        if not is_fed:
            longest_s = min(longest_s, 0.2)
        least_s = max(_LEAST_PAUSE_S, looking_s * (1 - _LOOKING_SHARE) / _LOOKING_SHARE)
        begun_s = time.monotonic()
        self._waker.wait(max(least_s, longest_s))
        # Of a large folder that changes all the time.
        left_s = least_s - (time.monotonic() - begun_s)
        if left_s > 0:
            time.sleep(left_s)

    def _take(self, batch: Sequence[Ready], look: Look) -> bool:
        """Embed files, and answer and tell of what came of it.

        Returns
        -------
        bool
            Whether none changed meanwhile: where one has, the folder is to be looked at anew.
        """
        began_s = time.monotonic()
        before, wanted = dict(self._counts), len(batch)
        # One that was moved away meanwhile is found where it is by now.
        batch = [one for one in batch if not is_absent(one.path)]
        if not batch:
            return False
        n_moved = self._follow(batch, look)
        failed = self._embed(batch)
        store = self._open_store()
        rows = self._find_rows(store, [one.path for one in batch if one.path not in failed])
        done = [one for one in batch if one.path not in failed and self._is_as_it_was(one)]
        n_alerts = self._answer(store, rows, done)
        for one in batch:
            if one.path in failed:
                self._arrivals.fail(one)
            elif one not in done:
                self._arrivals.wait_again(one, time.time())
        self._counts["n_moved"] += n_moved
        new = {name: self._counts[name] - before[name] for name in before}
        n_known = len(batch) - len(failed) - new["n_embedded"] - new["n_reused"]
        parts = [f"{new['n_embedded']:,} embedded"]
        parts += [f"{new['n_reused']:,} reused"] if new["n_reused"] else []
        parts += [f"{n_moved:,} moved"] if n_moved else []
        parts += [f"{n_known - n_moved:,} already there"] if n_known > n_moved else []
        n_waiting = sum(1 for one in batch if one.path in failed and not one.is_last)
        parts += [f"{new['n_failed']:,} failed"] if new["n_failed"] else []
        parts += [f"{n_waiting:,} not whole yet"] if n_waiting else []
        line = f"{', '.join(parts)} in {time.monotonic() - began_s:.1f} s"
        if self._file is not None:
            line += f"; {new['n_answered']:,} answered"
        if self._asked.rules:
            line += f"; {n_alerts:,} alerts"
        self._tell(line)
        self._advise(store)
        return len(done) + len(failed) == wanted

    def _is_as_it_was(self, one: Ready) -> bool:
        from bioprobe.watching.arrivals import Stamp

        try:
            return Stamp.of(one.path).content == one.stamp.content
        except OSError:
            # It was whole when it was read, and is followed if it comes up elsewhere.
            return True

    def _advise(self, store: EmbeddingStore) -> None:
        from bioprobe.store.compaction import is_scattered

        if is_scattered(store.manifest):
            self._tell_once(
                f"{self._place} has many small shards by now, and is read faster after: bioprobe "
                "store compact; this watch goes on meanwhile"
            )

    def _open_store(self) -> EmbeddingStore:
        """Open the store as it is now; unchanged, its table is not read again."""
        from bioprobe.store import EmbeddingStore

        opened = EmbeddingStore.open(self._place, after=self._opened)
        if self._opened is None or self._opened.manifest != opened.manifest:
            self._opened = opened
        return self._opened

    def _list(self, paths: Sequence[str]) -> Listing:
        """List files as embed would list the folder."""
        from bioprobe.sources.files import list_files
        from bioprobe.sources.listing import Listing

        files = [Path(one) for one in paths]
        listing = Listing.merge([list_files(files, self._folder, self._options)])
        if self._named:
            listing = self._list_by_tables(listing)
        for note in listing.notes:
            if note.kind == PROBLEM:
                self._tell_once(str(note))
        return listing

    def _list_by_tables(self, listing: Listing) -> Listing:
        """Return files as the whole folder lists them, with what tables in it say of them."""
        import numpy as np

        from bioprobe.sources.listing import join
        from bioprobe.sources.source import find_images

        options = dataclasses.replace(self._options, root=None)
        try:
            whole = find_images([self._folder], options)
        except SourceError as error:
            self._tell_once(f"{error}; the pictures are taken without it until it changes")
            return listing
        wanted = set(map(join, listing.frame["root"], listing.frame["path"]))
        names = map(join, whole.frame["root"], whole.frame["path"])
        chosen = np.array([name in wanted for name in names], dtype=bool)
        # What was not asked for now is neither read nor struck from the failures.
        return dataclasses.replace(
            whole, frame=whole.frame[chosen].reset_index(drop=True), unread=(), listed_by={},
            sources=frozenset(),
        )  # fmt: skip

    def _embed(self, batch: Sequence[Ready]) -> set[str]:
        """Embed files; return which could not be read."""
        failed: set[str] = set()
        for is_last in (False, True):
            paths = [one.path for one in batch if one.is_last is is_last]
            if paths:
                # What is not whole may be a file that is still being written.
                failed |= self._embed_as(paths, self._damaged if is_last else "refuse")
        self._counts["n_failed"] += sum(one.is_last for one in batch if one.path in failed)
        return failed

    def _embed_as(self, paths: Sequence[str], damaged: str) -> set[str]:
        from bioprobe.embedding import OnDemandEncoder, embed_images
        from bioprobe.images.location import write_name

        listing = self._list(paths)

        def embed() -> Any:  # noqa: ANN401 - its summary
            store = self._open_store()
            encoder: OnDemandEncoder = OnDemandEncoder(store, self._encoder.get)
            return embed_images(listing, encoder, store, damaged=damaged, reads_camera=True)

        summary = self._when_free(embed)
        self._counts["n_embedded"] += summary.n_embedded
        self._counts["n_reused"] += summary.n_reused
        reasons = dict(summary.reasons)
        return {one for one in paths if write_name(one) in reasons}

    def _when_free(self, write: Callable[[], Any]) -> Any:  # noqa: ANN401 - what that returns
        """Write to the store, once no other process does."""
        while True:
            try:
                return write()
            except StoreLockedError:
                self._tell_once(f"another process is writing to {self._place}; it is waited for")
                time.sleep(0.2)

    def _find_rows(self, store: EmbeddingStore, paths: Iterable[str]) -> Rows:
        """Return the current rows of files."""
        from bioprobe.images.location import write_name

        return store.find_rows([write_name(one) for one in paths])

    def _follow(self, batch: Sequence[Ready], look: Look) -> int:
        """Give rows whose file has moved its new path; return how many files that are."""
        from bioprobe.embedding.embedder import Presence, look_for
        from bioprobe.watching.moves import find_moves, move_rows

        def is_gone(file: Path, root: Path) -> bool:
            return look_for(file, root=root, listed=self._folder) is Presence.GONE

        store = self._open_store()
        paths = [one.path for one in batch]
        moves = find_moves(store, paths, look.files, self._folder, is_gone)
        if not moves:
            return 0
        for one in moves:
            for region in one.regions:
                # First, as what is answered under the old path is not to be under the new one.
                self._ledger.follow(
                    (one.before, one.sha256, region), (one.after, one.sha256, region)
                )

        def write() -> None:
            current = self._open_store()
            with current.lock():
                move_rows(current, moves)

        self._when_free(write)
        return len(moves)

    def _catch_up(self) -> None:
        """Answer and tell of what the store has of the folder already, as after a kill."""
        import numpy as np

        from bioprobe.images.location import write_name
        from bioprobe.sources.listing import join

        store = self._open_store()
        frame = store.images.frame.iloc[store.rows]
        below = write_name(f"{self._folder}/")
        names = map(join, frame["root"].tolist(), frame["path"].tolist())
        rows = store.rows[np.array([name.startswith(below) for name in names], dtype=bool)]
        n_before = self._counts["n_answered"]
        for start in range(0, len(rows), _AT_ONCE):
            self._answer(store, rows[start : start + _AT_ONCE], ())
        n_answered = self._counts["n_answered"] - n_before
        if n_answered:
            self._tell(f"{n_answered:,} pictures of before answered")

    def _open_rows(
        self, store: EmbeddingStore, rows: Rows, *, texts_of: EmbeddingStore | None = None
    ) -> Store:
        """Open some rows of a store, to ask them."""
        import pandas as pd

        from bioprobe.store import TextCache
        from bioprobe.store.failures import Failure
        from bioprobe.store.view import View

        none = pd.DataFrame([], columns=list(Failure._fields), dtype=object)
        texts = functools.cache(lambda: TextCache(texts_of or store, self._load_for_text))
        return Store(
            View(store, rows, unread=none), model=self._model, device=self._device, texts=texts
        )

    def _load_for_text(self) -> Encoder:
        """Return the encoder in the precision in which every store has its texts."""
        from bioprobe.encoders import load_encoder

        encoder = self._encoder.get()
        if encoder.fingerprint.precision == "fp32":
            return encoder
        return load_encoder(self._model or encoder.fingerprint.model, device=self._device)

    def _check_question(self) -> None:
        """Ask once before anything arrives, so that what cannot be asked is said at once."""
        store = self._open_store()
        if self._asked.probe is not None:
            self._open_rows(store, store.rows[:1]).probe(self._asked.probe)
        with tempfile.TemporaryDirectory() as scratch:
            tried = store if len(store.rows) else _make_one(store, Path(scratch, "one"))
            if len(store.rows) or self._asked.probe is None:
                opened = self._open_rows(tried, tried.rows[:1], texts_of=store)
                if self._file is not None:
                    self._asked.ask(opened)
                if self._asked.rules:
                    self._asked.score(opened)

    def _answer(self, store: EmbeddingStore, rows: Rows, done: Sequence[Ready]) -> int:
        """Write the answers to rows, and find who is to be told; return of how many alerts.

        One change of the ledger says all of it, before anything is written or told.
        """
        import numpy as np

        from bioprobe.watching.arrivals import digest_path

        pictures = _list_pictures(store, rows)
        answers = None
        if self._file is not None:
            key = self._file.key
            fresh = np.array([not self._ledger.is_answered(key, one) for one in pictures], bool)
            if fresh.any():
                answers = self._ask(store, rows[fresh])
                answered = [one for one, is_new in zip(pictures, fresh, strict=True) if is_new]
        sightings = self._find_sightings(store, rows, pictures) if self._asked.rules else []
        n_alerts, now_s = 0, time.time()
        with self._ledger.change():
            self._ledger.add_seen({digest_path(one.path): one.stamp.content for one in done})
            if answers is not None:
                self._ledger.add_answered(self._file.key, answered)
                self._file.plan(answers)
                self._counts["n_answered"] += len(answered)
            for one in sightings:
                n_alerts += self._ledger.sight(one, self._channels, self._gap_s, now_s)
            if self._asked.rules:
                self._ledger.add_judged(one[1:] for one in pictures)
        for ready in done:
            self._arrivals.finish(ready)
        if self._file is not None:
            self._file.finish()
            if self._file.left_out:
                names = ", ".join(self._file.left_out)
                self._tell_once(
                    f"{self._file.path} was begun without the columns {names}, which are left out"
                )
        self._delivery.wake()
        return n_alerts

    def _ask(self, store: EmbeddingStore, rows: Rows) -> pd.DataFrame:
        """Return the table of answers, with when each picture was taken."""
        from bioprobe.images.camera import CAPTURED_AT

        frame = self._asked.ask(self._open_rows(store, rows))
        if CAPTURED_AT not in frame:
            known = store.images.frame
            times = known.get(CAPTURED_AT)
            frame[CAPTURED_AT] = "" if times is None else times.iloc[frame["row"]].to_numpy()
            frame[CAPTURED_AT] = frame[CAPTURED_AT].fillna("")
        return frame

    def _find_sightings(
        self, store: EmbeddingStore, rows: Rows, pictures: Sequence[tuple[str, str, str]]
    ) -> list[Any]:
        """Return what was seen where and when, with what is told of it, in the order of time."""
        import numpy as np

        from bioprobe.images.camera import CAPTURED_AT
        from bioprobe.images.location import read_name
        from bioprobe.images.sequences import find_places
        from bioprobe.watching.ledger import Sighting

        firsts = {one[1:]: at for at, one in reversed(list(enumerate(pictures)))}
        new = [at for one, at in firsts.items() if not self._ledger.is_judged(one)]
        if not new:
            return []
        chosen = rows[np.array(sorted(new), dtype=np.int64)]
        opened = self._open_rows(store, chosen)
        scores, best = self._asked.score(opened)
        places, _ = find_places(store.images, chosen)
        times = _find_times(store, chosen)
        named = _list_pictures(store, chosen)
        said = store.images.frame
        taken = said[CAPTURED_AT].iloc[chosen].fillna("") if CAPTURED_AT in said else None
        sightings = []
        for at, (file, _, region) in enumerate(named):
            told = {
                "file": read_name(file), "region": region,
                "place": str(places[at]) or self._folder.name,
                "time": "" if taken is None else str(taken.iloc[at]),
                "answer": best[at][0], "answer_score": round(best[at][1], 6),
                "store": str(self._place.absolute()),
            }  # fmt: skip
            payloads = {
                name: {"alert": name, "over": over, "score": round(float(score), 6), **told}
                for (name, over), score in zip(self._asked.rules.items(), scores[at], strict=True)
                if score >= over
            }
            sightings.append(Sighting(str(places[at]), times[at], payloads))
        return sorted(sightings, key=lambda one: one.time_s)

    def finish(self, *, once: bool) -> Watched:
        """Deliver what is due where nothing else does, and return what was done."""
        if once:
            for n_tries in range(_TRIES_AT_END):
                if not self._delivery.deliver_due():
                    break
                if n_tries + 1 < _TRIES_AT_END:
                    time.sleep(2.0**n_tries)
        n_waiting = self._ledger.count_waiting(self._channels)
        counts: dict[str, Any] = dict(self._counts)
        found = Watched(
            self._folder, self._place, n_alerts=self._delivery.n_done, n_undelivered=n_waiting,
            seconds_s=time.monotonic() - self._begun_s, **counts,
        )  # fmt: skip
        said = []
        if found.n_failed:
            failures = self._place / "failures.parquet"
            said.append(f"What failed and why: {failures}, or bioprobe store info")
        if n_waiting:
            said.append(f"{n_waiting:,} alerts were not delivered; the next watch tries them again")
        return found.say([Note(text, PROBLEM) for text in said])


def _make_one(store: EmbeddingStore, folder: Path) -> EmbeddingStore:
    """Make a store of one picture by the encoder of another, to try a question with."""
    import numpy as np
    import pandas as pd

    from bioprobe.images import ImageTable

    about = store.manifest
    made = type(store).create(
        folder, about.encoder, dim=about.dim, logit_scale=about.logit_scale,
        has_text_tower=about.has_text_tower,
    )  # fmt: skip
    frame = ImageTable.build(pd.DataFrame({"root": [""], "path": ["one"]})).frame
    return made.append(frame, np.ones((1, about.dim)))


def _list_pictures(store: EmbeddingStore, rows: Rows) -> list[tuple[str, str, str]]:
    """Return path, SHA-256 and region of each row."""
    from bioprobe.images.regions import REGION
    from bioprobe.sources.listing import join

    frame = store.images.frame.iloc[rows]
    columns = (frame[name].tolist() for name in ("root", "path", "sha256", REGION))
    return [
        (join(root, path), str(sha256), str(region))
        for root, path, sha256, region in zip(*columns, strict=True)
    ]


def _find_times(store: EmbeddingStore, rows: Rows) -> list[float]:
    """Return when pictures were taken, in seconds: by the camera, else when they were written."""
    import numpy as np

    from bioprobe.images.camera import CAPTURED_AT
    from bioprobe.images.location import read_name
    from bioprobe.images.times import read_times

    frame = store.images.frame
    known: Times = np.full(len(rows), np.datetime64("NaT", "ns"))
    if CAPTURED_AT in frame:
        values = frame[CAPTURED_AT].iloc[rows].fillna("").astype(str).to_numpy(dtype=object)
        # Of times that a table wrote, days and months may not be told apart.
        with contextlib.suppress(SelectionError):
            known, _ = read_times(values)
    times = []
    for (file, _, _), time_ in zip(_list_pictures(store, rows), known, strict=True):
        if np.isnat(time_):
            try:
                written_s = Path(read_name(file)).stat().st_mtime
            except OSError:
                written_s = time.time()
            # A camera's clock knows no zone, and counts as UTC.
            times.append(written_s - time.timezone)
        else:
            times.append(float(time_.astype("datetime64[ns]").astype(np.int64)) / 1e9)
    return times
