"""The parts of a set (train, val, test), each alone and beside the others."""
import os
from dataclasses import dataclass
from typing import Callable, Iterable, List, Optional, Sequence

import numpy as np

from mmasvit.coco.annotations import CocoFile
from mmasvit.coco.checks import find_faults
from mmasvit.coco.findings import Finding, shown
from mmasvit.coco.images import compare_sizes, findings_of, look_at
from mmasvit.coco.layouts import find_splits
from mmasvit.coco.report import DataReport, SplitReport
from mmasvit.coco.view import Use, View

Track = Callable[[Iterable, int, str], Iterable]  # results, how many, what


@dataclass(frozen=True)
class Part:
    """A part of a set.

    Args:
        name: ``'train'``, ``'val'``, ``'test'`` or the like.
        view: Its annotation file in its use.
        image_folder: What the file names are relative to.
        by_opencv: Whether OpenCV loads the images, as colours; those that something else
            loads are not looked at.
    """
    name: str
    view: View
    image_folder: str
    by_opencv: bool = True

    @property
    def images(self) -> List[str]:
        """Paths of the used images."""
        names = self.view.coco.images.file_names
        return [os.path.join(self.image_folder, names[i])
                for i in np.flatnonzero(self.view.used_images)]


def inspect_folder(path: str, images: bool, track: Track) -> DataReport:
    """What is in a folder, or an annotation file, and what is wrong with it.

    Args:
        path: A folder in any layout, or an annotation file.
        images: Whether to look at the image files.
        track: Wraps results as they come, for instance into a progress bar.

    Raises:
        InputError: If it holds no set in COCO's format.
    """
    parts = []
    for split in find_splits(path):
        train = split.name in ('train', 'all')
        use = Use(train=train, scored=not train)
        parts.append(Part(split.name, View(CocoFile.read(split.ann_file), use),
                          str(split.image_folder)))
    findings = check_files(parts)
    if images:
        check_image_files(parts, findings, track)
    return report_parts(parts, findings)


def check_files(parts: Sequence[Part]) -> List[List[Finding]]:
    """Findings on the annotation files, a list for each part."""
    found = [find_faults(part.view) for part in parts]
    trained = {path for part, findings in zip(parts, found)
               if part.view.use.train and not refused(findings) for path in part.images}
    for part, findings in zip(parts, found):
        if refused(findings):
            continue
        findings += filter(None, [_other_classes(part.view, parts[0].view)])
        both = [] if part.view.use.train else [
            path for path in part.images if path in trained]
        if both:
            total = len(part.view.coco.images)
            findings.append(Finding(
                'image-in-train', False, len(both), total, f'{len(both)} of {total} '
                f'images are trained on, too {shown(both, 1)}'))
    return found


def check_image_files(parts: Sequence[Part], found: Sequence[List[Finding]],
                      track: Track) -> None:
    """Add findings on the image files, unless something is refused already.

    Looking at images takes by far the longest.
    """
    if any(map(refused, found)):
        return
    for part, findings in zip(parts, found):
        if not part.by_opencv:
            continue
        paths, used = part.images, part.view.used_images
        looks = look_at(paths, lambda looks: track(
            looks, len(paths), f'looking at the images of {part.name}'))
        images = part.view.coco.images
        findings += findings_of(looks)
        findings += compare_sizes(looks, images.widths[used], images.heights[used])


def report_parts(parts: Sequence[Part],
                 found: Sequence[List[Finding]]) -> DataReport:
    """The report, with what is refused before what is told."""
    return DataReport({
        part.name: SplitReport.of(part.view, part.image_folder, sorted(
            findings, key=lambda finding: not finding.refuse))
        for part, findings in zip(parts, found)})


def refused(findings: Sequence[Finding]) -> bool:
    """Whether any of some findings is refused."""
    return any(finding.refuse for finding in findings)


def _other_classes(view: View, first: View) -> Optional[Finding]:
    """Classes, or their order, that are not those of the first part."""
    total = len(view.classes)
    if set(view.classes) != set(first.classes):
        return Finding('classes-differ', True, total, len(first.classes),
                       f'the classes {shown(view.classes)} are not those of '
                       f'{first.coco.path} {shown(first.classes)}')
    if view.classes != first.classes:
        return Finding('category-order', False, total, total,
                       'the categories are in another order than those of '
                       f'{first.coco.path}; in the copy that the run reads they are in '
                       'that order')
    return None
