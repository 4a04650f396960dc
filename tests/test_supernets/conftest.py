"""A supernet that was trained as a user trains one, in seconds."""
import cv2
import numpy as np
import pytest
from helpers import ROOT, works
from spaces import SPACE


@pytest.fixture(scope='session')
def trained(tmp_path_factory):
    """Config, checkpoint and photographs' folder of a supernet after 20 steps."""
    folder = tmp_path_factory.mktemp('supernet')
    draw = np.random.default_rng(0)
    for label in ('a', 'b'):
        (folder / 'train' / label).mkdir(parents=True)
        for number in range(20):
            image = draw.integers(0, 255, (32, 32, 3), np.uint8) // (2 - (label == 'a'))
            cv2.imwrite(str(folder / 'train' / label / f'{number}.png'), image)
    config = folder / 'supernet.py'
    config.write_text(f'''
_base_ = '{ROOT}/configs/supernet_asvit_imagenette.py'
model = dict(backbone=dict(pretrain_img_size=32, space={SPACE}),
             head=dict(part=dict(num_classes=2)), data_preprocessor=dict(num_classes=2))
train_dataloader = dict(batch_size=8, num_workers=0, dataset=dict(
    data_root='{folder}', pipeline=[dict(type='LoadImageFromFile'),
                                    dict(type='PackInputs')]))
train_cfg = dict(max_epochs=4)
default_hooks = dict(checkpoint=dict(interval=4))
log_level = 'WARNING'
''')
    works('tools/train.py', config, '--work-dir', folder / 'run')
    return config, folder / 'run/epoch_4.pth', folder / 'train'


@pytest.fixture(scope='session')
def search_options(trained):
    """Options of the shipped searches that put this supernet in place of theirs."""
    config, checkpoint, images = trained
    space = [f'model.space.{name}={str(values).replace(" ", "")}'
             for name, values in SPACE.items()]

    def options(*more):
        return ['--cfg-options', f'train_cfg.measure.config={config}',
                f'train_cfg.measure.checkpoint={checkpoint}',
                'train_cfg.setting.image_size=32', 'log_level=WARNING', *space, *more]

    return options
