"""A picture per tested image, whatever the images are called."""
import os
import tempfile
from pathlib import Path
from typing import Dict, Iterable, Optional, Sequence

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module(force=True)
class PicturePerImageHook(Hook):
    """mmdet's or mmpretrain's visualisation hook, with a name for each picture.

    Both name a picture after its image's file alone: of images with equal names in
    several folders, one picture is left.

    Args:
        hook: Config of the hook that draws.
        out_dir: Folder for the pictures. The name of one has those of its image's folders
            in it, below the folder that all images have in common.
    """
    priority = 'LOW'

    def __init__(self, hook: dict, out_dir: str):
        self.hook = HOOKS.build(hook)
        self.out_dir = out_dir
        self._prefixes: Dict[str, str] = {}

    def before_test(self, runner: Runner) -> None:
        """Find names for all images, the same in every process."""
        os.makedirs(self.out_dir, exist_ok=True)
        dataset = runner.test_dataloader.dataset
        infos = (dataset.get_data_info(i) for i in range(len(dataset)))
        self._prefixes = picture_prefixes(info['img_path'] for info in infos
                                          if info.get('img_path'))

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict = None,
                        outputs: Optional[Sequence] = None) -> None:
        """Let the hook draw image by image, and name what it has drawn."""
        images = data_batch['inputs']
        if isinstance(images[0], (list, tuple)):  # views of test-time augmentation
            images = images[-1]
        for sample, image in zip(outputs, images):
            prefix = self._prefixes.get(sample.get('img_path'), '')
            with tempfile.TemporaryDirectory(dir=self.out_dir) as folder:
                for name in ('test_out_dir', 'out_dir'):  # mmdet's, mmpretrain's
                    if hasattr(self.hook, name):
                        setattr(self.hook, name, folder)
                self.hook.after_test_iter(runner, batch_idx, dict(inputs=[image]),
                                          [sample])
                for drawn in Path(folder).iterdir():
                    drawn.replace(Path(self.out_dir, prefix + drawn.name))


def picture_prefixes(paths: Iterable[str]) -> Dict[str, str]:
    """What to put before each image's file name so that no two are the same.

    Its folders below the one that all images have in common; nothing if that is where
    they all are.
    """
    paths = list(dict.fromkeys(paths))
    if not paths:
        return {}
    root = os.path.commonpath([os.path.dirname(path) for path in paths])
    prefixes, taken = {}, set()
    for path in paths:
        folders = Path(os.path.relpath(path, root)).parts[:-1]
        prefix = ''.join(f'{folder}__' for folder in folders)
        number = 1
        while (name := prefix + os.path.basename(path)) in taken:
            number += 1
            prefix = f'{number}__' + ''.join(f'{folder}__' for folder in folders)
        taken.add(name)
        prefixes[path] = prefix
    return prefixes
