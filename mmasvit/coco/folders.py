"""Classification data: a folder for each class."""
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from mmasvit.coco.findings import Finding, shown
from mmasvit.errors import InputError


@dataclass(frozen=True)
class ClassFolders:
    """The classes of a split, and the images of each.

    Args:
        path: The folder that holds them.
        images: Number of images by name of the class, sorted as the labels are.
    """
    path: str
    images: Dict[str, int]

    @classmethod
    def read(cls, path: str, extensions: Sequence[str]) -> 'ClassFolders':
        """List a folder.

        Raises:
            InputError: If it does not exist or holds no folder.
        """
        if not os.path.isdir(path):
            raise InputError(f'data folder {path} does not exist')
        names = sorted(entry.name for entry in os.scandir(path)
                       if os.path.isdir(entry))
        if not names:
            raise InputError(f'data folder {path} holds no folders, one for each class')
        endings = tuple(extensions)
        return cls(path, {name: sum(
            file.lower().endswith(endings)
            for _, _, files in os.walk(Path(path, name), followlinks=True)
            for file in files) for name in names})


def check_folders(split: ClassFolders, train: Optional[ClassFolders],
                  num_classes: Optional[int]) -> List[Finding]:
    """What is wrong with a split, beside the one trained on and the model's head.

    Args:
        split: The split.
        train: The one whose folders define the labels; None if this is it.
        num_classes: Classes that the head predicts, where it says so.
    """
    names, findings = list(split.images), []
    if train is not None and names != list(train.images):
        missing = [name for name in train.images if name not in split.images]
        unknown = [name for name in names if name not in train.images]
        lacks = f'lacks {len(missing)} {shown(missing)}' if missing else ''
        adds = f'has {len(unknown)} more {shown(unknown)}' if unknown else ''
        findings.append(Finding(
            'class-folders', True, len(missing) + len(unknown), len(train.images),
            f"the class folders are not those of {train.path}, so labels would not "
            f'agree: it {" and ".join(filter(None, (lacks, adds)))}'))
    if num_classes is not None and num_classes != len(names):
        findings.append(Finding(
            'head-classes', True, len(names), num_classes,
            f'there are {len(names)} class folders, the head predicts {num_classes} '
            'classes: set model.head.num_classes'))
    empty = [name for name, count in split.images.items() if not count]
    if empty:
        findings.append(Finding(
            'class-empty', len(empty) == len(names), len(empty), len(names),
            f'{len(empty)} of {len(names)} class folders have no image {shown(empty)}'))
    return findings
