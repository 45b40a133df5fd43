"""Ledgers in; one self-contained page, figure files and a table out.

Reads run directories and nothing else, so a report can be made anywhere the directory lies, at any time, also while
the study is still running: it then shows what is there and says what is not. Nothing here computes a metric.
"""

from entropick.report.page import write_figures, write_page
from entropick.report.record import ArmRecord, RunRecord, StudyRecord, read_study
from entropick.report.summary import summary_table

__all__ = ["ArmRecord", "RunRecord", "StudyRecord", "read_study", "summary_table", "write_figures", "write_page"]
