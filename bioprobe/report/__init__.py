"""One page that tells what was found."""

from bioprobe.report.overview import write_overview
from bioprobe.report.report import find_newest, write_report

__all__ = ["find_newest", "write_overview", "write_report"]
