"""What is in the store, whether it is whole, and what it can be taken along as."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse
from starlette.background import BackgroundTask

from bioprobe.web.desk import find_desk, find_store
from bioprobe.web.problems import Refusal
from bioprobe.web.views.browse import Chosen

# Pictures that could not be read and are named.
_SHOWN = 50
#: What is taken along, by the name of the file.
EXPORTS = {
    "images.csv": "the table of images, with their labels",
    "images.parquet": "the same, with the types of its columns",
    "vectors.parquet": "vectors and labels, as emb-explorer reads them",
    "annotations.csv": "what people said of pictures",
}

router = APIRouter(include_in_schema=False)
LINK = ("/store", "Store")


@router.get("/store")
def show(request: Request) -> HTMLResponse:
    """Show what is in the store."""
    desk = find_desk(request)
    store = find_store(request)
    found = store.info()
    facts = found.to_frame().to_dict("records")[0]
    exports = dict(EXPORTS)
    if not len(store.annotations().to_frame()):
        del exports["annotations.csv"]
    return desk.show(
        request, "store.html.j2", facts=facts, notes=found.notes, store=store, exports=exports,
        columns=store.columns().to_frame().to_dict("records"),
        masks=store.masks().to_frame().to_dict("records"),
        probes=store.probes().to_frame().to_dict("records"),
        splits=store.splits().to_frame().to_dict("records"),
        failures=store.failures.head(_SHOWN).to_dict("records"), n_failures=len(store.failures),
    )  # fmt: skip


@router.get("/store/health")
def check(request: Request) -> HTMLResponse:
    """Check every byte, and say what was found."""
    desk = find_desk(request)
    found = find_store(request).verify()
    problems = found.to_frame().to_dict("records")
    return desk.show(request, "health.html.j2", notes=found.notes, problems=problems)


@router.get("/store/export/{name}")
def send_export(request: Request, name: str, choice: Chosen) -> FileResponse:
    """Write what is asked for into a file of its own, send it, and forget it."""
    if name not in EXPORTS:
        msg = f"there is no {name}; there are {', '.join(EXPORTS)}"
        raise Refusal(404, msg, kind="NoExport")
    store = choice.open(request)
    folder = Path(tempfile.mkdtemp(prefix="bioprobe-export-"))
    forget = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    try:
        with find_desk(request).working():
            if name.startswith("images"):
                store.write_table(folder / name)
            elif name.startswith("vectors"):
                store.export(folder / name, "emb-explorer")
            else:
                store.export_annotations(folder / name)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return FileResponse(folder / name, filename=name, background=forget)
