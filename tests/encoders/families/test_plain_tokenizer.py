"""Tokenizers that are read without transformers give its ids, and all others are left to it."""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from open_clip.tokenizer import HFTokenizer, get_clean_fn

from bioprobe.encoders.families.plain_tokenizer import PlainTokenizer, read_plain_tokenizer
from bioprobe.encoders.families.text_tower import find_padding
from bioprobe.files import read_json, sketch_weights_dir
from bioprobe.sketch import read_species

CONTEXT_LENGTH = 64
FOLDER = sketch_weights_dir()
ODD = [
    "", " ", "\n\t ", "a", "A Photo OF a CAT.", "  a  photo\tof\na cat  ", "don't, won't; it's",
    "Zoë's naïve café", "Zoe\u0308's nai\u0308ve", "ÅÉÎÕÜ ß ẞ İ \u0131 \u017f",
    "Æthelred œuvre ﬁne ½ ① ™", "鴨嘴獸", "カモノハシ ｶﾓﾉﾊｼ", "утконос", "πλατύπους ς", "חתול",
    "قطة", "बिल्ली", "แมว", "고양이", "🐈", "\U0001f469\U0001f3fd\u200d\U0001f52c", "🇫🇷",
    "\x00\x01\x1b[0m\x7f\x85", "\u200b\u200d\u2060\ufeff", "&amp;amp; &lt;b&gt;",
    "schÃ¶n â€œquotedâ€", "<pad>", "<begin> a cat <end>", "a<end>b", "< end >",
    "cat " * 62, "cat " * 63, "cat " * 200, "x" * 500, "#@!$%^&*()_+{}|:\"<>?",
    "Panthera_uncia", "\u202eabc", "a/b\\c", "1234567890 3.14 -5",
    "\ufffd", "\U0010ffff", "\u00a0\u3000", "\uff21 \uff23", "ﷺ",
]  # fmt: skip


def read(folder: Path, clean: str = "whitespace") -> PlainTokenizer | None:
    return read_plain_tokenizer(folder, context_length=CONTEXT_LENGTH, clean=get_clean_fn(clean))


def compare(folder: Path, texts: list[str], clean: str = "whitespace") -> None:
    mine, theirs = read(folder, clean), HFTokenizer(str(folder), CONTEXT_LENGTH, clean)
    assert mine is not None
    assert mine.padding == find_padding(theirs.tokenizer)
    expected = theirs(texts)
    found = mine(texts)
    assert found.dtype == expected.dtype
    for text, ids, same in zip(texts, found, expected, strict=True):
        assert torch.equal(ids, same), repr(text)
        cleaned = theirs.clean_fn(text)
        counted = theirs.tokenizer(cleaned, truncation=False, verbose=False).input_ids
        assert mine.count(text) == len(counted), repr(text)


def test_its_ids_are_those_of_transformers() -> None:
    species = [one for known in read_species() for one in (known.name, known.description)]
    compare(FOLDER, [*ODD, *species])
    mine = read(FOLDER)
    assert mine is not None
    assert mine([]).shape == (0, CONTEXT_LENGTH)


@pytest.mark.long
@pytest.mark.parametrize("clean", ["whitespace", "lower", "canonicalize"])
def test_so_are_those_of_many_characters_and_of_drawn_texts(clean: str) -> None:
    rng = np.random.default_rng(0)
    # All but the halves of pairs, which no text of Unicode has alone.
    known = [chr(one) for one in range(0x110000) if not 0xD800 <= one <= 0xDFFF]
    assigned = [one for one in known if unicodedata.category(one) not in {"Cn", "Co"}]
    single = [f"a {one}b" for one in assigned if ord(one) < 0x3000]
    drawn = [
        "".join(assigned[place] for place in rng.integers(size, size=rng.integers(1, 90)))
        for size in (95, 300, 2000, len(assigned))
        for _ in range(200)
    ]
    compare(FOLDER, single + drawn, clean)


def _write(change: Callable[[Path], None], folder: Path) -> Path:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(FOLDER / name, folder / name)
    change(folder)
    return folder


def _set(**settings: Any) -> Callable[[Path], None]:  # noqa: ANN401 - any JSON
    def change(folder: Path) -> None:
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps(read_json(path, dict) | settings), encoding="utf-8")

    return change


def _rewrite(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        path = folder / "tokenizer.json"
        content = read_json(path, dict)
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")

    return rewrite


_TRUNCATION = {"max_length": 9, "stride": 0, "strategy": "LongestFirst", "direction": "Left"}


@pytest.mark.parametrize(
    "change",
    [
        _set(tokenizer_class="BertTokenizer"),
        _set(add_bos_token=True),
        _set(padding_side="left"),
        _set(additional_special_tokens=["cat"]),
        _set(pad_token={"content": "<pad>", "__type": "AddedToken"}),
        _set(pad_token=None),
        _set(mask_token="<mask>"),
        _rewrite(lambda content: content["added_tokens"][1].update(lstrip=True)),
        _rewrite(lambda content: content.update(post_processor=None)),
        _rewrite(lambda content: content.update(truncation=_TRUNCATION)),
        _rewrite(lambda content: content.update(model={"type": "unknown"})),
        lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'),
        lambda folder: (folder / "special_tokens_map.json").write_text("{}"),
        lambda folder: (folder / "tokenizer_config.json").unlink(),
    ],
)  # fmt: skip
def test_what_transformers_would_change_is_left_to_it(
    change: Callable[[Path], None], tmp_path: Path
) -> None:
    assert read(_write(change, tmp_path)) is None


def test_one_that_pads_with_what_ends_a_text_is_read_alike(tmp_path: Path) -> None:
    compare(_write(_set(pad_token="<end>"), tmp_path), ODD)


def test_a_name_of_the_class_by_version_5_is_read_alike(tmp_path: Path) -> None:
    if int(transformers.__version__.partition(".")[0]) < 5:
        pytest.skip("transformers knows no TokenizersBackend before version 5")
    compare(_write(_set(tokenizer_class="TokenizersBackend"), tmp_path), ODD)


def test_one_of_very_many_words_is_left_to_transformers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _write(lambda _: None, tmp_path)
    n_words = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
    name = "bioprobe.encoders.families.plain_tokenizer._MOST_WORDS"
    monkeypatch.setattr(name, n_words - 1)
    assert read(folder) is None
    monkeypatch.setattr(name, n_words)
    assert read(folder) is not None
