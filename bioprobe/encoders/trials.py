"""What was found when backends were tried on a model: kept, and shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from PIL.Image import Image

#: PyTorch as the model's own library calls it: what every other backend is compared with.
TORCH = "torch"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """What a backend did when it was tried.

    Parameters
    ----------
    backend : str
        Its name.
    gain : float
        Its speed by that of PyTorch; 0 where it did not run.
    cosine : float
        The least cosine similarity of a row with that of PyTorch.
    prepare_s : float
        Seconds until it could run.
    refused : str
        Why it is not taken, ``""`` where it may be.
    n_rows : int
        How many pictures or texts at once its speed was measured with.
    """

    backend: str
    gain: float = 0.0
    cosine: float = 0.0
    prepare_s: float = 0.0
    refused: str = ""
    n_rows: int = 0

    def describe(self) -> str:
        """Return it in words."""
        said = f"least cosine {self.cosine:.7f}"
        if not self.gain:
            return self.refused or said
        said = f"{self.gain:.2f} x the speed of torch, {self.n_rows:,} at once, {said}"
        return f"{said}: {self.refused}" if self.refused else said


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """Which backend was found fastest for a part of a model on this machine.

    Parameters
    ----------
    backend : str
        Its name; ``torch`` where nothing is faster by enough.
    trials : tuple of Trial
        All that were tried, or could not be.
    machine, model : dict of str to str
        What was measured where; of any other it says nothing.
    time : str
        ISO 8601, UTC.
    seconds_s : float
        How long all trials took.
    """

    backend: str
    trials: tuple[Trial, ...] = ()
    machine: dict[str, str] = dataclasses.field(default_factory=dict)
    model: dict[str, str] = dataclasses.field(default_factory=dict)
    time: str = ""
    seconds_s: float = 0.0

    def describe(self) -> str:
        """Return it in words."""
        said = f"run by {self.backend}, {self.gain:.2f} x torch"
        return f"{said} (found in {self.seconds_s:.0f} s)"

    @property
    def gain(self) -> float:
        """Speed by that of PyTorch."""
        return self._taken.gain

    @property
    def prepare_s(self) -> float:
        """Seconds until it could run."""
        return self._taken.prepare_s

    @property
    def _taken(self) -> Trial:
        plain = Trial(backend=TORCH, gain=1.0, cosine=1.0)
        return next((one for one in self.trials if one.backend == self.backend), plain)

    def refuse(self, trial: Trial) -> Choice:
        """Return the choice of PyTorch, as what was found fastest failed in a later trial."""
        others = (one for one in self.trials if one.backend != trial.backend)
        return dataclasses.replace(self, backend=TORCH, trials=(*others, trial))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready mapping."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Choice:
        """Build a choice from what :meth:`to_dict` returned."""
        trials = tuple(Trial(**one) for one in fields["trials"])
        return cls(**{**fields, "trials": trials})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bf16Trial:
    """What bf16 is worth to a model here, where the processor or GPU multiplies it.

    Parameters
    ----------
    gain : float
        Its speed by that of fp32, both as PyTorch runs them.
    cosine : float
        The mean cosine similarity of a drawn picture's vector with that in fp32.
    """

    gain: float
    cosine: float

    def describe(self) -> str:
        """Return it in words."""
        return f"bf16 has {self.gain:.2f} x the speed of fp32, mean cosine {self.cosine:.6f}"


@runtime_checkable
class ChoosingEncoder(Protocol):
    """An encoder whose whole batches several backends can run."""

    def settle_backend(self, images: Sequence[Image]) -> Choice:
        """Choose what runs whole batches of images now, and return what was found.

        Parameters
        ----------
        images : sequence of PIL.Image.Image
            A whole batch, upright, RGB.

        Raises
        ------
        BioprobeError
            If a backend was asked for that cannot run this model here.
        """
        ...
