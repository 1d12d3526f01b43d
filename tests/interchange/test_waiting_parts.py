"""An export whose writer was killed between its card and its parts is read whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from bioprobe.tables import read_table


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_a_table_is_read_by_what_it_is_under_the_name_it_waits_under(
    tmp_path: Path, suffix: str
) -> None:
    waiting = tmp_path / f".v{suffix}.0123456789abcdef.tmp"
    waiting.write_text("path{0}n\na.jpg{0}1\n".format("\t" if suffix == ".tsv" else ","))
    assert read_table(waiting, ending=suffix).to_dict("records") == [{"path": "a.jpg", "n": 1}]
