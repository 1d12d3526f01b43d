"""What is in a picture, at every rank: how sure each is, and where it stops being sure."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Annotated, Any

from bioprobe.face.asking import Asks
from bioprobe.face.learning import Learns
from bioprobe.options import RANK_NAMES, Option, Taxa, Without, question
from bioprobe.result import Note, Notes, Result

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from bioprobe.task.decisions import Decisions

#: Summed probability from which a rank is sure, where none is given: SpeciesNet's for answers that
#: are rolled up.
SURE = 0.65
# Log-odds below which a picture holds none of what is asked for: one chance in ten.
_SOMETHING_ELSE = -math.log(9)
# Kingdoms of which noise prompts say what else a picture may hold.
_NOISE = {"Animalia": "animal", "Plantae": "plant"}

Sure = Annotated[
    float,
    Option("Summed probability from which an answer at a rank is sure.", least=0, most=1),
]


@dataclasses.dataclass(frozen=True)
class RankAnswers:
    """The best answers at one rank, or of classes that are no taxa.

    Parameters
    ----------
    rank : str
        Or the column.
    names : tuple of str
        The best first.
    scores : tuple of float
        Probability of each.
    is_sure : bool
        Whether the first is sure enough to be answered.
    """

    rank: str
    names: tuple[str, ...]
    scores: tuple[float, ...]
    is_sure: bool

    @property
    def others(self) -> list[tuple[str, float]]:
        """Names and probabilities of those after the best."""
        return list(zip(self.names[1:], self.scores[1:], strict=True))


@dataclasses.dataclass(frozen=True)
class Identification:
    """What is in one picture.

    Parameters
    ----------
    row : int
        Of the store that was asked; of pictures that are held, their number.
    file_name : str
        As answers name it.
    name : str
        The answer, at the deepest rank that is sure; ``""`` where it is not recognised.
    common_name : str
        ``""`` where none is known.
    rank : str
        Of the answer.
    score : float
        Its probability; not a number where it is not recognised.
    ranks : tuple of RankAnswers
        Kingdom first, as far down as was asked.
    why_not : str
        Why it is not recognised, ``""`` where it is.
    """

    row: int
    file_name: str
    name: str
    common_name: str
    rank: str
    score: float
    ranks: tuple[RankAnswers, ...]
    why_not: str = ""

    @property
    def is_recognised(self) -> bool:
        """Whether anything fits."""
        return not self.why_not


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Identified(Result):
    """What is in some pictures.

    Parameters
    ----------
    found : tuple of Identification
        Of each picture, in their order.
    sure : float
        From which probability an answer is sure.
    notes : tuple of Note
        What is to be said of it.
    """

    found: tuple[Identification, ...]
    sure: float
    notes: Notes = ()

    def __len__(self) -> int:
        return len(self.found)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a picture, rank and answer; those that are not recognised have none sure.

        ``file_name``, ``row``, ``rank``, ``answer`` (1 is the best), ``name``, ``score``,
        ``is_sure``, ``why_not``.
        """
        import pandas as pd

        rows = [
            (one.file_name, one.row, at.rank, place, name, score, at.is_sure and place == 1,
             one.why_not)
            for one in self.found
            for at in one.ranks
            for place, (name, score) in enumerate(zip(at.names, at.scores, strict=True), start=1)
        ]  # fmt: skip
        columns = ["file_name", "row", "rank", "answer", "name", "score", "is_sure", "why_not"]
        return pd.DataFrame(rows, columns=columns)


class Identifies(Asks, Learns):
    """What is in each picture, as a person wants to see it."""

    @question
    def identify(
        self,
        level: Annotated[
            str | None,
            Option(
                "Rank down to which, or any column of the image table. [default: the lowest that "
                "labels and added taxa have]",
                ("--level", "--rank", "-l"),
                RANK_NAMES,
            ),
        ] = None,
        *,
        sure: Sure = SURE,
        taxa: Annotated[Taxa, Without("probe")] = None,
        probe: Annotated[
            str | None, Option("Probe of the store that answers, in place of texts.")
        ] = None,
        k: Annotated[int, Option("Answers at each rank.", least=1)] = 3,
    ) -> Identified:
        """Say what is in each picture at every rank, and how far down that is sure.

        Texts answer, or a probe. A picture is not recognised where no answer that says anything is
        sure (that all classes are animals says nothing), where the noise prompts say that it holds
        something else (as :meth:`filter` does, at one chance in ten), or where the probe says that
        it is of no class that it knows.

        Parameters
        ----------
        level : str, optional
            Rank down to which, for texts; by default the lowest that labels and added taxa have. A
            probe has its own.
        sure : float
            Probability from which an answer is sure, in (0, 1].
        taxa : str or Path, optional
            Taxon list, as for :meth:`zeroshot`.
        probe : str, optional
            Name of a probe.
        k : int
            Answers at each rank, ≥ 1.

        Raises
        ------
        PromptError
            If no taxon has a name at the rank.
        NoTextTowerError
            If the encoder reads no text, and no probe is named.

        Examples
        --------
        >>> store.pictures("new.jpg").identify("family").found[0].name  # doctest: +SKIP
        """
        sure = max(sure, 1e-6)
        if probe is not None:
            decided, best, unknown, said = self._ask_kept(probe, sure, k)
        else:
            level = level or ("species" if taxa is not None else self._find_lowest())
            # Of a taxon that has no name so far down nothing would be said at any rank.
            named = level if taxa is not None else self._find_lowest(down_to=level)
            answers: Any = self.zeroshot(named, taxa=taxa, every_rank=True, k=k)
            decisions: Any = self.zeroshot(level, taxa=taxa, abstain=sure)
            decided, best = decisions, _list_best(answers.to_frame())
            unknown, said = self._find_something_else(decided), list(decided.notes)
        frame = decided.to_frame()
        frame = frame[frame["answer"] == 1]
        found = tuple(
            _identify(decided, at, row, best.get(int(row["row"]), {}), unknown.get(at, ""))
            for at, row in enumerate(frame.to_dict("records"))
        )
        return Identified(found, sure).say(said)

    def _find_lowest(self, *, down_to: str = "") -> str:
        """Return the lowest rank at which labels, or with no bound added taxa too, have names."""
        from bioprobe.zeroshot.added_taxa import list_added

        images, ranks = self._view.store.images, list(RANK_NAMES)
        if down_to and down_to not in ranks:
            return down_to
        known = {one.taxon.rank.value for one in list_added(self._view.store)}
        if down_to:
            ranks = ranks[: ranks.index(down_to) + 1]
            known = set()
        lowest = (one for one in reversed(ranks) if one in known or images.has_label(one))
        return next(lowest, down_to or "species")

    def probe_names(self) -> list[str]:
        """Return the names of the probes that the store keeps, which :meth:`probes` opens."""
        from bioprobe.learning.kept import list_probes

        return list_probes(self._view.store)

    def _ask_kept(
        self, name: str, sure: float, k: int
    ) -> tuple[Decisions, _Best, dict[int, str], list[Note]]:
        """Return what a probe says: its decisions, its best classes, and what it does not know."""
        opened = self.probe(name)
        decided: Any = opened.predict(self, abstain=sure)
        knows = opened.calibration is not None
        answers: Any = opened.predict(self, k, unknown=knows)
        best = _list_best(answers.to_frame(), opened.fitted.level)
        unknown: dict[int, str] = {}
        if knows:
            flags = answers.columns["is_unknown"]
            said = f"it is like no class that the probe {name} knows"
            unknown = {at: said for at, flag in enumerate(flags) if flag}
        return decided, best, unknown, list(decided.notes)

    def _find_something_else(self, decided: Decisions) -> dict[int, str]:
        """Return of each picture that holds something else what that is, by its place."""
        from bioprobe.quality.noise import filter_noise, join_noise_prompts, read_noise_prompts

        if decided.classes is not None or not decided.levels:
            return {}
        kingdoms = {taxon.name for taxon in decided.levels[0].taxa}
        if not kingdoms or not kingdoms <= _NOISE.keys():
            return {}
        prompts = join_noise_prompts(read_noise_prompts(_NOISE[one]) for one in sorted(kingdoms))
        judged = filter_noise(self._view, prompts, self._texts.encode_text)
        return {
            at: f"it looks rather like: {reason}"
            for at, (score, reason) in enumerate(zip(judged.scores, judged.reasons, strict=True))
            if score < _SOMETHING_ELSE
        }


# By row and rank the names and scores of the best.
_Best = dict[int, dict[str, tuple[tuple[str, ...], tuple[float, ...]]]]


def _list_best(frame: pd.DataFrame, level: str = "") -> _Best:
    """Return the best answers of each row at each rank, from a table of answers."""
    best: dict[int, dict[str, tuple[list[str], list[float]]]] = {}
    for one in frame[frame["answer"].notna()].to_dict("records"):
        rank = str(one.get("rank") or level)
        name = str(one.get("classification") or one.get(rank) or "")
        names, scores = best.setdefault(int(one["row"]), {}).setdefault(rank, ([], []))
        names.append(name)
        scores.append(float(one["score"]))
    return {
        row: {rank: (tuple(names), tuple(scores)) for rank, (names, scores) in ranks.items()}
        for row, ranks in best.items()
    }


def _identify(
    decided: Decisions,
    at: int,
    said: Mapping[Any, Any],
    best: Mapping[str, tuple[tuple[str, ...], tuple[float, ...]]],
    why_not: str,
) -> Identification:
    depth = int(decided.depths[at])
    ranks: list[RankAnswers] = []
    says_something = False
    for down in range(decided.best.shape[1]):
        place = int(decided.best[at, down])
        if place < 0:
            continue
        if decided.classes is None:
            rank, n_classes = RANK_NAMES[down], len(decided.levels[down].taxa)
            name = decided.levels[down].taxa[place].name
        else:
            rank, n_classes = decided.classes.level, len(decided.classes.names)
            name = decided.classes.names[place]
        is_sure = down <= depth
        says_something |= is_sure and n_classes > 1
        score = float(decided.scores[at, down])
        names, scores = best.get(rank, ((), ()))
        others = [(n, s) for n, s in zip(names, scores, strict=True) if n != name]
        further = others[: max(0, len(names) - 1)]
        ranks.append(
            RankAnswers(
                rank, (name, *(n for n, _ in further)), (score, *(s for _, s in further)), is_sure
            )
        )
    if not why_not and not says_something:
        why_not = f"nothing that tells classes apart reaches {decided.threshold:.0%}"
    row, file_name = int(said["row"]), str(said["file_name"])
    if why_not:
        unsure = tuple(dataclasses.replace(one, is_sure=False) for one in ranks)
        return Identification(row, file_name, "", "", "", math.nan, unsure, why_not)
    last = [one for one in ranks if one.is_sure][-1]
    common = str(said.get("common_name") or "")
    return Identification(
        row, file_name, last.names[0], common, last.rank, last.scores[0], tuple(ranks)
    )
