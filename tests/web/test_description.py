"""Whatever the description of the API allows is answered as it says, and never by a fault."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import Case
from schemathesis.specs.openapi.checks import positive_data_acceptance

from bioprobe.face.encoder import Encoder
from bioprobe.store import EmbeddingStore
from bioprobe.web.app import build_app
from bioprobe.web.desk import Settings

if TYPE_CHECKING:
    from tests.conftest import PlainEncoder

# What streams until its job ends.
_ENDLESS = "/api/v1/jobs/{id}/events"


@pytest.fixture
def ask_anything(
    station: EmbeddingStore,
    tmp_path: Path,
    encoder: PlainEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., None]:
    """Ask a server what its description allows, and look at each answer."""
    folder = Path(shutil.copytree(station.folder, tmp_path / "store"))
    monkeypatch.setattr("bioprobe.face.encoder.encoder", lambda *_, **__: Encoder(encoder))
    settings = Settings(requests_per_s=1e6, requests_at_once=1e6, hosts=("testserver",))
    app = build_app(folder, settings)
    described = schemathesis.openapi.from_asgi(
        "/api/v1/openapi.json", app, headers={"Host": "testserver"}
    )

    def ask(n: int, seed: int, *, every: int = 1) -> None:
        found: Any = described.get_all_operations()
        operations = [one.ok() for one in found]
        assert len(operations) > 35
        for operation in operations[::every]:
            if operation.path == _ENDLESS:
                continue

            @hypothesis.seed(seed)
            @hypothesis.settings(
                max_examples=n, deadline=None, database=None, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @hypothesis.given(case=operation.as_strategy())
            def look(case: Case[Any]) -> None:
                answer = case.call(headers={"Host": "testserver"})
                assert answer.status_code < 500, answer.text
                # What the shape allows may be none of this store, which is said by 422.
                case.validate_response(answer, excluded_checks=[positive_data_acceptance])

            look()
        # Nor is a job that was begun a fault.
        jobs = app.state.desk.jobs
        faults = [one.problem for one in jobs.list_all() if one.problem]
        assert [one for one in faults if one["status"] >= 500] == []
        jobs.end(30)

    return ask


def test_what_the_description_allows_is_answered(ask_anything: Callable[..., None]) -> None:
    ask_anything(1, 7, every=2)


@pytest.mark.long
def test_much_of_what_the_description_allows_is_answered(
    ask_anything: Callable[..., None],
) -> None:
    ask_anything(50, 8)
