"""What is taken along: jobs that write files in the formats of other tools, and pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from bioprobe.face.exporting import find_ending
from bioprobe.face.keeping import find_layout_ending
from bioprobe.face.store import Store
from bioprobe.options import TEXT_HEAD, read_options
from bioprobe.result import Result
from bioprobe.web.api.annotations import Id
from bioprobe.web.api.asking import NARROWS, narrow
from bioprobe.web.api.build import (
    PROBLEMS,
    Plain,
    Rows,
    Template,
    Text,
    Word,
    build_body,
    like,
    read_given,
)
from bioprobe.web.api.jobs import JobState, Once, find_job
from bioprobe.web.desk import find_desk
from bioprobe.web.jobs import Advance, Write
from bioprobe.web.problems import Refusal

router = APIRouter(prefix="/api/v1", tags=["exports"], responses=PROBLEMS)

_FORMS = tuple(read_options(Store.export_answers)["form"][1].choices)
_LAYOUTS = tuple(one for one in read_options(Store.export)["layout"][1].choices if one != TEXT_HEAD)
# Jobs whose answers are answers to images.
_ANSWERING = ("zeroshot", "predict")
_Cell = Text | float | bool | None
_CHOSEN: dict[str, Any] = {
    "rows": (Rows | None, Field(None, description="Rows of the store.")),
    **NARROWS,
}
TableBody = build_body(
    "TableBody", Store.write_table, (),
    fields={"form": (Literal["csv", "parquet"], Field("csv", description="Format.")), **_CHOSEN},
    example={"form": "parquet", "where": "family == 'Felidae'"},
)  # fmt: skip
VectorsBody = build_body(
    "VectorsBody", Store.export, ("layout",), needed=("layout",),
    kinds={"layout": Literal[_LAYOUTS]}, fields=_CHOSEN,
    example={"layout": "npy", "rows": [0, 1, 2]},
)  # fmt: skip
TextHeadBody = build_body(
    "TextHeadBody", Store.export, ("level", "taxa", "text_type", "templates"),
    kinds={"taxa": Word | None, "templates": Template}, example={"level": "family"},
)  # fmt: skip
AnswersBody = build_body(
    "AnswersBody", Store.export_answers,
    ("form", "placeholders", "time_zone", "map_by", "people", "generalise", "safe_csv"),
    kinds={
        "form": Literal[_FORMS],
        # Nobody is shown whom the pages do not show.
        "people": Literal["leave-out", "obscure"] | None,
    },
    fields={
        "answers": (
            Id | None,
            Field(None, description="Job whose answers they are; by default the labels."),
        ),
        "about": (
            dict[Text, Any] | None,
            Field(None, description="Title, contributors, project and licenses, as in a "
                                    "datapackage.json."),
        ),
        "deployments": (
            Annotated[list[dict[Text, _Cell]], Field(min_length=1, max_length=10_000)] | None,
            Field(None, description="One row a deployment: deploymentID, latitude, longitude, "
                                    "deploymentStart, deploymentEnd."),
        ),
        "sensitive": (
            Annotated[list[Text], Field(min_length=1, max_length=10_000)] | None,
            Field(None, description="Taxa whose places are told less exactly."),
        ),
        **_CHOSEN,
    },
    example={"form": "coco", "where": "family == 'Felidae'"},
)  # fmt: skip
AnnotationsBody = build_body(
    "AnnotationsBody", Store.export_annotations, ("level", "safe_csv"),
    fields={"form": (Literal["csv", "json", "parquet"], Field("csv", description="Format."))},
    example={"form": "csv"},
)  # fmt: skip
ReportBody = build_body(
    "ReportBody", Store.report, ("name", "title", "names", "level", "taxa", "by", "counts", "map"),
    kinds={"name": Word | None, "names": Word | None, "taxa": Word | None, "map": Word | None},
    example={"level": "family", "title": "What is in the store"},
)  # fmt: skip


class SheetBody(BaseModel):
    """A contact sheet."""

    model_config = like({"answers": "0" * 32, "by": "answer"})

    answers: Id = Field(description="Job whose answers are shown.")
    by: Annotated[Plain, Field(max_length=200)] = Field(
        "answer", description="What pictures are grouped by: answer, or a column."
    )
    order: Annotated[Plain, Field(max_length=200)] | None = Field(
        None, description="Column that those of a group are sorted by; by default the surest first."
    )


@router.post("/jobs/export-table", response_model=JobState, status_code=202)
def begin_export_table(request: Request, body: TableBody, once: Once = None) -> Any:  # type: ignore[valid-type] # noqa: ANN401
    """Write the image table: row, file, labels and all other columns."""
    given = read_given(body)
    form, store = given.pop("form", "csv"), narrow(request, given)
    return _begin(
        request, "table", once, lambda _, folder: store.write_table(folder / f"images.{form}")
    )


@router.post("/jobs/export-vectors", response_model=JobState, status_code=202)
def begin_export_vectors(request: Request, body: VectorsBody, once: Once = None) -> Any:  # type: ignore[valid-type] # noqa: ANN401
    """Write the vectors for another tool, with all that is known of the images."""
    given = read_given(body)
    layout, store = given["layout"], narrow(request, given)
    name = f"vectors{find_layout_ending(layout)}"
    return _begin(
        request, "vectors", once,
        lambda told, folder: store.telling(told).export(folder / name, layout),
    )  # fmt: skip


@router.post("/jobs/export-text-head", response_model=JobState, status_code=202)
def begin_export_text_head(request: Request, body: TextHeadBody, once: Once = None) -> Any:  # type: ignore[valid-type] # noqa: ANN401
    """Write the classes that zero-shot would ask for as a text head."""
    given, store = read_given(body), find_desk(request).own
    return _begin(
        request, "text-head", once,
        lambda _, folder: store.export(folder / "head.npy", TEXT_HEAD, **given),
    )  # fmt: skip


@router.post("/jobs/export-answers", response_model=JobState, status_code=202)
def begin_export_answers(request: Request, body: AnswersBody, once: Once = None) -> Any:  # type: ignore[valid-type] # noqa: ANN401
    """Write the labels, or the answers of a job, in the format of another tool."""
    given = read_given(body)
    id, form = given.pop("answers", None), given["form"]
    answers = None if id is None else _find_answers(request, id)
    store = narrow(request, given)
    name = f"{form}{find_ending(form)}"

    def write(_: Advance, folder: Path) -> Result:
        said = _write_inputs(folder.parent, given)
        return store.export_answers(answers, target=folder / name, labels=answers is None, **said)

    return _begin(request, "answers", once, write)


@router.post("/jobs/export-annotations", response_model=JobState, status_code=202)
def begin_export_annotations(request: Request, body: AnnotationsBody, once: Once = None) -> Any:  # type: ignore[valid-type] # noqa: ANN401
    """Write what people said, so that another store of the same pictures can take it."""
    given, store = read_given(body), find_desk(request).own
    name = f"annotations.{given.pop('form', 'csv')}"
    return _begin(
        request, "annotations", once,
        lambda _, folder: store.export_annotations(folder / name, **given),
    )  # fmt: skip


@router.post("/jobs/sheet", response_model=JobState, status_code=202)
def begin_sheet(request: Request, body: SheetBody, once: Once = None) -> Any:  # noqa: ANN401
    """Write a contact sheet of the answers of a job: one page, people obscured."""
    answers: Any = _find_answers(request, body.answers)

    def write(_: Advance, folder: Path) -> Result:
        answers.write_page(folder / "sheet.html", by=body.by, order=body.order)
        return answers  # type: ignore[no-any-return]

    return _begin(request, "sheet", once, write)


@router.post("/jobs/report", response_model=JobState, status_code=202)
def begin_report(request: Request, body: ReportBody, once: Once = None) -> Any:  # type: ignore[valid-type] # noqa: ANN401
    """Write the report of an evaluation, or of what zero-shot finds at a level."""
    given, store = read_given(body), find_desk(request).own

    def write(told: Advance, folder: Path) -> Result:
        return store.report(**given, output=folder / "report.html", progress=told)

    return _begin(request, "report", once, write)


def _find_answers(request: Request, id: str) -> Result:
    """Return what a job answered of images.

    Raises
    ------
    Refusal
        If it did not, or not yet.
    """
    job = find_job(request, id)
    if job.answer is None or job.kind not in _ANSWERING:
        msg = (
            f"the job {id} ({job.kind}, {job.status}) has no answers to images; name one of "
            f"{' or '.join(_ANSWERING)} that is done"
        )
        raise Refusal(409, msg, kind="NoAnswers")
    return job.answer


def _write_inputs(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Return options with the names of files in place of what was sent."""
    import pandas as pd

    said = dict(given)
    if said.get("about") is not None:
        path = said["about"] = folder / "about.json"
        path.write_text(json.dumps(given["about"]), encoding="utf-8")
    if said.get("deployments") is not None:
        path = said["deployments"] = folder / "deployments.csv"
        pd.DataFrame(given["deployments"]).to_csv(path, index=False)
    if said.get("sensitive") is not None:
        path = said["sensitive"] = folder / "sensitive.txt"
        path.write_text("\n".join(given["sensitive"]), encoding="utf-8")
    return said


def _begin(request: Request, kind: str, once: str | None, write: Write) -> dict[str, Any]:
    return find_desk(request).jobs.begin_file(kind, write, id=once).describe()
