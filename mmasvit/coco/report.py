"""What is in a data set as a run uses it: counted, printed, written."""
from dataclasses import asdict, dataclass
from typing import Dict, List

import numpy as np
from rich.console import Console
from rich.markup import escape

from mmasvit.coco.annotations import NO_MASK
from mmasvit.coco.findings import Finding
from mmasvit.coco.view import View
from mmasvit.errors import printable
from mmasvit.tables import print_table

SMALL, MEDIUM = 32**2, 96**2  # COCO's limits of areas, in pixels
MOST_CLASSES = 30  # that are printed


@dataclass(frozen=True)
class SplitReport:
    """One split of a data set.

    Args:
        ann_file: The annotation file, the user's own; the folder if there is none.
        image_folder: Where the images lie.
        images: How many are used.
        objects: How many arrive, crowd regions aside.
        crowds: How many crowd regions arrive, which are ignored.
        images_without_objects: Of the images.
        masks: Objects with a mask.
        classes: Name, images and objects of each, by label.
        areas: Objects that are small, medium and large by COCO's limits.
        image_sizes: Height and width of the smallest, median and largest image.
        findings: What is wrong.
    """
    ann_file: str
    image_folder: str
    images: int
    objects: int
    crowds: int
    images_without_objects: int
    masks: int
    classes: List[Dict[str, object]]
    areas: Dict[str, int]
    image_sizes: Dict[str, List[int]]
    findings: List[Finding]

    @classmethod
    def of(cls, view: View, image_folder: str,
           findings: List[Finding]) -> 'SplitReport':
        """Count what a view shows."""
        objects, used = view.coco.annotations, view.used_images
        areas = np.where(np.isnan(objects.areas), objects.boxes[:, 2:].prod(1),
                         objects.areas)[view.taught]
        small, medium = int((areas < SMALL).sum()), int((areas < MEDIUM).sum())
        return cls(
            ann_file=view.coco.path, image_folder=image_folder, images=int(used.sum()),
            objects=int(view.taught.sum()),
            crowds=int((view.kept & objects.crowds).sum()),
            images_without_objects=int((view.objects_per_image[used] == 0).sum()),
            masks=int((objects.masks[view.taught] != NO_MASK).sum()),
            classes=view.per_class(),
            areas=dict(small=small, medium=medium - small, large=len(areas) - medium),
            image_sizes=_sizes(view.coco.images.heights[used],
                               view.coco.images.widths[used]),
            findings=findings)


@dataclass(frozen=True)
class DataReport:
    """All splits of a data set, by name."""
    splits: Dict[str, SplitReport]

    def to_json(self) -> dict:
        """Plain dicts, lists, numbers and text."""
        return dict(splits={name: asdict(split) for name, split in self.splits.items()})

    @property
    def refusals(self) -> List[str]:
        """A line for each finding that is refused."""
        return [f'{split.ann_file}: {finding.text}' for split in self.splits.values()
                for finding in split.findings if finding.refuse]

    @property
    def remarks(self) -> List[str]:
        """A line for each finding that is told."""
        return [f'{split.ann_file}: {finding.text}' for split in self.splits.values()
                for finding in split.findings if not finding.refuse]

    def print(self) -> None:
        """Print tables and findings."""
        splits, console = self.splits, Console(soft_wrap=True, highlight=False)
        for name, split in splits.items():
            console.print(escape(printable(f'{name}: {split.ann_file}, images in '
                                           f'{split.image_folder}')))
        counts = {'images': 'images', '  without objects': 'images_without_objects',
                  'objects': 'objects', '  with masks': 'masks',
                  'crowd regions': 'crowds'}
        rows = [[title, *(f'{getattr(split, name):,}' for split in splits.values())]
                for title, name in counts.items()]
        areas = {'small': ' (area below 32² px)', 'medium': ' (below 96² px)',
                 'large': ''}
        rows += [[f'{name} objects{limit}', *(f'{split.areas.get(name, 0):,}'
                                              for split in splits.values())]
                 for name, limit in areas.items()]
        rows += [[f'image size, {name}', *(
            ' x '.join(map(str, split.image_sizes.get(name, ())))
            for split in splits.values())] for name in ('min', 'median', 'max')]
        print_table('sizes are height x width', ['', *splits], _escaped(rows))
        self._print_classes()
        for name, split in splits.items():
            for finding in split.findings:
                word = 'REFUSED' if finding.refuse else 'note'
                console.print(escape(f'{word} {name}: {finding.text}'))

    def _print_classes(self) -> None:
        names = list(dict.fromkeys(row['name'] for split in self.splits.values()
                                   for row in split.classes))
        rows = []
        counts = [{row['name']: row for row in split.classes}
                  for split in self.splits.values()]
        for name in names[:MOST_CLASSES]:
            found = [count.get(name) for count in counts]
            rows.append([str(name), *(
                '-' if row is None else f'{row["objects"]:,} in {row["images"]:,} images'
                if row['objects'] else '0' for row in found)])
        if len(names) > MOST_CLASSES:
            rows.append([f'... and {len(names) - MOST_CLASSES} more',
                         *('' for _ in counts)])
        print_table('objects per class', ['class', *self.splits], _escaped(rows))


def _escaped(rows: List[List[str]]) -> List[List[str]]:
    """Names out of files are no markup."""
    return [[escape(cell) for cell in row] for row in rows]


def _sizes(heights: np.ndarray, widths: np.ndarray) -> Dict[str, List[int]]:
    if not len(heights) or not np.isfinite([heights, widths]).all():
        return {}
    order = np.argsort(heights * widths, kind='stable')
    places = dict(min=order[0], median=order[(len(order) - 1) // 2], max=order[-1])
    return {name: [int(heights[i]), int(widths[i])] for name, i in places.items()}
