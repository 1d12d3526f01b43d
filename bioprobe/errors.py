"""Errors that bioprobe raises on purpose.

::

    BioprobeError
    ├── StoreError                  a store cannot be read, written or trusted
    ├── StoreLockedError            another process is writing to the store
    ├── UnreadableError             what is there cannot be read just now
    ├── MismatchError(ValueError)   vectors of one encoder met those of another
    ├── TaxonomyError(ValueError)   a name list or lineage contradicts itself
    ├── PromptError(ValueError)     a template, text type or text cannot be used
    │   └── LongTextError           the encoder does not read so long a text
    ├── SourceError(ValueError)     a folder, table or list of images cannot be used
    ├── SelectionError(ValueError)  a condition on the image table cannot be applied
    ├── ProbeError(ValueError)      a probe cannot be fitted as it was asked for
    ├── MisuseError(ValueError)     options that do not go together, or out of their limits
    ├── ImageReadError(OSError)     one image cannot be decoded (never stops a run)
    ├── ModelUnavailableError(OSError)     the weights are not on this machine
    ├── NoTextTowerError(TypeError)        an image-only encoder was given text
    └── MissingExtraError(ImportError)     an optional dependency is not installed

Every class but the root also inherits from the builtin that a caller who knows nothing of
bioprobe would catch. A message says what happened, what was got, what was expected, and the
remedy.
"""

from __future__ import annotations


class BioprobeError(Exception):
    """Root of all errors that bioprobe raises on purpose."""


class StoreError(BioprobeError, RuntimeError):
    """A store cannot be read, written or trusted."""


class StoreLockedError(StoreError):
    """Another process is writing to the store."""


class UnreadableError(StoreError):
    """A file or folder is there and cannot be read just now; nothing is known to be damaged."""


class MismatchError(BioprobeError, ValueError):
    """Vectors, probes or texts of one encoder met those of another."""


class TaxonomyError(BioprobeError, ValueError):
    """A name list or a lineage contradicts itself."""


class PromptError(BioprobeError, ValueError):
    """A template, a text type or a text cannot be used."""


class LongTextError(PromptError):
    """Texts have more tokens than the encoder reads.

    Parameters
    ----------
    message : str
        For people.
    texts : tuple of str
        All of those that were asked for and are too long.
    """

    def __init__(self, message: str, texts: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.texts = texts


class SourceError(BioprobeError, ValueError):
    """A folder, table or list of images cannot be used as a source."""


class SelectionError(BioprobeError, ValueError):
    """A condition on the image table cannot be applied."""


class ProbeError(BioprobeError, ValueError):
    """A probe cannot be fitted as it was asked for."""


class MisuseError(BioprobeError, ValueError):
    """Options do not go together, or one is out of its limits; a command exits with 2."""


class ImageReadError(BioprobeError, OSError):
    """One image cannot be decoded; a run lists it and goes on."""


class ModelUnavailableError(BioprobeError, OSError):
    """The weights of a model are not on this machine and cannot be fetched."""


class NoTextTowerError(BioprobeError, TypeError):
    """An image-only encoder was given text."""


class MissingExtraError(BioprobeError, ImportError):
    """An optional dependency is not installed."""


# People know them, and catch them, by the name of the face.
for _error in [
    BioprobeError, LongTextError, StoreLockedError, UnreadableError,
    *BioprobeError.__subclasses__(),
]:  # fmt: skip
    _error.__module__ = "bioprobe"
del _error
