"""The command line tools as a user calls them: real processes, real data, small."""
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from helpers import ROOT, command, fails, load, run, works
from PIL import Image

from mmasvit.errors import InputError

DETECTOR = 'configs/cascade_asvit_tiny_shapes.py'
CLASSIFIER = 'configs/asvit_tiny_shapes.py'


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data') / 'shapes'
    works('tools/make_shapes_coco.py', folder, '--images', 16, '--val-images', 8,
          '--size', 128, '--crops', 64)
    return folder


def detector_options(shapes, **more):
    loader = 'train_dataloader.dataset.'
    options = {
        loader + 'data_root': f'{shapes}/',
        loader + 'indices': 8,
        'train_dataloader.batch_size': 2,
        'train_dataloader.num_workers': 0,
        'val_dataloader.dataset.data_root': f'{shapes}/',
        'val_dataloader.num_workers': 0,
        'test_dataloader.dataset.data_root': f'{shapes}/',
        'test_dataloader.num_workers': 0,
        'val_evaluator.ann_file': f'{shapes}/annotations/instances_val2017.json',
        'test_evaluator.ann_file': f'{shapes}/annotations/instances_val2017.json',
        'model.backbone.init_cfg': 'None',
        'default_hooks.logger.interval': 1,
        **more,
    }
    return ['--cfg-options'] + [f'{key}={value}' for key, value in options.items()]


def classifier_options(shapes, **more):
    options = {'train_dataloader.dataset.data_root': f'{shapes}/crops/train',
               'val_dataloader.dataset.data_root': f'{shapes}/crops/val',
               'test_dataloader.dataset.data_root': f'{shapes}/crops/val',
               'train_dataloader.batch_size': 2, 'train_dataloader.num_workers': 0,
               'val_dataloader.num_workers': 0, 'default_hooks.logger.interval': 1,
               **more}
    return ['--cfg-options'] + [f'{key}={value}' for key, value in options.items()]


def losses(work_dir):
    """{(epoch, iteration): loss} of all that a work directory logged, in order."""
    found = {}
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            if 'loss' in row:
                found[row['epoch'], row['iter']] = row['loss']
    return found


@pytest.mark.slow
def test_killed_detector_run_resumes_to_the_same_losses(shapes, tmp_path):
    options = detector_options(shapes, **{
        'train_cfg.max_epochs': 2, 'train_cfg.val_interval': 9,
        'train_dataloader.num_workers': 1})
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    run('tools/train.py', DETECTOR, '--work-dir', whole, *options)
    process = subprocess.Popen(
        command('tools/train.py', DETECTOR, '--work-dir', killed, *options), cwd=ROOT,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        env=dict(os.environ, OMP_NUM_THREADS='1'))
    try:
        while not any(epoch == 2 for epoch, _ in losses(killed)):
            assert process.poll() is None, 'the run ended before it could be killed'
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert (killed / 'epoch_1.pth').exists() and not (killed / 'epoch_2.pth').exists()
    run('tools/train.py', DETECTOR, '--work-dir', killed, '--resume', *options)
    assert (killed / 'epoch_2.pth').exists()
    expected, got = losses(whole), losses(killed)
    assert len(expected) == 8 and got == expected
    # the second epoch is not the first one again
    assert len(set(expected.values())) == 8


@pytest.mark.slow
@pytest.mark.parametrize('config, options', [
    (DETECTOR, detector_options), (CLASSIFIER, classifier_options)])
def test_two_processes_train_over_gloo(config, options, shapes, tmp_path):
    more = {'train_cfg.max_epochs': 2, 'train_cfg.val_interval': 9,
            'default_hooks.checkpoint.interval': 1}
    run('tools/train.py', config, '--work-dir', tmp_path, '--launcher', 'pytorch',
        '--no-data-check', *options(shapes, **more), processes=2)
    assert len(losses(tmp_path)) >= 2
    assert (tmp_path / 'epoch_2.pth').exists()


@pytest.mark.slow
def test_classifier_becomes_detector_that_is_tested_and_detects(shapes, tmp_path):
    classifier, detector = tmp_path / 'classifier', tmp_path / 'detector'
    run('tools/train.py', CLASSIFIER, '--work-dir', classifier,
        *classifier_options(shapes, **{'train_cfg.max_epochs': 1,
                                      'default_hooks.checkpoint.interval': 1}))
    options = detector_options(shapes, **{
        'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 1})
    options = [word for word in options if 'init_cfg' not in word] + [
        f'model.backbone.init_cfg.checkpoint={classifier}/epoch_1.pth']
    printed = run('tools/train.py', DETECTOR, '--work-dir', detector, *options).stdout
    assert 'AsViT: loaded ' in printed and 'newly initialised: norm0, norm1' in printed
    checkpoint = detector / 'epoch_1.pth'
    printed = run('tools/test.py', DETECTOR, checkpoint, '--work-dir', tmp_path / 'test',
                  '--show-dir', 'pictures', '--out', tmp_path / 'out.pkl', *options)
    assert 'coco/bbox_mAP' in printed.stdout and (tmp_path / 'out.pkl').exists()
    assert len(list((tmp_path / 'test').glob('pictures/*.jpg'))) == 8

    printed = run('tools/test.py', DETECTOR, checkpoint, '--work-dir', tmp_path / 'test',
                  '--tta', '--show-dir', 'views', *options).stdout
    assert 'coco/bbox_mAP' in printed and 'coco/segm_mAP' not in printed
    assert len(list((tmp_path / 'test').glob('views/*.jpg'))) == 8

    # a classifier's checkpoint is none of a detector; weights alone cannot be resumed
    assert 'does not fit the model' in fails(
        'tools/test.py', DETECTOR, classifier / 'epoch_1.pth', '--work-dir',
        tmp_path / 'refused', '--no-data-check', *options)
    assert not list((tmp_path / 'refused').iterdir())
    weights = torch.load(checkpoint, weights_only=False)['state_dict']
    torch.save(dict(state_dict=weights), tmp_path / 'weights.pth')
    assert 'no optimizer, weights only' in fails(
        'tools/train.py', DETECTOR, '--resume', tmp_path / 'weights.pth', '--work-dir',
        tmp_path / 'refused', *options)
    del weights['neck.fpn_convs.0.conv.weight']
    torch.save(dict(state_dict=weights), tmp_path / 'weights.pth')

    images = tmp_path / 'images'
    (images / 'sub').mkdir(parents=True)
    for number, path in enumerate(sorted((shapes / 'val2017').iterdir())):
        (images / ('sub' if number % 2 else '') / path.name).write_bytes(path.read_bytes())
    words = ('tools/detect_image.py', DETECTOR)
    assert '1 tensors are missing (neck.fpn_convs.0.conv.weight)' in fails(
        *words, tmp_path / 'weights.pth', images, '--out', tmp_path / 'seen')
    assert not (tmp_path / 'seen').exists()
    run(*words, checkpoint, images, '--out', tmp_path / 'seen')
    results = json.loads((tmp_path / 'seen' / 'detections.json').read_text())
    assert len(list((tmp_path / 'seen').glob('*.jpg'))) == 4
    assert len(list((tmp_path / 'seen').glob('sub/*.jpg'))) == 4
    names = {int(path.stem): path.relative_to(images).as_posix()
             for path in images.rglob('*.jpg')}
    for result in results:
        assert names[result['image_id']] == result['file_name']
        assert 1 <= result['category_id'] <= 5
        assert result['segmentation']['size'] == [128, 128]
        x, y, width, height = result['bbox']
        assert 0 <= x <= x + width <= 128 and 0 <= y <= y + height <= 128


def test_get_flops_counts_what_the_closed_form_says(tmp_path):
    from mmasvit import Topology
    from mmasvit.topology import FAMILY
    out = tmp_path / 'flops.json'
    works('tools/get_flops.py', 'configs/asvit_small_in1k.py', '--shape', 100, 76,
          '--out', out)
    counted = json.loads(out.read_text())
    small: Topology = FAMILY['small']
    assert counted['params'] == small.count_params(1000)
    assert counted['backbone_params'] == small.count_params()
    assert counted['macs'] == small.count_macs((100, 76), 1000)
    assert counted['backbone_macs'] == small.count_macs((100, 76))


def test_get_flops_counts_a_detector(tmp_path):
    out = tmp_path / 'flops.json'
    works('tools/get_flops.py', DETECTOR, '--shape', 64, '--out', out)
    counted = json.loads(out.read_text())
    assert counted['backbone_macs'] < counted['macs']
    assert counted['backbone_params'] < counted['params']


@pytest.mark.slow
@pytest.mark.parametrize('config, options', [
    ('configs/cascade_asvit_tiny_shapes_elastic.py', detector_options),
    ('configs/asvit_tiny_shapes_elastic.py', classifier_options)])
def test_two_processes_train_with_fewer_tokens_first(config, options, shapes, tmp_path):
    """Both are at the schedule's strides, and resumed they see the same losses."""
    hook = 'custom_hooks.1.milestones=((0,16),(1,8),(2,4))'
    more = {'train_cfg.max_epochs': 3, 'train_cfg.val_interval': 9,
            'default_hooks.checkpoint.interval': 1,
            'default_hooks.checkpoint.max_keep_ckpts': 9}
    words = [*options(shapes, **more), hook, 'train_dataloader.dataset.indices=8']
    whole, rest = tmp_path / 'whole', tmp_path / 'rest'
    run('tools/train.py', config, '--work-dir', whole, '--launcher', 'pytorch',
        '--no-data-check', *words, processes=2)
    rows = [json.loads(line) for path in whole.glob('*/vis_data/scalars.json')
            for line in path.read_text().splitlines() if '"loss"' in line]
    assert {(row['epoch'], row['token_stride']) for row in rows} == {
        (1, 16), (2, 8), (3, 4)}
    assert all((row['relative_macs'] == 1) == (row['epoch'] == 3) for row in rows)
    run('tools/train.py', config, '--work-dir', rest, '--launcher', 'pytorch',
        '--no-data-check', '--resume', whole / 'epoch_1.pth', *words, processes=2)
    expected = losses(whole)
    assert losses(rest) == {key: expected[key] for key in expected if key[0] > 1} != {}


class TestPlanTokens:
    """tools/plan_tokens.py"""

    def test_large(self):
        config = 'configs/asvit_large_in1k_elastic37.py'
        printed = works('tools/plan_tokens.py', config)
        for words in ('0 to 80 16 14 x 14 1.245 5.6%', '80 to 140 8 28 x 28 4.710 21.1%',
                      '140 to 300 4 56 x 56 22.356 100.0%', 'whole run: 41.0%',
                      '5.6% of full (paper: 13.2 %)',
                      '1-120 | 121-210 | 211-300 61.5% 56.2'):
            assert words in ' '.join(printed.split())

    @pytest.mark.slow
    def test_prints_what_the_run_prints(self, shapes, tmp_path):
        config = 'configs/cascade_asvit_tiny_shapes_elastic.py'
        planned = works('tools/plan_tokens.py', config, '--whole').splitlines()
        started = run('tools/train.py', config, '--work-dir', tmp_path, '--no-data-check',
                      *detector_options(shapes, **{
                          'train_dataloader.dataset.indices': 2,
                          'train_cfg.val_interval': 9})).stdout.splitlines()
        (begin, ) = (i for i, line in enumerate(started) if 'tokens planned' in line)
        assert started[begin].endswith(planned[0])
        assert started[begin + 1:begin + 6] == planned[1:6]
        assert 'neck and heads' in planned[6]

    def test_without_a_schedule(self):
        printed = works('tools/plan_tokens.py', CLASSIFIER, '--shape', 64, 96)
        assert 'has no ElasticTokenHook' in printed and '64 x 96 px' in printed
        assert 'table 6' in printed

    def test_bad_input(self):
        config = 'configs/asvit_tiny_shapes_elastic.py'
        change = 'custom_hooks.1.milestones='
        for words, line in (
                (('--shape', 8), 'at least 16 px'),
                (('--cfg-options', change + '((0,16),(0,8))'), '(0, 8) must begin after'),
                (('--cfg-options', change + '((0,16),(8,4))'), 'which has 8 epochs'),
                (('--cfg-options', 'custom_hooks.1.by_epoch=False'),
                 'how many iterations')):
            assert line in fails('tools/plan_tokens.py', config, *words)
        assert 'ResNet has no elastic tokens' in fails(
            'tools/plan_tokens.py', CLASSIFIER, '--cfg-options',
            'model.backbone.type=ResNet', 'model.backbone._delete_=True',
            'model.backbone.depth=18')


class TestBadInput:
    """Each gives its one line, exit status 2, and nothing half-written."""

    def test_configs(self, tmp_path):
        assert 'nowhere.py does not exist' in fails('tools/train.py', 'nowhere.py')
        broken = tmp_path / 'broken.py'
        broken.write_text('model = dict(')
        assert 'broken.py cannot be read' in fails('tools/train.py', broken)

    def test_unknown_arch(self, shapes, tmp_path):
        options = detector_options(shapes, **{'model.backbone.arch': 'huge'})
        assert "unknown arch 'huge'" in fails(
            'tools/train.py', DETECTOR, '--work-dir', tmp_path, *options)

    def test_annotations(self, shapes, tmp_path):
        name = 'train_dataloader.dataset.ann_file'
        for content, line in ((None, 'does not exist'), ('{', 'is not json'),
                              ('{"images": [1], "annotations": []}', 'no categories'),
                              ('[]', 'is a json list')):
            path = tmp_path / 'annotations.json'
            if content is not None:
                path.write_text(content)
            options = detector_options(shapes, **{name: path})
            assert line in fails('tools/train.py', DETECTOR, '--work-dir',
                                 tmp_path / 'work', *options)

    def test_images(self, shapes, tmp_path):
        folder = tmp_path / 'train2017'
        folder.mkdir()
        for path in (shapes / 'train2017').iterdir():
            folder.joinpath(path.name).write_bytes(path.read_bytes())
        victim = sorted(folder.iterdir())[0]
        options = detector_options(shapes, **{
            'train_dataloader.dataset.data_prefix.img': f'{folder}/'})
        victim.write_bytes(victim.read_bytes()[:1500])
        line = fails('tools/train.py', DETECTOR, '--work-dir', tmp_path / 'w', *options)
        assert victim.name in line and 'cannot be decoded' in line
        victim.unlink()
        line = fails('tools/train.py', DETECTOR, '--work-dir', tmp_path / 'w', *options)
        assert victim.name in line and 'does not exist' in line

    def test_classes(self, shapes, tmp_path):
        options = detector_options(shapes, **{
            'train_dataloader.dataset.metainfo.classes': '"(\'cat\',\'dog\')"'})
        line = fails('tools/train.py', DETECTOR, '--work-dir', tmp_path, *options)
        assert 'the file has no cat' in line and 'circle' in line, line

    def test_unwritable_work_dir(self, shapes, tmp_path):
        blocker = tmp_path / 'file'
        blocker.write_text('')
        assert 'is not writable' in fails(
            'tools/train.py', DETECTOR, '--work-dir', blocker / 'work',
            *detector_options(shapes))

    @pytest.mark.slow
    def test_checkpoints(self, shapes, tmp_path):
        options = detector_options(shapes)
        assert 'nothing.pth does not exist' in fails(
            'tools/test.py', DETECTOR, 'nothing.pth', '--work-dir', tmp_path, *options)
        assert 'nothing.pth does not exist' in fails(
            'tools/train.py', DETECTOR, '--resume', 'nothing.pth', '--work-dir',
            tmp_path, *options)
        options = [word for word in options if 'init_cfg' not in word]
        options.append('model.backbone.init_cfg.checkpoint=nothing.pth')
        assert 'nothing.pth does not exist' in fails(
            'tools/train.py', DETECTOR, '--work-dir', tmp_path, *options)

    def test_detect_image(self, tmp_path):
        words = ('tools/detect_image.py', DETECTOR, 'nothing.pth')
        out = ('--out', tmp_path / 'out')
        assert 'no.jpg does not exist' in fails(*words, 'no.jpg', *out)
        assert 'has no image' in fails(*words, tmp_path, *out)
        picture = tmp_path / 'cut.png'
        Image.new('RGB', (64, 64)).save(picture)
        picture.write_bytes(picture.read_bytes()[:-20])
        assert 'cut.png is cut short' in fails(*words, picture, *out)
        Image.new('RGB', (64, 64)).save(picture)
        assert 'nothing.pth does not exist' in fails(*words, picture, *out)
        readme = ('tools/detect_image.py', DETECTOR, 'README.md')
        assert 'README.md is damaged, or is none' in fails(*readme, tmp_path, *out)
        torch.save({}, tmp_path / 'empty.pth')
        assert 'is not of a detector' in fails(
            'tools/detect_image.py', CLASSIFIER, tmp_path / 'empty.pth', tmp_path, *out)
        assert not (tmp_path / 'out').exists()

    def test_names_and_numbers_of_detected_images(self, tmp_path):
        tool = load('tools/detect_image.py')
        paths = [tmp_path / name for name in ('a.jpg', 'a.png', 'b.jpg')]
        for path in paths:
            path.touch()
        (tmp_path / 'link').symlink_to(tmp_path)
        name = tool['name_pictures']
        assert name(paths[1:], tmp_path, 'out') == [Path('out/a.jpg'), Path('out/b.jpg')]
        assert name(paths[:1], tmp_path.parent, 'out') == [
            Path('out', tmp_path.name, 'a.jpg')]
        with pytest.raises(InputError, match='a.png would both become out/a.jpg'):
            name(paths, tmp_path, 'out')
        with pytest.raises(InputError, match='would replace the image .*b.jpg'):
            name(paths[1:], tmp_path, tmp_path / 'link')
        number = tool['number_images']
        assert number([Path('7.jpg'), Path('03.jpg')]) == [7, 3]
        assert number([Path('b.jpg'), Path('1.jpg')]) == [1, 2]
        assert number([Path('1.jpg'), Path('01.jpg')]) == [1, 2]

    def test_a_folder_is_searched_but_for_what_was_written_into_it(self, tmp_path):
        find = load('tools/detect_image.py')['find_images']
        for name in ('b.png', 'sub/a.png', 'out/b.jpg', 'out/sub/a.jpg', '.trash/c.png'):
            (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
            Image.new('RGB', (8, 8)).save(tmp_path / name)
        assert find(str(tmp_path), str(tmp_path / 'out')) == [
            tmp_path / 'b.png', tmp_path / 'sub' / 'a.png']
        assert len(find(str(tmp_path), 'elsewhere')) == 4
        assert find(str(tmp_path / 'out'), str(tmp_path / 'out')) == [
            tmp_path / 'out' / 'b.jpg', tmp_path / 'out' / 'sub' / 'a.jpg']

    def test_get_flops(self):
        config = 'configs/asvit_small_in1k.py'
        assert 'has no model with a backbone' in fails(
            'tools/get_flops.py', 'configs/search_topology_demo.py')
        assert '--shape takes' in fails('tools/get_flops.py', config, '--shape', 2)
