"""The command line: parse, one library call, show."""

import time

#: When the process began, as far as it can tell, by :func:`time.monotonic`.
STARTED_S = time.monotonic()
