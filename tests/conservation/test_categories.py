from __future__ import annotations

import pytest

from bioprobe.conservation import CODES, COLOURS, INKS, NAMES, find_threat, read_category


@pytest.mark.parametrize(
    ("text", "label"),
    [
        *((code, code) for code in CODES),
        *((name.upper(), code) for code, name in NAMES.items()),
        (" vu ", "VU"), ("critically  endangered (CR)", "CR"), ("CR - Critically Endangered", "CR"),
        ("CR(PE)", "CR(PE)"), ("CR (PEW)", "CR(PEW)"), ("possibly extinct", "CR(PE)"),
        ("Critically Endangered (Possibly Extinct)", "CR(PE)"),
        ("CR A2cd (possibly extinct)", "CR(PE)"),
        ("Possibly Extinct in the Wild", "CR(PEW)"), ("near_threatened", "NT"),
        ("LR/lc", "LC"), ("LR/nt", "NT"), ("LR/cd", "NT"), ("LR(cd)", "NT"), ("lr lc", "LC"),
        ("Lower Risk/conservation dependent", "NT"), ("Lower Risk: least concern", "LC"),
        ("VU A2cd+3d; C1", "VU"), ("EN B1ab(iii)+2ab(iii,v)", "EN"), ("VU D2", "VU"),
        ("EN (Endangered) A2cd", "EN"), ("VU ver 3.1", "VU"), ("IUCN: VU", "VU"),
        ("VU (decreasing)", "VU"), ("NE (global)", "NE"), ("CR*", "CR"),
        ("En Peligro Crítico", "CR"), ("Préoccupation mineure", "LC"), ("E", "EN"), ("K", "DD"),
        ("Sårbar", "VU"), ("Sårbar (VU)", "VU"), ("Vom Aussterben bedroht", "CR"),
        ("gefährdet", "VU"), ("endangered (IUCN)", "EN"),
        ("Ernstig bedreigd", "CR"), ("Minor preoccupazione", "LC"), ("Уязвимый", "VU"),
        ("濒危", "EN"), ("絶滅危惧Ⅱ類", "VU"), ("위급", "CR"), ("Sắp nguy cấp", "VU"),
        ("critically-endangered", "CR"), ("<b>VU</b>", "VU"), ("VU (IUCN)", "VU"),
        ("NT - nearly meets A2", "NT"), ("Endemic species [EN]", "EN"), ("LR: cd", "NT"),
        ("Least Concern; population increasing", "LC"),
        # Kept, and without an equivalent today.
        ("I", ""), ("Rare", ""), ("Lower Risk", ""), ("NA", ""), ("Ex?", ""),
    ],
)  # fmt: skip
def test_a_category_is_read_however_it_is_written(text: str, label: str) -> None:
    found = read_category(text)
    assert found is not None
    assert found.label == label
    assert found.written == " ".join(text.split())


@pytest.mark.parametrize(
    "text",
    ["", "threatened", "not threatened", "present", "yes", "vu?", "Near Threatened (VU)",
     "LC/NT", "data", "A2cd", "LC(PE)", "VU " + "x" * 300, "VU (was EN)", "Endangered (VU)",
     "no (ne)", "Vulnérable (EN)", "Vulnerable to disease"],
)  # fmt: skip
def test_what_is_none_or_two_is_none(text: str) -> None:
    assert read_category(text) is None


def test_threatened_is_vu_en_and_cr_and_what_is_extinct_or_unknown_is_neither() -> None:
    threats = {code: find_threat(code) for code in CODES}
    assert [code for code, one in threats.items() if one == "threatened"] == ["CR", "EN", "VU"]
    assert [code for code, one in threats.items() if one == "not threatened"] == ["NT", "LC"]
    assert find_threat("") == "no status"


def _lighten(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_codes_are_legible_on_the_official_colours() -> None:
    assert COLOURS["LC"] == "#60C659"
    assert COLOURS["CR"] == "#D81E05"
    for code in CODES:
        lights = sorted((_lighten(COLOURS[code]), _lighten(INKS[code])))
        assert (lights[1] + 0.05) / (lights[0] + 0.05) >= 4.5
