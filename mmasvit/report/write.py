"""From a work directory to its page."""
from pathlib import Path
from typing import Optional, Sequence, Union

from mmasvit.errors import InputError
from mmasvit.files import replacing
from mmasvit.report import topologies
from mmasvit.report.page import Page, render
from mmasvit.report.training import FOLDER, training_page


def write_report(work_dir: Union[str, Path], out: Optional[Union[str, Path]] = None,
                 options: Optional[Sequence[str]] = None) -> Path:
    """Write the page of a work directory.

    Args:
        work_dir: Folder of a training, a topology search, a scaling or a study.
        out: The page. Defaults to ``report/index.html`` in the folder.
        options: Changes to a training's config, each ``'key=value'``, for data that
            have moved.

    Returns:
        Where the page is.

    Raises:
        InputError: If the folder is none of ours, or the page cannot be written.
    """
    folder = Path(work_dir)
    if not folder.is_dir():
        raise InputError(f'work directory {work_dir} does not exist')
    path = Path(out) if out else folder / FOLDER / 'index.html'
    html = render(make_page(folder, options))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f'{path} cannot be written: {error.strerror}') from None
    with replacing(path) as temporary:
        Path(temporary).write_text(html, encoding='utf-8')
    return path


def make_page(folder: Path, options: Optional[Sequence[str]] = None) -> Page:
    """The page of whatever a work directory holds.

    Raises:
        InputError: If it holds nothing of ours, or a file of it is damaged.
    """
    for name, page in ((topologies.SEARCH, topologies.search_page),
                       (topologies.FAMILY, topologies.scaling_page),
                       (topologies.STUDY, topologies.study_page)):
        if (folder / name).is_file():
            return page(folder)
    return training_page(folder, options)
