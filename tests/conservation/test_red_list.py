"""The client of the Red List's API, against a server of its shape."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bioprobe.conservation import RedListClient, Statuses, Wanted, ask_red_list
from bioprobe.errors import SourceError
from tests.conservation.conftest import TOKEN, Clock, Served, assess

Make = Callable[..., RedListClient]


def want(*names: str, family: str = "") -> list[Wanted]:
    found = []
    for name in names:
        genus, *rest = name.split()
        species = " ".join([genus, *rest[:1]]) if rest else ""
        lineage = ("", "", "", "", family, genus, species)
        found.append(Wanted(lineage, name if len(rest) > 1 else ""))
    return found


def tell(found: Statuses) -> dict[str, str]:
    return {one.name: one.category.label for one in found.listed}


def say(found: Statuses) -> str:
    return "\n".join(map(str, found.notes))


CATS = ("Panthera leo", "Panthera onca", "Panthera tigris")


def test_pages_of_a_family_are_read_where_more_than_two_species_of_it_are_wanted(
    served: Served, make_client: Make
) -> None:
    others = [assess(f"Felis nulla{n}", "LC") for n in range(3)]
    served.families["Felidae"] = [*others, *(assess(name, "VU") for name in CATS)]
    served.per_page = 2
    for name in CATS:
        served.add(name, assess(name, "EN"))
    client = make_client()
    found = ask_red_list(want(*CATS, family="Felidae"), client=client)
    assert tell(found) == dict.fromkeys(CATS, "VU")
    assert [one.split("?")[0] for one in served.asked[1:]] == ["taxa/family/Felidae"] * 3
    assert found.about["red_list_version"] == "2025-1"
    # Of two species each is asked by its name.
    served.asked.clear()
    found = ask_red_list(want(*CATS[:2], family="Felidae"), client=client)
    assert tell(found) == dict.fromkeys(CATS[:2], "EN")
    assert all("scientific_name" in one for one in served.asked)


@pytest.mark.parametrize("headers", [("total-count", ""), ("", "X-Total-Pages"), ("Total", ""),
                                     ("", "")])  # fmt: skip
def test_all_pages_are_read_whatever_the_headers_are_called(
    served: Served, make_client: Make, headers: tuple[str, str]
) -> None:
    # 250 of 100 a page: the last page is short.
    names = [f"Felis nulla{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(250)]
    served.families["Felidae"] = [assess(name, "LC") for name in names]
    served.headers = headers
    found = ask_red_list(want(*names[-3:], family="Felidae"), client=make_client())
    assert tell(found) == dict.fromkeys(names[-3:], "LC")
    assert len(served.asked) == 4


def test_a_species_that_the_pages_of_its_family_lack_is_asked_by_name(
    served: Served, make_client: Make
) -> None:
    served.families["Felidae"] = [assess(name, "VU") for name in CATS]
    served.add("Lynx lynx", assess("Lynx lynx", "NT", scope="2", where="Europe"))
    found = ask_red_list(want(*CATS, "Lynx lynx", family="Felidae"), client=make_client())
    assert tell(found) == {**dict.fromkeys(CATS, "VU"), "Lynx lynx": "NE"}
    # A family that the list does not have is no end.
    found = ask_red_list(want(*CATS, "Lynx lynx", family="Nullidae"), client=make_client())
    assert tell(found) == {"Lynx lynx": "NE"}


def test_of_several_latest_assessments_the_global_one_of_the_newest_year_counts(
    served: Served, make_client: Make
) -> None:
    served.add(
        "Canis lupus",
        assess("Canis lupus", "NT", year="2024", scope="2", where="Europe"),
        assess("Canis lupus", "VU", year="2010"),
        assess("Canis lupus", "LC", year="2018"),
        assess("Canis lupus", "EN", year="2023", latest=False),
    )
    served.add("Lynx lynx", assess("Lynx lynx", "NT", year="2002", latest=False),
               assess("Lynx lynx", "LR/lc", year="1996", latest=False))  # fmt: skip
    served.add("Felis silvestris", assess("Felis silvestris", "NT", scope="2", where="Europe"),
               assess("Felis silvestris", "EN", year="2015", scope="3",
                      where="Mediterranean"))  # fmt: skip
    served.add("Caracal aurata")
    found = ask_red_list(
        want("Canis lupus", "Lynx lynx", "Felis silvestris", "Caracal aurata"), client=make_client()
    )
    assert tell(found) == {"Canis lupus": "LC", "Lynx lynx": "NT", "Felis silvestris": "NE",
                           "Caracal aurata": "NE"}  # fmt: skip
    (cat,) = (one for one in found.listed if one.name == "Felis silvestris")
    assert cat.describe() == ("Felis silvestris NE (global; Europe NT 2020, Mediterranean EN 2015)")
    assert "no global assessment, so NE (global); for regions: Felis silvestris (Europe" in say(
        found
    )
    assert "no assessment that is the latest: the newest published counts: Lynx lynx (2002)" in say(
        found
    )


def test_what_is_not_in_the_list_is_tried_by_its_synonyms(
    served: Served, make_client: Make
) -> None:
    served.add("Puma concolor", assess("Puma concolor", "LC"))
    served.add("Uncia uncia", assess("Panthera uncia", "VU"), scientific_name="Panthera uncia")
    synonyms = {"Felis concolor": "Puma concolor", "Uncia uncia": "Panthera uncia"}
    wanted = want("Felis concolor", "Panthera uncia", "Canis familiaris")
    found = ask_red_list(wanted, synonyms=synonyms, client=make_client())
    assert tell(found) == {"Felis concolor": "LC", "Panthera uncia": "VU"}
    assert "1 taxa not in the Red List, by name or synonym: Canis familiaris" in say(found)


def test_a_subspecies_is_asked_by_its_whole_name_and_then_as_its_species(
    served: Served, make_client: Make
) -> None:
    served.add("Panthera leo persica", assess("Panthera leo ssp. persica", "EN"))
    served.add("Panthera leo", assess("Panthera leo West Africa subpopulation", "CR"),
               assess("Panthera leo (Gir pod)", "CR"),
               assess("Panthera leo", "VU"))  # fmt: skip
    found = ask_red_list(want("Panthera leo persica", "Panthera leo leo"), client=make_client())
    assert tell(found) == {"Panthera leo persica": "EN", "Panthera leo": "VU"}


def test_a_genus_and_a_family_are_answered_by_all_their_species(
    served: Served, make_client: Make
) -> None:
    served.families["Felidae"] = [
        assess("Panthera leo", "VU"), assess("Panthera leo ssp. persica", "EN"),
        assess("Lynx pardinus", "VU"),
    ]  # fmt: skip
    (genus,) = want("Panthera", family="Felidae")
    assert tell(ask_red_list([genus], client=make_client())) == {"Panthera leo": "VU"}
    family = Wanted(("", "", "", "", "Felidae", "", ""))
    found = ask_red_list([family], client=make_client())
    assert set(tell(found)) == {"Panthera leo", "Lynx pardinus"}
    said = say(ask_red_list(want("Panthera"), client=make_client()))
    assert "1 taxa cannot be asked: give their family" in said


def test_a_missing_code_is_that_of_the_assessment_and_old_codes_and_tags_are_kept(
    served: Served, make_client: Make
) -> None:
    served.families["Felidae"] = [
        assess("Panthera leo", None, number=7), assess("Panthera onca", "LR/lc"),
        assess("Panthera tigris", "CR", possibly_extinct=True), assess("Lynx lynx", "Zz"),
    ]  # fmt: skip
    category = {"version": "3.1", "description": {"en": "Vulnerable"}, "code": "VU"}
    served.assessments["7"] = {"red_list_category": category}
    found = ask_red_list(want(*CATS, "Lynx lynx", family="Felidae"), client=make_client())
    assert tell(found) == {"Panthera leo": "VU", "Panthera onca": "LC",
                           "Panthera tigris": "CR(PE)", "Lynx lynx": ""}  # fmt: skip
    assert [one.category.written for one in found.listed][1] == "LR/lc"
    assert "a category that is none of today: no status: Lynx lynx (Zz)" in say(found)


def test_what_was_answered_is_kept_until_there_is_another_version(
    served: Served, make_client: Make, tmp_path: Path
) -> None:
    served.add("Lynx lynx", assess("Lynx lynx", "LC"))
    for n_asked in (2, 1):
        served.asked.clear()
        ask_red_list(want("Lynx lynx", "Canis nullus"), client=make_client())
        # The version is asked each time, and what is not in the list is kept too.
        assert len(served.asked) == 1 + (2 if n_asked == 2 else 0)
    served.version = "2025-2"
    served.add("Lynx lynx", assess("Lynx lynx", "VU"))
    found = ask_red_list(want("Lynx lynx"), client=make_client())
    assert tell(found) == {"Lynx lynx": "VU"}
    assert "version 2025-2" in say(found)
    assert all(TOKEN not in path.read_text() for path in (tmp_path / "kept").rglob("*.json"))


def test_without_a_network_what_is_kept_is_taken_and_said_to_be_old(
    served: Served, make_client: Make
) -> None:
    served.add("Lynx lynx", assess("Lynx lynx", "LC"))
    ask_red_list(want("Lynx lynx"), client=make_client())
    served.failures = [(503, {})] * 50
    found = ask_red_list(want("Lynx lynx"), client=make_client())
    assert tell(found) == {"Lynx lynx": "LC"}
    assert "what is kept is taken, of version 2025-1" in say(found)
    with pytest.raises(SourceError, match="answers 503, 5 times"):
        ask_red_list(want("Canis lupus"), client=make_client())


def test_calls_are_half_a_second_apart(served: Served, make_client: Make, clock: Clock) -> None:
    for name in ("Lynx lynx", "Canis lupus"):
        served.add(name, assess(name, "LC"))
    ask_red_list(want("Lynx lynx", "Canis lupus"), client=make_client())
    assert clock.slept_s == [0.5, 0.5]


def test_a_busy_or_broken_server_is_asked_again_and_waited_for(
    served: Served, make_client: Make, clock: Clock
) -> None:
    served.add("Lynx lynx", assess("Lynx lynx", "LC"))
    served.failures = [(429, {"Retry-After": "7"}), (0, {}), (502, {}),
                       (429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})]  # fmt: skip
    found = ask_red_list(want("Lynx lynx"), client=make_client())
    assert tell(found) == {"Lynx lynx": "LC"}
    assert clock.slept_s[0] == 7.0
    assert [one for one in clock.slept_s if one > 0.5] == [7.0, 2.0, 4.0]


def test_a_wait_that_is_too_long_ends_the_work_and_says_so(
    served: Served, make_client: Make, clock: Clock
) -> None:
    served.failures = [(429, {"Retry-After": "86400"})]
    with pytest.raises(SourceError, match=r"asks to wait for 86,400 s.*goes on there"):
        ask_red_list(want("Lynx lynx"), client=make_client())
    assert clock.slept_s == []


@pytest.mark.parametrize("broken", ["token", "address", "answer"])
def test_errors_say_the_remedy_and_never_the_token(
    served: Served, make_client: Make, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    if broken == "token":
        served.token = "another"
        expected = r"refuses the token in IUCN_REDLIST_KEY \(401\).*get one at https://"
    elif broken == "address":
        served.failures = [(302, {"Location": "http://127.0.0.1:1/"})]
        expected = "answers 302 to information/red_list_version; expected 200"
    else:
        served.version = ""
        expected = "does not say which version"
    with pytest.raises(SourceError, match=expected) as caught:
        ask_red_list(want("Lynx lynx"), client=make_client())
    assert TOKEN not in str(caught.value)
    assert TOKEN not in repr(make_client())
    monkeypatch.delenv("IUCN_REDLIST_KEY", raising=False)
    with pytest.raises(SourceError, match="asks for a token of your own: get one at"):
        RedListClient()


def test_a_token_that_cannot_be_one_is_refused_before_it_is_sent() -> None:
    with pytest.raises(SourceError, match="has a blank, a line break") as caught:
        RedListClient("abc\ndef")
    assert "abc" not in str(caught.value)
    with pytest.raises(SourceError, match="must begin with https"):
        RedListClient(TOKEN, address="http://example.org/api/v4")


def test_lists_without_names_and_codes_are_completed_by_their_assessments(
    served: Served, make_client: Make
) -> None:
    """So the API answered before 2025: every list had numbers, years and scopes alone."""

    def bare(name: str, number: int, code: str, **more: object) -> dict[str, object]:
        whole = assess(name, None, number=number, **more)  # type: ignore[arg-type]
        listed = {key: value for key, value in whole.items()
                  if key not in {"taxon_scientific_name", "possibly_extinct"}}  # fmt: skip
        served.assessments[str(number)] = {
            **whole, "taxon": {"scientific_name": name}, "red_list_category": {"code": code},
            "possibly_extinct": code == "CR",
        }  # fmt: skip
        return listed

    served.families["Felidae"] = [bare("Panthera leo", 1, "VU"), bare("Panthera onca", 2, "CR"),
                                  bare("Panthera leo Gir subpopulation", 3, "EN")]  # fmt: skip
    served.add("Panthera leo", *served.families["Felidae"][:1])
    served.add("Lynx lynx", bare("Lynx lynx", 4, "NT", scope="2", where="Europe"))
    lynx, lion = want("Lynx lynx", "Panthera leo")
    found = ask_red_list([lynx, lion, *want("Panthera", family="Felidae")], client=make_client())
    assert tell(found) == {"Lynx lynx": "NE", "Panthera leo": "VU", "Panthera onca": "CR(PE)"}
    assert found.listed[0].regional == ("Europe NT 2020",)


def test_a_fault_midway_costs_no_page_that_came(served: Served, make_client: Make) -> None:
    served.families["Felidae"] = [assess(f"Felis {name}", "LC") for name in ("una", "duo", "tria")]
    served.per_page = 1
    wanted = want("Felis una", "Felis duo", "Felis tria", family="Felidae")
    client = make_client()
    assert client.version
    client.read_family("Felidae")
    pages = [one for one in served.asked if "family" in one]
    for path in sorted(client._cache.glob("family-*"))[-1:]:
        path.unlink()
    served.asked.clear()
    assert len(tell(ask_red_list(wanted, client=make_client()))) == 3
    assert [one for one in served.asked if "family" in one] == pages[-1:]


@pytest.mark.parametrize("answer", [{"error": f"of {TOKEN}"}, [], {"assessments": None}])
def test_an_answer_of_another_shape_is_no_answer_and_is_not_kept(
    served: Served, make_client: Make, answer: object
) -> None:
    served.names["Lynx lynx"] = answer  # type: ignore[assignment]
    with pytest.raises(SourceError, match="without assessments") as caught:
        ask_red_list(want("Lynx lynx"), client=make_client())
    assert TOKEN not in str(caught.value)
    served.add("Lynx lynx", assess("Lynx lynx", "LC"))
    assert tell(ask_red_list(want("Lynx lynx"), client=make_client())) == {"Lynx lynx": "LC"}


def test_one_name_that_the_api_refuses_stops_no_other(
    served: Served, make_client: Make, clock: Clock
) -> None:
    served.add("Canis lupus", assess("Canis lupus", "LC"))
    client = make_client()
    assert client.version
    served.failures = [(400, {}), (422, {})]
    wanted = [*want("Felis", family="Fel;idae"), *want("Lynx lynx", "Canis lupus")]
    found = ask_red_list(wanted, client=client)
    assert tell(found) == {"Canis lupus": "LC"}
    assert "2 taxa have names that the API refuses: Fel;idae (" in say(found)
    # A limit of calls that says no time is waited for longer than a fault.
    served.failures = [(429, {})]
    ask_red_list(want("Lynx lynx"), client=client)
    assert max(clock.slept_s) == 10.0
