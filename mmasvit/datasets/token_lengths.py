"""Images with their token-length labels."""
from typing import List

from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from mmasvit.adaptive.label_file import read_labels
from mmasvit.arguments import one_of
from mmasvit.errors import InputError


@DATASETS.register_module(force=True)
class TokenLengths(BaseDataset):
    """What an assigner learns: images and the strides that are fine enough for them.

    A sample is ``dict(img_path=str, img_id=str, gt_label=int)``, the label a place among
    the file's token strides. Images without a label are left out.

    Args:
        ann_file: Label file of ``tools/label_token_lengths.py``.
        part: ``'train'``, or ``'val'`` for the images that are kept aside.

    Raises:
        InputError: If the file is none of these, or has no image of that part.
    """

    def __init__(self, ann_file: str, part: str = 'train', **options):
        self.part = one_of('TokenLengths: part', part, ('train', 'val'))
        super().__init__(ann_file=ann_file, serialize_data=False, **options)

    def load_data_list(self) -> List[dict]:
        """The images of the part, in the order of the file."""
        labels = read_labels(self.ann_file)
        self._metainfo.setdefault('classes', tuple(map(str, labels['token_strides'])))
        chosen = [dict(img_path=one['path'], img_id=name, gt_label=one['label'])
                  for name, one in labels['images'].items()
                  if one['part'] == self.part and one['label'] is not None]
        if not chosen:
            raise InputError(f'labels {self.ann_file}: no labelled image for '
                             f'{self.part!r}')
        return chosen
