"""Embed every image once, then ask everything of the embeddings.

``import bioprobe as bp`` is the face: what stands in ``__all__`` is loaded when it is first named,
so that importing the package costs nothing. Everything below is laid out as the data flow; a module
imports only from those that stand before it.

Examples
--------
>>> import bioprobe as bp
>>> store = bp.open("embeddings/all")  # doctest: +SKIP
>>> store.zeroshot("family").to_frame()  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bioprobe.errors import (
    BioprobeError,
    ImageReadError,
    LongTextError,
    MismatchError,
    MissingExtraError,
    MisuseError,
    ModelUnavailableError,
    NoTextTowerError,
    ProbeError,
    PromptError,
    SelectionError,
    SourceError,
    StoreError,
    StoreLockedError,
    TaxonomyError,
    UnreadableError,
)

if TYPE_CHECKING:
    from bioprobe import probes
    from bioprobe.content import (
        Classified,
        ContentDecision,
        ContentRules,
        Detected,
        decide_content,
        read_content,
    )
    from bioprobe.face import models, taxa
    from bioprobe.face.compared_pages import Comparison, Estimates
    from bioprobe.face.comparing import compare
    from bioprobe.face.encoder import encoder
    from bioprobe.face.evaluation import Evaluation
    from bioprobe.face.filling import embed
    from bioprobe.face.keeping import import_vectors
    from bioprobe.face.probe import Probe
    from bioprobe.face.sending import pull
    from bioprobe.face.sources import list_sources, show_source
    from bioprobe.face.store import Store, from_vectors, merge, open, pictures
    from bioprobe.face.watching import watch
    from bioprobe.task.decisions import Decisions
    from bioprobe.task.predictions import Predictions
    from bioprobe.taxonomy.name_parsing import parse_name
    from bioprobe.taxonomy.parsed_name import ParsedName
    from bioprobe.web.serving import serve

__version__ = "0.1.0"

# The module of each name that is loaded when it is first asked for. A new one stands here, in the
# imports above for type checkers, and in __all__. What is of face itself is a module of it, what is
# of nothing a folder of ours.
_HOMES = {
    "Classified": "content",
    "Comparison": "face.compared_pages",
    "ContentDecision": "content",
    "ContentRules": "content",
    "Decisions": "task.decisions",
    "Detected": "content",
    "Estimates": "face.compared_pages",
    "Evaluation": "face.evaluation",
    "ParsedName": "taxonomy.parsed_name",
    "Predictions": "task.predictions",
    "Probe": "face.probe",
    "Store": "face.store",
    "compare": "face.comparing",
    "decide_content": "content",
    "embed": "face.filling",
    "encoder": "face.encoder",
    "from_vectors": "face.store",
    "import_vectors": "face.keeping",
    "list_sources": "face.sources",
    "merge": "face.store",
    "models": "face",
    "open": "face.store",
    "parse_name": "taxonomy.name_parsing",
    "pictures": "face.store",
    "probes": "",
    "pull": "face.sending",
    "read_content": "content",
    "serve": "web.serving",
    "show_source": "face.sources",
    "taxa": "face",
    "watch": "face.watching",
}

__all__ = [
    "BioprobeError",
    "Classified",
    "Comparison",
    "ContentDecision",
    "ContentRules",
    "Decisions",
    "Detected",
    "Estimates",
    "Evaluation",
    "ImageReadError",
    "LongTextError",
    "MismatchError",
    "MissingExtraError",
    "MisuseError",
    "ModelUnavailableError",
    "NoTextTowerError",
    "ParsedName",
    "Predictions",
    "Probe",
    "ProbeError",
    "PromptError",
    "SelectionError",
    "SourceError",
    "Store",
    "StoreError",
    "StoreLockedError",
    "TaxonomyError",
    "UnreadableError",
    "__version__",
    "compare",
    "decide_content",
    "embed",
    "encoder",
    "from_vectors",
    "import_vectors",
    "list_sources",
    "merge",
    "models",
    "open",
    "parse_name",
    "pictures",
    "probes",
    "pull",
    "read_content",
    "serve",
    "show_source",
    "taxa",
    "watch",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    if _HOMES[name] in {"face", ""}:
        home = f"{__name__}.{_HOMES[name]}".rstrip(".")
        found: Any = importlib.import_module(f"{home}.{name}")
    else:
        found = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
