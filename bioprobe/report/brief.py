"""What a report says first, in plain words: for whoever never heard of a probe."""

from __future__ import annotations

from bioprobe.evaluation.result import Evaluation
from bioprobe.quality.description import ClassCounts
from bioprobe.report.advice import find_usable
from bioprobe.report.naming import Naming
from bioprobe.result import count
from bioprobe.store import EmbeddingStore

_N_CLASSES, _N_FAILINGS = 3, 3


def describe_pictures(store: EmbeddingStore, counts: ClassCounts, naming: Naming) -> dict[str, str]:
    """Return how many pictures there are, and of what."""
    n_images = len(store.rows)
    most = [
        f"{name} ({n:,})"
        for name, n in zip(counts.names[:_N_CLASSES], counts.n_images.tolist(), strict=False)
    ]
    said = (
        f"They have {len(counts.names):,} different labels ({counts.level}); most are of "
        f"{join(most)}."
    )
    if not counts.names:
        said = f"None of them has a label ({counts.level})."
    shown = naming.find_pictures(store.rows[:: max(1, n_images // 50)])
    common = list(dict.fromkeys(filter(None, shown)))[: 2 * _N_CLASSES]
    if common:
        said += f" Among them: {', '.join(common)}."
    return {"label": "Pictures", "large": f"{n_images:,}", "said": said}


def describe_usable(store: EmbeddingStore, level: str | None, mask: str | None) -> dict[str, str]:
    """Return how many pictures can be used, and why the others cannot."""
    usable, masks = find_usable(store, mask)
    kept = usable[store.rows]
    why = []
    if n_dropped := int((~kept).sum()):
        why.append(f"{n_dropped:,} found to be of no use ({', '.join(masks)})")
    if level is not None:
        unlabelled = kept & (store.images.labels(level)[store.rows] == "")
        kept &= ~unlabelled
        if n_unlabelled := int(unlabelled.sum()):
            why.append(f"{n_unlabelled:,} have no label ({level})")
    if n_failures := len(store.read_failures()):
        why.append(f"{n_failures:,} files more could not be read")
    if not masks:
        why.append("nobody looked for copies, or for pictures of something else")
    said = f"{join(why)[:1].upper()}{join(why)[1:]}." if why else "All of them."
    return {"label": "Usable", "large": f"{int(kept.sum()):,}", "said": said}


def describe_success(evaluation: Evaluation) -> dict[str, str]:
    """Return how often the best method is right."""
    accuracy = evaluation.best.metrics["accuracy"]
    n_images = evaluation.provenance["n_rows"]
    return {
        "label": "How often right",
        "large": f"{100 * accuracy.estimate:.0f}%",
        "said": f"of {n_images:,} labelled pictures that it had not seen before got the right "
        f"{evaluation.level} from the best method ({evaluation.best.method}); of further pictures "
        f"like these {100 * accuracy.low:.0f}% to {100 * accuracy.high:.0f}% are to be expected.",
    }


def describe_failings(evaluation: Evaluation, names: dict[str, str]) -> dict[str, str]:
    """Return in what the best method fails, the most frequent mistakes first."""

    def name(one: str) -> str:
        return f"{one} ({names[one]})" if one in names else one

    pairs = evaluation.best.pairs[:_N_FAILINGS]
    answers = evaluation.predictions
    own = answers[answers["method"] == evaluation.best.method]
    n_wrong = int((~own["right"].to_numpy(dtype=bool)).sum())
    found = [
        f"{name(one['truth'])} taken for {name(one['answer'])} ({one['n_images']:,})"
        for one in pairs
    ]
    # Of mistakes that were made once none is the commonest.
    lead = "Most often" if pairs and pairs[0]["n_images"] > 1 else "Such as"
    said = f"{lead}: {join(found)}." if found else "It made no mistake on these pictures."
    return {
        "label": "In what it fails",
        "large": count(n_wrong, "picture"),
        "said": said,
    }


def join(parts: list[str] | tuple[str, ...]) -> str:
    """Write parts of a sentence one after the other.

    Examples
    --------
    >>> join(["one", "two", "three"])
    'one, two and three'
    """
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))
