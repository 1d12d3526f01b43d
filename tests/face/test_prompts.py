from __future__ import annotations

import math
import subprocess
import sys

import pytest

from bioprobe.errors import MisuseError
from bioprobe.face.prompts import shipped
from bioprobe.face.store import Store
from bioprobe.splits import make_split, write_split
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Rank
from tests.face.conftest import Teach

# By "a …" three of four images are right, by "the …" one.
TEXTS = {
    "a Panthera leo": [1.0, 0, 0, 0],
    "a Lynx lynx": [0.0, 0, 0, 1],
    "a Canis lupus": [0.0, 0, 1, 0],
    "the Panthera leo": [0.0, 0, 1, 0],
    "the Lynx lynx": [0.0, 1, 0, 0],
    "the Canis lupus": [1.0, 0, 0, 0],
}


def test_the_better_texts_stand_first_with_their_accuracy(store: Store, teach: Teach) -> None:
    teach(TEXTS)
    compared = store.prompts(text_types=["sci"], template_sets=["the {}", "a {}"])
    frame = compared.to_frame()
    assert frame["templates"].tolist() == ["a {}", "the {}"]
    assert frame["accuracy"].tolist() == [0.75, 0.25]
    assert frame["difference"].tolist() == [0, -0.5]
    assert math.isnan(frame["p_value"][0])
    # Of four images three are right by one way alone and one by the other: 2 · (1 + 4) / 2**4.
    assert frame["p_value"][1] == 0.625
    assert [str(note).split(" (")[0] for note in compared.notes] == [
        "recommended: --text-type sci --templates a {}",
        "not distinguishable from it on these images: sci the {}",
        "worse than it, by more than chance explains: 0 of 1 others",
        "it was chosen on these images, so measure it on others",
    ]


def test_fewer_images_are_asked_where_that_is_said(store: Store, teach: Teach) -> None:
    teach(TEXTS)
    cats = store.where("family == 'Felidae'").prompts(text_types="sci", template_sets="a {}")
    assert cats.sets[0].right.tolist() == [True, True, False]
    assert cats.provenance.condition == "family == 'Felidae'"
    kept = EmbeddingStore.open(store.folder)
    split = make_split(kept, Rank.FAMILY, fractions=(0.5, 0, 0.5))
    write_split(kept, split)
    part = store.prompts(text_types="sci", template_sets="a {}", split="default:test")
    assert len(part.sets[0].right) == len(split.rows("test"))
    said = str(part.notes[0])
    assert said == f"images of the part test of the split default: {len(split.rows('test'))}"
    with pytest.raises(MisuseError, match="--where"):
        store.prompts(split="family=Felidae")


def test_what_ships_is_listed_without_torch() -> None:
    code = (
        "import sys; from bioprobe.cli.app import run; assert run(['prompts', 'list', '-q']) == 0;"
        "print(sorted(set(sys.modules) & {'torch', 'open_clip', 'transformers'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert len(shipped().templates["openai"]) == 80
