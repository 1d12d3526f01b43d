"""What the commands import, imported once for all processes that are forked."""

__all__: list[str] = []
