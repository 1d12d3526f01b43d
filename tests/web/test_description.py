"""Whatever the description of the API allows is answered as it says, and never by a fault."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient

import bioprobe.web
from bioprobe.face.encoder import Encoder
from bioprobe.store import EmbeddingStore
from bioprobe.web.app import build_app
from bioprobe.web.desk import Settings

if TYPE_CHECKING:
    from schemathesis import Case

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
    # Each process that collects tests would import them.
    import hypothesis
    import schemathesis
    from hypothesis import HealthCheck, Phase
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    folder = Path(shutil.copytree(station.folder, tmp_path / "store"))
    added = tmp_path / "added"
    added.mkdir()
    monkeypatch.setattr("bioprobe.face.encoder.encoder", lambda *_, **__: Encoder(encoder))
    settings = Settings(
        requests_per_s=1e6, requests_at_once=1e6, hosts=("testserver",), pictures=added
    )
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


def test_clients_that_are_generated_can_be_read(client: TestClient) -> None:
    described = client.get("/api/v1/openapi.json").json()
    shapes, names = described["components"]["schemas"], list[str]()
    for path, ways in described["paths"].items():
        for method, route in ways.items():
            asked = f"{method} {path}"
            names.append(route["operationId"])
            assert re.fullmatch(r"[a-z]+(_[a-z]+)*", route["operationId"]), asked
            assert route["summary"] == route["description"].partition("\n")[0].rstrip("."), asked
            for one in route.get("parameters", []):
                assert one.get("description") or one["schema"].get("description"), (asked, one)
            for status, answer in route["responses"].items():
                if int(status) >= 400:
                    assert answer["content"] == {
                        "application/problem+json": {
                            "schema": {"$ref": "#/components/schemas/Problem"}
                        }
                    }, asked
            body = route.get("requestBody", {}).get("content", {}).get("application/json")
            if body is not None:
                refs = [one["$ref"] for one in (body["schema"], *body["schema"].get("anyOf", []))
                        if "$ref" in one]  # fmt: skip
                shape = shapes[refs[0].rpartition("/")[2]]
                (example,) = shape["examples"]
                sent = client.request(
                    method, path.replace("{id}", "0" * 32).replace("{name}", "none"), json=example
                )
                assert sent.status_code < 500, asked
                assert "invalid-request" not in sent.text, (asked, sent.text)
    assert len(set(names)) == len(names)
    for name, shape in shapes.items():
        for field, said in shape.get("properties", {}).items():
            assert said.get("description"), f"{name}.{field}"


def test_each_kind_of_problem_is_explained(client: TestClient) -> None:
    sources = Path(bioprobe.web.__file__).parent.rglob("*.py")
    named = {kind for path in sources for kind in re.findall(r'kind="(\w+)"', path.read_text())}
    page = client.get("/api/v1/problems").text
    assert len(named) > 15
    for kind in named:
        anchor = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind).lower()
        assert f'id="{anchor}"' in page, kind


def test_what_the_description_allows_is_answered(ask_anything: Callable[..., None]) -> None:
    ask_anything(1, 7, every=2)


@pytest.mark.long
def test_much_of_what_the_description_allows_is_answered(
    ask_anything: Callable[..., None],
) -> None:
    ask_anything(50, 8)
