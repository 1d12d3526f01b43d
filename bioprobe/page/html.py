"""HTML from the templates that ship with bioprobe."""

from __future__ import annotations

from typing import Any


def render_page(template: str, content: dict[str, Any]) -> str:
    """Fill a template; what comes from names and files is escaped.

    Parameters
    ----------
    template : str
        File name below ``bioprobe/page/templates``.
    content : dict
        What the template asks for; a missing value is an error, never a blank.

    Returns
    -------
    str
        One HTML document.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bioprobe.page", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(content)
