from __future__ import annotations

from pathlib import Path

import pytest

from bioprobe.errors import PromptError, SourceError
from bioprobe.prompts import read_all_templates, read_templates, shipped_templates


@pytest.mark.usefixtures("example_package")
def test_every_set_is_read_by_its_name() -> None:
    sets, missing = read_all_templates()
    assert {"plain", "openai"} <= set(shipped_templates())
    assert set(sets) == {*shipped_templates(), "postcard"}
    assert missing == ()
    for name, templates in sets.items():
        assert templates == read_templates(name)
        assert templates
        assert all(template.count("{}") == 1 for template in templates)
        assert len(set(templates)) == len(templates)


def test_the_80_templates_of_openai_are_those_of_open_clip() -> None:
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    templates = read_templates("openai")
    assert len(templates) == 80
    written = [template.replace("{}", "owl") for template in templates]
    assert written == [template("owl") for template in OPENAI_IMAGENET_TEMPLATES]


def test_a_template_stands_for_itself() -> None:
    assert read_templates("a {} on snow") == ("a {} on snow",)
    assert read_templates("{}") == ("{}",)


def test_a_file_has_one_template_a_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text(
        "\ufeff# Source: us\n\n  a {} by day \n  # more\n{} at night\n", encoding="utf-8"
    )
    assert read_templates(str(path)) == ("a {} by day", "{} at night")


@pytest.mark.parametrize(
    ("line", "got"), [("a photo", "'a photo'"), ("{} and {}", "'{} and {}'"), ("{ }", "'{ }'")]
)
def test_a_line_without_one_placeholder_is_named_by_its_number(
    tmp_path: Path, line: str, got: str
) -> None:
    path = tmp_path / "mine.txt"
    path.write_text(f"# comment\na photo of {{}}.\n\n{line}\n")
    with pytest.raises(PromptError) as caught:
        read_templates(str(path))
    expected = f"mine.txt line 4 must hold {{}} once, where the name goes; got {got}"
    assert str(caught.value) == expected


def test_a_template_with_two_placeholders_is_refused() -> None:
    with pytest.raises(PromptError, match=r"the template must hold \{\} once"):
        read_templates("{} and {}")


def test_a_file_without_templates_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("# nothing yet\n")
    with pytest.raises(PromptError, match=r"mine\.txt holds no template; write one a line"):
        read_templates(str(tmp_path / "mine.txt"))


def test_an_unknown_set_is_refused_with_those_that_ship() -> None:
    with pytest.raises(PromptError, match=r"no template set 'poetry'; expected one of .*plain"):
        read_templates("poetry")


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_bytes("un ñandú {}\n".encode("latin-1"))
    with pytest.raises(SourceError, match="is not UTF-8 text"):
        read_templates(str(tmp_path / "mine.txt"))
