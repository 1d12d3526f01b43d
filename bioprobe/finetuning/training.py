"""Train what learns, epoch by epoch, so that a run that is stopped goes on as if it were not."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from bioprobe.encoders.encoder import hash_description
from bioprobe.errors import BioprobeError
from bioprobe.files import parse_json, replacing
from bioprobe.finetuning.activations import Kept
from bioprobe.finetuning.learner import Learner
from bioprobe.progress import Progress, Step
from bioprobe.types import Places, Vectors

# How class sizes enter the loss.
BALANCED_SOFTMAX, PLAIN = "balanced-softmax", "none"
# On what the epoch is chosen.
HELD_OUT, LAST = "held-out", "last"
_WARMUP_FRACTION = 0.1
_MOST_NORM = 1.0
_WEIGHT_DECAY = 0.01


@dataclasses.dataclass(frozen=True)
class Plan:
    """How learning goes.

    Parameters
    ----------
    n_epochs : int
        Passes over the pictures that teach.
    batch_size : int
        Pictures in a step.
    rate : float
        Highest rate of learning; it rises over the first tenth of the steps and falls as a cosine.
    balance : {"balanced-softmax", "none"}
        How class sizes enter the loss.
    anchor : float
        How much a vector's turning away from where it began costs, beside the loss of its label.
    choose : {"held-out", "last"}
        On what the epoch is chosen.
    autocast : str
        ``fp32``, or ``bf16`` or ``fp16`` for what can be computed so; the weights stay fp32.
    seed : int
        Of the order, and of the view of each picture.
    """

    n_epochs: int
    batch_size: int
    rate: float
    balance: str = BALANCED_SOFTMAX
    anchor: float = 0.0
    choose: str = HELD_OUT
    autocast: str = "fp32"
    seed: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Lesson:
    """Which pictures teach what.

    Parameters
    ----------
    kept : Kept
        Activations of all pictures.
    places : ndarray of int64, shape (n_training,)
        Of those that teach, in ``kept``.
    labels : ndarray of int64, shape (n_training,)
        Their classes.
    held_out : ndarray of int64, shape (n_held_out,)
        Places of those that choose the epoch.
    held_out_labels : ndarray of int64, shape (n_held_out,)
    classes : ndarray of float32, shape (n_classes, dim), unit rows
        Vectors of the classes: of their texts, or where they learn too, where these begin.
    scale : float
        Factor from cosine similarity to logits.
    learns_classes : bool
        Whether the vectors of the classes learn too, as they do where there are no texts.
    """

    kept: Kept
    places: Places
    labels: Places
    held_out: Places
    held_out_labels: Places
    classes: Vectors
    scale: float
    learns_classes: bool = False


@dataclasses.dataclass(frozen=True)
class Epoch:
    """How one pass over the pictures went.

    Parameters
    ----------
    number : int
        0 is the start.
    loss : float
        Mean of the pass; not a number at the start.
    accuracy : float
        On the held-out pictures; not a number where there are none.
    log_loss : float
        On them, mean by natural logarithm.
    """

    number: int
    loss: float
    accuracy: float
    log_loss: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready mapping."""
        values = dataclasses.asdict(self)
        return {name: None if value != value else value for name, value in values.items()}

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Epoch:
        """Return what :meth:`to_dict` returned."""
        known: dict[str, Any] = {k: math.nan if v is None else v for k, v in fields.items()}
        return cls(**known)


def choose_autocast(device: torch.device, precision: str | None) -> str:
    """Return in which precision steps are computed; by default bf16 or fp16 on CUDA, else fp32.

    Raises
    ------
    BioprobeError
        If the device cannot compute so.
    """
    if precision in {None, "auto"}:
        if device.type != "cuda":
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if precision == "fp16" and device.type != "cuda":
        msg = f"learning in fp16 needs CUDA, and this runs on {device.type}; say fp32 or bf16"
        raise BioprobeError(msg)
    return str(precision)


def autocasting(device: torch.device, precision: str) -> torch.autocast:
    """Return what lets a block compute in a precision of :func:`choose_autocast`."""
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32")


class Trainer:
    """Train a learner, and keep a checkpoint of each epoch.

    Parameters
    ----------
    learner : Learner
    lesson : Lesson
    plan : Plan
    folder : Path
        That keeps the checkpoints.
    key : str
        What else the run depends on; checkpoints of another are not taken.
    """

    def __init__(
        self, learner: Learner, lesson: Lesson, plan: Plan, folder: Path, key: str
    ) -> None:
        self._learner, self._lesson, self._plan = learner, lesson, plan
        self._device = learner.cut.blank.device
        described = {"plan": dataclasses.asdict(plan), "of": key}
        self._folder = folder / f"run-{hash_description(described)[:16]}"
        self._classes = torch.tensor(lesson.classes, device=self._device)
        self._trained: dict[str, torch.nn.Parameter] = dict(learner.parameters)
        if lesson.learns_classes:
            self._classes = torch.nn.Parameter(self._classes)
            self._trained["classes"] = self._classes
        counts = np.bincount(lesson.labels, minlength=len(lesson.classes))
        prior = np.log(np.maximum(counts, 1) / max(1, counts.sum()))
        is_balanced = plan.balance == BALANCED_SOFTMAX
        self._prior = torch.tensor(prior if is_balanced else prior * 0, dtype=torch.float32)
        self._prior = self._prior.to(self._device)
        self._n_steps = max(1, math.ceil(len(lesson.places) / plan.batch_size))
        several = [one for one in self._trained.values() if one.ndim > 1]
        single = [one for one in self._trained.values() if one.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": several}]
        groups.append({"params": single, "weight_decay": 0.0})
        self._optimizer = torch.optim.AdamW(groups, lr=plan.rate, weight_decay=_WEIGHT_DECAY)
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=plan.autocast == "fp16")
        self._began: torch.Tensor | None = None
        self.history: list[Epoch] = []

    @property
    def best(self) -> Epoch:
        """The epoch that is kept: the best on held-out pictures, else the last."""
        learnt = self.history[1:]
        if self._plan.choose == LAST or not len(self._lesson.held_out):
            return learnt[-1]
        return max(learnt, key=lambda one: (one.accuracy, -one.log_loss, -one.number))

    def run(self, progress: Progress | None = None) -> list[Epoch]:
        """Train from where a run was stopped, or from the start; leaves the best in the learner.

        Parameters
        ----------
        progress : callable, optional
            Told a step after each step of learning; an error that it raises stops the work, and
            the same run goes on from the last whole epoch.

        Raises
        ------
        BioprobeError
            If the loss is not finite.
        """
        if self._plan.anchor:
            self._began = torch.tensor(self.embed(self._lesson.places))
        start = self.history = [self._measure(0, math.nan)]
        if found := self._find_last():
            self._read(found)
            start = self.history
        total = self._plan.n_epochs * self._n_steps
        for number in range(start[-1].number + 1, self._plan.n_epochs + 1):
            losses = []
            for step, (places, labels, views, chosen) in enumerate(self._iter_batches(number)):
                done = (number - 1) * self._n_steps + step
                losses.append(self._step(done, total, places, labels, views, chosen) * len(places))
                if progress is not None:
                    progress(Step(done + 1, total, "steps"))
            loss = sum(losses) / len(self._lesson.places)
            self.history.append(self._measure(number, loss))
            self._keep(number)
        self._read(self._name(self.best.number), weights_only=True)
        return self.history

    def embed(self, places: Places) -> Vectors:
        """Return the vectors of pictures as what learns has them now, float32, unit rows."""
        size = self._plan.batch_size
        found = []
        with torch.no_grad(), self._autocasting():
            for start in range(0, len(places), size):
                entering = self._load(places[start : start + size])
                found.append(self._learner.embed(entering).cpu().numpy())
        dim = self._lesson.classes.shape[1]
        return np.concatenate([np.zeros((0, dim), dtype=np.float32), *found])

    @property
    def classes(self) -> Vectors:
        """Vectors of the classes as they are now, unit rows."""
        with torch.no_grad():
            unit = torch.nn.functional.normalize(self._classes, dim=-1)
        return np.asarray(unit.cpu().numpy())

    def _load(self, places: Places, views: Places | None = None) -> torch.Tensor:
        return torch.tensor(self._lesson.kept.take(places, views)).to(self._device).float()

    def _autocasting(self) -> torch.autocast:
        return autocasting(self._device, self._plan.autocast)

    def _iter_batches(self, number: int) -> Iterator[tuple[Places, Places, Places, Places]]:
        """Draw the order of an epoch, and the view of each picture, by the seed and its number.

        Yields
        ------
        places, labels, views, chosen : ndarray of int64, each of shape (n_pictures,)
        """
        random = np.random.default_rng([self._plan.seed, number])
        order = random.permutation(len(self._lesson.places))
        views = random.integers(self._lesson.kept.n_views, size=len(order))
        # Parts of nearly one size: a last batch of one picture would be a step of noise.
        for part in np.array_split(np.arange(len(order)), self._n_steps):
            chosen = order[part]
            yield self._lesson.places[chosen], self._lesson.labels[chosen], views[part], chosen

    def _step(
        self, done: int, total: int, places: Places, labels: Places, views: Places, chosen: Places
    ) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = self._plan.rate * _schedule(done, total)
        with torch.enable_grad(), self._autocasting():
            vectors = self._learner.embed(self._load(places, views))
            classes = self._classes
            if self._lesson.learns_classes:
                classes = torch.nn.functional.normalize(classes, dim=-1)
            logits = self._lesson.scale * vectors.float() @ classes.float().T + self._prior
            truth = torch.tensor(labels, device=self._device)
            loss = torch.nn.functional.cross_entropy(logits, truth)
            if self._began is not None:
                began = self._began[chosen].to(self._device)
                turned = 1 - (vectors.float() * began).sum(dim=1).mean()
                loss = loss + self._plan.anchor * turned
        if not bool(torch.isfinite(loss)):
            rate = f"{self._plan.rate:g}"
            msg = f"the loss is not finite at step {done + 1}; say a lower --rate than {rate}"
            raise BioprobeError(msg)
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.unscale_(self._optimizer)
        torch.nn.utils.clip_grad_norm_(self._trained.values(), _MOST_NORM)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return float(loss.detach())

    def _measure(self, number: int, loss: float) -> Epoch:
        if not len(self._lesson.held_out):
            return Epoch(number, loss, math.nan, math.nan)
        vectors = self.embed(self._lesson.held_out)
        logits = torch.tensor(self._lesson.scale * vectors @ self.classes.T)
        truth = torch.tensor(self._lesson.held_out_labels)
        right = (logits.argmax(dim=1) == truth).float().mean()
        log_loss = torch.nn.functional.cross_entropy(logits, truth)
        return Epoch(number, loss, float(right), float(log_loss))

    def _name(self, number: int) -> Path:
        return self._folder / f"epoch-{number:04d}.safetensors"

    def _find_last(self) -> Path | None:
        found = sorted(self._folder.glob("epoch-*.safetensors")) if self._folder.is_dir() else []
        return found[-1] if found else None

    def _keep(self, number: int) -> None:
        """Write a checkpoint whole or not at all, and remove those that nothing needs."""
        tensors: dict[str, torch.Tensor] = {}
        for name, one in self._trained.items():
            state = self._optimizer.state[one]
            tensors[f"weights/{name}"] = one.detach()
            tensors |= {f"{key}/{name}": value for key, value in state.items()}
        about = {
            "history": json.dumps([one.to_dict() for one in self.history]),
            "scaler": json.dumps(self._scaler.state_dict()),
        }
        on_cpu = {name: one.cpu().contiguous() for name, one in tensors.items()}
        with replacing(self._name(number)) as temporary:
            safetensors.torch.save_file(on_cpu, temporary, about)
        for path in self._folder.glob("epoch-*.safetensors"):
            if path not in {self._name(number), self._name(self.best.number)}:
                path.unlink()

    def _read(self, path: Path, *, weights_only: bool = False) -> None:
        with safetensors.safe_open(path, "pt") as opened:
            about = opened.metadata()
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        with torch.no_grad():
            for name, one in self._trained.items():
                one.copy_(tensors[f"weights/{name}"])
        if weights_only:
            return
        for name, one in self._trained.items():
            self._optimizer.state[one] = {
                key: tensors[f"{key}/{name}"].to("cpu" if key == "step" else self._device)
                for key in ("step", "exp_avg", "exp_avg_sq")
            }
        self._scaler.load_state_dict(parse_json(about["scaler"]))
        self.history = [Epoch.read(one) for one in parse_json(about["history"])]


def _schedule(done: int, total: int) -> float:
    """Return the share of the highest rate at a step: it rises, then falls as a cosine.

    Examples
    --------
    >>> [round(_schedule(n, 20), 2) for n in (0, 1, 2, 11, 19)]
    [0.5, 1.0, 1.0, 0.5, 0.01]
    """
    rising = max(1, round(_WARMUP_FRACTION * total))
    if done < rising:
        return (done + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (done - rising) / max(1, total - rising)))
