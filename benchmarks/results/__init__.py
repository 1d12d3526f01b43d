"""One run of all that is measured, and the page that it makes: ``benchmarks/RESULTS.md``."""
