"""Files of settings that people write: each value of another type is an error that names it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bioprobe.errors import PromptError, SourceError
from bioprobe.files import prompts_dir
from bioprobe.interchange.vector_source import Declaration
from bioprobe.quality.noise import read_noise_prompts

WRONG: tuple[object, ...] = (
    7,
    1.5,
    True,
    "a text",
    [],
    [7],
    [["a"]],
    {},
    {"a": "b"},
    {"a": [7]},
    {"a": {"b": ["c"]}},
)


def _write_toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_write_toml(part)}" for key, part in value.items()) + "}"
    return json.dumps(value)


def _write_prompts(path: Path, settings: dict[str, Any]) -> str:
    path.write_text("".join(f"{key} = {_write_toml(one)}\n" for key, one in settings.items()))
    return str(path)


PROMPTS = {
    "source": "me",
    "templates": ["a photo of {}."],
    "kept": {"animal": ["an animal"]},
    "dropped": {"map": ["a map"]},
}
TAKES: dict[str, tuple[object, ...]] = {
    "source": ("a text",),
    "templates": (),
    "kept": (),
    "dropped": (),
}


@pytest.mark.parametrize("key", PROMPTS)
def test_every_wrong_type_in_prompts_of_a_filter_is_refused(tmp_path: Path, key: str) -> None:
    for value in WRONG:
        if value in TAKES[key] and not isinstance(value, bool):
            continue
        written = _write_prompts(tmp_path / "p.toml", {**PROMPTS, key: value})
        with pytest.raises(
            PromptError, match=rf"p.toml.*{'template' if key == 'templates' else key}"
        ):
            read_noise_prompts(written)


def test_a_text_where_a_list_belongs_is_not_read_letter_by_letter(tmp_path: Path) -> None:
    written = _write_prompts(tmp_path / "p.toml", {**PROMPTS, "kept": {"animal": "an animal"}})
    with pytest.raises(PromptError, match=r"kept is .* expected a table of lists of texts"):
        read_noise_prompts(written)
    with pytest.raises(PromptError, match=r"tempaltes is not known \(did you mean templates\?\)"):
        read_noise_prompts(_write_prompts(tmp_path / "q.toml", {**PROMPTS, "tempaltes": ["{}"]}))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x = " + "[" * 100_000, "holds no noise prompts"),
        ("x = [" + "{a=" * 3000 + "1" + "}" * 3000 + "]", "holds no noise prompts"),
        ("#" * 1_000_001, "1,000,001 bytes"),
    ],
)
def test_deep_and_large_settings_are_errors_of_ours(
    tmp_path: Path, text: str, problem: str
) -> None:
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(PromptError, match=problem):
        read_noise_prompts(str(tmp_path / "p.toml"))


def test_a_byte_order_mark_is_no_part_of_the_text_and_many_texts_are_refused(
    tmp_path: Path,
) -> None:
    shipped = prompts_dir() / "noise" / "animal.toml"
    (tmp_path / "animal.toml").write_bytes(b"\xef\xbb\xbf" + shipped.read_bytes())
    assert read_noise_prompts(str(tmp_path / "animal.toml")) == read_noise_prompts("animal")
    phrases = [f"p{number}" for number in range(20_000)]
    written = _write_prompts(tmp_path / "p.toml", {**PROMPTS, "kept": {"animal": phrases}})
    with pytest.raises(PromptError, match=r"20,001 texts .* expected 10,000 at most"):
        read_noise_prompts(written)


@pytest.mark.parametrize("key", ["model", "logit_scale", "columns", "text_columns", "normalised"])
def test_every_wrong_type_in_what_exported_vectors_say_is_refused(key: str) -> None:
    right = {"model": "m", "logit_scale": 1.0, "columns": {"a": "b"}, "text_columns": ["a"]}
    taken: dict[str, tuple[object, ...]] = {
        "model": ("a text",),
        "logit_scale": (7, 1.5),
        "columns": ({}, {"a": "b"}),
        "text_columns": ([],),
        "normalised": (True,),
    }
    assert Declaration.from_json(json.dumps(right), "it") is not None
    for value in WRONG:
        if any(type(value) is type(one) and value == one for one in taken[key]):
            continue
        with pytest.raises(SourceError, match=rf"cannot be read \({key} is"):
            Declaration.from_json(json.dumps({**right, key: value}), "it")
