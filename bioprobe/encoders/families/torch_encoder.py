"""The encoder of every family that runs in PyTorch."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import math
import pickle
import re
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import torch
from safetensors import SafetensorError

from bioprobe.encoders.catalog import ModelSource
from bioprobe.encoders.encoder import (
    Fingerprint,
    encode_images,
    explain_no_text_tower,
    hash_description,
    normalise_rows,
)
from bioprobe.encoders.families.backends import Tower
from bioprobe.encoders.families.batch_runner import BatchRunner
from bioprobe.encoders.families.projection import Projection, find_projection
from bioprobe.encoders.families.runtime import Runtime
from bioprobe.encoders.families.text_tower import TextTower, Tokens
from bioprobe.encoders.families.towers import MapTower, TokenTower, read_tower
from bioprobe.encoders.hub import Snapshot
from bioprobe.encoders.keeping import PROJECTION_INPUT, TOKENS, KeptForm
from bioprobe.encoders.trials import TORCH, Bf16Trial, Choice
from bioprobe.errors import BioprobeError, LongTextError, ModelUnavailableError, NoTextTowerError
from bioprobe.files import hash_file
from bioprobe.names import shorten
from bioprobe.types import Arrays, Vectors

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

    Pixels = npt.NDArray[np.float32]
    EmbedPixels = Callable[[torch.nn.Module, torch.Tensor], torch.Tensor]


#: What the libraries raise for weights or settings that they cannot load.
LOAD_ERRORS = (
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    StopIteration,
    OSError,
    EOFError,
    pickle.UnpicklingError,
    SafetensorError,
)


# A tokenizer of many threads is given enough for all.
_TOKENISED_AT_ONCE = 1024
# Of the map of a convolutional network that is kept: the last that has more than one place.
_LEAST_PLACES = 2


def describe_failure(error: BaseException) -> str:
    """Return the first line of what a library said, and the next where that announces it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    n_lines = 2 if lines[0].endswith(":") else 1
    return " ".join(line.strip() for line in lines[:n_lines])[:200]


def refuse_code(weights: Sequence[Path]) -> None:
    """Refuse files of weights that are pickles of something else, which could run anything.

    Parameters
    ----------
    weights : sequence of Path
        Files as ``torch.save`` writes them; those of safetensors hold nothing but numbers.

    Raises
    ------
    ModelUnavailableError
        If a file holds more than tensors, numbers, texts and containers of these.
    """
    for path in weights:
        if path.suffix.lower() == ".safetensors":
            continue
        try:
            # Mapped, so that the numbers themselves are not read twice.
            mapped = zipfile.is_zipfile(path)
            torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        except LOAD_ERRORS as error:
            msg = (
                f"{path} is not loaded, because {_explain_refusal(error)}; these weights are not "
                "safe to load: get the .safetensors, or have the weights alone saved: "
                "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
            )
            raise ModelUnavailableError(msg) from error


def _explain_refusal(error: BaseException) -> str:
    if named := re.search(r"GLOBAL (\S+)", str(error)):
        return f"it holds more than weights, and would run {named[1]}"
    if isinstance(error, pickle.UnpicklingError):
        return "it holds something other than weights"
    return f"it cannot be read as weights ({describe_failure(error)})"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageTower:
    """How one family turns images into embeddings.

    Parameters
    ----------
    transform : callable
        From a PIL image to float32 pixels of shape (3, height_px, width_px).
    embed : callable
        From the model and pixels (n_images, 3, height_px, width_px) to embeddings
        (n_images, dim); given the model, so that a copy of it can be asked too.
    dim : int
        Length of an embedding.
    draft_side_px : int
        Shorter side that a large image may be decoded at, 0 for whole images.
    embed_only : callable or None
        The same as ``embed`` to rounding, without what the embeddings do not depend on: what looks
        into a model would not find all of it. None where nothing can be left out.
    """

    transform: Callable[[Image], Pixels]
    embed: EmbedPixels
    dim: int
    draft_side_px: int = 0
    embed_only: EmbedPixels | None = None

    @property
    def decoding(self) -> str:
        """How images are read, as the fingerprint names it."""
        return "fast" if self.draft_side_px else "exact"


def identify(
    source: ModelSource,
    snapshot: Snapshot,
    steps: dict[str, Any],
    image_tower: ImageTower,
    runtime: Runtime,
    *,
    settings: dict[str, Any],
    text_sha256: str = "",
) -> Fingerprint:
    """Return the fingerprint of weights that run in PyTorch.

    Parameters
    ----------
    source, snapshot, image_tower, runtime
        What is loaded, and how.
    steps : dict
        What makes pixels of an image.
    settings : dict
        What else says how the weights are computed with, as its author wrote it: what a library
        fills in may change with its version.
    text_sha256 : str
        As :class:`Fingerprint` has it.
    """
    return Fingerprint(
        model=source.name,
        revision=snapshot.revision,
        weights_sha256=hash_file(*snapshot.weights),
        preprocessing_sha256=hash_description(steps),
        image_sha256=hash_description(settings),
        text_sha256=text_sha256,
        precision=runtime.precision,
        decoding=image_tower.decoding,
        backend=source.backend,
    )


class TorchEncoder:
    """Encoder over a PyTorch module.

    Parameters
    ----------
    name : str
        Name that loads the encoder again.
    module : torch.nn.Module
        The whole model, placed by ``runtime``; for methods that look inside.
    image_tower : ImageTower
        Image side.
    text_tower : TextTower or None
        Text side, None for image-only models.
    logit_scale : float
        Factor from cosine similarity to logits.
    fingerprint : Fingerprint
        Identity.
    runtime : Runtime
        Device, precision and batch size.
    no_text : str
        What is said to somebody who gives a text to a model without a text side; by default that
        it is image-only.
    """

    def __init__(
        self,
        *,
        name: str,
        module: torch.nn.Module,
        image_tower: ImageTower,
        text_tower: TextTower | None,
        logit_scale: float,
        fingerprint: Fingerprint,
        runtime: Runtime,
        no_text: str = "",
    ) -> None:
        self.name = name
        self.module = module
        self.dim = image_tower.dim
        self.has_text_tower = text_tower is not None
        self.logit_scale = logit_scale
        self.fingerprint = fingerprint
        self.runtime = runtime
        self._image_tower = image_tower
        self._text_tower = text_tower
        self._no_text = no_text or explain_no_text_tower(name)
        self._text_runners: dict[int, BatchRunner] = {}
        #: By what its precision was chosen, None where that was not measured.
        self.bf16_trial: Bf16Trial | None = None

    @property
    def device(self) -> str:
        """Kind of device that runs the model."""
        return self.runtime.device.type

    @property
    def batch_size(self) -> int:
        """Images in one forward pass."""
        return self.runtime.batch_size

    @property
    def draft_side_px(self) -> int:
        """Shorter side that a large image may be decoded at, 0 for whole images."""
        return self._image_tower.draft_side_px

    def change_precision(self, precision: str) -> None:
        """Cast the weights to another precision, and record it."""
        self.runtime = dataclasses.replace(self.runtime, precision=precision)
        self.fingerprint = dataclasses.replace(self.fingerprint, precision=precision)
        self.runtime.place(self.module)
        self.replace_module(self.module)

    def replace_module(self, module: torch.nn.Module) -> None:
        """Run other weights of the same model; what was prepared of those before is forgotten."""
        self.module = module
        for made in ("_inner", "image_runner"):
            self.__dict__.pop(made, None)
        self._text_runners = {}

    def preprocess(self, image: Image) -> Pixels:
        """Apply the checkpoint's own preprocessing to one upright RGB image.

        Returns
        -------
        ndarray of float32, shape (3, height_px, width_px)
        """
        return self._image_tower.transform(image)

    def encode_pixels(self, pixels: Pixels) -> Vectors:
        """Encode preprocessed images.

        Parameters
        ----------
        pixels : ndarray of float32, shape (n_images, 3, height_px, width_px)

        Returns
        -------
        ndarray of float32, shape (n_images, dim), unit rows
        """
        parts = _split(len(pixels), self.runtime.batch_size)
        vectors = [self._embed_pixels(pixels[part]) for part in parts]
        return np.concatenate([np.empty((0, self.dim), dtype=np.float32), *vectors])

    def encode_image(self, images: Sequence[Image]) -> Vectors:
        """Preprocess and encode images; holds one batch of pixels at a time.

        Returns
        -------
        ndarray of float32, shape (n_images, dim), unit rows
        """
        return encode_images(self, images)

    def encode_text(self, texts: Sequence[str]) -> Vectors:
        """Tokenise and encode texts.

        Returns
        -------
        ndarray of float32, shape (n_texts, dim), unit rows

        Raises
        ------
        NoTextTowerError
            If the model is image-only.
        LongTextError
            If a text has more tokens than the model reads.
        """
        tower = self._text_tower
        if tower is None:
            raise NoTextTowerError(self._no_text)
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        if len(texts):
            tokens = self._tokenise(tower, texts)
            for rows, part in tower.make_batches(tokens, self.runtime.batch_size):
                vectors[rows.numpy()] = self._embed_tokens(tower, part)
        return vectors

    def copy_image_tower(self) -> tuple[torch.nn.Module, Callable[[torch.Tensor], torch.Tensor]]:
        """Return a copy of the model in fp32 to look into, and how it embeds pixels.

        Whatever is hooked to the copy, or changed in how it runs, leaves this encoder as it is,
        also while other threads encode with it. It shares the weights where they are in fp32, so
        they must not be changed; else it has its own.

        Returns
        -------
        module : torch.nn.Module
            The whole model.
        embed : callable
            From pixels (n_images, 3, height_px, width_px) to embeddings (n_images, dim), not yet
            of unit length.
        """
        is_shared = self.runtime.dtype == torch.float32
        module = self._copy_module() if is_shared else copy.deepcopy(self.module).float()
        return module, functools.partial(self._image_tower.embed, module)

    def _copy_module(self) -> torch.nn.Module:
        """Return a copy that has the same weights: listening to it changes nothing for others."""
        shared = {id(x): x for x in (*self.module.parameters(), *self.module.buffers())}
        return copy.deepcopy(self.module, shared)

    def find_form(self, kind: str) -> KeptForm:
        """Return what the model gives beside vectors; see :class:`KeepingEncoder`.

        Raises
        ------
        ModelUnavailableError
            If the model has no such thing.
        """
        return self._inner.find_form(kind)

    def encode_keeping(self, pixels: Pixels, kinds: Sequence[str]) -> tuple[Vectors, Arrays]:
        """Encode preprocessed images once, and return what is kept too.

        Parameters
        ----------
        pixels : ndarray of float32, shape (n_images, 3, height_px, width_px)
        kinds : sequence of str
            Of :data:`bioprobe.encoders.keeping.KEPT_KINDS`.

        Returns
        -------
        vectors : ndarray of float32, shape (n_images, dim), unit rows
        kept : dict of str to ndarray of float32, shape (n_images, *shape of the form)
        """
        vectors = [np.empty((0, self.dim), dtype=np.float32)]
        kept = {
            kind: [np.empty((0, *self.find_form(kind).shape), dtype=np.float32)] for kind in kinds
        }
        for part in _split(len(pixels), self.runtime.batch_size):
            with torch.inference_mode():
                batch = self.runtime.send(pixels[part])
                self.image_runner.count(TORCH, len(batch))
                embeddings, seen = self._inner.run(batch, kinds)
                vectors.append(self._finish(embeddings))
                for kind, values in seen.items():
                    kept[kind].append(values.float().cpu().numpy())
        return np.concatenate(vectors), {kind: np.concatenate(one) for kind, one in kept.items()}

    @functools.cached_property
    def _inner(self) -> _InnerTower:
        grey = self.preprocess(PIL.Image.new("RGB", (64, 64), "grey"))
        # Not of one value: places that are alike would look as one.
        noise = np.random.default_rng(0).normal(size=grey.shape).astype(np.float32)
        pixels = torch.tensor((grey + noise)[None]).to(self.runtime.device, self.runtime.dtype)
        return _InnerTower(self.name, self._copy_module(), self._image_tower.embed, pixels)

    def count_rows(self) -> dict[str, int]:
        """Return how many images each backend has computed the vectors of."""
        return dict(self.image_runner.n_rows)

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
        pixels = np.stack([self.preprocess(image) for image in images])
        with torch.inference_mode():
            batch = torch.tensor(pixels).to(self.runtime.device, self.runtime.dtype)
            return self.image_runner.settle(batch)

    @functools.cached_property
    def image_runner(self) -> BatchRunner:
        """What runs the image tower, and by which backend."""
        tower = self._image_tower
        embed = functools.partial(tower.embed_only or tower.embed, self.module)
        # Some for each thread: some backends give each rows of its own.
        n_tried = 4 * torch.get_num_threads()
        return self._make_runner(embed, "images", self.fingerprint.image_sha256, n_tried=n_tried)

    def _find_text_runner(self, tower: TextTower, tokens: Tokens) -> BatchRunner:
        """Return what runs texts of this length: each has a choice, a check and a graph."""
        keys = tuple(tokens)
        n_tokens = tokens[keys[0]].shape[1]
        if n_tokens not in self._text_runners:

            def embed(*values: torch.Tensor) -> torch.Tensor:
                return tower.embed(dict(zip(keys, values, strict=True)))

            # Of a text there are few tokens, where a picture has hundreds.
            self._text_runners[n_tokens] = self._make_runner(
                embed, "texts", self.fingerprint.text_sha256, n_tried=32
            )
        return self._text_runners[n_tokens]

    def _make_runner(
        self, embed: Callable[..., torch.Tensor], what: str, sha256: str, *, n_tried: int
    ) -> BatchRunner:
        return BatchRunner(
            Tower(self.module, embed),
            asked=self.runtime.backend,
            batch_size=self.runtime.batch_size,
            model={
                "fingerprint": self.fingerprint.key,
                "settings": sha256,
                "precision": self.runtime.precision,
                "batch size": str(self.runtime.batch_size),
            },
            what=what,
            n_tried=n_tried,
        )

    def _embed_pixels(self, pixels: Pixels) -> Vectors:
        with torch.inference_mode():
            return self._finish(self.image_runner(self.runtime.send(pixels)))

    def _embed_tokens(self, tower: TextTower, tokens: Tokens) -> Vectors:
        run = self._find_text_runner(tower, tokens)
        with torch.inference_mode():
            return self._finish(run(*(one.to(self.runtime.device) for one in tokens.values())))

    def _tokenise(self, tower: TextTower, texts: Sequence[str]) -> Tokens:
        """Return the tokens of all texts; all that are too long are told at once."""
        parts: list[Tokens] = []
        counts: dict[str, int] = {}
        for part in _split(len(texts), _TOKENISED_AT_ONCE):
            tokens = tower.tokenise(texts[part])
            parts.append(tokens)
            # Counting costs as much as tokenising, so only rows without visible padding are.
            for row in torch.nonzero(tower.looks_full(tokens)).flatten().tolist():
                text = texts[part][row]
                counts[text] = tower.count_tokens(text)
        long = tuple(text for text, n in counts.items() if n > tower.context_length)
        if long:
            msg = (
                f'text "{shorten(long[0])}" has {counts[long[0]]:,} tokens, but {self.name} reads '
                f"at most {tower.context_length}; shorten it or use a shorter template or text type"
            )
            raise LongTextError(msg, long)
        return {key: torch.cat([one[key] for one in parts]) for key in parts[0]}

    def _finish(self, embeddings: torch.Tensor) -> Vectors:
        values = embeddings.float().cpu().numpy()
        if not np.isfinite(values).all():
            precision = self.runtime.precision
            remedy = "use --precision fp32" if precision != "fp32" else "its weights may be damaged"
            msg = (
                f"{self.name} gave values that are not finite in {precision} on "
                f"{self.runtime.device}; {remedy}"
            )
            raise BioprobeError(msg)
        return normalise_rows(values)


class _InnerTower:
    """A copy of an image tower of which one can have what it computes inside.

    Parameters
    ----------
    name : str
        Of the encoder.
    module : torch.nn.Module
        The copy.
    embed : callable
        From it and pixels to embeddings.
    pixels : Tensor, shape (1, 3, height_px, width_px)
        Any picture, to try it.
    """

    def __init__(
        self, name: str, module: torch.nn.Module, embed: EmbedPixels, pixels: torch.Tensor
    ) -> None:
        self._name = name
        self._module = module
        self._embed = functools.partial(embed, module)
        self._pixels = pixels
        self._lock = threading.Lock()
        self._forms: dict[str, KeptForm] = {}
        self._projection: Projection | None = None
        self._tower: TokenTower | MapTower | None = None

    def find_form(self, kind: str) -> KeptForm:
        """Return what there is of a kind; found once."""
        with self._lock:
            if kind not in self._forms:
                find = self._find_projection if kind == PROJECTION_INPUT else self._find_tokens
                self._forms[kind] = find()
            return self._forms[kind]

    def run(
        self, pixels: torch.Tensor, kinds: Sequence[str]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the embeddings, and what is kept of the same pass."""
        for kind in kinds:
            self.find_form(kind)
        inputs: list[torch.Tensor] = []
        tokens: list[torch.Tensor] = []
        with self._lock, contextlib.ExitStack() as listening:
            if PROJECTION_INPUT in kinds and self._projection is not None:
                listening.enter_context(self._projection.hearing(inputs))
            if TOKENS in kinds and self._tower is not None:
                listening.enter_context(self._tower.hearing(tokens))
            embeddings = self._embed(pixels)
        seen = {PROJECTION_INPUT: inputs, TOKENS: tokens}
        return embeddings, {kind: seen[kind][0] for kind in kinds}

    def _find_projection(self) -> KeptForm:
        with torch.inference_mode():
            found = find_projection(self._module, self._embed, self._pixels)
        if found is None:
            msg = (
                f"{self._name} has no visual projection: its vector is what its tower gives, so "
                "that there is no projection-input to keep; leave it out of --keep"
            )
            raise ModelUnavailableError(msg)
        self._projection = found
        matrix = found.matrix.cpu().numpy().copy()
        bias = np.zeros(matrix.shape[1], dtype=np.float32)
        if found.bias is not None:
            bias = found.bias.detach().float().cpu().numpy().copy()
        width, dim = matrix.shape
        said = f"{width:,} numbers that the visual projection takes to {dim:,}"
        return KeptForm(PROJECTION_INPUT, (width,), said, projection=matrix, bias=bias)

    def _find_tokens(self) -> KeptForm:
        tower = read_tower(self._module, self._embed, self._pixels, _LEAST_PLACES)
        if tower is None:
            msg = (
                f"{self._name} has no blocks that pass on tokens, and no last map of places: there "
                "are no tokens to keep; leave them out of --keep"
            )
            raise ModelUnavailableError(msg)
        self._tower = tower
        heard: list[torch.Tensor] = []
        with torch.inference_mode(), tower.hearing(heard):
            self._embed(self._pixels)
        n_tokens, width = heard[0].shape[1:]
        if isinstance(tower, MapTower):
            down = round(math.sqrt(n_tokens * self._pixels.shape[2] / self._pixels.shape[3]))
            grid, n_prefix = (down, n_tokens // down), 0
            said = f"{grid[0]} x {grid[1]} places of the last map ({tower.name})"
        else:
            grid, n_prefix = tower.grid, tower.n_prefix
            said = f"tokens of the last block, before the last norm: {n_prefix} "
            said += f"before those of {grid[0]} x {grid[1]} patches"
        return KeptForm(TOKENS, (n_tokens, width), said, n_prefix, grid)


def measure_dim(
    module: torch.nn.Module,
    transform: Callable[[Image], Pixels],
    embed: EmbedPixels,
    runtime: Runtime,
) -> int:
    """Return the length of an embedding, found by encoding one grey picture.

    Configurations of different architectures keep it in different places; the model knows.
    """
    pixels = torch.tensor(transform(PIL.Image.new("RGB", (64, 64), "grey"))[None])
    with torch.inference_mode():
        return int(embed(module, pixels.to(runtime.device, runtime.dtype)).shape[1])


def _split(n_items: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, n_items, size))
