"""What can be added by name: each is loaded when it is asked for, those of other packages too.

Another package adds its own by an entry point of the same group, in its ``pyproject.toml``::

    [project.entry-points."bioprobe.methods"]
    forest = "my_package.forest:ForestProbe"

What the name of each kind stands for, and what is registered under it, is said beside the
registries below. Importing this module imports no library, and looks for no package.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import sys
from collections.abc import Mapping
from typing import Any

from bioprobe.errors import BioprobeError


@dataclasses.dataclass(frozen=True)
class Registry:
    """Things of one kind by name.

    Parameters
    ----------
    group : str
        Group of the entry points by which other packages add theirs.
    what : str
        What one of them is called.
    places : mapping of str to str
        Name to ``module:attribute``.
    """

    group: str
    what: str
    places: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Names, our own first."""
        return (*self.places, *self.added)

    @property
    def added(self) -> tuple[str, ...]:
        """Names that other packages add; nothing of them is imported."""
        return tuple(name for name in self._find_added() if name not in self.places)

    def find_packages(self) -> dict[str, str]:
        """Return by name which other package adds it, and its version."""
        points = self._find_added()
        packages = {name: points[name].dist for name in self.added}
        return {name: f"{one.name} {one.version}" if one else "" for name, one in packages.items()}

    def load_added(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Return by name what other packages add, and of the rest why it cannot be loaded."""
        loaded, broken = {}, {}
        for name in self.added:
            try:
                loaded[name] = self.load(name)
            except BioprobeError as error:
                broken[name] = str(error)
        return loaded, broken

    def load(self, name: str) -> Any:  # noqa: ANN401 - whatever was registered
        """Return what has a name.

        Raises
        ------
        BioprobeError
            If nothing has, or what another package registered cannot be imported.
        """
        place = self.places.get(name)
        if place is not None:
            module, _, attribute = place.partition(":")
            return getattr(importlib.import_module(module), attribute)
        added = self._find_added()
        if name not in added:
            msg = f"no {self.what} {name!r}; there are {', '.join(self.names)}"
            raise BioprobeError(msg)
        try:
            return added[name].load()
        except Exception as error:
            msg = (
                f"the {self.what} {name!r} of {added[name].value} cannot be loaded: {error!r}; "
                "mend or remove the package that adds it"
            )
            raise BioprobeError(msg) from error

    def _find_added(self) -> Mapping[str, Any]:
        return _find_entry_points(self.group, tuple(sys.path))


@functools.lru_cache
def _find_entry_points(group: str, path: tuple[str, ...]) -> Mapping[str, Any]:
    """Return those of a group, by their names."""
    return {point.name: point for point in _find_all_entry_points(path).select(group=group)}


@functools.lru_cache(maxsize=1)
def _find_all_entry_points(path: tuple[str, ...]) -> Any:  # noqa: ANN401, ARG001 - looked for anew where it changes
    """Return the entry points of the packages on the path of modules; some 15 ms, once."""
    from importlib.metadata import entry_points

    return entry_points()


#: By the name given to ``--methods`` and ``probe fit``: a :class:`bioprobe.probes.probe.Probe`, or
#: another class of :class:`bioprobe.task.method.Method`.
METHODS = Registry(
    "bioprobe.methods",
    "method",
    {
        "zeroshot": "bioprobe.zeroshot.method:ZeroShot",
        "knn": "bioprobe.probes.knn:KnnProbe",
        "centroid": "bioprobe.probes.centroid:CentroidProbe",
        "lda": "bioprobe.probes.closed_form:LdaProbe",
        "ridge": "bioprobe.probes.closed_form:RidgeProbe",
        "linear": "bioprobe.probes.linear:LinearProbe",
        "hierarchical": "bioprobe.probes.hierarchical:HierarchicalProbe",
        "prompt+probe": "bioprobe.probes.linear:PromptedProbe",
        "prolip": "bioprobe.probes.prolip:ProlipProbe",
        "attentive": "bioprobe.probes.attentive:AttentiveProbe",
        "adapter": "bioprobe.probes.adapter:AdapterProbe",
        "clap": "bioprobe.probes.adapter:ClapProbe",
        "tip-adapter": "bioprobe.probes.cache_adapter:TipAdapterProbe",
        "stack": "bioprobe.learning.stack:Stack",
    },
)

#: By the prefix of the name given to ``--model``, which for ours is read by
#: :func:`bioprobe.encoders.catalog.parse_name`: a function of
#: :class:`bioprobe.encoders.catalog.ModelSource` and :class:`bioprobe.encoders.encoder.LoadOptions`
#: that returns an :class:`bioprobe.encoders.encoder.Encoder`.
ENCODERS = Registry(
    "bioprobe.encoders",
    "encoder family",
    {
        "open_clip": "bioprobe.encoders.families.open_clip_models:load_open_clip",
        "transformers": "bioprobe.encoders.families.transformers_models:load_transformers",
        "timm": "bioprobe.encoders.families.timm_models:load_timm",
        "onnx": "bioprobe.encoders.families.onnx_models:load_onnx",
    },
)

#: By the name given to ``--backend``: a :class:`bioprobe.encoders.families.backends.Backend`, which
#: runs the whole batches of a model that PyTorch loads. ``torch`` is PyTorch as it is, and ``auto``
#: the fastest of them; they are tried in this order.
BACKENDS = Registry(
    "bioprobe.backends",
    "backend",
    {
        "traced": "bioprobe.encoders.families.backends:TRACED",
        "numpy": "bioprobe.encoders.families.backends:NUMPY",
        "onnx": "bioprobe.encoders.families.backends:ONNX",
        "openvino": "bioprobe.encoders.families.backends:OPENVINO",
        "zentorch": "bioprobe.encoders.families.backends:ZENTORCH",
        "tensorrt": "bioprobe.encoders.families.backends:TENSORRT",
        "compile": "bioprobe.encoders.families.backends:COMPILE",
    },
)

#: By what the source is: the ending of its name without the dot, or the prefix before a colon; a
#: folder, data set or ``-`` is known by :func:`bioprobe.sources.source.recognise_source`. Each is a
#: function of a path and :class:`bioprobe.sources.files.SourceOptions` that returns a frame of
#: image files, ``root`` and ``path``, further columns and labels; or one or several
#: :class:`bioprobe.sources.listing.Part`, which are such frames with what is to be said of them.
SOURCES = Registry(
    "bioprobe.sources",
    "source of images",
    {
        "-": "bioprobe.sources.files:list_standard_input",
        "txt": "bioprobe.sources.files:list_list",
        "json": "bioprobe.sources.files:list_list",
        "dataset": "bioprobe.sources.datasets:list_dataset",
        "folder": "bioprobe.sources.folders:list_folder",
        "address": "bioprobe.sources.remote:list_address",
        **dict.fromkeys(
            ("csv", "tsv", "parquet", "pq", "jsonl", "ndjson", "xlsx", "xlsm", "xls", "ods"),
            "bioprobe.sources.tables:list_table",
        ),
    },
)

#: By the name that ``sources show`` gives: a :class:`bioprobe.sources.formats.Format`, in which
#: another tool says what pictures there are. They are recognised in this order, by what a file or
#: folder holds.
FIELD_FORMATS = Registry(
    "bioprobe.formats",
    "format of another tool",
    {
        "megadetector": "bioprobe.sources.detections:MEGADETECTOR",
        "megadetector-microsoft": "bioprobe.sources.detections:MICROSOFT",
        "speciesnet": "bioprobe.sources.speciesnet:SPECIESNET",
        "coco": "bioprobe.sources.coco:COCO",
        "camtrap-dp": "bioprobe.sources.camtrap_dp:CAMTRAP_DP",
        "dwc-dp": "bioprobe.sources.dwc_dp:DWC_DP",
        "darwin-core-archive": "bioprobe.sources.darwin_core:DARWIN_CORE_ARCHIVE",
        "wildlife-insights": "bioprobe.sources.wildlife_insights:WILDLIFE_INSIGHTS",
        "timelapse": "bioprobe.sources.timelapse:TIMELAPSE",
        "inaturalist": "bioprobe.sources.inaturalist:INATURALIST",
        "inaturalist-open-data": "bioprobe.sources.inaturalist:INATURALIST_OPEN_DATA",
        "zipped-export": "bioprobe.sources.archive_contents:ZIPPED_EXPORT",
        "shards": "bioprobe.sources.archives:SHARDS",
        "archive": "bioprobe.sources.archives:ARCHIVE",
    },
)

#: By the name given to ``--layout``: a :class:`bioprobe.interchange.vector_source.Layout`. They are
#: recognised in this order.
EXPORTERS = Registry(
    "bioprobe.exporters",
    "layout of vectors",
    {
        "clip-retrieval": "bioprobe.interchange.clip_retrieval:CLIP_RETRIEVAL",
        "datasets": "bioprobe.interchange.saved_datasets:DATASETS",
        "emb-explorer": "bioprobe.interchange.saved_datasets:EMB_EXPLORER",
        "hpc-inference": "bioprobe.interchange.saved_datasets:HPC_INFERENCE",
        "npy": "bioprobe.interchange.numpy_files:NPY",
    },
)

#: By the name given to ``export --as``: a :class:`bioprobe.exporting.form.AnswerFormat`.
ANSWER_FORMATS = Registry(
    "bioprobe.answer_formats",
    "format of answers",
    {
        "camtrap-dp": "bioprobe.exporting.camtrap_dp:CAMTRAP_DP",
        "speciesnet": "bioprobe.exporting.speciesnet:SPECIESNET",
        "megadetector": "bioprobe.exporting.megadetector:MEGADETECTOR",
        "darwin-core": "bioprobe.exporting.darwin_core:DARWIN_CORE",
        "wildlife-insights": "bioprobe.exporting.wildlife_insights:WILDLIFE_INSIGHTS",
        "coco": "bioprobe.exporting.coco:COCO",
        "fiftyone": "bioprobe.exporting.fiftyone:FIFTYONE",
        "embedding-atlas": "bioprobe.exporting.embedding_atlas:EMBEDDING_ATLAS",
        "crops": "bioprobe.exporting.crops:CROPS",
    },
)

#: By the name given to ``--templates``, beside the files of ``prompts/templates``: a sequence of
#: templates, or the path of a text file with one a line.
TEMPLATES = Registry("bioprobe.templates", "template set", {})

#: By the name given to ``review --mix``: a function of a :class:`bioprobe.reviewing.desk.Desk` and
#: of how many pictures are wanted, that returns a :class:`bioprobe.reviewing.pool.Ranked`.
STRATEGIES = Registry(
    "bioprobe.strategies",
    "strategy",
    {
        "doubt": "bioprobe.reviewing.strategies.doubt:rank_by_doubt",
        "margin": "bioprobe.reviewing.strategies.margin:rank_by_margin",
        "disagreement": "bioprobe.reviewing.strategies.disagreement:rank_by_disagreement",
        "coverage": "bioprobe.reviewing.strategies.coverage:rank_by_coverage",
        "suspected": "bioprobe.reviewing.strategies.suspected:rank_by_suspicion",
        "audit": "bioprobe.reviewing.strategies.audit:draw_audit",
        "confident": "bioprobe.reviewing.strategies.confident:rank_by_confidence",
        "nearest": "bioprobe.reviewing.strategies.like:rank_by_likeness",
    },
)
