"""A server of the shape of the Red List's API, on this machine, and a caller that does not wait."""

from __future__ import annotations

import dataclasses
import json
import threading
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from bioprobe.conservation.red_list import Manner, RedListClient

TOKEN = "s3cret-TOKEN"
Json = dict[str, Any]


def find_id(name: str) -> int:
    """Return the number that the list gives a taxon."""
    return zlib.crc32(name.encode())


def assess(
    name: str, code: str | None, *, year: str = "2020", latest: bool = True, scope: str = "1",
    where: str = "Global", number: int = 0, **more: Any,  # noqa: ANN401 - JSON
) -> Json:  # fmt: skip
    """Write an assessment as lists of the API have it; of the versions before 2025 without a code.

    Those had neither the name of the taxon nor whether it is possibly extinct.
    """
    number = number or abs(hash((name, year, scope))) % 10**8
    found = {
        "year_published": year, "latest": latest, "possibly_extinct": False,
        "possibly_extinct_in_the_wild": False, "sis_taxon_id": find_id(name), "url": "https://…",
        "taxon_scientific_name": name, "red_list_category_code": code, "assessment_id": number,
        "scopes": [{"description": {"en": where}, "code": scope}], **more,
    }  # fmt: skip
    return {key: value for key, value in found.items() if value is not None}


@dataclasses.dataclass
class Served:
    """What the server has, what it was asked, and what it does wrong next."""

    families: dict[str, list[Json]] = dataclasses.field(default_factory=dict)
    names: dict[str, Json] = dataclasses.field(default_factory=dict)
    assessments: dict[str, Json] = dataclasses.field(default_factory=dict)
    version: str = "2025-1"
    per_page: int = 100
    headers: tuple[str, str] = ("total-count", "total-pages")
    token: str = TOKEN
    asked: list[str] = dataclasses.field(default_factory=list)
    failures: list[tuple[int, dict[str, str]]] = dataclasses.field(default_factory=list)
    address: str = ""

    def add(self, name: str, *assessments: Json, **taxon: Any) -> None:  # noqa: ANN401 - JSON
        said = {
            "sis_id": find_id(str(taxon.get("scientific_name", name))), "scientific_name": name,
            "kingdom_name": "ANIMALIA", "species": True, "infrarank": False, "synonyms": [],
            "common_names": [{"main": True, "name": f"the {name}", "language": "eng"},
                             {"main": False, "name": f"le {name}", "language": "fre"}], **taxon,
        }  # fmt: skip
        self.names[name] = {"taxon": said, "assessments": list(assessments)}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Served

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        served, parts = self.served, urlsplit(self.path)
        served.asked.append(self.path.removeprefix("/api/v4/"))
        if served.failures:
            status, headers = served.failures.pop(0)
            if not status:
                self.close_connection = True
                self.connection.close()
                return
            self._answer(status, {"error": f"token {self.headers['Authorization']}"}, headers)
        elif self.headers["Authorization"] != served.token:
            self._answer(401, {"error": f"Unauthorized: {self.headers['Authorization']}"})
        else:
            asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
            self._find(parts.path.removeprefix("/api/v4/"), asked)

    def _find(self, path: str, asked: dict[str, str]) -> None:
        served = self.served
        if path == "information/red_list_version":
            self._answer(200, {"red_list_version": served.version})
        elif path.startswith("taxa/family/") and path[12:].capitalize() in served.families:
            assert asked["latest"] == "true"
            assert asked["scope_code"] == "1"
            listed, n = served.families[path[12:].capitalize()], served.per_page
            first = n * (int(asked["page"]) - 1)
            total, pages = served.headers
            counted = {total: str(len(listed)), pages: str(-(-len(listed) // n))}
            headers = {name: value for name, value in counted.items() if name}
            headers |= {"current-page": asked["page"], "page-items": str(n)}
            body = {"assessments": listed[first : first + n], "filters": {"latest": "true"}}
            self._answer(200, body, headers)
        elif path == "taxa/scientific_name":
            names = (asked.get(one) for one in ("genus_name", "species_name", "infra_name"))
            name = " ".join(filter(None, names))
            found = served.names.get(name)
            self._answer(*((200, found) if found is not None else (404, {"error": "Not found"})))
        elif path.removeprefix("assessment/") in served.assessments:
            self._answer(200, served.assessments[path.removeprefix("assessment/")])
        elif path.startswith("taxa/family/"):
            self._answer(404, {"error": "Family not found"})
        else:
            self._answer(404, {"error": "Not found"})

    def _answer(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def served() -> Iterator[Served]:
    found = Served()
    handler = type("Handler", (_Handler,), {"served": found})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    found.address = f"http://127.0.0.1:{server.server_port}/api/v4"
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@dataclasses.dataclass
class Clock:
    """A clock that moves only where somebody sleeps."""

    now_s: float = 0.0
    slept_s: list[float] = dataclasses.field(default_factory=list)

    def sleep(self, seconds_s: float) -> None:
        self.slept_s.append(seconds_s)
        self.now_s += seconds_s

    def read(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_client(served: Served, clock: Clock, tmp_path: Path) -> Callable[..., RedListClient]:
    """Make a caller that keeps what it is told in a folder of the test, and sleeps in no time."""

    def make(token: str = TOKEN) -> RedListClient:
        manner = Manner(timeout_s=5.0, sleep=clock.sleep, clock=clock.read)
        return RedListClient(token, address=served.address, manner=manner, cache=tmp_path / "kept")

    return make
