"""What the pictures are like, whether those that judge are like those that taught, and what of it.

Everything stands on what was measured when they were embedded (:mod:`bioprobe.images.measures`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.evaluation.result import Evaluation
from bioprobe.intervals import (
    SIGNIFICANCE_LEVEL,
    Interval,
    Resamples,
    adjust_by_holm,
    draw_scores,
    find_interval,
)
from bioprobe.quality.description import Description
from bioprobe.quality.flaws import BLURRED, DARK, FLAWS, ODD_SIZE, RULES, Flaws, find_flaws
from bioprobe.report.brief import join
from bioprobe.report.data import FOLDER, find_place, list_months, take_answers
from bioprobe.report.errors import ShowPicture
from bioprobe.report.plots import plot_distribution
from bioprobe.report.section import Section
from bioprobe.splits import PARTS, Split
from bioprobe.store import EmbeddingStore
from bioprobe.store.measured import find_nearest_similarity
from bioprobe.store.view import View
from bioprobe.types import Doubles, Mask, Names

if TYPE_CHECKING:
    import pandas as pd

NIGHT = "night"
# Pictures of each gallery; places and months of a table; pictures on each side of a comparison.
_N_SHOWN, _N_GROUPS, _FEWEST = 6, 24, 10
# Pictures of which it is asked how like the others they are: it takes all pairs.
_MOST_ASKED = 5_000
_N_MODES = 4
# Shares and measures that parts of a split are compared by.
_SHARES = (NIGHT, BLURRED, DARK, ODD_SIZE)
_MEASURES = {
    "sharpness": "sharpness", "brightness": "brightness", "nearest_similarity": "likeness",
}  # fmt: skip
_QUARTERS = {
    "sharpness": ("Blurred or sharp", "the least sharp quarter"),
    "brightness": ("Dark or light", "the darkest quarter"),
    "nearest_similarity": ("Usual or not", "the quarter least like other pictures"),
    "side_px": ("Small or large", "the smallest quarter"),
}


def describe_looks(
    store: EmbeddingStore,
    found: Description,
    show: ShowPicture,
    *,
    evaluation: Evaluation | None = None,
    split: Split | None = None,
    by: str | None = None,
) -> Section:
    """Return what the pictures of a store are like.

    Parameters
    ----------
    store : EmbeddingStore
    found : Description
        Of its images.
    show : callable
        From a row, a caption and further lines to a picture for the page.
    evaluation : Evaluation, optional
        Whose best method is told by what pictures are like.
    split : Split, optional
        That it was made on.
    by : str, optional
        Column or folder by which pictures are told apart; see
        :func:`bioprobe.report.data.find_place`.
    """
    view, known = View.of(store), bool(found.looks and found.looks.n_measured)
    flaws = find_flaws(view, FLAWS if known else (ODD_SIZE,))
    frame = _tabulate(store, flaws)
    parts = None if split is None else split.parts[store.rows]
    place, values = find_place(store, by)
    months = list_months(store)
    groups = [
        {"by": name, "rows": rows, "n": n}
        for name, (rows, n) in (
            *([(place, _group(frame, values[store.rows]))] if place != FOLDER or by else []),
            ("month", _group(frame, months)),
        )
        if n > 1
    ]
    compared = None if parts is None else _compare_parts(frame, parts)
    content = {
        "shares": [at for at, one in enumerate(_SHARES) if frame[one].any()],
        "has_marks": any(np.nanmin(frame[RULES[flaw].measure]) < value
                         for flaw, value in flaws.thresholds.items()),
        "found": found,
        "known": known,
        "facts": _list_facts(found, frame),
        "modes": list(found.modes.items())[:_N_MODES],
        "has_sizes": bool(np.isfinite(found.sizes_px).all()),
        "plots": _plot_all(frame, parts, flaws),
        "galleries": _choose_galleries(frame, flaws, show),
        "compared": compared,
        "groups": groups,
        "depends": None
        if evaluation is None
        else _compare_accuracy(frame, evaluation, split),
    }  # fmt: skip
    return Section("looks", "What pictures are like", "What the pictures are like",
                   _lead(frame, found, known), content)  # fmt: skip


def _lead(frame: pd.DataFrame, found: Description, known: bool) -> str:
    if not known:
        return (
            "Nobody has measured how sharp and light the pictures are: bioprobe describe --measure "
            "reads them for it."
        )
    n = len(frame)
    flawed = int(frame[[BLURRED, DARK, ODD_SIZE]].any(axis=1).sum())
    night = int(frame[NIGHT].sum())
    parts = [f"{night:,} look as by infrared flash at night"] if night else []
    parts.append(f"{flawed:,} are blurred, dark or of an odd size" if flawed
                 else "none is blurred, dark or of an odd size")  # fmt: skip
    if found.n_copies or found.n_near:
        parts.append(f"{max(found.n_copies, found.n_near or 0):,} are copies of others")
    return f"Of {n:,} pictures {join(parts)}."


def _tabulate(store: EmbeddingStore, flaws: Flaws) -> pd.DataFrame:
    """Return one row a picture: flaws and measures, holes where these are not known."""
    import pandas as pd

    known, values = flaws.measured.known, flaws.measured.values
    sides = store.images.select(["width_px", "height_px"]).to_numpy(dtype=np.float64)[store.rows]
    asked = np.arange(len(store.rows))
    if len(asked) > _MOST_ASKED:
        asked = np.sort(np.random.default_rng(0).choice(asked, _MOST_ASKED, replace=False))
    near = np.full(len(store.rows), np.nan)
    near[asked] = find_nearest_similarity(store, store.rows[asked])
    has = {flaw: flaws.has.get(flaw, np.zeros(len(known), dtype=bool)) for flaw in FLAWS}
    longer = sides.max(axis=1)
    return pd.DataFrame({
        "row": store.rows, NIGHT: known & values[NIGHT], **has,
        **{name: np.where(known, values[name].astype(np.float64), np.nan)
           for name in ("sharpness", "brightness")},
        "nearest_similarity": near, "side_px": np.where(longer > 0, longer, np.nan),
        "known": known, "odd": flaws.sizes,
    })  # fmt: skip


def _list_facts(found: Description, frame: pd.DataFrame) -> list[dict[str, str]]:
    n = len(frame)
    said = {
        NIGHT: "look as by infrared flash: of no colour, lit from the camera",
        BLURRED: "have little fine detail, for their kind",
        DARK: "have no light part, and are not by infrared",
        ODD_SIZE: "are very small or very long",
    }
    named = {NIGHT: "By night", BLURRED: "Blurred", DARK: "Dark", ODD_SIZE: "Of an odd size"}
    facts = [
        {"label": named[one], "large": f"{int(frame[one].sum()):,}",
         "said": f"of {n:,} ({frame[one].mean():.1%}): they {said[one]}"}
        for one in _SHARES if frame[one].any()
    ]  # fmt: skip
    n_copies = max(found.n_copies, found.n_near or 0)
    if not n_copies:
        return facts
    copies = f"{found.n_copies:,} are the same byte by byte"
    if found.n_near is None:
        copies += "; look-alikes were not looked for (bioprobe dedupe)"
    facts.append({"label": "Copies", "large": f"{n_copies:,}",
                  "said": copies})  # fmt: skip
    return facts


def _plot_all(frame: pd.DataFrame, parts: Names | None, flaws: Flaws) -> list[dict[str, str]]:
    """Return one small figure a measure, the pictures that judge beside those that taught."""
    titles = {
        "sharpness": "sharpness: blurred is left", "brightness": "brightness: dark is left",
        "nearest_similarity": "likeness to the nearest others",
        "side_px": "longer side, pixels",
    }  # fmt: skip
    marks = {RULES[flaw].measure: value for flaw, value in flaws.thresholds.items()}
    shown = []
    for name, title in titles.items():
        values = frame[name].to_numpy(dtype=np.float64)
        finite = np.isfinite(values)
        if finite.sum() < 2 or np.ptp(values[finite]) == 0:
            continue
        sides = {"all pictures": values[finite]}
        if parts is not None and (parts == "train").any() and (parts == "test").any():
            sides = {"training": values[finite & (parts == "train")],
                     "test": values[finite & (parts == "test")]}  # fmt: skip
        sides = {side: of for side, of in sides.items() if len(of)}
        plot = plot_distribution(sides, title, marks.get(name))
        shown.append({"plot": plot, "alt": f"How many pictures have which {title.split(':')[0]}"})
    return shown


def _choose_galleries(frame: pd.DataFrame, flaws: Flaws, show: ShowPicture) -> list[dict[str, Any]]:
    """Return the worst pictures of each flaw, and those that are least like the rest."""
    galleries = [
        ("The most blurred", frame[frame[BLURRED]], "sharpness",
         _tell_below(frame, flaws, BLURRED)),
        ("The darkest", frame[frame[DARK]], "brightness", _tell_below(frame, flaws, DARK)),
        ("Of an odd size", frame[frame[ODD_SIZE]], "side_px",
         "Very small, or more than three times as long as wide."),
        ("Least like all others", frame, "nearest_similarity",
         "They may be what nobody looked for, or broken."),
    ]  # fmt: skip
    found = []
    for heading, of, measure, note in galleries:
        worst = of.dropna(subset=[measure]).sort_values(measure, kind="stable").head(_N_SHOWN)
        pictures = [
            show(int(one["row"]), str(one["odd"]) if measure == "side_px" else
                 f"{_MEASURES[measure]} {one[measure]:.2f}", ())
            for one in worst.to_dict("records")
        ]  # fmt: skip
        if pictures:
            found.append({"heading": heading, "note": note, "pictures": pictures})
    return found


def _tell_below(frame: pd.DataFrame, flaws: Flaws, flaw: str) -> str:
    below = flaws.thresholds.get(flaw, np.nan)
    n = int(frame[flaw].sum())
    return f"{n:,} {'has' if n == 1 else 'have'} a {RULES[flaw].measure} below {below:.2f}."


def _summarise(name: str, of: pd.DataFrame) -> dict[str, Any]:
    known = of["known"].any()
    return {
        "name": name,
        "n": len(of),
        "shares": [float(of[one].mean()) if known or one == ODD_SIZE else None for one in _SHARES],
        "medians": [None if of[one].isna().all() else float(of[one].median()) for one in _MEASURES],
    }


def _group(frame: pd.DataFrame, values: Names) -> tuple[list[dict[str, Any]], int]:
    """Return the figures of each place or month, and how many there are; those of most pictures."""
    import pandas as pd

    numbers, names = pd.factorize(values, sort=True)
    counts = np.bincount(numbers, minlength=len(names))
    n_named = int((names != "").sum())
    kept = np.sort(np.argsort(-counts, kind="stable")[:_N_GROUPS])
    rows = [
        _summarise(str(names[place]) or "(not known)", frame[numbers == place])
        for place in kept.tolist()
    ]
    return rows, n_named


def _compare_parts(frame: pd.DataFrame, parts: Names) -> dict[str, Any] | None:
    """Compare the pictures that judge with those that taught, in each share and measure."""
    from scipy.stats import fisher_exact, mannwhitneyu

    sides = {name: frame[parts == name] for name in PARTS}
    if min(len(sides["train"]), len(sides["test"])) < _FEWEST:
        return None
    train, test = sides["train"], sides["test"]
    tried: list[tuple[str, float, str]] = []
    for one in _SHARES if frame["known"].any() else (ODD_SIZE,):
        counts = [[int(of[one].sum()), int((~of[one]).sum())] for of in (train, test)]
        if counts[0][0] + counts[1][0]:
            said = f"{one} ({test[one].mean():.1%} of the test pictures, {train[one].mean():.1%}"
            tried.append((one, float(fisher_exact(counts).pvalue), f"{said} of those that taught)"))
    for one, word in _MEASURES.items():
        first, second = train[one].dropna(), test[one].dropna()
        if len(first) and len(second) and np.ptp(frame[one].dropna()):
            p = float(mannwhitneyu(first, second).pvalue)
            said = f"{word} ({second.median():.2f} in the middle, {first.median():.2f} of those "
            tried.append((one, p, f"{said}that taught)"))
    adjusted = adjust_by_holm([p for _, p, _ in tried])
    unlike = [
        text for (_, _, text), p in zip(tried, adjusted, strict=True) if p < SIGNIFICANCE_LEVEL
    ]
    return {
        "rows": [_summarise(name, of) for name, of in sides.items() if len(of)],
        "unlike": unlike,
        "n_tried": len(tried),
    }


def _compare_accuracy(
    frame: pd.DataFrame, evaluation: Evaluation, split: Split | None
) -> list[dict[str, Any]]:
    """Return accuracy on pictures of a kind and on the others, where there are enough of both."""
    if evaluation.provenance["options"].get("per") == "sequence":
        return []
    answers = take_answers(evaluation, evaluation.best.method).drop_duplicates("row")
    of = frame.set_index("row").reindex(answers["row"].to_numpy())
    right = answers["right"].to_numpy(dtype=bool)
    rows = answers["row"].to_numpy(dtype=np.int64)
    groups = split.groups[rows] if split is not None else np.full(len(rows), "", dtype=object)
    known = of["known"].eq(True).to_numpy(dtype=bool)
    kinds = {"By night or by day": ("by night (infrared)", "by day", NIGHT),
             "Blurred or sharp": ("blurred", "sharp", BLURRED),
             "Dark or light": ("dark", "light", DARK)}  # fmt: skip
    sides: dict[str, tuple[str, Mask, str, Mask]] = {}
    for heading, (first, second, name) in kinds.items():
        has = of[name].eq(True).to_numpy(dtype=bool)
        sides[heading] = first, known & has, second, known & ~has
    for name, (heading, words) in _QUARTERS.items():
        low, rest = _cut_quarter(of[name].to_numpy(dtype=np.float64))
        # A quarter stands in for a flaw that too few have.
        if heading not in sides or min(sides[heading][1].sum(), sides[heading][3].sum()) < _FEWEST:
            sides[heading] = words, low, "the others", rest
    found = []
    for heading, (first, low, second, rest) in sides.items():
        if min(low.sum(), rest.sum()) < _FEWEST:
            continue
        one, other = (_measure(right[mask], groups[mask]) for mask in (low, rest))
        found.append({
            "heading": heading,
            "sides": [{"name": first, "n": int(low.sum()), "accuracy": one},
                      {"name": second, "n": int(rest.sum()), "accuracy": other}],
            "is_apart": one.high < other.low or other.high < one.low,
        })  # fmt: skip
    return found


def _cut_quarter(values: Doubles) -> tuple[Mask, Mask]:
    """Return which are the lowest quarter, and which the others; nothing where all are alike."""
    finite = np.isfinite(values)
    none = np.zeros(len(values), dtype=bool)
    if not finite.any() or np.ptp(values[finite]) == 0:
        return none, none
    edge = np.quantile(values[finite], 0.25)
    low = finite & (values <= edge)
    # Where most have one value, as of pictures of one size, there is no quarter.
    if low.sum() > finite.sum() / 2:
        return none, none
    return low, finite & ~low


def _measure(right: Mask, groups: npt.NDArray[Any]) -> Interval:
    """Return the accuracy on some pictures, its interval by what belongs together."""
    values = right.astype(np.float64)
    drawn = Resamples.of_groups(groups, n_resamples=200)
    scores = draw_scores(
        lambda weights: {"accuracy": weights @ values / np.maximum(weights.sum(axis=1), 1e-9)},
        drawn,
    )
    return find_interval(scores["accuracy"], is_share=True)
