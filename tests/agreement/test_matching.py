from __future__ import annotations

import pytest

from bioprobe.agreement import match_files
from bioprobe.agreement.matching import match_rows


@pytest.mark.parametrize(
    ("first", "second", "pairs"),
    [
        (["a/1.jpg"], ["a/1.jpg"], {"a/1.jpg": "a/1.jpg"}),
        (["1.jpg"], ["/mnt/a/1.jpg"], {"1.jpg": "/mnt/a/1.jpg"}),
        (["./a/1.jpg"], ["C:\\x\\a\\1.jpg"], {"./a/1.jpg": "C:\\x\\a\\1.jpg"}),
        (["IMG_1.JPG"], ["a/img_1.jpg"], {"IMG_1.JPG": "a/img_1.jpg"}),
        # Written apart and composed, as macOS and others write it.
        (["u\u0308/1.jpg"], ["x/\u00fc/1.jpg"], {"u\u0308/1.jpg": "x/\u00fc/1.jpg"}),
        (
            ["/a/p/cat/1.jpg", "/a/p/dog/1.jpg"],
            ["/b/q/cat/1.jpg", "/b/q/dog/1.jpg", "/b/q/dog/2.jpg"],
            {"/a/p/cat/1.jpg": "/b/q/cat/1.jpg", "/a/p/dog/1.jpg": "/b/q/dog/1.jpg"},
        ),
        (["a/A.jpg", "a/a.jpg"], ["A.jpg", "a.jpg"], {"a/A.jpg": "A.jpg", "a/a.jpg": "a.jpg"}),
        (["cat/1.jpg", "cat/2.jpg"], ["dog/1.jpg", "sea/3.jpg"], {}),
    ],
)  # fmt: skip
def test_files_are_matched_however_they_are_written(
    first: list[str], second: list[str], pairs: dict[str, str]
) -> None:
    found = match_files(first, second)
    assert found.partners == pairs
    assert not found.ambiguous
    assert set(found.only_second) == set(second) - set(pairs.values())
    back = match_files(second, first)
    assert back.partners == {other: one for one, other in pairs.items()}


def test_a_bare_name_of_several_folders_is_ambiguous() -> None:
    found = match_files(["1.jpg", "2.jpg"], ["cat/1.jpg", "dog/1.jpg", "dog/2.jpg"])
    assert found.partners == {"2.jpg": "dog/2.jpg"}
    assert set(found.ambiguous) == {"1.jpg", "cat/1.jpg", "dog/1.jpg"}
    assert found.only_first == found.only_second == ()


def test_names_alone_are_told_where_all_folders_differ() -> None:
    found = match_files(["/one/1.jpg", "/one/2.jpg"], ["/other/1.jpg", "/other/2.jpg"])
    assert len(found.partners) == found.n_by_name == 2
    assert match_files(["a/1.JPG"], ["b/a/1.jpg"]).n_by_case == 1


def test_regions_are_matched_by_name_then_by_overlap_then_the_surest() -> None:
    # Near is twice as high, so that the overlap is a half.
    box, near, far = "0.25,0.25,0.25,0.25", "0.25,0.25,0.25,0.5", "0.75,0.75,0.125,0.125"
    found = match_rows(
        (["1.jpg", "1.jpg", "2.jpg", "2.jpg", "3.jpg"], ["1.jpg", "1.jpg", "2.jpg", "3.jpg"]),
        ([box, far, box, far, box], [near, far, "", box]),
        ([1.0, 1.0, 0.2, 0.9, 1.0], [1.0] * 4),
    )
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [
        (0, 0), (1, 1), (3, 2), (4, 3)
    ]  # fmt: skip
    assert (found.n_by_box, found.n_whole, found.n_unmatched) == (1, 1, 1)
