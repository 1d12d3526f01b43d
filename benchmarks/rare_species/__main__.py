"""Reproduce the Rare Species benchmark: ``python -m benchmarks.rare_species``.

For each encoder every picture is embedded once; then the species are named by text alone, as the
papers of the encoders do, and the families by probes, as trained networks do. ``--table`` is a CSV
with the published split (``eol_content_id``, ``g37_split``); without it the pictures are split
80/10/10 by family. ``--stand-in`` runs every step on drawn patterns, where no hub can be reached.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.rare_species import steps
from benchmarks.rare_species.published import (
    ACCURACY_TO_BEAT,
    FAMILY_RESULTS,
    MACRO_F1_TO_BEAT,
    TOP5_TO_BEAT,
    ZERO_SHOT_RESULTS,
)
from benchmarks.rare_species.stand_in import read_rows, save_dataset
from bioprobe.evaluation.result import Evaluation
from bioprobe.intervals import Accuracy

SOURCE = "dataset:imageomics/rare-species"


def main() -> None:
    """Run the benchmark and print its tables."""
    asked = _read_arguments()
    models, source = asked.models.split(","), asked.source
    if asked.stand_in:
        models, folder = ["sketch"], asked.output / "pictures"
        if not folder.exists():
            rows = read_rows(asked.table)
            species = list(dict.fromkeys((row["genus"], row["species"]) for row in rows))
            kept = set(species[: asked.n_species])
            save_dataset([row for row in rows if (row["genus"], row["species"]) in kept], folder)
        source = f"dataset:{folder}"
        print("Drawn patterns stand in for the pictures: no figure below says anything of animals.")
    listed = steps.list_images(source, asked.table)
    print(f"{len(listed):,} pictures")
    zero_shot: dict[str, list[Accuracy]] = {}
    compared: dict[str, Evaluation] = {}
    for model in models:
        print(f"\n## {model}", flush=True)
        store = steps.embed(listed, model, asked.output / model)
        texts = steps.read_texts(store, _choose_text_type(model))
        if texts is not None:
            zero_shot[model] = steps.measure_zero_shot(store, texts)
        methods = tuple(asked.methods.split(","))
        compared[model] = steps.compare(store, steps.split(store), texts, methods)
        print(compared[model].to_frame().round(3).to_string(index=False))
    _print_zero_shot(zero_shot)
    _print_families(compared)
    if not asked.stand_in:
        _print_verdicts(compared)


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.rare_species", description=__doc__)
    parser.add_argument("--source", default=SOURCE, help="data set: on the hub, or saved to disk")
    parser.add_argument("--models", default="bioclip-2,bioclip,clip-b16")
    parser.add_argument("--methods", default=",".join(steps.METHODS))
    parser.add_argument("--table", type=Path, help="CSV with the published split")
    parser.add_argument("--output", type=Path, default=Path("embeddings/rare-species"))
    parser.add_argument("--stand-in", action="store_true", help="draw patterns; use sketch")
    parser.add_argument("--n-species", type=int, help="of the stand-in; all by default")
    return parser.parse_args()


def _choose_text_type(model: str) -> str:
    return next((one.text_type for one in ZERO_SHOT_RESULTS if one.model == model), "taxon_com")


def _print_zero_shot(measured: dict[str, list[Accuracy]]) -> None:
    print("\n## Zero-shot at species, top-1 over all pictures\n")
    print(
        f"{'model':<12}{'text':<12}{'published':>10}{'measured':>28}  species in its training data"
    )
    published = {one.model: one for one in ZERO_SHOT_RESULTS}
    for model in dict.fromkeys([*published, *measured]):
        known = published.get(model)
        said = f"{known.accuracy:.3f}" if known else "-"
        saw = ("yes" if known.saw_species else "no") if known else "-"
        top1 = str(measured[model][0]) if model in measured else "not measured"
        print(f"{model:<12}{_choose_text_type(model):<12}{said:>10}{top1:>28}  {saw}")


def _print_families(compared: dict[str, Evaluation]) -> None:
    print("\n## Families, unfiltered test pictures\n")
    print(f"{'':<34}{'accuracy':>9}{'95% interval':>16}{'macro-F1':>10}{'top-5':>8}{'AUROC':>8}")
    for one in FAMILY_RESULTS:
        auroc = f"{one.auroc:.3f}" if one.auroc else ""
        print(f"{one.model:<34}{one.accuracy:>9.3f}{'':>16}{one.macro_f1:>10.3f}{'':>8}{auroc:>8}")
    for model, found in compared.items():
        for result in found.results:
            accuracy, macro_f1, top5, auroc = (
                result.metrics[name] for name in ("accuracy", "macro_f1", "top5", "auroc")
            )
            interval = f"{accuracy.low:.3f} to {accuracy.high:.3f}"
            print(
                f"{f'{model}, {result.method}':<34}{accuracy.estimate:>9.3f}{interval:>16}"
                f"{macro_f1.estimate:>10.3f}{top5.estimate:>8.3f}{auroc.estimate:>8.3f}"
            )


def _print_verdicts(compared: dict[str, Evaluation]) -> None:
    for model, found in compared.items():
        best = found.best.metrics
        beats = (
            best["accuracy"].estimate > ACCURACY_TO_BEAT
            and best["macro_f1"].estimate > MACRO_F1_TO_BEAT
            and best["top5"].estimate > TOP5_TO_BEAT
        )
        verb = "beats" if beats else "does not beat"
        print(
            f"{model}, {found.best.method} {verb} accuracy {ACCURACY_TO_BEAT}, macro-F1 "
            f"{MACRO_F1_TO_BEAT} and top-5 {TOP5_TO_BEAT} together"
        )


if __name__ == "__main__":
    main()
