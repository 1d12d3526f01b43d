"""``bioprobe split``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bioprobe.cli import options
from bioprobe.cli.loading import view_images
from bioprobe.cli.output import say, write_frame

if TYPE_CHECKING:
    from bioprobe.splits import Split
    from bioprobe.splits.split import PartCounts

_SHOWN = 10


def split_images(
    name: Annotated[str, typer.Option(help="Name of the split.")] = "default",
    method: Annotated[
        str,
        typer.Option(
            help="stratified, grouped (by --group), species-disjoint (whole species of each class "
            "are tested), imported (from --column) or kfold (all images train, in folds)."
        ),
    ] = "stratified",
    level: options.Level = "family",
    fractions: Annotated[
        str,
        typer.Option(help="Fractions of train, validation, test; not for imported and kfold."),
    ] = "0.8,0.1,0.1",
    group: Annotated[
        list[str] | None,
        typer.Option(
            help="Column whose equal values stay together: burst, individual, specimen. Several "
            "join. Copies of an image stay together anyhow."
        ),
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="Column that says each image's part, for imported.")
    ] = None,
    parts: Annotated[
        str | None,
        typer.Option(help="Which of its values are which part: train=A,validation=B,test=C."),
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the training images.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of the random order.")] = 0,
    show: Annotated[bool, typer.Option("--show", help="Only show the split of that name.")] = False,
    list_all: Annotated[bool, typer.Option("--list", help="Only list the splits.")] = False,
    where: options.Where = None,
    mask: options.Mask = None,
    store: options.Store = options.DEFAULT_STORE,
    output: options.Output = "-",
    file_format: options.Format = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Split labelled images into train, validation and test, kept in the store by name.

    Example: bioprobe split --level family --group burst --seed 1
    """
    from bioprobe.splits import make_split, read_split, write_split
    from bioprobe.splits.split import count_parts, describe_splits
    from bioprobe.store import EmbeddingStore
    from bioprobe.taxonomy import Rank

    opened = EmbeddingStore.open(store)
    if list_all:
        write_frame(describe_splits(opened), output, file_format, quiet=quiet)
        return
    if show:
        made = read_split(opened, name)
    else:
        asked = view_images(opened, where, mask, quiet=quiet)
        made = make_split(
            asked, Rank.parse(level), name=name, method=method, group_columns=group or (),
            fractions=_read_numbers(fractions), column=column, part_names=_read_names(parts),
            n_folds=folds, seed=seed,
        )  # fmt: skip
        write_split(opened, made)
    counted = count_parts(opened, made)
    if not quiet:
        _summarise(made, counted)
    write_frame(counted.to_frame(), output, file_format, provenance=made.provenance, quiet=quiet)


def _read_numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        msg = f"--fractions are numbers such as 0.8,0.1,0.1, got {text!r}"
        raise typer.BadParameter(msg) from error


def _read_names(text: str | None) -> dict[str, str] | None:
    if text is None:
        return None
    pairs = [item.partition("=") for item in text.split(",")]
    if not all(between for _, between, _ in pairs):
        msg = f"--parts are pairs such as train=A,test=C, got {text!r}"
        raise typer.BadParameter(msg)
    return {value.strip(): part.strip() for part, _, value in pairs}


def _summarise(split: Split, counted: PartCounts) -> None:
    about = split.provenance
    totals = ", ".join(f"{part} {n:,}" for part, n in counted.totals.items())
    say(f"split {split.name}: {about['method']} at {about['rank']}, seed {about['seed']}: {totals}")
    say(f"{split.n_folds} folds of train; sha256 {split.hash}")
    if about["n_unlabelled"]:
        say(f"{about['n_unlabelled']:,} images without a label are in no part")
    if split.n_later:
        say(f"{split.n_later:,} images came later and are in no part: split again to place them")
    unknown = about.get("unknown_values", {})
    if unknown:
        listed = ", ".join(f"{value} ({n})" for value, n in unknown.items())
        say(f"values of {about['column']} that are no part: {listed}")
    _list_small(about)
    _list_leaks(about)


def _list_small(about: dict[str, Any]) -> None:
    small = about["small_classes"]
    if small:
        say(f"{len(small)} classes have too few groups for every part:")
    for one in small[:_SHOWN]:
        parts = ", ".join(one["parts"])
        say(f"  {one['name']} (images: {one['n_images']}, groups: {one['n_groups']}): {parts}")
    if len(small) > _SHOWN:
        say(f"  … and {len(small) - _SHOWN} more, in the provenance of --output FILE")
    always = about["always_train"]
    if always:
        shown = ", ".join(always[:_SHOWN]) + (" …" if len(always) > _SHOWN else "")
        say(f"of one group in train, so never held out in a fold: {len(always)} classes: {shown}")


def _list_leaks(about: dict[str, Any]) -> None:
    for leak in about["leakage"]:
        if leak["n_groups"]:
            say(
                f"WARNING: {leak['kind']}: {leak['n_groups']:,} groups are in more than one part: "
                f"{leak['n_images']:,} images, {leak['n_test']:,} of them in test"
            )
    clean = [leak["kind"] for leak in about["leakage"] if not leak["n_groups"]]
    if clean:
        say(f"leakage: none across parts by {', '.join(clean)}")
    if not about["near_duplicates_known"]:
        say("near duplicates were not looked for; bioprobe dedupe finds them, then split again")
