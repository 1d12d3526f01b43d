"""A page on which people look, ask and correct, and the same for programs over HTTP.

Nothing is computed here: a page or an answer of the API is parse, one question of the public face,
show. ``app.py`` puts it together, ``desk.py`` is
what every request sees, ``guard.py`` says who may, ``views/`` has one module a page and
``api/`` one a part of ``/api/v1``; templates and what browsers load stand in ``templates/`` and
``static/``.
"""
