"""Tables for people: as wide as a terminal, without breaking a key or a word."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..common.options import LABEL_LENGTH, label_of

PIPE_WIDTH: Final = 160
"""Columns of a table in a file or a pipe; more where words need them."""

GAP: Final = 2
"""Blanks between two columns."""

UNBROKEN: Final = 16
"""Columns of text that is never broken between its words: `3 minutes ago`."""

LONGEST_WORD: Final = 32
"""Columns from which on a word may be broken in a terminal: titles come from publishers."""


class Column:
    """A heading and the cells below it."""

    def __init__(self, name: str, *, is_number: bool, is_key: bool) -> None:
        self.name = name
        self.is_number = is_number
        self.is_key = is_key
        self.cells: list[Text] = []

    def shortened(self) -> Column:
        """The column, with the first characters of its keys."""
        if not self.is_key:
            return self
        column = Column(self.name, is_number=False, is_key=True)
        for cell in self.cells:
            is_long = len(cell.plain) > LABEL_LENGTH + 1
            column.cells.append(Text(label_of(cell.plain)) if is_long else cell)
        return column

    @property
    def natural(self) -> int:
        """Width without any line break."""
        return max(map(cell_len, (self.name, *(cell.plain for cell in self.cells))))

    def narrowest(self, longest_word: int | None) -> int:
        """Width down to which only sentences are broken, between words; and words that are longer than
        `longest_word` (None: no word)."""
        natural = self.natural
        if self.is_number or self.is_key or natural <= UNBROKEN:
            return natural
        word = max((cell_len(word) for cell in self.cells for word in cell.plain.split()), default=0)
        if longest_word is not None:
            word = min(word, longest_word)
        return min(natural, max(UNBROKEN, word, cell_len(self.name)))


class Grid:
    """A table in the making. Columns whose name begins with `#` are numbers."""

    def __init__(self, names: Sequence[str], *, keys: Sequence[str] = (), spare: Sequence[str] = ()) -> None:
        """`keys`: columns of keys, which a narrow terminal shows shortened. `spare`: columns that a terminal
        leaves out if it is too narrow all the same, the first one first."""
        self.columns = [
            Column(name.lstrip("#"), is_number=name.startswith("#"), is_key=name in keys) for name in names
        ]
        self.spare = tuple(spare)

    def add_row(self, *cells: str | Text) -> None:
        """Add one cell for each column."""
        for column, cell in zip(self.columns, cells, strict=True):
            column.cells.append(cell if isinstance(cell, Text) else Text(cell))

    @property
    def row_count(self) -> int:
        """Rows so far, without the headings."""
        return len(self.columns[0].cells)


def lines_of(grid: Grid, width: int | None) -> list[str]:
    """The lines of a table, without blanks at their ends, for a terminal of `width` columns; None: for a file
    or a pipe, with all columns and whole keys."""
    columns, longest = grid.columns, None if width is None else LONGEST_WORD
    room = PIPE_WIDTH if width is None else width
    if width is not None and _total([column.natural for column in columns]) > width:
        columns = _narrowed(grid, width)
    minimum = [column.narrowest(longest) for column in columns]
    widths = _shared([column.natural for column in columns], minimum, room)
    if width is not None:
        widths = _shared(widths, [1] * len(widths), room)  # narrower than the columns that must be there
    table = Table(box=None, pad_edge=False, header_style="none", padding=(0, GAP, 0, 0))
    for column, wide in zip(columns, widths, strict=True):
        table.add_column(
            column.name, width=wide, justify="right" if column.is_number else "left", overflow="fold"
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*row)
    out = io.StringIO()
    console = Console(file=out, width=_total(widths) + GAP, color_system=None, markup=False, emoji=False)
    console.print(table)
    return [line.rstrip() for line in out.getvalue().removesuffix("\n").split("\n")]


def _narrowed(grid: Grid, width: int) -> list[Column]:
    """The columns with shortened keys, without as many of the spare ones as do not fit."""
    columns = [column.shortened() for column in grid.columns]
    for name in grid.spare:
        if _total([column.narrowest(LONGEST_WORD) for column in columns]) <= width:
            break
        columns = [column for column in columns if column.name != name]
    return columns


def _shared(widths: Sequence[int], minimum: Sequence[int], room: int) -> list[int]:
    """The widths, the widest made narrower, none below its minimum, until all fit the room if they can."""
    shared = [max(low, min(wide, room)) for wide, low in zip(widths, minimum, strict=True)]
    while _total(shared) > room:
        found = [(wide, index) for index, wide in enumerate(shared) if wide > minimum[index]]
        if not found:
            break
        shared[max(found)[1]] -= 1
    return shared


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)
