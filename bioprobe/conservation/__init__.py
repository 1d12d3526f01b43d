"""Conservation status: categories, tables of them, the Red List, and how many have which."""

from bioprobe.conservation.answer_tables import judge_table, list_named
from bioprobe.conservation.categories import (
    CODES,
    COLOURS,
    INKS,
    NAMES,
    NOT_THREATENED,
    THREATENED,
    THREATS,
    Category,
    find_threat,
    read_category,
)
from bioprobe.conservation.counting import Units, count_statuses, find_units
from bioprobe.conservation.finding import Covered, Finder
from bioprobe.conservation.red_list import Asker, RedListClient, Wanted, ask_red_list
from bioprobe.conservation.shares import (
    STATUS,
    THREAT,
    Judged,
    find_members,
    join_judged,
    judge_answers,
    judge_labels,
    judge_stored,
    sum_lowest,
)
from bioprobe.conservation.statuses import NO_LINEAGE, Status, Statuses, read_statuses

__all__ = [
    "CODES",
    "COLOURS",
    "INKS",
    "NAMES",
    "NOT_THREATENED",
    "NO_LINEAGE",
    "STATUS",
    "THREAT",
    "THREATENED",
    "THREATS",
    "Asker",
    "Category",
    "Covered",
    "Finder",
    "Judged",
    "RedListClient",
    "Status",
    "Statuses",
    "Units",
    "Wanted",
    "ask_red_list",
    "count_statuses",
    "find_members",
    "find_threat",
    "find_units",
    "join_judged",
    "judge_answers",
    "judge_labels",
    "judge_stored",
    "judge_table",
    "list_named",
    "read_category",
    "read_statuses",
    "sum_lowest",
]
