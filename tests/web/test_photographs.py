"""The page of real photographs: what a person does first."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from bioprobe.web.app import build_app


@pytest.mark.shared
def test_photographs_are_browsed_and_asked(
    held_out_photos: Path, shared_dir: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(held_out_photos, tmp_path / "store")
    app = build_app(folder)
    asks = TestClient(app, base_url="http://127.0.0.1")
    families = asks.get("/browse?by=family").text
    assert "Felidae" in families
    cats = asks.get("/browse?by=family&value=Felidae&order=alike").text
    assert len(re.findall("<figure>", cats)) > 3
    photos = shared_dir / "data" / "noise-photos" / "not_animal"
    names = [sorted((shared_dir / "data" / "photos" / "panthera-tigris").glob("*.jpg"))[0],
             photos / "test_008.jpg"]  # fmt: skip
    sent = TestClient(app, base_url="http://127.0.0.1").post(
        "/api/v1/pictures", files=[("files", (one.name, one.read_bytes())) for one in names]
    )
    ids = [one["id"] for one in sent.json()["pictures"]]
    page = asks.get("/ask", params={"picture": ids, "level": "family"}).text
    said = re.findall(r"<h2>(.*?)</h2>", page)
    assert said[:2] == ["Felidae", "Not recognised"]
    assert "It looks rather like: sign." in page
