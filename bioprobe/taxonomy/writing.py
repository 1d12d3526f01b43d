"""Taxon lists on disk, as :func:`bioprobe.taxonomy.reading.read_taxonomy` reads them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bioprobe.files import replacing
from bioprobe.taxonomy.taxon import Taxon


def write_taxonomy(path: Path, taxa: Iterable[Taxon]) -> None:
    """Write a taxon list as CSV, whole or not at all; one row a taxon and prompt."""
    import pandas as pd

    rows = [
        {**taxon.to_names(), "common_name": taxon.common_name, "prompt": prompt}
        for taxon in taxa
        for prompt in (taxon.prompts or ("",))
    ]
    with replacing(path) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)
