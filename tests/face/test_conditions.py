"""An option that does not count beside the others is refused, in every question."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, get_args

import pytest

import bioprobe as bp
from bioprobe.options import Ending, WithAny, Without, check_options, read_options

FUNCTIONS: list[Callable[..., Any]] = [bp.embed, bp.open, bp.pictures]
QUESTIONS: list[Callable[..., Any]] = [
    *FUNCTIONS,
    *(one for name, one in inspect.getmembers(bp.Store, callable) if not name.startswith("_")),
]


def _find_other(question: Callable[..., Any], name: str) -> Any:  # noqa: ANN401
    """Return a value of an option that is not its default."""
    kind, option = read_options(question)[name]
    default = inspect.signature(question).parameters[name].default
    if option.choices:
        return next(one for one in option.choices if one != default)
    kinds = get_args(kind) or (kind,)
    if bool in kinds:
        return not default
    if int in kinds or float in kinds:
        return (default or 0) + (option.least or 0) + 1
    return "something else"


def _iter_cases() -> Iterator[tuple[Callable[..., Any], dict[str, Any]]]:
    for question in QUESTIONS:
        for name, (_, option) in read_options(question).items():
            own = {name: _find_other(question, name)}
            for condition in option.when:
                if isinstance(condition, Without):
                    for other in condition.names:
                        yield question, {**own, other: _find_other(question, other)}
                elif isinstance(condition, Ending):
                    yield question, {**own, condition.name: "something else"}
                elif isinstance(condition, WithAny) or not condition.values:
                    yield question, own
                else:
                    yield question, {**own, condition.name: "something else"}


CASES = list(_iter_cases())


@pytest.mark.parametrize(
    ("question", "given"),
    [pytest.param(*case, id=f"{case[0].__name__}-{'-'.join(case[1])}") for case in CASES],
)
def test_an_option_out_of_its_condition_is_misuse(
    question: Callable[..., Any], given: dict[str, Any]
) -> None:
    with pytest.raises(bp.MisuseError, match="counts only with"):
        check_options(question, given)


def test_there_are_conditions_to_test() -> None:
    assert len(CASES) > 15


def test_limits_and_fixed_choices_are_told(store: bp.Store) -> None:
    with pytest.raises(bp.MisuseError, match=r"^-k is 1 or more, got 0$"):
        store.zeroshot("family", k=0)
    with pytest.raises(bp.MisuseError, match=r"^--abstain is 0 or more and 1 or less, got 2$"):
        store.zeroshot("family", abstain=2)
    with pytest.raises(
        bp.MisuseError, match=r"^--roll-up counts only with no --head and no --abstain; leave"
    ):
        store.zeroshot("family", head="x", roll_up=True)


def test_a_condition_of_one_question_stands_beside_a_shared_option() -> None:
    shared = read_options(bp.Store.zeroshot)["templates"][1]
    assert shared.when == (Without("head"),)
