"""Classifiers that learn from the vectors of labelled images, each a scikit-learn estimator.

What stands in ``__all__`` is loaded when it is first named.

Examples
--------
>>> import bioprobe as bp
>>> X = [[0.0, 1.0], [0.2, 0.9], [1.0, 0.0], [0.9, 0.1]]
>>> bp.probes.LinearProbe().fit(X, ["a", "a", "b", "b"]).predict(X[:1]).tolist()
['a']
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bioprobe.doors import open_door

if TYPE_CHECKING:
    from bioprobe.probes.adapter import AdapterProbe, ClapProbe
    from bioprobe.probes.attentive import AttentiveProbe
    from bioprobe.probes.cache_adapter import TipAdapterProbe
    from bioprobe.probes.centroid import CentroidProbe
    from bioprobe.probes.closed_form import LdaProbe, RidgeProbe
    from bioprobe.probes.hierarchical import HierarchicalProbe
    from bioprobe.probes.knn import KnnProbe
    from bioprobe.probes.linear import LinearProbe, PromptedProbe
    from bioprobe.probes.prolip import ProlipProbe
    from bioprobe.probes.stacked import StackProbe

# The module of each name.
_HOMES = {
    "AdapterProbe": "adapter",
    "AttentiveProbe": "attentive",
    "CentroidProbe": "centroid",
    "ClapProbe": "adapter",
    "HierarchicalProbe": "hierarchical",
    "KnnProbe": "knn",
    "LdaProbe": "closed_form",
    "LinearProbe": "linear",
    "ProlipProbe": "prolip",
    "PromptedProbe": "linear",
    "RidgeProbe": "closed_form",
    "StackProbe": "stacked",
    "TipAdapterProbe": "cache_adapter",
}

__all__ = [
    "AdapterProbe",
    "AttentiveProbe",
    "CentroidProbe",
    "ClapProbe",
    "HierarchicalProbe",
    "KnnProbe",
    "LdaProbe",
    "LinearProbe",
    "ProlipProbe",
    "PromptedProbe",
    "RidgeProbe",
    "StackProbe",
    "TipAdapterProbe",
]


__getattr__ = open_door(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
