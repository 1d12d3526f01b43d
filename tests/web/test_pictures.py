"""Pictures that are sent are asked about, and one thread encodes those of several people."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import bioprobe as bp
from bioprobe.face.encoder import Encoder
from bioprobe.store import EmbeddingStore
from bioprobe.web.batching import Batcher
from bioprobe.web.problems import Refusal
from tests.web.conftest import ask_server

if TYPE_CHECKING:
    from tests.conftest import PlainEncoder

Vectors = npt.NDArray[np.float32]


@pytest.fixture
def encoder_of_server(encoder: PlainEncoder, monkeypatch: pytest.MonkeyPatch) -> PlainEncoder:
    """Let the server load the encoder in plain numpy, which counts what it is asked."""

    def load(model: str, **_: object) -> Encoder:
        assert model == encoder.name
        return Encoder(encoder)

    monkeypatch.setattr("bioprobe.face.encoder.encoder", load)
    return encoder


def write_picture(number: int, size_px: tuple[int, int] = (40, 30)) -> bytes:
    """Return the bytes of a picture."""
    noise = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).resize(size_px).save(stream, "PNG")
    return stream.getvalue()


def send(asks: TestClient, *data: bytes, names: Sequence[str] = ()) -> Any:  # noqa: ANN401
    """Send pictures, and return the answer."""
    named = names or [f"{n}.png" for n in range(len(data))]
    files = [("files", one) for one in zip(named, data, strict=True)]
    return asks.post("/api/v1/pictures", files=files)


def test_pictures_are_asked_as_the_face_asks_them(
    station: EmbeddingStore, encoder_of_server: PlainEncoder
) -> None:
    asks, data = ask_server(station), [write_picture(n) for n in range(2)]
    sent = send(asks, *data).json()["pictures"]
    assert [one["name"] for one in sent] == ["0.png", "1.png"]
    ids = [one["id"] for one in sent]
    vectors = Encoder(encoder_of_server).images(data)
    store = bp.open(station.folder, encoder=lambda: Encoder(encoder_of_server))
    body = {"pictures": ids, "level": "family", "k": 2}
    rows = asks.post("/api/v1/zeroshot", json=body).json()["rows"]
    expected = store.hold(vectors).zeroshot("family", k=2).to_frame()
    assert [one["family"] for one in rows] == expected["family"].tolist()
    assert [one["picture"] for one in rows] == [ids[0], ids[0], ids[1], ids[1]]
    assert set(expected["family"]) <= {"Felidae", "Canidae", "Bovidae", "Muridae"}
    body = {"picture": [f"{ids[0]}::2", f"{ids[1]}::-0.5"], "k": 3, "text": "a lion"}
    near = asks.post("/api/v1/search", json=body).json()["rows"]
    for one, several in ((vectors[0], [vectors[0]]), (vectors[:2], [*vectors[:2]])):
        alike = [store.search(vector=given).to_frame() for given in (one, several)]
        assert alike[0].equals(alike[1])
    found = store.search(vector=[(vectors[0], 2), (vectors[1], -0.5)], text="a lion", k=3)
    assert [one["row"] for one in near] == found.to_frame()["row"].tolist()
    mean = 2 * vectors[0] + encoder_of_server.encode_text(["a lion"])[0] - 0.5 * vectors[1]
    assert near[0]["row"] == int(np.argmax(station.read_vectors() @ mean))


def test_what_is_sent_twice_is_encoded_once_and_kept_by_its_bytes(
    station: EmbeddingStore, encoder_of_server: PlainEncoder
) -> None:
    asks, data = ask_server(station), write_picture(0)
    first = send(asks, data, data, names=["a.png", "../../b.png"]).json()["pictures"]
    again = send(asks, data).json()["pictures"]
    assert first[0]["id"] == first[1]["id"] == again[0]["id"]
    assert [one["name"] for one in first] == ["a.png", "b.png"]
    assert encoder_of_server.n_images_seen == 1


def test_one_bad_picture_stops_no_other(
    station: EmbeddingStore, encoder_of_server: PlainEncoder
) -> None:
    asks, large = ask_server(station, upload_pixels=2000), write_picture(1, (50, 41))
    answer = send(asks, write_picture(0), b"no picture", large, write_picture(2)[:60])
    assert answer.status_code == 200
    problems = [one["problem"] for one in answer.json()["pictures"]]
    assert problems[0] is None
    assert all(problems[1:])
    assert "2,050" in problems[2] or "2050" in problems[2]
    none = send(asks, b"no picture")
    assert (none.status_code, none.json()["type"]) == (422, "/api/v1/problems#image-read")
    assert encoder_of_server.n_images_seen == 1


def test_too_many_and_too_large_are_refused(
    station: EmbeddingStore, encoder_of_server: PlainEncoder
) -> None:
    asks = ask_server(station, upload_count=2, upload_bytes=2000)
    small = b"x" * 300
    assert send(asks, small, small, small).status_code == 413
    assert send(asks, b"x" * 1900).status_code == 413
    assert asks.post("/api/v1/pictures", json={}).status_code == 415
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    for content in (b"", b"--b", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--"):
        assert asks.post("/api/v1/pictures", content=content, headers=form).status_code in {
            400,
            422,
        }
    assert not encoder_of_server.batch_sizes


def test_pictures_that_are_not_known_are_named(client: TestClient) -> None:
    for address, body in (
        ("zeroshot", {"pictures": ["0" * 32], "level": "family"}),
        ("search", {"picture": "0" * 32}),
    ):
        answer = client.post(f"/api/v1/{address}", json=body)
        assert (answer.status_code, answer.json()["type"]) == (
            422, "/api/v1/problems#unknown-picture",
        )  # fmt: skip
    both = {"pictures": ["0" * 32], "rows": [0]}
    assert "rows" in client.post("/api/v1/zeroshot", json=both).json()["detail"]


def test_requests_that_come_together_are_one_pass() -> None:
    batcher, begun, go = Batcher(), threading.Event(), threading.Event()
    sizes: list[int] = []

    def encode(items: Sequence[int]) -> Vectors:
        sizes.append(len(items))
        begun.set()
        go.wait(5)
        if -1 in items:
            msg = "no such item"
            raise ValueError(msg)
        return np.array(items, dtype=np.float32)[:, np.newaxis]

    found: dict[int, Any] = {}

    def ask_for(number: int) -> None:
        try:
            found[number] = batcher.run(encode, [number, 10 * number]).ravel().tolist()
        except ValueError as error:
            found[number] = str(error)

    threads = [threading.Thread(target=ask_for, args=(n,)) for n in (1, 2, 3, -1)]
    threads[0].start()
    begun.wait(5)
    for one in threads[1:]:
        one.start()
    # The first is in the encoder; the others wait for it, then for each other.
    while batcher._n_items < 6:
        pass
    go.set()
    for one in threads:
        one.join(5)
    assert found == {1: [1, 10], 2: [2, 20], 3: [3, 30], -1: "no such item"}
    # What is wrong with one of three is tried again by itself.
    assert sizes[:2] == [2, 6]
    batcher.end()


def test_who_brings_too_much_is_told_to_come_again() -> None:
    batcher, begun, go = Batcher(most_waiting=2), threading.Event(), threading.Event()

    def encode(items: Sequence[int]) -> Vectors:
        begun.set()
        go.wait(5)
        return np.zeros((len(items), 1), dtype=np.float32)

    waiting = [
        threading.Thread(target=batcher.run, args=(encode, [0]), daemon=True) for _ in range(3)
    ]
    waiting[0].start()
    begun.wait(5)
    for one in waiting[1:]:
        one.start()
    while batcher._n_items < 2:
        pass
    with pytest.raises(Refusal) as refused:
        batcher.run(encode, [0])
    assert refused.value.status_code == 429
    go.set()
    for one in waiting:
        one.join(5)
    batcher.end()
