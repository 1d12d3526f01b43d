"""What became of each image of a run, and of the run."""

from __future__ import annotations

import dataclasses
import enum


class Outcome(enum.StrEnum):
    """What a run did with one image."""

    EMBEDDED = "embedded"
    REUSED = "reused"  # its bytes are in the store under another name, or with other labels
    KEPT = "kept"
    FAILED = "failed"


@dataclasses.dataclass(frozen=True)
class EmbedSummary:
    """Counts of a run.

    Parameters
    ----------
    n_embedded : int
        Images that the encoder saw.
    n_reused : int
        Rows added with a vector that the store already had: the same bytes under another name,
        or new labels for a known image.
    n_kept : int
        Images that were already in the store and are unchanged.
    n_failed : int
        Images that could not be read; the store lists them.
    seconds_s : float
        Duration.
    n_pruned : int
        Rows that were retired because their file is gone.
    n_out_of_reach : int
        Rows whose file may be gone or on a disk that is away; they stay.
    """

    n_embedded: int
    n_reused: int
    n_kept: int
    n_failed: int
    seconds_s: float
    n_pruned: int = 0
    n_out_of_reach: int = 0

    @property
    def n_images(self) -> int:
        """Number of images that were listed."""
        return self.n_embedded + self.n_reused + self.n_kept + self.n_failed

    @property
    def images_per_s(self) -> float:
        """Images a second that were embedded or reused, 0 where there was none."""
        n_added = self.n_embedded + self.n_reused
        return n_added / self.seconds_s if self.seconds_s > 0 else 0.0
