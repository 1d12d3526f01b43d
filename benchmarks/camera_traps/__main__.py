"""Reproduce zero-shot on camera traps: ``python -m benchmarks.camera_traps``.

IDLE-OO Camera Traps is five sets of balanced species; published is the mean of their accuracies.
The multi-species benchmark has several species in a picture, some with boxes; nothing is published
of it by a protocol that could be repeated, so it stands alone. Both are fetched from the hub, or
are folders (``--sets``, ``--multi``; ``none`` leaves one out). Every species is written as in the
papers of the encoders, by lineage with common name in the 80 templates of OpenAI. ``--stand-in``
runs every step on drawn patterns of the true layout.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.camera_traps import steps
from benchmarks.camera_traps.layout import (
    BOX_FORMS,
    LayoutError,
    find_differences,
    read_multi,
    read_sets,
)
from benchmarks.camera_traps.published import MEAN_RESULTS, SET_SIZES
from benchmarks.camera_traps.stand_in import save_all
from benchmarks.rare_species.steps import read_texts
from bioprobe.intervals import Accuracy

SETS, MULTI = "imageomics/IDLE-OO-Camera-Traps", "dcher95/multi-species-benchmark"
TEXT_TYPE = "taxon_com"
NONE = "none"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print its tables."""
    asked = _read_arguments(arguments)
    models = asked.models.split(",")
    if asked.stand_in:
        models = [asked.models] if asked.models != _MODELS else ["sketch"]
        drawn = save_all(asked.output / "pictures", asked.n_species, asked.n_images)
        asked.sets, asked.multi = map(str, drawn)
        print("Drawn patterns stand in for the pictures: no figure below says anything of animals.")
    try:
        if asked.sets != NONE:
            run_sets(_find(asked.sets, SETS), models, asked.output)
        if asked.multi != NONE:
            run_multi(_find(asked.multi, MULTI), models, asked.output, asked.boxes)
    except LayoutError as error:
        sys.exit(f"not the data set: {error}")


_MODELS = ",".join(one.model for one in MEAN_RESULTS)


def _read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.camera_traps", description=__doc__)
    parser.add_argument("--sets", default=SETS, help="data set on the hub, a folder, or none")
    parser.add_argument("--multi", default=MULTI, help="data set on the hub, a folder, or none")
    parser.add_argument("--boxes", choices=BOX_FORMS, help="by default as they fit")
    parser.add_argument("--models", default=_MODELS)
    parser.add_argument("--output", type=Path, default=Path("embeddings/camera-traps"))
    parser.add_argument("--stand-in", action="store_true", help="draw patterns; use sketch")
    parser.add_argument("--n-species", type=int, default=16, help="of each set of the stand-in")
    parser.add_argument("--n-images", type=int, default=10, help="of each of these species")
    return parser.parse_args(arguments)


def _find(named: str, default: str) -> Path:
    """Return a folder, or fetch a data set of the hub."""
    if Path(named).is_dir():
        return Path(named)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(named, repo_type="dataset"))
    except Exception as error:  # noqa: BLE001 - the hub and the network each raise their own
        option = "--sets" if default == SETS else "--multi"
        sys.exit(
            f"{named} is no folder here, and could not be fetched from the hub "
            f"({type(error).__name__}); fetch it elsewhere and say {option} FOLDER"
        )


def run_sets(folder: Path, models: Sequence[str], output: Path) -> None:
    """Measure each model on the five sets, and print the published means beside."""
    listed = read_sets(folder)
    differences = find_differences(listed)
    unnamed = int((listed["species"] == "").sum())
    print(f"\n# IDLE-OO Camera Traps: {len(listed):,} pictures of {len(SET_SIZES)} sets")
    if unnamed:
        print(f"{unnamed:,} pictures name no species and are left out")
    found: dict[str, dict[str, Accuracy]] = {}
    for model in models:
        print(f"embedding with {model}", file=sys.stderr, flush=True)
        place = output / "sets" / model.replace("/", "_").replace(":", "_")
        table = steps.list_table(listed[listed["species"] != ""], output / "sets.csv")
        store = steps.embed(table, model, place)
        texts = read_texts(store, TEXT_TYPE)
        if texts is None:
            sys.exit(f"{model} has no text tower; zero-shot needs one")
        found[model] = steps.measure_sets(store, texts)
    print(f"\n## Zero-shot at species, top-1, text {TEXT_TYPE}, 95% intervals\n")
    for model, of_sets in found.items():
        print(model)
        for name, accuracy in of_sets.items():
            print(f"  {name:<22}{accuracy.n_images:>6} pictures  {accuracy}")
    print(f"\n{'mean of the five sets':<48}{'published':>10}   ours")
    published = {one.model: one.accuracy for one in MEAN_RESULTS}
    for model in dict.fromkeys([*published, *found]):
        said = f"{published[model]:.3f}" if model in published else "-"
        own = str(steps.find_mean(list(found[model].values()))) if model in found else "-"
        print(f"{model:<48}{said:>10}   {own}")
    if differences:
        print("Not the published pictures, so that nothing here stands beside what is published:")
        print("\n".join(f"- {one}" for one in differences))


def run_multi(folder: Path, models: Sequence[str], output: Path, box_form: str | None) -> None:
    """Measure each model on pictures of several species, whole and by their boxes."""
    listed = read_multi(folder, output / "multi-pictures", box_form)
    several = steps.Several(listed)
    n_boxes = int(listed["box_x"].notna().sum())
    print(
        f"\n# Several species in a picture: {listed['image_id'].nunique():,} pictures, "
        f"{len(several.known):,} of which every species is named; {n_boxes:,} boxes; "
        f"{len(several.taxa):,} species"
    )
    print(f"\n## Zero-shot among all these species, text {TEXT_TYPE}, 95% intervals\n")
    for model in models:
        place = output / "multi" / model.replace("/", "_").replace(":", "_")
        store = steps.embed(several.list_pictures(output / "multi.csv"), model, place / "whole")
        texts = read_texts(store, TEXT_TYPE)
        if texts is None:
            sys.exit(f"{model} has no text tower; zero-shot needs one")
        whole = several.ask(store, texts)
        measured = steps.measure_pictures(several, *whole)
        boxes = several.list_boxes(output / "boxes.csv")
        if boxes is not None:
            boxed = steps.embed(boxes, model, place / "boxes")
            measured |= steps.measure_boxes(several.ask(boxed, texts), whole)
        print(model)
        for what, share in measured.items():
            print(f"  {what:<40}{share}")


if __name__ == "__main__":
    main()
