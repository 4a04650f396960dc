"""Tables for people who compare runs."""
from typing import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from mmasvit.errors import printable


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table at its full width, whatever the terminal's."""
    table = Table(*header, box=box.SIMPLE, title=title, title_justify='left')
    for row in rows:
        table.add_row(*('\n'.join(map(printable, cell.split('\n'))) for cell in row))
    width = Console(width=10_000).measure(table).maximum
    Console(width=max(width, Console().width)).print(table)
