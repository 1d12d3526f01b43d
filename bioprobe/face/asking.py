"""Questions that need no label: zero-shot, search, filter, duplicates, description."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from bioprobe.face.opened import Opened
from bioprobe.options import Option, question

if TYPE_CHECKING:
    from bioprobe.quality import Duplicates


class Asks(Opened):
    """What can be asked of pictures alone."""

    @question
    def dedupe(
        self,
        threshold: Annotated[
            float,
            Option("Cosine similarity from which two images are the same.", least=-1, most=1),
        ] = 0.95,
        *,
        confirm: Annotated[
            bool,
            Option(
                "Whether near images must also look alike by a hash of their picture files, as far "
                "as these can be read."
            ),
        ] = True,
    ) -> Duplicates:
        """Find images that are in the store more than once, and keep one of each as a mask.

        Nothing is deleted: the mask ``filters/duplicates`` leaves the copies out where it is asked
        for.

        Parameters
        ----------
        threshold : float
            Least cosine similarity of two images that are the same, in [-1, 1].
        confirm : bool
            Whether their pictures must look alike too.

        Returns
        -------
        Duplicates
            One row an image in a group: its group, whether it is kept, the similarity.
        """
        from bioprobe.quality import find_duplicates
        from bioprobe.store.selections import DUPLICATES_MASK

        found = find_duplicates(self._view, threshold=threshold, confirm=confirm)
        found.write(self._view.store)
        n_dropped = int((~found.kept).sum())
        said = [
            f"images: {len(found.rows):,}; groups of duplicates: {found.n_groups:,}; copies of an "
            f"image that is kept: {n_dropped:,} ({found.duplicate_fraction:.1%})"
        ]
        if found.n_unread:
            said.append(
                f"{found.n_unread:,} near images could not be read to compare the pictures: their "
                "vectors alone decided"
            )
        said.append(f"kept as a mask; use it with: --mask {DUPLICATES_MASK}")
        return found.say((*self.notes, *said))
