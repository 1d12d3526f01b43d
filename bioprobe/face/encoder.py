"""An encoder as people hold it: pictures and texts in, vectors out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from bioprobe.errors import ImageReadError, SourceError
from bioprobe.options import (
    Backend,
    Device,
    Model,
    NumberOfAnswers,
    Precision,
    list_given,
    question,
)
from bioprobe.progress import Progress, Step

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL.Image import Image

    from bioprobe.encoders.encoder import Encoder as Loaded
    from bioprobe.encoders.encoder import Fingerprint
    from bioprobe.task.predictions import Predictions
    from bioprobe.types import Vectors
    from bioprobe.zeroshot.candidates import ClassNames

    #: What a pass goes through.
    Run = Callable[[Callable[[Sequence[Any]], Vectors], Sequence[Any]], Vectors]
    Picture = str | Path | bytes | bytearray | IO[bytes] | Image | npt.NDArray[Any]


class Encoder:
    """What turns pictures and texts into unit vectors. Make one with :func:`bioprobe.encoder`.

    Parameters
    ----------
    loaded : bioprobe.encoders.Encoder
        The model.
    """

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded

    def __repr__(self) -> str:
        return f"<Encoder {self.name}: dim {self.dim}, on {self._loaded.device}>"

    @property
    def loaded(self) -> Loaded:
        """The model itself."""
        return self._loaded

    def through(self, run: Run) -> Encoder:
        """Return the same encoder, each pass of which goes through a function.

        Parameters
        ----------
        run : callable
            Given what encodes and a list of pictures or texts, it returns their vectors: as by a
            thread that takes those of several people together.
        """
        return Encoder(_Through(self._loaded, run))

    @property
    def name(self) -> str:
        """Name by which it can be loaded again."""
        return self._loaded.name

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._loaded.dim

    @property
    def logit_scale(self) -> float:
        """Factor from cosine similarity to logits."""
        return self._loaded.logit_scale

    @property
    def fingerprint(self) -> Fingerprint:
        """Identity: vectors may be compared where it is compatible."""
        return self._loaded.fingerprint

    def images(
        self,
        images: Picture | Sequence[Picture],
        *,
        max_pixels: int | None = None,
        progress: Progress | None = None,
    ) -> Vectors:
        """Encode pictures as :func:`bioprobe.embed` does.

        EXIF orientation is applied, what is transparent becomes white, grey becomes RGB.

        Parameters
        ----------
        images : picture or sequence of pictures
            Image files (str or Path), encoded bytes, files open for reading bytes, PIL images, or
            arrays of uint8 of shape (height, width), (height, width, 3) or (height, width, 4).
        max_pixels : int, optional
            Pixels of one, at most; what has more is not decoded.
        progress : callable, optional
            Told a step after each batch; an error that it raises stops the work.

        Returns
        -------
        ndarray of float32, shape (n_images, dim), unit rows

        Raises
        ------
        ImageReadError
            If one cannot be read, or has too many pixels; it names which.
        SourceError
            If one is nothing that is a picture.
        """
        import numpy as np

        from bioprobe.images.reading import ignore_pillow_warnings

        given = _list_pictures(images)
        found = [np.empty((0, self.dim), dtype=np.float32)]
        step = self._loaded.batch_size
        with ignore_pillow_warnings():
            for start in range(0, len(given), step):
                batch = given[start : start + step]
                read = [
                    self._read(one, start + place, max_pixels) for place, one in enumerate(batch)
                ]
                found.append(self._loaded.encode_image(read))
                if progress is not None:
                    progress(Step(start + len(batch), len(given), "images"))
        return np.concatenate(found)

    def read(self, picture: Picture, *, max_pixels: int | None = None) -> Image:
        """Decode a picture as :meth:`images` does before it encodes it.

        Parameters
        ----------
        picture : picture
            As there.
        max_pixels : int, optional
            What has more is not decoded.

        Raises
        ------
        ImageReadError
            If it cannot be read, or has too many pixels.
        SourceError
            If it is nothing that is a picture.
        """
        from bioprobe.images.reading import ignore_pillow_warnings

        with ignore_pillow_warnings():
            try:
                return _read_picture(picture, self._loaded.draft_side_px, max_pixels)
            except ImageReadError:
                raise
            except OSError as error:
                raise ImageReadError(str(error)) from error

    def texts(self, texts: str | Sequence[str]) -> Vectors:
        """Encode texts, written out as they are to be asked.

        Parameters
        ----------
        texts : str or sequence of str
            Such as ``a photo of a lion``.

        Returns
        -------
        ndarray of float32, shape (n_texts, dim), unit rows

        Raises
        ------
        NoTextTowerError
            If the encoder is image-only.
        PromptError
            If a text is longer than it reads.
        """
        import numpy as np

        given = list_given(texts)
        if not given:
            return np.empty((0, self.dim), dtype=np.float32)
        return self._loaded.encode_text(given)

    @question
    def classify(
        self,
        images: Picture | Sequence[Picture],
        classes: ClassNames,
        *,
        k: NumberOfAnswers = 5,
        templates: str = "plain",
        progress: Progress | None = None,
    ) -> Predictions:
        """Tell which of some names each picture is.

        Parameters
        ----------
        images : picture or sequence of pictures
            As :meth:`images` takes them.
        classes : str, sequence of str, or mapping of str to texts
            Names, with commas between them where they are one text; a file of them; or from each
            class to its texts, whose probabilities are summed.
        k : int
            Answers a picture, ≥ 1; no more than there are classes.
        templates : str
            Template set, text file, or one template with ``{}`` where the name goes.
        progress : callable, optional
            As for :meth:`images`.

        Returns
        -------
        Predictions
            The table has the columns ``file_name`` (of a picture that is no file, its number from
            0), ``classification`` and ``score``, a probability over the classes.

        Raises
        ------
        PromptError
            If no class is named, or one twice.
        MisuseError
            If ``k`` is no number of answers.
        """
        import numpy as np
        import pandas as pd

        from bioprobe.images import ImageTable
        from bioprobe.prompts import read_templates
        from bioprobe.provenance import Provenance
        from bioprobe.task.predictions import Predictions
        from bioprobe.zeroshot.candidates import read_classes
        from bioprobe.zeroshot.zeroshot import embed_phrases, find_top_named

        (named, phrases), read = read_classes(classes), read_templates(templates)
        given = _list_pictures(images)
        vectors = self.images(given, progress=progress)
        texts = embed_phrases(list(phrases.values()), read, self._loaded.encode_text)
        top, scores = find_top_named(*texts, vectors, k=k, logit_scale=self.logit_scale)
        paths = [_name(one, place) for place, one in enumerate(given)]
        frame = pd.DataFrame({"root": "", "path": paths}, dtype=object)
        provenance = Provenance(
            encoder=self.fingerprint.to_dict(),
            store="",
            n_rows=len(given),
            options={"classes": list(named.names), "templates": list(read)},
        )
        answers = Predictions(
            ImageTable.build(frame), np.arange(len(given)), named, top, scores, provenance
        )
        return answers.say([f"images: {len(given):,}; classes: {len(named):,}"])

    def _read(self, picture: Picture, place: int, max_pixels: int | None) -> Image:
        try:
            return _read_picture(picture, self._loaded.draft_side_px, max_pixels)
        except (ImageReadError, OSError) as error:
            msg = f"picture {place} ({_name(picture, place)}): {error}"
            raise ImageReadError(msg) from error


class _Through:
    """A model each pass of which goes through a function; all else is the model's own."""

    def __init__(self, loaded: Loaded, run: Run) -> None:
        self._model = loaded
        self._run = run

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as the model has it
        return getattr(self._model, name)

    def encode_image(self, images: Sequence[Image]) -> Vectors:
        return self._run(self._model.encode_image, images)

    def encode_text(self, texts: Sequence[str]) -> Vectors:
        return self._run(self._model.encode_text, texts)


def encoder(
    model: Model = None,
    *,
    device: Device = "auto",
    precision: Precision = None,
    backend: Backend = "auto",
    decoding: str | None = None,
    batch_size: int | None = None,
) -> Encoder:
    """Load an encoder, for pictures and arrays that are no store.

    Parameters
    ----------
    model : str, optional
        Name of the encoder; by default ``bioclip-2``.
    device : str
        Where it runs.
    precision, decoding : str, optional
        As for :func:`bioprobe.embed`: ``auto`` and ``fast`` by default.
    backend : str
        What runs whole batches, as for :func:`bioprobe.embed`.
    batch_size : int, optional
        Images that it sees at once; by default by device.

    Returns
    -------
    Encoder

    Raises
    ------
    ModelUnavailableError
        If the weights are not here.

    Examples
    --------
    >>> import bioprobe as bp
    >>> import numpy as np
    >>> sketch = bp.encoder("sketch", precision="fp32")
    >>> orange = np.full((32, 32, 3), (230, 120, 20), dtype=np.uint8)
    >>> sketch.images([orange]).shape == (1, sketch.dim)
    True
    >>> sketch.classify(orange, ["cat", "bird"], k=1).to_frame()["file_name"].tolist()
    ['0']
    """
    from bioprobe.encoders import load_encoder
    from bioprobe.encoders.catalog import DEFAULT_MODEL

    loaded = load_encoder(
        model or DEFAULT_MODEL, device=device, precision=precision or "auto",
        decoding=decoding or "fast", batch_size=batch_size, backend=backend,
    )  # fmt: skip
    return Encoder(loaded)


encoder.__module__ = "bioprobe"


def measure_picture(data: bytes) -> tuple[int, int]:
    """Return width and height of a picture in pixels; nothing of it is decoded.

    Parameters
    ----------
    data : bytes
        Content of its file.

    Raises
    ------
    ImageReadError
        If it is none.
    """
    from bioprobe.images.reading import read_facts

    facts = read_facts(data)
    return facts.width_px, facts.height_px


def _list_pictures(images: Any) -> list[Picture]:  # noqa: ANN401 - one picture or several
    """Return the pictures that were given, one or several."""
    import numpy as np

    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    return list(images) if isinstance(images, Sequence) and not _is_data(images) else [images]


def _is_data(given: object) -> bool:
    return isinstance(given, (str, bytes, bytearray, memoryview))


def _name(picture: object, place: int) -> str:
    return os.fspath(picture) if isinstance(picture, (str, Path)) else str(place)


def _read_picture(
    picture: Any,  # noqa: ANN401 - what people hold
    draft_side_px: int,
    max_pixels: int | None,
) -> Image:
    import numpy as np
    from PIL import Image as PillowImage

    from bioprobe.images.addresses import refuse_address
    from bioprobe.images.location import read_file
    from bioprobe.images.reading import decode_image, make_upright

    if isinstance(picture, PillowImage.Image):
        return make_upright(picture)
    if isinstance(picture, np.ndarray):
        channels = picture.shape[2:]
        if (
            picture.dtype != np.uint8
            or picture.ndim not in {2, 3}
            or channels not in {(), (3,), (4,)}
        ):
            msg = (
                "an array is a picture where it holds uint8 and has the shape (height, width) or "
                f"(height, width, 3 or 4); got {picture.dtype} of shape {picture.shape}"
            )
            raise SourceError(msg)
        return make_upright(PillowImage.fromarray(picture))
    if isinstance(picture, (str, Path)):
        refuse_address(picture)
        picture = read_file(Path(picture))
    elif hasattr(picture, "read"):
        picture = picture.read()
    if not isinstance(picture, (bytes, bytearray, memoryview)):
        msg = (
            f"{type(picture).__name__} is no picture; give a file's name, its bytes, a file open "
            "for reading bytes, a PIL image or an array of uint8"
        )
        raise SourceError(msg)
    limit = {} if max_pixels is None else {"max_pixels_px": max_pixels}
    return decode_image(bytes(picture), draft_side_px=draft_side_px, **limit)
