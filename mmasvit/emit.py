"""From a topology to config files that ``tools/train.py`` takes."""
import ast
import os
from math import gcd
from pathlib import Path
from typing import NamedTuple, Optional, Tuple, Union

import numpy as np

from mmasvit.config_text import quotable
from mmasvit.errors import InputError
from mmasvit.files import replacing
from mmasvit.genotypes import Genotype
from mmasvit.mobile_topology import LAST_WIDTH, STAGES, MobileTopology
from mmasvit.topology import FAMILY, Topology

DETECTOR_SIZE = (1024, 1024)  # of the shared bases


class Emitted(NamedTuple):
    """Paths of the configs of one topology.

    Attributes:
        classifier: ImageNet-1k classifier, the detector's pre-training.
        detector: Cascade Mask R-CNN on COCO.
    """
    classifier: Path
    detector: Path


def suited_drop_path_rate(params: int) -> float:
    """Rate of stochastic depth for an As-ViT classifier of so many parameters.

    That of the shipped configs, which is Swin's at like size: 0.2, 0.3 and 0.5 at As-ViT-S,
    -B and -L, 0 for the seed; linear between them, in steps of 0.05.
    """
    sizes = [FAMILY[name].costs()['params']
             for name in ('seed', 'small', 'base', 'large')]
    return round(float(np.interp(params, sizes, (0., .2, .3, .5))) * 20) / 20


def emit_configs(topology: Genotype, folder: Union[str, Path], name: str,
                 provenance: str, drop_path_rate: float = 0.,
                 image_size: Optional[Tuple[int, int]] = None) -> Emitted:
    """Write a classifier's and a detector's config for a topology.

    Each is one file that loads from wherever it lies: the text of our shared base, which
    builds on mmdet's and mmpretrain's, and below it what belongs to the topology.

    Args:
        topology: The topology, of either kind.
        folder: Existing folder to write to.
        name: Becomes part of the files' names, ``asvit_<name>_in1k.py`` and
            ``cascade_asvit_<name>_coco.py``, or ``mobilenet`` in place of ``asvit``.
        provenance: Where the topology comes from, for the docstrings; lines of text.
        drop_path_rate: Rate of stochastic depth of the classifier; the detector gets
            half of it. Defaults to 0, which suits a network of depth 1; a MobileNet has
            none.
        image_size: Height and width of the detector's images in pixels. Defaults to 1024
            each.

    Returns:
        The paths.

    Raises:
        InputError: If a file cannot be written.
    """
    if isinstance(topology, MobileTopology):
        kind, title, epochs = 'mobilenet', 'A MobileNet of the space of BN-NAS', 240
        classifier_text, detector_text = _mobilenet_texts(topology)
    else:
        kind, title, epochs = 'asvit', 'As-ViT', 300
        classifier_text, detector_text = _asvit_texts(topology, drop_path_rate)
    folder = Path(folder)
    paths = Emitted(folder / f'{kind}_{name}_in1k.py',
                    folder / f'cascade_{kind}_{name}_coco.py')
    trained = f'work_dirs/{paths.classifier.stem}/epoch_{epochs}.pth'
    costs = topology.costs()
    size_px = tuple(image_size or DETECTOR_SIZE)
    size = (f'{costs["params"] / 1e6:.2f} M parameters and {costs["macs"] / 1e9:.2f} G '
            'multiply-accumulates as a classifier at 224 px.')
    train = 'bash tools/dist_train.sh'
    classifier, detector = map(_from_here, paths)
    _write(paths.classifier, f'{kind}_in1k.py', f'''\
{title} on ImageNet-1k at 224 px, found by search or scaling.

    {train} {classifier} 8

{provenance}
{size}
''', classifier_text)
    _write(paths.detector, f'cascade_{kind}_coco.py', f'''\
Cascade Mask R-CNN on COCO at {_in_words(size_px)}, its backbone found by search or scaling.

    {train} {classifier} 8    # the backbone first
    {train} {detector} 8

{provenance}
{size}
''', detector_text + f'''\
model['backbone'].update(init_cfg=dict(
    type='Pretrained', prefix='backbone.',
    checkpoint='{trained}'))
''', size_px)
    return paths


def _asvit_texts(topology: Topology, drop_path_rate: float) -> Tuple[str, str]:
    """What belongs to an As-ViT in the classifier's config and in the detector's."""
    return f'''\
# ---- the topology
model['backbone'].update(
    arch='{topology}',
    drop_path_rate={drop_path_rate})
model['head'].update(in_channels={topology.widths[-1]}, hidden_dim={topology.widths[-1]})
''', f'''\
# ---- the topology
model['backbone'].update(
    arch='{topology}',
    drop_path_rate={drop_path_rate / 2})
model['neck'] = dict(in_channels={list(topology.widths)})
'''


def _mobilenet_texts(topology: MobileTopology) -> Tuple[str, str]:
    """The same of a MobileNet."""
    widths = [width for width, _, _ in STAGES]
    return f'''\
# ---- the topology
model['backbone'].update(arch='{topology}')
model['head'].update(in_channels={LAST_WIDTH})
''', f'''\
# ---- the topology
model['backbone'].update(arch='{topology}')
model['neck'] = dict(in_channels={[widths[i] for i in (0, 1, 3, 5)]})
'''


def _from_here(path: Path) -> str:
    """A path as one would type it in the current directory."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith(os.pardir) else relative


def _in_words(size: Tuple[int, int]) -> str:
    return f'{size[0]} px' if size[0] == size[1] else f'{size[0]} x {size[1]} px'


def _resized(text: str, size: Tuple[int, int]) -> str:
    """The text of a detector's base at another size of images than its own."""
    if size == DETECTOR_SIZE:
        return text
    height, width = size
    # images are padded to one size, as in the base
    for old, new in ((f'{DETECTOR_SIZE[0]} x {DETECTOR_SIZE[1]}', f'{height} x {width}'),
                     (f'image_size = {DETECTOR_SIZE}', f'image_size = {(width, height)}'),
                     (f'pad_size_divisor={DETECTOR_SIZE[0]}',
                      f'pad_size_divisor={gcd(height, width)}')):
        assert old in text, old
        text = text.replace(old, new)
    return text


def _write(path: Path, base: str, docstring: str, ending: str,
           size: Optional[Tuple[int, int]] = None) -> None:
    text = (shipped_configs() / '_base_' / base).read_text(encoding='utf-8')
    text = _resized(text, size) if size else text
    own = ast.parse(text).body[0]  # the base's docstring
    body = ''.join(text.splitlines(keepends=True)[own.end_lineno:])
    about = ast.get_docstring(ast.parse(text)).split('\n\n')
    recipe = '\n\n'.join(about[1:])
    with replacing(path) as temporary:
        Path(temporary).write_text(f'"""{quotable(docstring)}\n{recipe}\n"""\n'
                                   f'{body.lstrip()}\n{ending}', encoding='utf-8')


def shipped_configs() -> Path:
    """The folder ``configs/`` of the checkout, or of the installed package."""
    package = Path(__file__).resolve().parent
    for folder in (package.parent / 'configs', package / '.mim' / 'configs'):
        if (folder / '_base_' / 'asvit_in1k.py').is_file():
            return folder
    raise InputError("mmasvit's own configs are missing; install it again")
