"""What is taken for what: as a matrix where it can be read, and its largest entries."""
from typing import List, Optional, Sequence

import numpy as np

from mmasvit.report.page import Block, Matrix, Table

MAX_CLASSES = 25  # of a matrix that a person can read
MOST = 10  # pairs


def confusion_blocks(counts: np.ndarray, names: Sequence[str], things: str,
                     nothing: Optional[Sequence[str]] = None,
                     caption: str = 'Shaded by share of the row.') -> List[Block]:
    """The matrix, if it is not too large, and the pairs of classes most often confused.

    Args:
        counts: By truth and prediction, ``(classes, classes)``, or one more of each for
            what has no truth and what has no prediction.
        names: The classes.
        things: What is counted, such as ``'images'``.
        nothing: Names of the additional row and column.
        caption: What the matrix shows.
    """
    blocks: List[Block] = []
    number = len(names)
    if number <= MAX_CLASSES:
        shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
        shares[number:] = counts[number:] / np.maximum(1, counts.sum(0))
        row, column = ([*names, one] for one in nothing) if nothing else (names, names)
        blocks.append(Matrix(row, column, counts.tolist(), shares.tolist(), caption))
    pairs = [(counts[i, j], i, j) for i, j in zip(*np.nonzero(counts[:number, :number]))
             if i != j]
    if pairs and number > 2:
        pairs.sort(key=lambda pair: -pair[0])
        blocks.append(Table(
            ['class', 'taken for', 'times', f'of its {things}'],
            [[names[i], names[j], f'{count:,}', f'{100 * count / counts[i].sum():.1f} %']
             for count, i, j in pairs[:MOST]], text_columns=2))
    return blocks
