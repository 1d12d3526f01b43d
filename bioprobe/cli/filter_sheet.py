"""What ``bioprobe filter`` would drop, as a contact sheet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.page.sheets import SheetPicture
    from bioprobe.quality.noise import NoiseFilter
    from bioprobe.taxonomy import Rank

# A page of a dozen such groups has about 10 MB.
_SHOWN = 40


def write_filter_sheet(path: Path, found: NoiseFilter, group_by: str, rank: Rank) -> int:
    """Write the dropped pictures with scores and reasons as one HTML page.

    Parameters
    ----------
    path : Path
        HTML file.
    found : NoiseFilter
        The filter.
    group_by : str
        ``reason`` or ``class``.
    rank : Rank
        Rank of the classes.

    Returns
    -------
    int
        Pictures on the page: of each group the first 40, nearest to being kept first.
    """
    from bioprobe.page.sheets import SheetGroup, write_contact_sheet

    frame = found.to_frame().assign(**{"class": found.images.labels(rank)[found.rows]})
    n_images, dropped = frame["class"].value_counts().to_dict(), frame[~frame["kept"]]
    groups = []
    for name, count in dropped[group_by].value_counts().items():
        pictures = _show_rows(found, dropped[dropped[group_by] == name])
        of = f" of {n_images[str(name)]:,}" if group_by == "class" else ""
        shown = f"; {len(pictures)} are shown" if len(pictures) < count else ""
        note = f"{count:,}{of} dropped{shown}, nearest to being kept first."
        groups.append(SheetGroup(str(name) or f"no {rank.value}", note, pictures))
    write_contact_sheet(path, f"Not kept as {found.name}", _introduce(found, len(dropped)), groups)
    return sum(len(group.pictures) for group in groups)


def _show_rows(found: NoiseFilter, dropped: pd.DataFrame) -> list[SheetPicture]:
    from bioprobe.page.sheets import show_row

    nearest = dropped.sort_values("score", ascending=False, kind="stable").head(_SHOWN)
    facts = zip(nearest["row"], nearest["score"], nearest["reason"], strict=True)
    return [
        show_row(found.images, int(row), f"score {score:.2f}", reason)
        for row, score, reason in facts
    ]


def _introduce(found: NoiseFilter, n_dropped: int) -> str:
    source = found.provenance
    condition = f" where {source.condition}" if source.condition else ""
    return (
        f"{n_dropped:,} of {source.n_rows:,} images of {source.store}{condition} are not kept, by "
        f"{found.method}: their score is below {found.threshold:.3g}, or a label says so. No file "
        f"is deleted.\n{source.encoder['model']} · bioprobe {source.version} · {source.time}"
    )
