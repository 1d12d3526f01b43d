"""A server under load: how fast it answers, what it holds, and its first view of a million images.

Starts ``bioprobe serve`` on a store that is drawn, and asks it as 50 clients do at once: pages of
images, searches by row, zero-shot of rows, annotations, pictures, and what is broken. Then starts
it on a store of a million drawn images, and asks for the first views:
``python -m benchmarks.serve [--seconds 60] [--clients 50] [--rows 1000000]``.
"""

from __future__ import annotations

import argparse
import collections
import io
import json
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
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from bioprobe.encoders.encoder import Fingerprint
from bioprobe.store import EmbeddingStore

_SHARD_ROWS = 16_384
_DIM = 64
# Kinds of requests, and how often each is made.
_KINDS = {"images": 6, "search": 6, "zeroshot": 2, "annotate": 3, "picture": 2, "broken": 1}


def draw_store(folder: Path, n_rows: int) -> EmbeddingStore:
    """Fill a store with drawn vectors and a table as camera traps have it."""
    random = np.random.default_rng(0)
    mark = Fingerprint(
        model="drawn", weights_sha256="0" * 64, preprocessing_sha256="0" * 64, precision="fp32",
        backend="numpy",
    )  # fmt: skip
    store = EmbeddingStore.create(folder, mark, dim=_DIM, dtype="float16")
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


def write_form(random: np.random.Generator) -> tuple[bytes, str]:
    """Return a form with a picture, and its kind."""
    stream = io.BytesIO()
    noise = random.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((640, 480)).save(stream, "JPEG")
    edge = uuid.uuid4().hex
    head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    body = head.encode() + stream.getvalue() + f"\r\n--{edge}--\r\n".encode()
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
        return server.ask("/api/v1/pictures", *write_form(random))
    host, port = server.address.removeprefix("http://").split(":")
    body, form = write_form(random)
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


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, help="store that is asked under load")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--million", type=Path, help="such a store, drawn before")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if given.store:
            server = Server(given.store, "--rate", "1000000")
            print(f"started in {server.start_s:.1f} s")
            measure_alone(server)
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
