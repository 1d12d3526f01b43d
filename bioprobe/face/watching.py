"""A folder that is watched: what arrives is embedded, labelled, written down and told."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bioprobe.errors import MisuseError, PromptError
from bioprobe.face.store import DEFAULT_STORE, Store
from bioprobe.names import suggest
from bioprobe.options import (
    RANK_NAMES,
    Device,
    Exclude,
    HeadName,
    Include,
    Level,
    ListColumns,
    Model,
    NamedClasses,
    NumberOfAnswers,
    Option,
    OwnColumns,
    SafeCsv,
    StoreFolder,
    Taxa,
    Templates,
    TextTypeName,
    With,
    WithAny,
    Within,
    Without,
    list_given,
    question,
)
from bioprobe.result import PROBLEM, Note, Notes, Record

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.encoders.encoder import Encoder
    from bioprobe.store import EmbeddingStore
    from bioprobe.taxonomy import Taxon
    from bioprobe.types import Rows, Scores

Tell = Callable[[str], None]

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
    safe_csv: Annotated[SafeCsv, With("output")] = False,
    level: Annotated[Level, _ASKED, _NO_PROBE] = "species",
    classes: Annotated[NamedClasses, _ASKED, _NO_PROBE] = None,
    taxa: Annotated[Taxa, _ASKED, _NO_PROBE, Without("classes")] = None,
    rank_column: Annotated[ListColumns, _NO_PROBE] = None,
    text_type: Annotated[TextTypeName, _ASKED, _NO_PROBE, Without("classes")] = "taxon_com",
    templates: Annotated[Templates, _ASKED, _NO_PROBE] = "plain",
    head: Annotated[HeadName, _ASKED, _NO_PROBE, Without("classes")] = None,
    within: Annotated[Within, _ASKED, _NO_PROBE, Without("classes")] = None,
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
    from bioprobe.watching.watch import Pace, Watching

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
    watching = Watching(
        folder=folder,
        place=Path(store),
        asked=_Asker(asked, model, device),
        options=SourceOptions(
            folder, folder_rank=None if folder_rank is None else Rank.parse(folder_rank),
            exclude=tuple(list_given(exclude)), include=tuple(list_given(include)),
        ),
        walking=Rules(tuple(list_given(exclude)), tuple(list_given(include))),
        pace=Pace(settle, 0 if once else patience, rescan, together, wait, settle + patience),
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
        counts, problems = watching.finish(once=once)
        found = Watched(folder, Path(store), **counts)
        return found.say([Note(text, PROBLEM) for text in problems])


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
    names, scores = answers.best_names.tolist(), answers.answer_scores[:, 0].tolist()
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
    """List what a taxon and those above it are called."""
    for one in (taxon.name, *taxon.lineage, *taxon.common_name.replace("|", ";").split(";")):
        yield one.strip().casefold()


class _Asker:
    """Asks rows of a store by the face, as :class:`bioprobe.watching.watch.Question` says."""

    def __init__(self, asked: _Asked, model: str | None, device: str) -> None:
        self._asked, self._model, self._device = asked, model, device
        self.key, self.rules = asked.key, asked.rules
        self._load: Callable[[], Encoder] | None = None

    def bind(self, load: Callable[[], Encoder]) -> None:
        """Take what loads the store's encoder."""
        self._load = load

    def ask(self, store: EmbeddingStore, rows: Rows) -> pd.DataFrame:
        """Return the table of answers to rows."""
        from bioprobe.images.camera import CAMERA_COLUMNS
        from bioprobe.images.image_table import DAMAGE_COLUMNS

        frame = self._asked.ask(self._open_rows(store, rows))
        if self._asked.columns is None:
            # A CSV has no place for what only later pictures say.
            for name in (*CAMERA_COLUMNS[1:], *DAMAGE_COLUMNS):
                if name not in frame:
                    frame[name] = ""
        return frame

    def score(self, store: EmbeddingStore, rows: Rows) -> tuple[Scores, list[tuple[str, float]]]:
        """Return how probable each alert is, and the best answer with its probability."""
        return self._asked.score(self._open_rows(store, rows))

    def check(self, store: EmbeddingStore, *, answers: bool) -> None:
        """Ask once before anything arrives, so that what cannot be asked is said at once."""
        if self._asked.probe is not None:
            self._open_rows(store, store.rows[:1]).probe(self._asked.probe)
        with tempfile.TemporaryDirectory() as scratch:
            tried = store if len(store.rows) else _make_one(store, Path(scratch, "one"))
            if len(store.rows) or self._asked.probe is None:
                opened = self._open_rows(tried, tried.rows[:1], texts_of=store)
                try:
                    if answers:
                        self._asked.ask(opened)
                    if self.rules:
                        self._asked.score(opened)
                except PromptError as error:
                    text = str(error).replace(str(tried.folder), str(store.folder))
                    raise PromptError(text) from error

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
        from bioprobe.face.pictures import load_text_encoder

        assert self._load is not None
        encoder = self._load()
        return load_text_encoder(encoder, self._model or encoder.fingerprint.model, self._device)


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
