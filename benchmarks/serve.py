"""A server under load: how fast it answers, what it holds, and its first view of a million images.

Starts ``bioprobe serve`` on a store, and asks it: alone (pictures beside their encoder in this
process, in turn); as 50 clients do at once that never pause (pages of images, searches by row,
zero-shot of rows, annotations, pictures, and what is broken); and as a class of 30 does that
browses, a browser's six connections each, all from one address as behind one router. Then starts it
on a store of a million drawn images, and asks for the first views:
``python -m benchmarks.serve --store S [--seconds 60] [--clients 50] [--people 30]
[--rows 1000000]``.
"""

from __future__ import annotations

import argparse
import collections
import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

import bioprobe as bp
from benchmarks.harness import DRAWN, Row
from bioprobe.store import EmbeddingStore
from bioprobe.web.batching import Batcher

_SHARD_ROWS = 16_384
_DIM = 64
# Kinds of requests, and how often each is made.
_KINDS = {"images": 6, "search": 6, "zeroshot": 2, "annotate": 3, "picture": 2, "broken": 1}


def draw_store(folder: Path, n_rows: int) -> EmbeddingStore:
    """Fill a store with drawn vectors and a table as camera traps have it."""
    random = np.random.default_rng(0)
    store = EmbeddingStore.create(folder, DRAWN, dim=_DIM, dtype="float16")
    for start in range(0, n_rows, _SHARD_ROWS):
        rows = np.arange(start, min(start + _SHARD_ROWS, n_rows))
        species = random.zipf(1.3, len(rows)) % 2000
        frame = pd.DataFrame({
            "root": "/data/pictures",
            "path": [f"site{row % 200:03d}/IMG_{row:07d}.JPG" for row in rows],
            "sha256": [f"{row:064x}" for row in rows],
            "n_bytes": 2_000_000, "width_px": 2048, "height_px": 1536, "mode": "RGB",
            "kingdom": "Animalia", "phylum": "Chordata", "class": "Mammalia",
            "order": [f"Order{one % 20:02d}" for one in species],
            "family": [f"Family{one % 120:03d}" for one in species],
            "genus": [f"Genus{one % 600:03d}" for one in species],
            "species": [f"Genus{one % 600:03d} species{one:04d}" for one in species],
            "site": [f"site{row % 200:03d}" for row in rows],
        })  # fmt: skip
        store = store.append(frame, random.normal(size=(len(rows), _DIM)))
    return store


class Server:
    """A server in a process of its own."""

    def __init__(self, store: Path, *options: str) -> None:
        start_s = time.monotonic()
        command = [sys.executable, "-m", "bioprobe", "serve", "--store", str(store), "--port", "0",
                   "--no-open", *options]  # fmt: skip
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if found := re.search(r"at (http://\S+)/;", line):
                self.address = found[1]
                break
        self.start_s = time.monotonic() - start_s
        #: What it says afterwards; a pipe that nobody reads would stop it.
        self.said: list[str] = []
        reader = threading.Thread(target=self.said.extend, args=(self.process.stderr,), daemon=True)
        reader.start()

    @property
    def memory_mb(self) -> float:
        """Memory that it holds, in megabytes."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", text)
        return int(found[1]) / 1024 if found else float("nan")

    @property
    def cpu_s(self) -> float:
        """Seconds for which it has computed so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def post(self, path: str, body: bytes, kind: str) -> Any:  # noqa: ANN401 - JSON
        """Return what is answered."""
        request = urllib.request.Request(self.address + path, body, {"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def ask(self, path: str, body: bytes | None = None, kind: str = "application/json") -> int:
        """Return the status of an answer, 0 where there is none."""
        request = urllib.request.Request(self.address + path, body, {"Content-Type": kind})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                answer.read()
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.read()
            return error.code
        except OSError:
            return 0

    def end(self) -> int:
        """End it in peace, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def draw_picture(random: np.random.Generator) -> bytes:
    """Return a JPEG of 640 by 480 pixels."""
    stream = io.BytesIO()
    noise = random.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((640, 480)).save(stream, "JPEG")
    return stream.getvalue()


def write_form(picture: bytes) -> tuple[bytes, str]:
    """Return a form with a picture, and its kind."""
    edge = uuid.uuid4().hex
    head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    body = head.encode() + picture + f"\r\n--{edge}--\r\n".encode()
    return body, f"multipart/form-data; boundary={edge}"


def make_one(server: Server, kind: str, random: np.random.Generator) -> int:
    """Make a request of a kind, and return its status."""
    row = int(random.integers(0, 150))
    if kind == "images":
        return server.ask(f"/api/v1/images?limit={60 + row % 40}")
    if kind == "search":
        return server.ask("/api/v1/search", json.dumps({"row": row, "k": 20}).encode())
    if kind == "zeroshot":
        asked = {"rows": [row], "level": "family", "k": 3}
        return server.ask("/api/v1/zeroshot", json.dumps(asked).encode())
    if kind == "annotate":
        said = {"id": uuid.uuid4().hex, "row": row, "level": "family", "value": "Felidae"}
        given = {"by": f"client {row % 5}", "annotations": [said]}
        return server.ask("/api/v1/annotations", json.dumps(given).encode())
    if kind == "picture":
        return server.ask("/api/v1/pictures", *write_form(draw_picture(random)))
    host, port = server.address.removeprefix("http://").split(":")
    body, form = write_form(draw_picture(random))
    head = (
        f"POST /api/v1/pictures HTTP/1.1\r\nHost: {host}\r\nContent-Type: {form}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    try:
        with socket.create_connection((host, int(port)), timeout=5) as broken:
            broken.sendall(head.encode() + body[: int(random.integers(0, len(body)))])
    except OSError:
        return 0
    # It was never whole: no answer is wanted.
    return 200


def load(server: Server, n_clients: int, seconds_s: float) -> None:
    """Ask as many clients do at once, and print how each kind was answered."""
    times: dict[str, list[float]] = collections.defaultdict(list)
    statuses: collections.Counter[tuple[str, int]] = collections.Counter()
    until, counting = time.monotonic() + seconds_s, threading.Lock()
    names = [name for name, n in _KINDS.items() for _ in range(n)]

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        while time.monotonic() < until:
            kind = names[int(random.integers(0, len(names)))]
            start_s = time.monotonic()
            status = make_one(server, kind, random)
            took_s = time.monotonic() - start_s
            with counting:
                statuses[kind, status] += 1
                if status == 200:
                    times[kind].append(took_s)
            if status == 429:
                time.sleep(0.2)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(n_clients)]
    for one in threads:
        one.start()
    while any(one.is_alive() for one in threads):
        print(f"memory: {server.memory_mb:.0f} MB", flush=True)
        time.sleep(seconds_s / 6)
    for one in threads:
        one.join()
    for kind, measured in sorted(times.items()):
        tell(kind, np.array(measured))
    print("statuses:", {f"{kind} {status}": n for (kind, status), n in sorted(statuses.items())})


def tell(name: str, seconds: npt.NDArray[np.float64]) -> None:
    """Print the median and the 95th percentile of times."""
    low, high = np.quantile(seconds, [0.5, 0.95]) * 1000
    print(f"{name}: {len(seconds):,} answered, median {low:.0f} ms, 95% within {high:.0f} ms")


def measure_alone(server: Server) -> None:
    """Print how long one client waits who asks alone."""
    random = np.random.default_rng(1)
    for kind in ("images", "search", "zeroshot", "picture"):
        make_one(server, kind, random)
        measured = []
        for _ in range(20):
            start_s = time.monotonic()
            make_one(server, kind, random)
            measured.append(time.monotonic() - start_s)
        tell(f"alone, {kind}", np.array(measured))


def compare_with_encoder(server: Server, store: Path, n: int) -> None:
    """Print how long a picture takes in the encoder, and how long in a server that has it loaded.

    The same pictures are asked of both in turn, so that what else the machine does is in both.
    """
    opened = bp.open(store)
    encoder = bp.encoder(opened.model, precision="fp32")
    random = np.random.default_rng(2)
    times: dict[str, list[float]] = collections.defaultdict(list)
    for _ in range(n + 3):
        picture = draw_picture(random)
        begun_s = time.perf_counter()
        encoder.images([picture])
        times["in the encoder"].append(time.perf_counter() - begun_s)
        form, begun_s = write_form(picture), time.perf_counter()
        sent = server.post("/api/v1/pictures", *form)
        times["sent to the server"].append(time.perf_counter() - begun_s)
        asked = {"pictures": [sent["pictures"][0]["id"]], "level": "family", "k": 3}
        server.post("/api/v1/zeroshot", json.dumps(asked).encode(), "application/json")
        times["sent, and named by texts"].append(time.perf_counter() - begun_s)
    measured = {name: np.array(seconds[3:]) for name, seconds in times.items()}
    for name, seconds in measured.items():
        tell(f"a picture {name}", seconds)
        more = np.median(seconds - measured["in the encoder"]) * 1000
        print(f"  beyond the encoder's own time, median of pairs: {more:.1f} ms")


def compare_batching(store: Path, n_clients: int = 8, n_each: int = 12) -> None:
    """Print what it takes to encode the pictures of several clients one by one, and together."""
    encoder = bp.encoder(bp.open(store).model, precision="fp32")
    random = np.random.default_rng(3)
    pictures = [encoder.read(draw_picture(random)) for _ in range(n_clients)]
    encode, turn = encoder.loaded.encode_image, threading.Lock()

    def run(ask: Callable[[Image.Image], object]) -> tuple[float, float]:
        def work(picture: Image.Image) -> None:
            for _ in range(n_each):
                ask(picture)

        threads = [threading.Thread(target=work, args=(one,)) for one in pictures]
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        return time.perf_counter() - wall_s, time.process_time() - cpu_s

    def alone(picture: Image.Image) -> None:
        with turn:
            encode([picture])

    batcher = Batcher()
    taken = [(*run(alone), *run(lambda one: batcher.run(encode, [one]))) for _ in range(5)]
    each_ms = np.median(np.array(taken), axis=0) * 1000 / (n_clients * n_each)
    print(
        f"{n_clients} clients with a picture each, one by one: {each_ms[0]:.1f} ms a picture "
        f"({each_ms[1]:.1f} ms of CPU); together: {each_ms[2]:.1f} ms ({each_ms[3]:.1f} ms of "
        f"CPU), {batcher.n_requests / batcher.n_passes:.1f} requests a pass"
    )
    batcher.end()


class Lesson:
    """People who browse, each in a browser with six connections."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._host = server.address.removeprefix("http://")
        self._counting = threading.Lock()
        self.times: dict[str, list[float]] = collections.defaultdict(list)
        self.refused: collections.Counter[str] = collections.Counter()

    def hold(self, n_people: int, seconds_s: float) -> None:
        """Look at pages, and print how long each took."""
        until, cpu_s = time.monotonic() + seconds_s, self._server.cpu_s
        people = [threading.Thread(target=self._look, args=(n, until)) for n in range(n_people)]
        for one in people:
            one.start()
        for one in people:
            one.join()
        n = sum(map(len, self.times.values()))
        each_ms = (self._server.cpu_s - cpu_s) / n * 1000
        print(f"{n_people} people browse: {n:,} answers, {each_ms:.1f} ms of CPU each")
        for kind, measured in sorted(self.times.items()):
            tell(f"  {kind}", np.array(measured))
        print("  not answered:", dict(self.refused) or "none")

    def _look(self, seed: int, until: float) -> None:
        random = np.random.default_rng(seed)
        # They come to the lesson one after the other.
        time.sleep(float(random.uniform(0, 5)))
        lines = [http.client.HTTPConnection(self._host, timeout=60) for _ in range(6)]
        while time.monotonic() < until:
            if random.random() < 0.3:
                path = f"/pictures/{random.integers(0, 150)}"
            else:
                path = f"/browse?page={random.integers(1, 4)}&order=species"
            begun_s = time.monotonic()
            text = self._fetch(lines[0], "page", path)
            found = re.findall(r'(?:src|href)="(/[^"]+(?:css|js|of=\w+))"', text)
            rest = [one.replace("&amp;", "&") for one in dict.fromkeys(found)]
            parts = [threading.Thread(target=self._load, args=(one, rest)) for one in lines]
            for one in parts:
                one.start()
            for one in parts:
                one.join()
            with self._counting:
                self.times["page with its pictures"].append(time.monotonic() - begun_s)
            # A server lets go of who says nothing for long; a browser connects again.
            for line in lines:
                line.close()
            time.sleep(float(random.uniform(2, 8)))

    def _load(self, line: http.client.HTTPConnection, rest: list[str]) -> None:
        while True:
            with self._counting:
                path = rest.pop(0) if rest else ""
            if not path:
                return
            self._fetch(line, "part of a page", path)

    def _fetch(self, line: http.client.HTTPConnection, kind: str, path: str) -> str:
        begun_s = time.monotonic()
        line.request("GET", path)
        answer = line.getresponse()
        text = answer.read()
        with self._counting:
            if answer.status == 200:
                self.times[kind].append(time.monotonic() - begun_s)
            else:
                self.refused[f"{kind} {answer.status}"] += 1
        return text.decode("latin-1")


def list_rows(*, is_quick: bool) -> list[Row]:
    """Measure how long pages of a drawn store take, and what the server holds."""
    rows = []
    n_rows = 20_000 if is_quick else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        draw_store(Path(folder) / "store", n_rows)
        server = Server(Path(folder) / "store")
        try:
            paths = ("/browse", "/api/v1/images?limit=60", "/store")
            taken: dict[str, list[float]] = {path: [] for path in paths}
            for _ in range(8):
                for path, taken_ms in taken.items():
                    start_s = time.perf_counter()
                    status = server.ask(path)
                    assert status == HTTPStatus.OK, f"{path}: {status}"
                    taken_ms.append(1000 * (time.perf_counter() - start_s))
            size = f"{n_rows:,} images"
            # The first of each reads the store.
            for path, (first_ms, *later_ms) in taken.items():
                rows += [
                    Row(work=f"page {path}, first", size=size, unit="ms", ours=(first_ms,)),
                    Row(work=f"page {path}, again", size=size, unit="ms", ours=tuple(later_ms)),
                ]
            rows.append(Row(work="server, memory", size=size, unit="MB", ours=(server.memory_mb,)))
            rows.append(Row(work="server, start", size=size, unit="s", ours=(server.start_s,)))
        finally:
            server.end()
    return rows


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, help="store that is asked under load")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--people", type=int, default=30, help="of a class that browses")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--million", type=Path, help="such a store, drawn before")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if given.store:
            compare_batching(given.store)
            if given.people:
                server = Server(given.store)
                Lesson(server).hold(given.people, given.seconds)
                server.end()
            server = Server(given.store, "--rate", "1000000")
            print(f"started in {server.start_s:.1f} s")
            measure_alone(server)
            compare_with_encoder(server, given.store, 40)
            if given.clients:
                load(server, given.clients, given.seconds)
            time.sleep(2)
            print(f"memory at the end: {server.memory_mb:.0f} MB; exit {server.end()}")
            print(f"lines that it said: {len(server.said):,}", *server.said[-40:], sep="\n")
        if given.rows:
            folder = given.million or Path(scratch) / "million"
            if not EmbeddingStore.exists(folder):
                draw_store(folder, given.rows)
            server = Server(folder)
            print(f"{given.rows:,} images: started in {server.start_s:.1f} s")
            for path in ("/browse", "/api/v1/images?limit=60", "/store", "/"):
                start_s = time.monotonic()
                status = server.ask(path)
                print(f"first {path}: {status}, {(time.monotonic() - start_s) * 1000:.0f} ms")
            print(f"memory: {server.memory_mb:.0f} MB; exit {server.end()}")


if __name__ == "__main__":
    main()
