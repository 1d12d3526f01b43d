"""Published vectors through the client of the hub, from a server of this machine in its place."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from bioprobe.errors import SourceError
from bioprobe.interchange import import_in_part
from bioprobe.store import EmbeddingStore
from bioprobe.store.imported import read_imports
from tests.interchange.published import draw_rows, draw_vectors, write_published

COMMIT = "c" * 40
REPOSITORY = "imageomics/TreeOfLife-200M-Embeddings"
N = 240
ROWS = draw_rows(N)
VECTORS = draw_vectors(N, 768, is_unit=False)


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers what ``HfFileSystem`` asks of a data set."""

    protocol_version = "HTTP/1.1"
    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[tuple[str, str | None]]] = []
    failing: ClassVar[dict[int, int]] = {}
    is_gated: ClassVar[bool] = False

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        Hub.asked.append((path, self.headers["Range"]))
        api, files = f"/api/datasets/{REPOSITORY}", f"/datasets/{REPOSITORY}/resolve/{COMMIT}/"
        if path in {api, f"{api}/revision/main", f"{api}/revision/{COMMIT}"}:
            self._send(200, json.dumps({"id": REPOSITORY, "sha": COMMIT, "siblings": []}).encode())
        elif path.startswith(f"{api}/tree/{COMMIT}"):
            below = path.removeprefix(f"{api}/tree/{COMMIT}").strip("/")
            self._send(200, json.dumps(self._list(below)).encode())
        elif path.startswith(files) and self.command == "GET":
            self._send_file(Hub.files[path.removeprefix(files)])
        else:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})

    def _list(self, below: str) -> list[dict[str, object]]:
        folders = {name.rsplit("/", 1)[0] for name in Hub.files}
        listed: list[dict[str, object]] = []
        if not below:
            listed += [{"type": "directory", "path": one, "size": 0, "oid": "d"} for one in folders]
        for name, body in Hub.files.items():
            if name.startswith(below):
                tag = hashlib.sha256(body).hexdigest()
                lfs = {"oid": tag, "size": len(body), "pointerSize": 134}
                listed.append(
                    {"type": "file", "path": name, "size": len(body), "oid": "b", "lfs": lfs}
                )
        return listed

    def _send_file(self, body: bytes) -> None:
        if Hub.is_gated:
            self._send(403, b"", {"X-Error-Code": "GatedRepo"})
            return
        n_asked = sum(1 for _, of in Hub.asked if of)
        if status := Hub.failing.get(n_asked):
            self._send(status, b"")
            return
        first, _, last = (self.headers["Range"] or "bytes=0-").removeprefix("bytes=").partition("-")
        start, stop = int(first), int(last or len(body) - 1) + 1
        part = body[start:stop]
        self._send(206, part, {"Content-Range": f"bytes {start}-{stop - 1}/{len(body)}"})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    from huggingface_hub import HfFileSystem

    write_published(str(tmp_path / "set"), ROWS, {"bioclip-2_float16": VECTORS}, n_files=2)
    Hub.files = {
        str(file.relative_to(tmp_path / "set")): file.read_bytes()
        for file in sorted((tmp_path / "set").rglob("*.parquet"))
    }
    Hub.asked, Hub.failing, Hub.is_gated = [], {}, False
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    url = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", url)
    monkeypatch.setattr("huggingface_hub.hf_file_system.constants.ENDPOINT", address)
    monkeypatch.setattr("time.sleep", lambda _: None)
    HfFileSystem.clear_instance_cache()
    yield f"hf://datasets/{REPOSITORY}"
    HfFileSystem.clear_instance_cache()
    server.shutdown()
    server.server_close()


def test_a_taxon_comes_from_the_hub_by_ranges_of_one_commit(hub: str, tmp_path: Path) -> None:
    Hub.failing = {3: 503, 5: 500, 9: 429}
    summary = import_in_part(hub, tmp_path / "S", within=["Felidae"])
    store = EmbeddingStore.open(tmp_path / "S")
    frame = ROWS.to_pandas()
    rows = np.flatnonzero(frame["family"] == "Felidae")
    assert list(store.images.frame["path"]) == list(frame["uuid"].iloc[rows])
    unit = VECTORS[rows].astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    np.testing.assert_allclose(store.read_vectors(), unit, atol=1e-4, rtol=0)
    assert summary.model == "bioclip-2"
    asked = [of for path, of in Hub.asked if "/resolve/" in path]
    assert None not in asked
    assert summary.reading.n_bytes < summary.reading.all_bytes
    (imported,) = read_imports(tmp_path / "S")
    assert (imported.address, imported.revision) == (hub, COMMIT)
    tags = {name: one["tag"] for name, one in imported.files.items()}
    assert tags == {name: hashlib.sha256(body).hexdigest() for name, body in Hub.files.items()}


def test_what_the_hub_refuses_is_said_with_the_remedy(hub: str, tmp_path: Path) -> None:
    Hub.is_gated = True
    with pytest.raises(SourceError, match=r"may not be read.*hf auth login, and accept the cond"):
        import_in_part(hub, tmp_path / "S", within=["Felidae"])
    with pytest.raises(SourceError, match="there is nothing at hf://datasets/imageomics/none"):
        import_in_part("hf://datasets/imageomics/none", tmp_path / "S", within=["Felidae"])
    assert not (tmp_path / "S").exists()
