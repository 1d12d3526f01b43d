"""What is said of what was learnt: splits, fits, trials, stacks, evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bioprobe.face.opened import name_counts
from bioprobe.result import WARNING, Note, count, name_some

if TYPE_CHECKING:
    from bioprobe.evaluation import Evaluation
    from bioprobe.evaluation.other_store import Gain
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
    about = probe.provenance["options"]
    if n_more := about.get("n_excluded", 0):
        text = f"{n_more:,} more images taught, of which people only said what they are not"
        said.append(text)
    if n_unused := about.get("n_excluded_unused", 0):
        said.append(
            f"{n_unused:,} images of which people only said what they are not taught nothing: "
            "linear learns from them"
        )
    if probe.block is not None:
        tried = probe.provenance["options"].get("column_weights", {})
        chosen_of = f" (chosen by {held_out.method} of {len(tried)})" if tried else ""
        said.append(f"{probe.block.describe()}{chosen_of}")
    if chosen:
        tried = f"{len(held_out.values)} values tried"
        said.append(f"chosen by {held_out.method}: {chosen} = {probe.settings[chosen]:g} ({tried})")
    if held_out.reason:
        said.append(_describe_folds(held_out.reason))
    if held_out.n_images:
        measured = Accuracy(1, held_out.n_correct, held_out.n_images)
        note = " (the best of those tried: a little too high)" if chosen else ""
        never = _describe_never(held_out.n_never, held_out.n_classes)
        said.append(
            f"{held_out.method}, {held_out.n_images:,} images: {measured} (95% interval){note}"
            f"{never}"
        )
    else:
        said.append(
            "no image could be held out: nothing was chosen, and nothing is known of its accuracy"
        )
    return said


def _describe_folds(reason: str) -> str:
    """Say why folds choose in place of the validation part."""
    return f"{reason}: folds of train and validation are held out to choose and to calibrate"


def _describe_never(n_never: int, n_classes: int) -> str:
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
        said.append(_describe_folds(held_out.reason))
    said.append(
        f"best {tuned.metric} {best.score:.4f} on {tuned.n_held_out:,} held-out images "
        f"({tuned.method}{_describe_never(held_out.n_never, held_out.n_classes)}): {best.kind}"
        f"{''.join(f' {name}={value}' for name, value in best.settings.items())}"
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
    totals = name_counts(counted.totals)
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
    said += _describe_times(about)
    unknown = about.get("unknown_values", {})
    if unknown:
        listed = name_some((f"{value} ({n})" for value, n in unknown.items()), _SHOWN_CLASSES)
        said.append(Note(f"WARNING: {sum(unknown.values()):,} images are in no part: values of "
                         f"{about['column']} that are none: {listed}; say --parts "
                         "train=VALUE,test=VALUE", WARNING))  # fmt: skip
    said += _describe_lacks(counted)
    said += _describe_held(about)
    return [*said, *_describe_small(about), *_describe_leaks(about)]


def _describe_held(about: Mapping[str, Any]) -> list[str | Note]:
    """Say which images judge and are in another store, of what an encoder or a probe learnt."""
    said: list[str | Note] = []
    for held in about.get("against", ()):
        unhashed = f"; {held['n_unhashed']:,} have no hash" if held["n_unhashed"] else ""
        count = f"of the {held['n_images']:,} images that judge"
        if held["n_held"]:
            files = ", ".join(held["files"]) + (" …" if held["n_held"] > len(held["files"]) else "")
            text = f"WARNING: {held['n_held']:,} {count} are in {held['store']} too, by SHA-256: "
            said.append(Note(f"{text}{files}; what learnt from it knows them{unhashed}", WARNING))
        else:
            said.append(f"none {count} is in {held['store']}, by SHA-256{unhashed}")
        said += _describe_near(held, count)
    return said


def _describe_near(held: Mapping[str, Any], count: str) -> list[str | Note]:
    """Say which images judge and are nearly in another store, and what that does to figures."""
    said: list[str | Note] = []
    if held.get("n_near") is None:
        if held.get("not_compared"):
            text = f"whether any is nearly in {held['store']} is not known: {held['not_compared']}"
            said.append(Note(text, WARNING))
    elif held["n_near"]:
        share = held["n_near"] / max(1, held["n_images"])
        shown = ", ".join(f"{one} and {other} ({near:.3f})" for one, other, near in held["pairs"])
        more = " …" if held["n_near"] > len(held["pairs"]) else ""
        text = (
            f"WARNING: {held['n_near']:,} {count} ({share:.1%}) are near duplicates of images in "
            f"{held['store']}, the most similar: {shown}{more}"
        )
        said.append(Note(text, WARNING))
    else:
        said.append(f"none {count} is a near duplicate of an image in {held['store']}")
    for one in held.get("figures", ()):
        whole, rest = (_write_interval(one[key]) for key in ("accuracy", "without"))
        said.append(
            f"  {one['method']}: accuracy {whole} on all {one['n_images']:,}, {rest} on the "
            f"{one['n_without']:,} that are not in {held['store']}"
        )
    return said


def _write_interval(ends: Sequence[float | None]) -> str:
    known = [f"{end:.3f}" for end in ends if end is not None]
    return f"{known[0]} [{known[1]}, {known[2]}]" if len(known) == len(ends) else "not known"


def _describe_lacks(counted: PartCounts) -> list[str | Note]:
    """Say which parts have no image, and which classes judge that nothing teaches."""
    about, said = counted.split.provenance, list[str | Note]()
    asked = about.get("fractions", [1, 1, 1])
    for (part, n), share in zip(counted.totals.items(), asked, strict=True):
        if not n and share:
            text = f"no image is in {part}"
            if part == "validation":
                said.append(f"{text}: settings are chosen on folds of train")
            else:
                said.append(Note(f"WARNING: {text}", WARNING))
    train, _, test = counted.counts.T
    alone = (train == 0) & (test > 0)
    unlearnt = [name for name, is_alone in zip(counted.names, alone, strict=True) if is_alone]
    if unlearnt:
        shown = name_some(unlearnt, _SHOWN_CLASSES)
        n_images = int(test[train == 0].sum())
        text = f"WARNING: {len(unlearnt)} classes are in test and not in train; what learns has "
        said.append(Note(f"{text}their {n_images:,} images wrong: {shown}", WARNING))
    return said


def _describe_times(about: Mapping[str, Any]) -> list[str | Note]:
    """Say what a split by time leaves out, and what comes late in it."""
    if about["method"] != "chronological":
        return []
    by = f", each value of {about['by']} by itself" if about["by"] else ""
    said: list[str | Note] = [f"by the dates of {about['column']}{by}: train before test"]
    if about["n_undated"]:
        unread = about["unread_dates"]
        listed = ", ".join(f"{value} ({n})" for value, n in list(unread.items())[:_SHOWN_CLASSES])
        why = f"; {sum(unread.values()):,} say what is no date: {listed}" if unread else ""
        said.append(Note(f"WARNING: {about['n_undated']:,} images without a date are in no part"
                         f"{why}", WARNING))  # fmt: skip
    if about["n_in_gap"]:
        said.append(f"{about['n_in_gap']:,} images in the gap of {about['gap']} are in no part")
    if about["n_late"]:
        said.append(Note(f"WARNING: {about['n_late']:,} images were taken when a later part had "
                         "begun, and stay with an earlier one of a group", WARNING))  # fmt: skip
    return said


def _describe_small(about: Mapping[str, Any]) -> list[str]:
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
        shown = name_some(always, _SHOWN_CLASSES)
        said.append(
            f"of one group in train, so never held out in a fold: {len(always)} classes: {shown}"
        )
    return said


def _describe_leaks(about: Mapping[str, Any]) -> list[str | Note]:
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


def _describe_sequences(found: Evaluation) -> list[str | Note]:
    """Say which sequences were judged, and how the rules compare that pool their answers."""
    about = found.provenance["options"]
    if about.get("per") != "sequence":
        return []
    said: list[str | Note] = [*about["sequences"]]
    if about["n_several"]:
        said.append(f"{about['n_several']:,} sequences of several labels are not judged")
    if about["n_shared"]:
        text = (
            f"WARNING: {about['n_shared']:,} judged sequences have pictures that taught; figures "
            "may be too good: keep them together with bioprobe split --group"
        )
        said.append(Note(text, WARNING))
    for result in found.results:
        shares = [f"{rule} {right / n:.3f}" for rule, (right, n) in result.rules.items()]
        if shares:
            n = next(iter(result.rules.values()))[1]
            said.append(
                f"  {result.method}: accuracy of each rule on {n:,} sequences of the part "
                f"validation: {', '.join(shares)} (used: {about['rule']})"
            )
    if not any(result.rules for result in found.results):
        said.append("the rules are not compared: the split has no part validation")
    return said


def _describe_pictured(found: Evaluation) -> list[str]:
    """Say which prototypes stood beside texts, and how many images they kept from judging."""
    about, name = found.provenance["options"], "prototypes"
    if name not in about:
        return []
    said = [
        f"image prototypes {about[name]}: {about['n_made_prototypes']:,} labelled images made them "
        "or are of a group with one that did, and judge no method"
    ]
    asked = [one.settings for one in found.results if one.method == "zeroshot"]
    for settings in asked[0] if asked else ():
        worth, rule = settings["text_worth"], settings["text_worth_rule"]
        said.append(f"a text counts as {worth:.3g} pictures ({rule})")
    return list(dict.fromkeys(said))


def describe_gains(gains: Sequence[Gain], beside: object) -> list[str]:
    """Say how much more often methods are right than in another store of the same pictures."""
    if not gains:
        return []
    return [f"beside {beside}:", *(f"  {one}" for one in gains)]


def describe_evaluation(found: Evaluation) -> list[str | Note]:
    """Say what was judged, what is best and by how much, and what it confuses."""
    about, best = found.provenance["options"], found.best
    groups = f" in {about['n_groups']:,} groups" if about["is_clustered"] else ""
    rounds = about["n_rounds"]
    kept = f"; the mask keeps {about['n_kept']:,}" if about["mask"] else ""
    said: list[str | Note] = [
        f"judged: {found.provenance['n_rows']:,} {about.get('per', 'image')}s{groups} of split "
        f"{about['split']}"
        f"{f' in {rounds} folds' if rounds > 1 else ''}, {about['n_classes']} classes{kept}; "
        f"{about['n_not_judged']:,} not judged; intervals of 95% by "
        f"{about['n_resamples']:,} resamples"
        f"{_describe_never(about.get('n_never_judged', 0), about['n_classes'])}"
    ]
    said += _describe_sequences(found)
    if about.get("folds_because"):
        said.append(_describe_folds(about["folds_because"]))
    said += [
        Note(f"WARNING: {method} is passed over: {reason}", WARNING)
        for method, reason in found.skipped.items()
    ]
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
    said += _describe_held(about)
    said.append(f"best: {best.method}, accuracy {best.metrics['accuracy']}")
    for method, one in found.compare_with_best().items():
        sign = "is not told apart from it" if one.p_adjusted > 0.05 else "is worse"
        said.append(f"  {method} {sign}: p = {one.p_adjusted:.3g} ({one.test}, Holm)")
    if about.get("columns"):
        said.append(about["columns"])
    said += _describe_pictured(found)
    said += found.describe_effects()
    said += found.describe_windows()
    if about.get("n_undated"):
        said.append(f"{about['n_undated']:,} judged images without a date are in no window of time")
    left = [one.method for one in found.results if 1.0 in one.temperatures]
    if left:
        said.append(
            f"left as they come, because a temperature makes no held-out probabilities better: "
            f"{', '.join(left)}"
        )
    said += found.describe_positive()
    surest, figure = found.most_reliable
    way = "once calibrated" if figure == "ece_calibrated" else "as they come"
    said.append(
        f"probabilities that mean most what they say: {surest.method}, {way}, ECE "
        f"{surest.metrics[figure]}"
    )
    for pair in best.pairs[:_SHOWN_PAIRS]:
        above = f", both in {pair['ancestor']}" if pair["ancestor"] else ", nothing in common"
        said.append(
            f"  {pair['truth']} taken for {pair['answer']}: {count(pair['n_images'], 'image')}"
            f"{above if found.classes.rank else ''}"
        )
    said.append(f"kept in the store as {found.name}")
    return said
