"""One html page that shows what a work directory holds.

:func:`write_report` is all that a caller needs; ``tools/report.py`` is its command line.
"""
from mmasvit.report.write import write_report

__all__ = ['write_report']
