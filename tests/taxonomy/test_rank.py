from __future__ import annotations

import pytest

from bioprobe.errors import TaxonomyError
from bioprobe.taxonomy import RANKS, Rank


def test_ranks_stand_from_broad_to_narrow() -> None:
    assert " ".join(RANKS) == "kingdom phylum class order family genus species"
    assert [rank.depth for rank in RANKS] == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("text", "rank"),
    [
        ("species", Rank.SPECIES),
        (" Family ", Rank.FAMILY),
        ("CLASS", Rank.CLASS),
        ("cls", Rank.CLASS),
        ("Division", Rank.PHYLUM),
    ],
)
def test_a_rank_is_read_as_people_write_it(text: str, rank: Rank) -> None:
    assert Rank.parse(text) is rank


@pytest.mark.parametrize("text", ["", "tribe", "families"])
def test_what_is_no_rank_is_refused_with_those_that_are(text: str) -> None:
    with pytest.raises(TaxonomyError, match=f"'{text}' is not a rank; expected one of kingdom, .*"):
        Rank.parse(text)
