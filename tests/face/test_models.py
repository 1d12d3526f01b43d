from __future__ import annotations

import pytest

from bioprobe.errors import ModelUnavailableError
from bioprobe.face import models


def test_models_with_a_short_name_are_listed() -> None:
    frame = models.list().to_frame().set_index("name")
    assert frame.loc["bioclip-2", "dim"] == 768
    assert bool(frame.loc["sketch", "is_here"])
    assert models.info("sketch").to_frame()["dim"].tolist() == [frame.loc["sketch", "dim"]]


def test_what_is_no_model_or_here_already_is_refused() -> None:
    with pytest.raises(ModelUnavailableError, match="no model is called"):
        models.info("nonsense")
    with pytest.raises(ModelUnavailableError, match="is on this machine already"):
        models.download("sketch")
