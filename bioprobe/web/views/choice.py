"""Which pictures a page is about: what its address says, and addresses of other choices."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

from fastapi import Query, Request

from bioprobe.web.desk import find_store

if TYPE_CHECKING:
    from bioprobe.face.store import Store

#: Pictures of a page, and groups of one.
SIZES = (24, 60, 120)


@dataclasses.dataclass(frozen=True)
class Choice:
    """Some pictures of the store in an order.

    Parameters
    ----------
    where, mask, split : str
        As ``Store.where`` takes them; ``""`` where there is none.
    by : str
        What groups them, ``""`` for nothing.
    value : str or None
        The group; ``""`` is that of which nothing is said.
    order : str
        As ``Store.browse`` takes it.
    size : int
        Pictures of a page.
    page : int
        Which page, from 1.
    """

    where: str = ""
    mask: str = ""
    split: str = ""
    by: str = ""
    value: str | None = None
    order: str = "added"
    size: int = 60
    page: int = 1

    @classmethod
    def read(
        cls,
        where: Annotated[str, Query(max_length=2000)] = "",
        mask: Annotated[str, Query(max_length=200)] = "",
        split: Annotated[str, Query(max_length=200)] = "",
        by: Annotated[str, Query(max_length=200)] = "",
        value: Annotated[str | None, Query(max_length=500)] = None,
        order: Annotated[str, Query(max_length=200)] = "added",
        size: Annotated[int, Query(ge=1, le=500)] = 60,
        page: Annotated[int, Query(ge=1)] = 1,
    ) -> Choice:
        """Read what an address says."""
        return cls(where.strip(), mask, split, by, value if by else None, order, size, page)

    def open(self, request: Request) -> Store:
        """Return the store with the pictures that are chosen."""
        return find_store(request).narrow(
            self.where or None, mask=self.mask or None, split=self.split or None
        )

    @property
    def listed(self) -> dict[str, Any]:
        """What ``Store.browse`` and ``Store.look`` are asked."""
        return {"by": self.by or None, "value": self.value, "order": self.order}

    def link(self, path: str, **changes: Any) -> str:  # noqa: ANN401 - as the fields are
        """Return the address of a page about these pictures, or others.

        Parameters
        ----------
        path : str
            Of the page.
        changes : object
            What is otherwise; where other pictures are chosen it is their first page.
        """
        other = dataclasses.replace(self, **({"page": 1} | changes))
        said = {
            field.name: value
            for field in dataclasses.fields(other)
            if (value := getattr(other, field.name)) != field.default
        }
        return f"{path}?{urlencode(said)}" if said else path
