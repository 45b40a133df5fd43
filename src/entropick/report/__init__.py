"""Ledgers in; one self-contained page, figure files and a table out.

Reads run directories and nothing else, so a report can be made anywhere the directory lies, at any time, also while
the study is still running: it then shows what is there and says what is not. Nothing here computes a metric.

`study.py` reads, `table.py` makes one long table of it; `intervals.py` says what is clear, `findings.py` what happened
in words. A figure is a function of the table: `figure.py` says what it gives and which there are, `curves.py`,
`sources.py`, `relations.py` and `images.py` draw. `page.py` puts all of it together.
"""

from entropick.report.page import write_figures, write_page
from entropick.report.study import ArmRecord, RunRecord, StudyRecord, read_study
from entropick.report.table import Table, read_table, summary_table, write_table

__all__ = [
    "ArmRecord",
    "RunRecord",
    "StudyRecord",
    "Table",
    "read_study",
    "read_table",
    "summary_table",
    "write_figures",
    "write_page",
    "write_table",
]
