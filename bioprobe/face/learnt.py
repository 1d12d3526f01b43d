"""What is said of what was learnt: splits, fits, trials, stacks, evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bioprobe.result import WARNING, Note

if TYPE_CHECKING:
    from bioprobe.evaluation import Evaluation
    from bioprobe.learning.fitted import FittedProbe
    from bioprobe.learning.stack import FittedStack
    from bioprobe.learning.tune import Tuned
    from bioprobe.splits.split import PartCounts

# Pairs of classes, and small classes, that are named one by one.
_SHOWN_PAIRS, _SHOWN_CLASSES = 3, 10


def describe_part(probe: FittedProbe) -> str:
    """Say which images taught a probe."""
    return f"part train of the split {probe.split_name}" if probe.split_name else "all labelled"


def describe_fit(probe: FittedProbe, seconds_s: float) -> list[str]:
    """Say what a fit chose, and how it did on images that it did not learn from."""
    from bioprobe.intervals import Accuracy

    held_out, chosen = probe.held_out, probe.held_out.parameter
    said = [
        f"{probe.kind} at {probe.level}: {probe.n_rows:,} images ({describe_part(probe)}), "
        f"{len(probe.classes):,} classes, {seconds_s:.1f} s"
    ]
    if chosen:
        tried = f"{len(held_out.values)} values tried"
        said.append(f"chosen by {held_out.method}: {chosen} = {probe.settings[chosen]:g} ({tried})")
    if held_out.reason:
        said.append(describe_folds(held_out.reason))
    if held_out.n_images:
        measured = Accuracy(1, held_out.n_correct, held_out.n_images)
        note = " (the best of those tried: a little too high)" if chosen else ""
        never = describe_never(held_out.n_never, held_out.n_classes)
        said.append(
            f"{held_out.method}, {held_out.n_images:,} images: {measured} (95% interval){note}"
            f"{never}"
        )
    else:
        said.append(
            "no image could be held out: nothing was chosen, and nothing is known of its accuracy"
        )
    return said


def describe_folds(reason: str) -> str:
    """Say why folds choose in place of the validation part."""
    return f"{reason}: folds of train and validation are held out to choose and to calibrate"


def describe_never(n_never: int, n_classes: int) -> str:
    """Say of how many classes a figure knows nothing."""
    return f"; {n_never:,} of {n_classes:,} classes never held out" if n_never else ""


def describe_trials(tuned: Tuned, n_trials: int, name: str) -> list[str]:
    """Say what was tried, and what was best."""
    best, n = tuned.best, len(tuned.trials)
    first = f"{n} trials, {tuned.n_compared:,} settings compared"
    if tuned.n_repeated:
        first += f"; {tuned.n_repeated} proposals were repeated and not run again"
    said = [first + (f"; {n_trials} were allowed" if n < n_trials else "")]
    failed = [one for one in tuned.trials if one.problem]
    if failed:
        said.append(f"{len(failed)} trials failed: {failed[0].problem}")
    held_out = tuned.probe.held_out
    if held_out.reason:
        said.append(describe_folds(held_out.reason))
    said.append(
        f"best {tuned.metric} {best.score:.4f} on {tuned.n_held_out:,} held-out images "
        f"({tuned.method}{describe_never(held_out.n_never, held_out.n_classes)}): {best.kind} "
        f"{best.settings}"
    )
    said.append(
        "this is the best of many on the images it was chosen on, so too high; bioprobe evaluate, "
        f"or probe predict {name} --split NAME:test, tells what it is worth on new ones"
    )
    return said


def describe_missing(folders: Sequence[str], n_missing: Sequence[int]) -> list[str]:
    """Say how many images other stores lack."""
    return [
        f"{folder} lacks {n:,} of the images, which are left out"
        for folder, n in zip(folders, n_missing, strict=True)
        if n
    ]


def describe_stack(stack: FittedStack, seconds_s: float, *, is_open: bool) -> list[str]:
    """Say what a stack combines, and how it did."""
    from bioprobe.intervals import Accuracy

    probe, about = stack.probe, stack.probe.provenance["options"]
    said = [
        f"stack at {probe.level}: {probe.n_rows:,} images ({describe_part(probe)}), "
        f"{len(probe.classes):,} classes, {seconds_s:.1f} s",
        *describe_missing(about["stores"][1:], stack.n_missing),
    ]
    for base, (_, settings) in zip(stack.base_names, probe.settings["bases"], strict=True):
        chosen = ", ".join(f"{key} = {value:g}" for key, value in settings.items())
        said.append(f"  {base}{f': {chosen}' if chosen else ''}")
    by = " (chosen on folds of the training images)" if is_open else ""
    said.append(f"  combined at C = {probe.settings['C']:g}{by}")
    held_out = probe.held_out
    measured = Accuracy(1, held_out.n_correct, held_out.n_images)
    note = "" if held_out.method == "validation" else " (a little too high)"
    said.append(f"{held_out.method}, {held_out.n_images:,} images: {measured} (95% interval){note}")
    return said


def describe_split(counted: PartCounts) -> list[str | Note]:
    """Say how images are split, which classes are too small, and what leaks."""
    split, about = counted.split, counted.split.provenance
    totals = ", ".join(f"{part} {n:,}" for part, n in counted.totals.items())
    said: list[str | Note] = [
        f"split {split.name}: {about['method']} at {about['rank']}, seed {about['seed']}: {totals}",
        f"{split.n_folds} folds of train; sha256 {split.hash}",
    ]
    if about["n_unlabelled"]:
        said.append(f"{about['n_unlabelled']:,} images without a label are in no part")
    if split.n_later:
        said.append(
            f"{split.n_later:,} images came later and are in no part: split again to place them"
        )
    unknown = about.get("unknown_values", {})
    if unknown:
        listed = ", ".join(f"{value} ({n})" for value, n in unknown.items())
        said.append(f"values of {about['column']} that are no part: {listed}")
    return [*said, *describe_small(about), *describe_leaks(about)]


def describe_small(about: Mapping[str, Any]) -> list[str]:
    """Say which classes have too few images for every part."""
    small, said = about["small_classes"], []
    if small:
        said.append(f"{len(small)} classes have too few groups for every part:")
    for one in small[:_SHOWN_CLASSES]:
        parts = ", ".join(one["parts"])
        said.append(
            f"  {one['name']} (images: {one['n_images']}, groups: {one['n_groups']}): {parts}"
        )
    if len(small) > _SHOWN_CLASSES:
        n_more = len(small) - _SHOWN_CLASSES
        said.append(f"  … and {n_more} more, in the provenance of --output FILE")
    always = about["always_train"]
    if always:
        shown = ", ".join(always[:_SHOWN_CLASSES]) + (" …" if len(always) > _SHOWN_CLASSES else "")
        said.append(
            f"of one group in train, so never held out in a fold: {len(always)} classes: {shown}"
        )
    return said


def describe_leaks(about: Mapping[str, Any]) -> list[str | Note]:
    """Say which groups are in more than one part."""
    said: list[str | Note] = [
        Note(
            f"WARNING: {leak['kind']}: {leak['n_groups']:,} groups are in more than one part: "
            f"{leak['n_images']:,} images, {leak['n_test']:,} of them in test",
            WARNING,
        )
        for leak in about["leakage"]
        if leak["n_groups"]
    ]
    clean = [leak["kind"] for leak in about["leakage"] if not leak["n_groups"]]
    if clean:
        said.append(f"leakage: none across parts by {', '.join(clean)}")
    if not about["near_duplicates_known"]:
        said.append(
            "near duplicates were not looked for; bioprobe dedupe finds them, then split again"
        )
    return said


def describe_evaluation(found: Evaluation) -> list[str | Note]:
    """Say what was judged, what is best and by how much, and what it confuses."""
    about, best = found.provenance["options"], found.best
    groups = f" in {about['n_groups']:,} groups" if about["is_clustered"] else ""
    rounds = about["n_rounds"]
    kept = f"; the mask keeps {about['n_kept']:,}" if about["mask"] else ""
    said: list[str | Note] = [
        f"judged: {found.provenance['n_rows']:,} images{groups} of split {about['split']}"
        f"{f' in {rounds} folds' if rounds > 1 else ''}, {about['n_classes']} classes{kept}; "
        f"{about['n_not_judged']:,} not judged; intervals of 95% by "
        f"{about['n_resamples']:,} resamples"
        f"{describe_never(about.get('n_never_judged', 0), about['n_classes'])}"
    ]
    if about.get("folds_because"):
        said.append(describe_folds(about["folds_because"]))
    said += [
        f"{result.method}: {result.n_unknown:,} images are of a class that it does not "
        "know, and count as wrong"
        for result in found.results
        if result.n_unknown
    ]
    said += [
        Note(
            f"WARNING: {leak['kind']}: {leak['n_test']:,} test images are in groups that other "
            "parts share; figures may be too good",
            WARNING,
        )
        for leak in about["leakage"]
    ]
    said.append(f"best: {best.method}, accuracy {best.metrics['accuracy']}")
    for method, one in found.compare_with_best().items():
        sign = "is not told apart from it" if one.p_adjusted > 0.05 else "is worse"
        said.append(f"  {method} {sign}: p {one.p_adjusted:.3g} ({one.test}, Holm)")
    left = [one.method for one in found.results if 1.0 in one.temperatures]
    if left:
        said.append(
            f"left as they come, because a temperature makes no held-out probabilities better: "
            f"{', '.join(left)}"
        )
    said += found.describe_positive()
    surest = found.best_calibrated
    if surest is not None:
        ece, scaled = (surest.metrics[name] for name in ("ece", "ece_calibrated"))
        said.append(
            f"best calibrated after temperature scaling: {surest.method}, ECE {scaled} "
            f"({ece.estimate:.3f} as it comes)"
        )
    for pair in best.pairs[:_SHOWN_PAIRS]:
        above = f", both in {pair['ancestor']}" if pair["ancestor"] else ", nothing in common"
        said.append(
            f"  {pair['truth']} taken for {pair['answer']}: {pair['n_images']} images"
            f"{above if found.classes.rank else ''}"
        )
    said.append(f"kept in the store as {found.name}")
    return said
