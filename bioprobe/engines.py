"""Where the parts of a question are worked on: in this process, or on the nodes of a Ray cluster.

A question whose parts need not know of each other is a function and its parts. The same function
is called on the same parts wherever that is, so the answers are the same. Ray is imported when it
is asked for.
"""

from __future__ import annotations

import functools
import itertools
import logging
import platform
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from bioprobe.access import exists
from bioprobe.errors import BioprobeError, MissingExtraError, SourceError
from bioprobe.options import RAY

_Part = TypeVar("_Part")
_Result = TypeVar("_Result")

# Cores of a task or an actor that has no GPU, at most.
_MOST_CORES = 4
# Parts that wait for each core that works, so that none waits for a part.
_WAITING = 2


class Engine(Protocol):
    """Works on parts elsewhere; what it is given is pickled."""

    def map(self, work: Callable[[_Part], _Result], parts: Iterable[_Part]) -> Iterator[_Result]:
        """Return the result of each part, in their order."""


def map_parts(
    work: Callable[[_Part], _Result], parts: Iterable[_Part], engine: Engine | None = None
) -> Iterator[_Result]:
    """Do a piece of work for each part.

    Parameters
    ----------
    work : callable
        From a part to its result.
    parts : iterable
    engine : Engine, optional
        Where; by default here, one after the other.

    Returns
    -------
    iterator
        The results, in the order of the parts.

    Examples
    --------
    >>> list(map_parts(len, ["a", "bc"]))
    [1, 2]
    """
    return map(work, parts) if engine is None else engine.map(work, parts)


def open_engine(
    name: str, threads: int | None = None, folders: Sequence[str] = ()
) -> Engine | None:
    """Open what works on parts.

    Parameters
    ----------
    name : {"local", "ray"}
    threads : int, optional
        Cores of a part; chosen by default.
    folders : sequence of str
        That parts are read from, as :func:`check_folders` takes them.

    Returns
    -------
    Engine or None
        None for this process.

    Raises
    ------
    MissingExtraError
        If Ray is asked for and not installed.
    """
    return OnRay(threads, folders) if name == RAY else None


class OnRay:
    """The nodes of a Ray cluster.

    The cluster is the one that ``RAY_ADDRESS`` or ``ray start`` says; without one it is this
    machine. What all parts share is sent to each node once, and read once by each process there. A
    part whose node is lost is done again elsewhere.

    Parameters
    ----------
    threads : int, optional
        Cores of a part; by default four, or as many as the smallest node has.
    folders : sequence of str
        That parts are read from; a node that does not see them says so.

    Raises
    ------
    MissingExtraError
        If Ray is not installed.
    """

    def __init__(self, threads: int | None = None, folders: Sequence[str] = ()) -> None:
        self._ray, self._folders = connect(), tuple(folders)
        self._n_cores, self._n_at_once = plan_cores(self._ray.nodes(), threads)

    def map(self, work: Callable[[_Part], _Result], parts: Iterable[_Part]) -> Iterator[_Result]:
        """Do the work on all nodes; a few parts more are taken than are worked on.

        Yields
        ------
        object
            The results, in the order of the parts. What stopped a part is raised.
        """
        ray = self._ray
        do, shared, ahead = ray.remote(num_cpus=self._n_cores)(_do), ray.put(work), iter(parts)
        n = _WAITING * self._n_at_once
        waiting = deque(
            do.remote(self._folders, [shared], part) for part in itertools.islice(ahead, n)
        )
        try:
            while waiting:
                found = ray.get(waiting.popleft())
                waiting.extend(
                    do.remote(self._folders, [shared], part) for part in itertools.islice(ahead, 1)
                )
                yield found
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayError as error:
            msg = f"the cluster gave up a part, again and again: {error}; ask again"
            raise BioprobeError(msg) from error
        finally:
            for one in waiting:
                ray.cancel(one)


def connect() -> Any:  # noqa: ANN401 - the module ray
    """Return Ray, connected to its cluster.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        msg = f"--engine ray needs Ray ({error}); run: pip install 'bioprobe[ray]'"
        raise MissingExtraError(msg) from error
    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level=logging.WARNING)
    return ray


def plan_cores(nodes: Sequence[Mapping[str, Any]], threads: int | None) -> tuple[int, int]:
    """Return how many cores a task takes of a cluster, and how many tasks there may be at once.

    Parameters
    ----------
    nodes : sequence of mapping
        As Ray describes them.
    threads : int or None
        Cores of a task; None chooses.

    Examples
    --------
    >>> nodes = [{"Alive": True, "Resources": {"CPU": 16.0}}, {"Alive": False, "Resources": {}}]
    >>> plan_cores(nodes, None), plan_cores(nodes, 8)
    ((4, 4), (8, 2))
    """
    cores = [int(one["Resources"].get("CPU", 0)) for one in nodes if one["Alive"]]
    taken = threads or max(1, min([_MOST_CORES, *(n for n in cores if n)]))
    return taken, max(1, sum(n // taken for n in cores))


def check_folders(folders: Iterable[str]) -> None:
    """Refuse to work on a node that does not see what the driver sees.

    Parameters
    ----------
    folders : iterable of str
        That the driver sees.

    Raises
    ------
    SourceError
        If one is not there.
    """
    for folder in folders:
        if not exists(Path(folder)):
            msg = (
                f"{folder} is not there on the node {platform.node()}; all nodes of a cluster must "
                "see pictures, weights and stores under the same names. Mount it there, or start "
                "Ray on the nodes that see it alone"
            )
            raise SourceError(msg)


def _do(folders: Sequence[str], shared: list[Any], part: Any) -> Any:  # noqa: ANN401 - any parts
    """Work on a part, on a node. What is shared comes in a list, or Ray would read it each time."""
    check_folders(folders)
    return _read(shared[0])(part)


@functools.lru_cache(1)
def _read(shared: Any) -> Callable[[Any], Any]:  # noqa: ANN401 - a reference of Ray's
    import ray

    work: Callable[[Any], Any] = ray.get(shared)
    return work
