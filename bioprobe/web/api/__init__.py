"""The parts of ``/api/v1``, one module each: a router and the shapes of what goes in and out."""
