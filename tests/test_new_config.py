"""From a folder to a config: the layouts, what is decided, and that it trains."""
import copy
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

from helpers import ROOT, call, fails, make_coco
from mmasvit.coco.layouts import find_splits
from mmasvit.coco.splitting import write_split
from mmasvit.config_text import literal, quotable
from mmasvit.datasets import StreamSampler
from mmasvit.emit import emit_configs
from mmasvit.errors import InputError
from mmasvit.recipe import decide, pace
from mmasvit.recipe.backbone import read_topology
from mmasvit.recipe.facts import DataFacts
from mmasvit.topology import FAMILY, Topology

TOOL = 'tools/new_config.py'
SEED = Topology.parse('8,2,3|4,1,2|4,1,4|4,1,6|32')

# for each layout the annotation files and folders of images, train first
LAYOUTS = dict(
    coco2017=[('annotations/instances_train2017.json', 'train2017'),
              ('annotations/instances_val2017.json', 'val2017')],
    coco_like=[('annotations/instances_train.json', 'train'),
               ('annotations/instances_val.json', 'val')],
    roboflow=[('train/_annotations.coco.json', 'train'),
              ('valid/_annotations.coco.json', 'valid'),
              ('test/_annotations.coco.json', 'test')],
    cvat=[('annotations/instances_default.json', 'images')],
    beside=[('labels.json', '')],
    in_images=[('labels.json', 'images')],
    deeper=[('export/one/result.json', 'export/one/some where/pictures')],
    odd_names=[('my train\'s "set".json', 'a {{b}} \u00e9/im%ages')],
)


@pytest.fixture
def new_config(tmp_path):
    """Run the tool; return the loaded config, its dataset builder and what it printed."""
    def make(data, *flags, out='mine.py'):
        path = tmp_path / out
        status, printed, err = call(TOOL, data, '--out', path, *flags)
        assert status == 0, err
        cfg = Config.fromfile(path)
        init_default_scope('mmdet')
        return cfg, printed.splitlines()

    return make


def lay_out(root, name, **options):
    """Make a set in a layout; the names of images tell the parts apart."""
    for number, (ann_file, folder) in enumerate(LAYOUTS[name]):
        make_coco(root / ann_file, root / folder, seed=number, prefix=f'{number}_',
                  **options)
    return root


def built(cfg, which='train'):
    """The dataset of a config, by mmdet."""
    from mmdet.registry import DATASETS
    dataset = DATASETS.build(cfg[f'{which}_dataloader'].dataset)
    dataset.full_init()
    return dataset


def digest(folder):
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(Path(folder).rglob('*')) if path.is_file()}


# ------------------------------------------------------------------------- layouts


@pytest.mark.slow
@pytest.mark.parametrize('name', LAYOUTS)
def test_layout_is_found_and_mmdet_reads_it(tmp_path, new_config, name):
    root = lay_out(tmp_path / 'set', name)
    before = digest(root)
    splits = find_splits(root)
    assert [split.name for split in splits] == (
        ['train', 'val', 'test'][:len(LAYOUTS[name])] if len(LAYOUTS[name]) > 1 else
        ['train' if name == 'odd_names' else 'all'])
    for split, (ann_file, folder) in zip(splits, LAYOUTS[name]):
        assert (split.ann_file, split.image_folder) == (root / ann_file, root / folder)
    cfg, printed = new_config(root)
    for number, which in enumerate(('train', 'val', 'test')[:len(splits)]):
        data = built(cfg, which)
        names = [Path(data.get_data_info(i)['img_path']) for i in range(len(data))]
        assert names and all(path.is_file() for path in names)
        assert {path.name[0] for path in names} == {str(number)}
    if len(splits) == 1:
        assert len(built(cfg)) == 3 and len(built(cfg, 'val')) == 1
    assert digest(root) == before
    assert printed[-1].endswith('2') and 'dist_train.sh' in printed[-1] or (
        'tools/train.py' in printed[-1])


def test_links_that_lead_nowhere_are_passed_over(tmp_path):
    root = lay_out(tmp_path / 'set', 'coco2017')
    before = find_splits(root)
    (root / 'loop').symlink_to('loop')
    assert find_splits(root) == before and before


def test_an_annotation_file_itself_and_images_below_it(tmp_path):
    lay_out(tmp_path, 'deeper')
    ann_file = shutil.move(tmp_path / 'export/one/result.json', tmp_path / 'labels.json')
    (split, ) = find_splits(ann_file)
    assert split.image_folder == tmp_path / 'export/one/some where/pictures'
    lay_out(tmp_path / 'cvat', 'cvat')
    (split, ) = find_splits(tmp_path / 'cvat/annotations/instances_default.json')
    assert split.image_folder == tmp_path / 'cvat/images'


def test_equal_file_names_in_two_parts_are_told_apart(tmp_path):
    for part in ('train', 'valid'):
        make_coco(tmp_path / f'labels/{part}.json', tmp_path / 'images' / part)
    for split, part in zip(find_splits(tmp_path), ('train', 'valid')):
        assert split.image_folder == tmp_path / 'images' / part


def test_names_may_hold_folders(tmp_path):
    make_coco(tmp_path / 'ann/all.json', tmp_path / 'pictures', prefix='deep/er/')
    (split, ) = find_splits(tmp_path)
    assert split.image_folder == tmp_path / 'pictures'


def test_instances_among_other_annotations(tmp_path):
    lay_out(tmp_path, 'coco2017')
    shutil.copy(tmp_path / 'annotations/instances_train2017.json',
                tmp_path / 'annotations/person_keypoints_train2017.json')
    (tmp_path / 'results.json').write_text('[{"image_id": 1}]')
    assert [split.ann_file.name for split in find_splits(tmp_path)] == [
        'instances_train2017.json', 'instances_val2017.json']


def test_what_is_no_set_is_said_in_a_line_and_leaves_nothing(tmp_path):
    out = tmp_path / 'mine.py'

    def said(data, *flags, to=out):
        line = fails(TOOL, data, '--out', to, *flags)
        assert not list(tmp_path.glob('*mine*'))
        return line

    assert 'does not exist' in said(tmp_path / 'nowhere')
    empty = tmp_path / 'empty'
    empty.mkdir()
    assert 'no annotation file' in said(empty)
    (empty / 'broken.json').write_text('{"images": [')
    assert 'no annotation file' in said(empty)
    root = lay_out(tmp_path / 'set', 'cvat')
    shutil.copy(root / 'annotations/instances_default.json',
                root / 'instances_again.json')
    assert 'several annotation files' in said(root)
    (root / 'instances_again.json').unlink()
    assert 'must be above 0' in said(root, '--epochs', '0')
    assert 'not allowed with' in said(root, '--epochs', '1', '--minutes', '1')
    assert 'does not exist' in said(root, '--base', 'configs/none.py')
    assert 'not the config of a detector' in said(
        root, '--base', 'configs/asvit_small_in1k.py')
    assert 'unknown arch' in said(root, '--arch', 'huge')
    assert 'does not exist' in said(root, '--init', tmp_path / 'none.pth')
    assert 'file of Python' in said(root, to=tmp_path / 'mine.txt')
    assert 'folder' in said(root, to=tmp_path / 'no' / 'mine.py')
    shutil.rmtree(root / 'images')
    assert 'are not found' in said(root)


def test_what_exists_is_not_replaced(tmp_path):
    root = lay_out(tmp_path / 'set', 'cvat')
    for name in ('mine.py', 'mine_val.json'):
        (tmp_path / name).write_text('precious')
        assert 'exists already' in fails(TOOL, root, '--out', tmp_path / 'mine.py')
        assert (tmp_path / name).read_text() == 'precious'
        (tmp_path / name).unlink()
        assert not list(tmp_path.glob('mine*'))


def test_held_out_part_is_a_function_of_the_seed(tmp_path):
    coco = make_coco(tmp_path / 'all.json', tmp_path / 'images', images=20)
    drawn = []
    for seed in (3, 3, 4):
        paths = [tmp_path / f'{part}.json' for part in ('train', 'val')]
        assert write_split(tmp_path / 'all.json', *paths, seed=seed) == 4
        parts = [json.loads(path.read_text()) for path in paths]
        ids = [{image['id'] for image in part['images']} for part in parts]
        assert not ids[0] & ids[1]
        assert ids[0] | ids[1] == {image['id'] for image in coco['images']}
        for part, own in zip(parts, ids):
            assert part['categories'] == coco['categories']
            assert part['annotations'] == [
                row for row in coco['annotations'] if row['image_id'] in own]
        drawn.append(ids[1])
    assert drawn[0] == drawn[1] != drawn[2]


# ------------------------------------------------------------------ what is in the data


@pytest.mark.parametrize('masks', ['all', 'none', 'some'])
def test_masks_only_where_every_object_has_one(tmp_path, new_config, masks):
    root = lay_out(tmp_path / 'set', 'coco_like', masks=masks != 'none')
    if masks == 'some':
        path = root / 'annotations/instances_val.json'  # they could not be scored
        coco = json.loads(path.read_text())
        coco['annotations'][0]['segmentation'] = []
        path.write_text(json.dumps(coco))
    cfg, printed = new_config(root)
    with_masks = masks == 'all'
    assert MODELS.build(cfg.model).roi_head.with_mask == with_masks
    assert cfg.val_evaluator.metric == (['bbox', 'segm'] if with_masks else 'bbox')
    assert ('masks' in vars(built(cfg)[0]['data_samples'].gt_instances)) == with_masks
    said = [line for line in printed if line.startswith('boxes')]
    assert said == [dict(all='boxes and masks', none='boxes only: the set has no masks',
                         some='boxes only: 1 of 24 objects have no mask')[masks]]


def test_one_image(tmp_path, new_config):
    make_coco(tmp_path / 'set/a.json', tmp_path / 'set', images=1)
    cfg, printed = new_config(tmp_path / 'set')
    assert len(built(cfg)) == len(built(cfg, 'val')) == 1
    assert any(line.startswith('one image only') for line in printed)
    sampler = cfg.train_dataloader.sampler
    assert sampler.type == 'StreamSampler'
    assert sampler.images_per_epoch * cfg.max_epochs >= 2000


def test_two_thousand_classes(tmp_path, new_config):
    classes = [f'class {number}' for number in range(2000)]
    make_coco(tmp_path / 'set/train.json', tmp_path / 'set', classes=classes)
    cfg, printed = new_config(tmp_path / 'set')
    model = MODELS.build(cfg.model)
    assert {head.num_classes for head in [*model.roi_head.bbox_head,
                                          *model.roi_head.mask_head]} == {2000}
    data = built(cfg)
    assert data.metainfo['classes'] == tuple(classes)
    from mmdet.visualization.palette import get_palette
    assert len(get_palette(data.metainfo['palette'], 2000)) == 2000


def test_a_root_category_is_no_class(tmp_path, new_config):
    root = lay_out(tmp_path / 'set', 'roboflow')
    for path in root.rglob('*.json'):
        coco = json.loads(path.read_text())
        coco['categories'] = [dict(id=0, name='pets', supercategory='none')] + [
            dict(category, supercategory='pets') for category in coco['categories']]
        path.write_text(json.dumps(coco))
    cfg, printed = new_config(root)
    assert cfg.classes == ('cat', 'dog')
    data = built(cfg)
    assert data.cat2label == {1: 0, 2: 1}
    assert any("left out: category 'pets'" in line for line in printed)


def test_a_category_without_objects_is_one(tmp_path, new_config):
    make_coco(tmp_path / 'set/a.json', tmp_path / 'set', objects=1, images=2,
              classes=('cat', 'dog', 'rare'))
    cfg, _ = new_config(tmp_path / 'set')
    assert cfg.classes == ('cat', 'dog', 'rare')


NAMES = ['{{ fileDirname }}', '{{_base_.model.type}}', '{{$HOME:x}}', "it's", 'say "hi"',
         '"""', "'''", 'back\\slash', '\\N{DASH}', 'new\nline', 'tab\t', '\u2028', '猫',
         '{', '}}', '{{{{', 'x' * 200, '#', ' spaced ', '{% if %}', '_delete_']


def test_names_are_data(tmp_path, new_config):
    folder = tmp_path / 'a {{ fileBasename }} "b" \'c\' \\d'
    make_coco(folder / 'x.json', folder / '{{_base_.y}}', classes=NAMES)
    cfg, _ = new_config(folder)
    assert cfg.classes == tuple(NAMES)
    data = built(cfg)
    assert data.metainfo['classes'] == tuple(NAMES)
    paths = [Path(data.get_data_info(i)['img_path']) for i in range(len(data))]
    assert paths and all(path.is_file() for path in paths)


PIECES = ['{{', '{', '}}', ' ', '"', "'", '"""', '\\', '\n', '$HOME', '_base_.model']


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3)).map(''.join))
def test_any_text_comes_back_out_of_a_config(text):
    for value in (text, (text, ), {'k': [text, text]}):
        written = literal(value, indent=4)
        assert '{{' not in written and eval(written) == value
    quoted = quotable(text)
    assert '{{' not in quoted
    eval(f'"""x{quoted}\n"""')


# -------------------------------------------------------------- backbones and detectors


def test_arch_by_any_name(tmp_path):
    folder = tmp_path / 'configs'
    folder.mkdir()
    emitted = emit_configs(SEED, folder, '2m', 'By hand.')
    (tmp_path / 'topology.json').write_text(json.dumps(dict(topology=str(SEED))))
    member = dict(topology=str(SEED),
                  configs=[f'configs/{path.name}' for path in emitted])
    other = dict(topology=str(FAMILY['small']), configs=[
        'configs/asvit_29m_in1k.py', 'configs/cascade_asvit_29m_coco.py'])
    (tmp_path / 'family.json').write_text(json.dumps(dict(targets=[member, other])))
    for arch in ('seed', str(SEED), tmp_path / 'topology.json', emitted.detector,
                 emitted.classifier, f'{tmp_path}/family.json:2m'):
        assert read_topology(str(arch))[0] == SEED
    with pytest.raises(InputError, match='several topologies.* 2m, 29m'):
        read_topology(f'{tmp_path}/family.json')
    for damaged in ('{}', '[]', 'x', '{"targets": [{}]}'):
        (tmp_path / 'topology.json').write_text(damaged)
        with pytest.raises(InputError, match='neither'):
            read_topology(f'{tmp_path}/topology.json')


def heads_of(model):
    """Numbers of classes of all that predicts any."""
    return {module.num_classes for module in model.modules()
            if hasattr(module, 'num_classes') and hasattr(module, 'loss')
            and type(module).__name__ != 'RPNHead'}


@pytest.mark.parametrize('base, levels', [
    ('configs/cascade_asvit_small_coco.py', 4),
    ('configs/cascade_asvit_tiny.py', 4),
    ('configs/cascade_swin_tiny.py', 4),
    ('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py', 4),
    ('mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py', 4),
    pytest.param('mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py', 3,
                 marks=pytest.mark.slow),
    pytest.param('mmdet::yolox/yolox_s_8xb8-300e_coco.py', 3, marks=pytest.mark.slow),
    pytest.param('mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', 4,
                 marks=pytest.mark.slow),
])
def test_any_detector_on_any_arch(tmp_path, new_config, base, levels):
    root = lay_out(tmp_path / 'set', 'coco_like', masks=False)
    cfg, _ = new_config(root, '--base', base, '--arch', str(SEED))
    model = MODELS.build(cfg.model)
    assert type(model.backbone).__name__ == 'AsViT' and model.backbone.topology == SEED
    assert model.backbone.out_channels == SEED.widths[-levels:]
    assert heads_of(model) == {2}
    assert not cfg.model.backbone.get('init_cfg')
    assert cfg.optim_wrapper.optimizer.type == 'AdamW'
    assert 'EpochSeedHook' in [hook.type for hook in cfg.custom_hooks]
    # training crops have no padding, so neither has a lone image, where the neck allows it
    data = dict(inputs=[torch.zeros(3, 70, 90, dtype=torch.uint8)], data_samples=None)
    image = model.data_preprocessor(data)['inputs']
    assert image.shape[-2:] == ((96, 96) if 'yolox' in base else (70, 90))
    assert len(model.neck(model.backbone(image))) >= 3


@pytest.mark.parametrize('name', ['swin', 'resnet18'])
def test_contestants_differ_in_the_backbone_alone(name):
    ours = Config.fromfile(ROOT / 'configs/cascade_asvit_tiny.py')
    theirs = Config.fromfile(ROOT / f'configs/cascade_{name}_tiny.py')
    for cfg in (ours, theirs):
        cfg.model.pop('backbone')
        cfg.model.neck.pop('in_channels')
    assert ours._cfg_dict == theirs._cfg_dict


def test_weights_are_taken_or_refused(tmp_path, new_config):
    from mmasvit import AsViT
    root = lay_out(tmp_path / 'set', 'coco_like')
    base = Config.fromfile(ROOT / 'configs/cascade_asvit_tiny.py').model.backbone
    torch.manual_seed(1)
    backbone = AsViT(**{key: base[key] for key in base if key != 'type'})
    state = {f'backbone.{key}': value for key, value in backbone.state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'weights.pth')
    cfg, printed = new_config(root, '--init', tmp_path / 'weights.pth')
    model = MODELS.build(cfg.model)
    model.init_weights()
    assert torch.equal(model.backbone.state_dict()['stages.0.blocks.0.attn.qkv.weight'],
                       backbone.state_dict()['stages.0.blocks.0.attn.qkv.weight'])
    assert any('weights from' in line for line in printed)
    refused = tmp_path / 'refused.py'
    assert 'weights.pth' in fails(TOOL, root, '--out', refused, '--arch', 'seed',
                                  '--init', tmp_path / 'weights.pth')
    assert not refused.exists()


# ------------------------------------------------------------------------- decisions


def facts(sides, image=(640, 480), images=10, sizes=None):
    """Square boxes of some sides, dealt out to images."""
    sizes = np.array(sizes or [image] * images, float)
    sides = np.asarray(sides, float)
    return DataFacts(('a', ), (), len(sizes), sizes, np.stack([sides, sides], 1),
                     np.arange(len(sides)) % len(sizes), 0)


@given(st.lists(st.floats(4, 600), min_size=10, max_size=40), st.floats(0.5, 2))
def test_objects_come_to_the_same_size_whatever_the_resolution(sides, scale):
    def seen(data):
        sizing = decide.size_images(data, 256, 16, crops=True)
        factor = sizing.factor or sizing.long_side / np.median(data.long_sides)
        return factor, factor * np.sqrt(np.prod(np.percentile(data.sides, (10, 90))))

    data = facts(sides)
    factor, size = seen(data)
    assert 1 / 20 <= factor <= 2.1
    if 0.3 < factor < 0.8:  # neither bound is near
        other, same = seen(facts(np.array(sides) * scale, image=(640 * scale,
                                                                 480 * scale)))
        if 0.3 < other < 0.8:
            assert same == pytest.approx(size, rel=0.15)


def test_microscope_images_keep_their_scale_and_photographs_their_framing():
    sizes = [(side, side) for side in (200, 400, 800, 1600) for _ in range(5)]
    rng = np.random.default_rng(0)
    pixels = rng.uniform(40, 60, 200)
    cells = facts(pixels, sizes=sizes)
    assert decide.size_images(cells, 256, 16, crops=True).factor == 1
    relative = np.array([sizes[i % 20][0] for i in range(200)]) * pixels / 400
    photos = facts(relative, sizes=sizes)
    assert decide.size_images(photos, 256, 16, crops=True).factor is None


@given(st.integers(1, 200_000), st.integers(1, 64), st.integers(1, 400_000),
       st.booleans())
def test_schedule_sees_what_it_should(images, batch, seen, from_scratch):
    plan = decide.plan(images, batch, seen, from_scratch)
    length = plan.images_per_epoch or images
    total = plan.epochs * length
    assert plan.epochs >= 1 and plan.warm_up >= 1
    if seen >= 10 * batch * decide.SHORTEST_EPOCH:
        assert 0.85 * seen <= total <= 1.1 * seen + 10 * batch
    # at most so many validations, and one at the end
    assert -(-plan.epochs // plan.val_interval) <= decide.VALIDATIONS
    assert decide.plan(images, batch, seen, from_scratch, epochs=7).epochs == 7


@given(st.floats(1, 300), st.floats(0, 40), st.floats(0.01, 5), st.floats(0.1, 500),
       st.integers(1, 200_000))
def test_minutes_are_kept(minutes, start, step, validation, images):
    measured = pace.Pace(start, step, validation)
    try:
        seen, validations = decide.fit_minutes(minutes, measured, 8)
    except InputError:
        assert start + step + validation >= 60 * minutes - 1e-6
        return
    plan = decide.plan(images, 8, seen, True, validations=validations)
    steps = -(-(plan.images_per_epoch or images) // 8) * plan.epochs
    spent = start + steps * step + -(-plan.epochs // plan.val_interval) * validation
    assert spent <= 60 * minutes * 1.15 + decide.SHORTEST_EPOCH * 10 * step
    if seen > 10 * decide.SHORTEST_EPOCH * 8:
        assert spent >= 0.7 * 60 * minutes - validations * validation


def test_rate_follows_the_batch():
    assert decide.scale_rate(8e-4, 8, 8, True).lr == 8e-4
    assert decide.scale_rate(8e-4, 8, 32, True).lr == pytest.approx(1.6e-3)
    assert decide.scale_rate(0.02, 16, 4, False).lr == pytest.approx(0.005)


def test_crowded_images_keep_all_their_detections(tmp_path, new_config):
    make_coco(tmp_path / 'set/a.json', tmp_path / 'set', images=2, objects=260)
    cfg, printed = new_config(tmp_path / 'set')
    assert cfg.model.test_cfg.rcnn.max_per_img == 350
    assert cfg.model.test_cfg.rpn.max_per_img >= 700


def test_wishes_are_followed(tmp_path, new_config):
    root = lay_out(tmp_path / 'set', 'coco_like')
    cfg, _ = new_config(root, '--epochs', 5, '--batch-size', 3, '--image-size', 96,
                        '--seed', 7, '--flips', 'all')
    assert cfg.train_cfg.max_epochs == 5 and cfg.train_dataloader.batch_size == 3
    assert cfg.randomness.seed == 7
    sample = built(cfg, 'val')[0]
    assert max(sample['inputs'].shape[-2:]) == 96
    (flip, ) = [step for step in cfg.train_pipeline if step.type == 'RandomFlip']
    assert flip.direction == ['horizontal', 'vertical', 'diagonal']
    cfg, _ = new_config(root, '--flips', 'none', out='other.py')
    assert 'RandomFlip' not in str(cfg.train_pipeline)


# ---------------------------------------------------------------------------- training


@pytest.mark.parametrize('size, length', [(7, 3), (7, 20), (5, 5), (1, 4), (100, 9)])
def test_stream_is_passes_over_the_set(size, length):
    def epochs(count, **options):
        sampler = StreamSampler(range(size), length, **options)
        for epoch in range(count):
            sampler.set_epoch(epoch)
            yield list(sampler)

    stream = sum(epochs(4 * size, seed=3), [])
    assert len(stream) == 4 * size * length
    for begin in range(0, len(stream) - size + 1, size):
        assert sorted(stream[begin:begin + size]) == list(range(size))
    assert stream == sum(epochs(4 * size, seed=3), [])
    assert size == 1 or stream != sum(epochs(4 * size, seed=4), [])


def test_processes_share_an_epoch(monkeypatch):
    parts = []
    for rank in range(3):
        monkeypatch.setattr('mmasvit.datasets.stream.get_dist_info', lambda: (rank, 3))
        sampler = StreamSampler(range(10), 8, seed=0)
        sampler.set_epoch(2)
        parts.append(list(sampler))
        assert len(parts[-1]) == len(sampler) == 3
    monkeypatch.setattr('mmasvit.datasets.stream.get_dist_info', lambda: (0, 1))
    whole = StreamSampler(range(10), 9, seed=0)
    whole.set_epoch(2)
    assert [parts[i % 3][i // 3] for i in range(9)] == list(whole)


def quick(cfg, work_dir):
    """Two iterations and a validation of a config, without worker processes."""
    cfg = copy.deepcopy(cfg)
    cfg.work_dir, cfg.log_level = str(work_dir), 'ERROR'
    cfg.train_dataloader.update(num_workers=0, batch_size=2, sampler=dict(
        type='StreamSampler', images_per_epoch=4))
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    return cfg


@pytest.mark.slow
@pytest.mark.parametrize('base, masks', [('asvit', True), ('resnet18', False)])
def test_two_iterations(tmp_path, new_config, base, masks):
    root = lay_out(tmp_path / 'set', 'coco_like', masks=masks)
    cfg, _ = new_config(root, '--base', f'configs/cascade_{base}_tiny.py')
    runner = Runner.from_cfg(quick(cfg, tmp_path / 'work'))
    runner.train()
    assert runner.iter == 2
    scores = runner.message_hub.log_scalars
    assert np.isfinite(scores['train/loss'].current())
    assert 'val/coco/bbox_mAP' in scores
    assert ('val/coco/segm_mAP' in scores) == masks


@pytest.mark.slow
def test_pace_is_measured_and_the_length_written(tmp_path, monkeypatch):
    monkeypatch.setattr(pace, 'TIMED_STEPS', 2)
    monkeypatch.setattr(pace, 'WARM_UP_STEPS', 1)
    # in this process: a new one would take seconds to load everything
    monkeypatch.setattr(pace.torch.multiprocessing, 'spawn', lambda function, args,
                        nprocs: [function(rank, *args) for rank in range(nprocs)])
    root = lay_out(tmp_path / 'set', 'coco_like')
    status, printed, err = call(TOOL, root, '--out', tmp_path / 'mine.py', '--minutes', 3,
                                '--batch-size', 1, '--image-size', 64)
    assert status == 0, err
    cfg = Config.fromfile(tmp_path / 'mine.py')
    (line, ) = [line for line in printed.splitlines() if 'minutes on this' in line]
    start, step, validation = (float(line.split(' s ' + what)[0].split()[-1])
                               for what in ('to start', 'a step', 'a validation'))
    batch = cfg.auto_scale_lr.base_batch_size
    iterations = cfg.max_epochs * cfg.train_dataloader.sampler.images_per_epoch / batch
    assert start + iterations * step <= 180 * 1.1 + 10 * decide.SHORTEST_EPOCH * step
    assert start + (iterations + 50) * step + 10 * (validation + 1) >= 180 * 0.7
