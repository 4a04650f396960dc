"""What can be mended without guessing, in a copy; the user's file stays as it is."""
from pathlib import Path
from typing import Optional, Sequence, Union

import numpy as np
import orjson

from mmasvit.coco.annotations import parse
from mmasvit.coco.checks import unusable_ids
from mmasvit.coco.view import View
from mmasvit.files import replacing

MENDED = ('area-missing', 'iscrowd-missing', 'annotation-id')  # kinds of findings


def mend(view: View, path: Union[str, Path],
         order: Optional[Sequence[str]] = None) -> None:
    """Write a mended copy of a view's file.

    A missing ``area`` becomes the box's, a missing ``iscrowd`` 0; where annotation ids
    are of no use, all are counted from 1.

    Args:
        view: The file in its use; it has been checked, and nothing of it was refused.
        path: Where to write; the folder is made.
        order: Names of classes in the order that the categories shall have; others
            follow. Defaults to the order as it is.

    Raises:
        InputError: If it cannot be written.
    """
    coco = parse(view.coco.path)
    objects = coco.get('annotations') or []
    for i in np.flatnonzero(np.isnan(view.coco.annotations.areas)):
        objects[i]['area'] = objects[i]['bbox'][2] * objects[i]['bbox'][3]
    for i in np.flatnonzero(view.coco.annotations.no_crowds):
        objects[i]['iscrowd'] = 0
    if unusable_ids(view):
        for number, row in enumerate(objects, 1):
            row['id'] = number
    if order is not None:
        place = {name: i for i, name in enumerate(order)}
        coco['categories'].sort(key=lambda row: place.get(row['name'], len(place)))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        Path(temporary).write_bytes(orjson.dumps(coco))
