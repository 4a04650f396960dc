"""Where the annotation files and the images of a set are, however it is laid out.

Annotation files are told by what is in them, images are found by the names in them; only
what a file is for (training, validation, test) is read off names.
"""
import os
import re
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Union

import numpy as np

from mmasvit.coco.annotations import CocoFile
from mmasvit.errors import InputError

DEPTH = 4  # folders below the given one that are looked into
MAX_FOLDERS = 5000
_LOOKED_UP = 50  # file names that decide between folders
_WORDS = {'train': 'train', 'training': 'train', 'val': 'val', 'valid': 'val',
          'validation': 'val', 'dev': 'val', 'test': 'test', 'testing': 'test'}
_WORD = re.compile(rf'(?<![a-z])({"|".join(_WORDS)})(?![a-z])')


class Split(NamedTuple):
    """A part of a set.

    Attributes:
        name: ``'train'``, ``'val'`` or ``'test'``; ``'all'`` where no name says which.
        ann_file: Its annotation file.
        image_folder: The folder that the file names in it are relative to.
    """
    name: str
    ann_file: Path
    image_folder: Path


def find_splits(path: Union[str, Path]) -> List[Split]:
    """Find the parts of a set in COCO's format.

    Args:
        path: A folder (as of COCO 2017, Roboflow, CVAT, or any other that has annotation
            files at most three folders down), or an annotation file.

    Returns:
        The parts in the order train, val, test, all; no name twice.

    Raises:
        InputError: If there is no such set, it is not clear which of several files is
            meant, or images are nowhere to be found.
    """
    path = Path(path)
    if path.is_file():
        return [_split(CocoFile.read(path), path.parent, _near(path))]
    if not path.is_dir():
        raise InputError(f'{path} does not exist')
    folders = _folders(path)
    found: Dict[str, List[CocoFile]] = {}
    for coco in _annotation_files(folders):
        found.setdefault(_purpose(Path(coco.path), path), []).append(coco)
    if not found:
        raise InputError(f"{path} holds no annotation file in COCO's format (a json with "
                         f'images, annotations and categories), {DEPTH} folders deep')
    return [_split(_only(found[name], name), path, folders)
            for name in ('train', 'val', 'test', 'all') if name in found]


def _split(coco: CocoFile, root: Path, folders: Sequence[Path]) -> Split:
    ann_file = Path(coco.path)
    purpose = _purpose(ann_file, root)
    return Split(purpose, ann_file, _image_folder(coco, purpose, root, folders))


def _folders(root: Path) -> List[Path]:
    """The folder and those below it, nearest first."""
    found, level = [root], [root]
    for _ in range(DEPTH):
        level = [Path(entry.path) for folder in level for entry in _entries(folder)
                 if _is_folder(entry)]
        found += level
        if len(found) > MAX_FOLDERS:
            raise InputError(f'{root} has more than {MAX_FOLDERS} folders: give the '
                             'annotation file, or the folder of the set itself')
    return found


def _is_folder(entry: os.DirEntry) -> bool:
    """Not if it is hidden, or leads where one may not look: os.path has no error then."""
    return os.path.isdir(entry) and not entry.name.startswith('.')


def _entries(folder: Path) -> List[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f'{folder} cannot be read: {error.strerror}') from None


def _annotation_files(folders: Sequence[Path]) -> Iterator[CocoFile]:
    for folder in folders:
        for entry in _entries(folder):
            if entry.name.lower().endswith('.json') and entry.is_file():
                try:
                    coco = CocoFile.read(entry.path)
                except InputError:
                    continue  # results, captions, settings
                if coco.annotated:
                    yield coco


def _purpose(file: Path, root: Path) -> str:
    """What a file is for: its name says so, or that of a folder on the way to it."""
    names = [file.stem, *(parent.name for parent in file.parents
                          if root in parent.parents)]
    return next(filter(None, map(_word, names)), 'all')


def _only(files: List[CocoFile], name: str) -> CocoFile:
    """The file of objects among several for one purpose: COCO's own set has keypoints
    and panoptic segments beside the instances."""
    named = [file for file in files
             if 'instances' in Path(file.path).name.lower()] or files
    if len(named) > 1:
        what = 'no part in particular' if name == 'all' else name
        raise InputError(f'several annotation files are for {what}: '
                         f'{", ".join(file.path for file in named[:4])}; give one of '
                         'them instead of the folder')
    return named[0]


def _image_folder(coco: CocoFile, purpose: str, root: Path,
                  folders: Sequence[Path]) -> Path:
    """The folder in which most of the images are that a file names."""
    names = [name for name in coco.images.file_names if name]
    if not names:
        raise InputError(f'annotation file {coco.path}: its images have no file_name')
    places = np.linspace(0, len(names) - 1, min(len(names), _LOOKED_UP)).astype(int)
    candidates = dict.fromkeys([Path(coco.path).parent, *folders])
    hits = {folder: sum(os.path.isfile(os.path.join(folder, names[place]))
                        for place in places) for folder in candidates}
    most = max(hits.values())
    if not most:
        raise InputError(f'the images of {coco.path} are not found: {names[0]!r} is in '
                         f'none of {len(candidates)} folders in and below {root}')
    best = [folder for folder in candidates if hits[folder] == most]
    # images of the same names in several parts: the folder named as the part is
    named = [folder for folder in best if _word(folder.name) == purpose]
    return (named or best)[0]


def _near(ann_file: Path) -> List[Path]:
    """Folders around an annotation file that is given alone: those below its own and, as
    it may be in annotations/, the one above and those in it."""
    above = ann_file.absolute().parent.parent
    beside = [Path(entry.path) for entry in _entries(above)
              if _is_folder(entry)]
    return [*_folders(ann_file.parent), above, *beside]


def _word(name: str) -> Optional[str]:
    words = _WORD.findall(name.lower())
    return _WORDS[words[-1]] if words else None
