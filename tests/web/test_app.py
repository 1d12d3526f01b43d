"""A page is served to who may see it, with nothing of anybody else in it."""

from __future__ import annotations

from fastapi.testclient import TestClient

from bioprobe.store import EmbeddingStore
from bioprobe.web.app import build_app


def test_the_page_of_a_store_says_what_is_in_it(families: EmbeddingStore) -> None:
    asks = TestClient(build_app(families.folder), base_url="http://127.0.0.1")
    answer = asks.get("/store")
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "images</p>" in answer.text


def test_another_host_is_refused(families: EmbeddingStore) -> None:
    asks = TestClient(build_app(families.folder), base_url="http://elsewhere.example")
    assert asks.get("/store").status_code == 400
