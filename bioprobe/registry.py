"""What can be added by name: each is loaded when it is asked for, those of other packages too.

Another package adds its own by an entry point of the same group, in its ``pyproject.toml``::

    [project.entry-points."bioprobe.methods"]
    forest = "my_package.forest:ForestProbe"

Importing this module imports no library.
"""

from __future__ import annotations

import dataclasses
import importlib
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
        return (*self.places, *(name for name in self._find_added() if name not in self.places))

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
        from importlib.metadata import entry_points

        return {point.name: point for point in entry_points(group=self.group)}


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
        "prompt+probe": "bioprobe.probes.prompted:PromptedProbe",
        "stack": "bioprobe.learning.stack:Stack",
    },
)
