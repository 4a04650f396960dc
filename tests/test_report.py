"""Pages of work directories: real runs, figures that others compute too, bad input."""
import json
import random
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT, call, fails
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmasvit.report import charts, logs, write_report
from mmasvit.report.page import (Bar, Chart, Charts, Commands, Gallery, Matrix, Page,
                                 Panel, Picture, Section, Shape, Table, Text, Tile,
                                 render)
from mmasvit.report.quiet import quiet

TOOL = 'tools/report.py'
NASTY = '<script>alert("1")</script> & \'"</td>$x_'
VOID = {'meta', 'br', 'img', 'input', 'link', 'hr'}


class Parsed(HTMLParser):
    """A page: its tags, its text, and the rows of its tables."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.texts, self.rows = [], [], [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == 'tr':
            self.rows.append([])
        elif tag in ('td', 'th'):
            self.rows[-1].append('')

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        if 'td' in self.open or 'th' in self.open:
            self.rows[-1][-1] += data.strip()

    def row(self, *first, cells=None):
        """The one row that begins so, and perhaps has so many cells."""
        found, = (row for row in self.rows if row[:len(first)] == list(first)
                  and len(row) == (cells or len(row)))
        return found


def parse(path):
    """A page that is whole, needs nothing else, and is not too large."""
    html = Path(path).read_text(encoding='utf-8')
    page = Parsed(html)
    for tag, attributes in page.tags:
        assert tag not in ('script', 'link', 'iframe', 'object', 'embed')
        assert not [name for name in attributes if name.startswith('on')]
        for name in ('href', 'src', 'xlink:href', 'srcset', 'data', 'action'):
            assert re.match('#|data:image/', attributes.get(name, '#')), attributes
    style = ''.join(re.findall(r'<style>(.*?)</style>', html, re.DOTALL))
    assert style and '@import' not in style and 'url(' not in style
    assert len(html) < 5e6
    return page


# Runs


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('report') / 'shapes'
    status, _, err = call('tools/make_shapes_coco.py', folder, '--images', 12,
                          '--val-images', 6, '--size', 96, '--crops', 32)
    assert status == 0, err
    return folder


@pytest.fixture(scope='module')
def trained(shapes):
    """A detector after two iterations."""
    work_dir = shapes.parent / 'detector'
    ann_file = shapes / 'annotations' / 'instances_val2017.json'
    settings = {
        'train_dataloader.dataset.data_root': f'{shapes}/',
        'train_dataloader.dataset.indices': 4,
        'train_dataloader.batch_size': 2, 'train_dataloader.num_workers': 0,
        'val_dataloader.dataset.data_root': f'{shapes}/',
        'val_dataloader.num_workers': 0, 'val_evaluator.ann_file': ann_file,
        'test_dataloader.dataset.data_root': f'{shapes}/',
        'test_evaluator.ann_file': ann_file, 'model.backbone.init_cfg': 'None',
        'train_cfg.max_epochs': 1, 'default_hooks.logger.interval': 1}
    status, _, err = call(
        'tools/train.py', 'configs/cascade_asvit_tiny_shapes.py', '--work-dir', work_dir,
        '--cfg-options', *(f'{key}={value}' for key, value in settings.items()))
    assert status == 0, err[-2000:]
    return work_dir


@pytest.fixture
def detector(trained, tmp_path):
    """A copy that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / 'detector'))


def plant(truth, seed=0):
    """Detections that are like the ground truth and not quite."""
    draw, found = random.Random(seed), []
    for one in truth.anns.values():
        if one['iscrowd'] or draw.random() < 0.2:
            continue
        x, y, width, height = one['bbox']
        box = [x + draw.uniform(-.2, .2) * width, y + draw.uniform(-.2, .2) * height,
               width * draw.uniform(.8, 1.2), height]
        category = one['category_id'] if draw.random() < 0.8 else draw.randint(1, 5)
        for score in [draw.random()] * (1 + (draw.random() < 0.2)):
            rle = truth.annToRLE(one)
            found.append(dict(
                image_id=one['image_id'], category_id=category, score=score, bbox=box,
                segmentation=dict(size=rle['size'], counts=rle['counts'].decode())))
    return found


def scored(truth, found, kind):
    """pycocotools' evaluation, as its own documentation does it."""
    with quiet():
        detections = truth.loadRes([
            {key: value for key, value in one.items() if key != {
                'bbox': 'segmentation', 'segm': 'bbox'}[kind]} for one in found])
        evaluation = COCOeval(truth, detections, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@pytest.mark.slow
def test_page_of_a_detector(shapes, detector, monkeypatch):
    with quiet():
        path = write_report(detector)
    page = parse(path)
    titles = {attributes['id'] for tag, attributes in page.tags if tag == 'section'}
    assert titles >= {'average-precision', 'precision-and-recall', 'kinds-of-error',
                      'confusion', 'pictures', 'speed-and-cost', 'training', 'data',
                      'environment-and-commands'}
    # every image once, and shown again by its name
    images = [attributes for tag, attributes in page.tags if tag == 'image']
    uses = [attributes['href'] for tag, attributes in page.tags if tag == 'use']
    assert len(images) == 6
    assert {f'#{attributes["id"]}' for attributes in images} <= set(uses)
    assert page.row('PyTorch')

    # what was found is kept: the figures are those of the file
    from mmasvit.report import detector_run
    monkeypatch.setattr(detector_run, '_run', None)
    with quiet():
        truth = COCO(str(shapes / 'annotations' / 'instances_val2017.json'))
    found = plant(truth)
    (detector / 'report' / 'detections.json').write_text(json.dumps(found))
    page = parse(write_report(detector))
    assert len({row[0] for row in page.rows} & {'box', 'mask'}) == 2
    for kind, name, column in (('bbox', 'box', 2), ('segm', 'mask', 4)):
        evaluation = scored(truth, found, kind)
        assert page.row(name)[1:] == [
            '–' if value < 0 else f'{value:.3f}' for value in evaluation.stats[:6]]
        assert evaluation.stats[0] > 0.1
        precision = evaluation.eval['precision'][..., 0, -1]
        for place, number in enumerate(evaluation.params.catIds):
            row = page.row(truth.cats[number]['name'], str(sum(
                one['category_id'] == number and not one['iscrowd']
                for one in truth.anns.values())), cells=6)
            assert row[column] == f'{precision[:, :, place].mean():.3f}'
            assert row[column + 1] == f'{precision[0, :, place].mean():.3f}'
    objects = sum(not one['iscrowd'] for one in truth.anns.values())
    assert int(page.row('right')[-1]) + int(page.row('missed')[-1]) + sum(
        sum(map(int, row[1:i] + row[i + 1:-1])) for i, row in enumerate(
            ([cell.replace('·', '0') for cell in row]
             for row in _matrix(page)[:-1]), 1)) == objects


def _matrix(page):
    start = next(i for i, row in enumerate(page.rows) if row and 'truth' in row[0])
    return page.rows[start + 1:start + 7]


@pytest.mark.slow
def test_what_is_gone_is_left_out_and_said(shapes, detector):
    moved = ['val_dataloader.dataset.data_root=nowhere/',
             'val_evaluator.ann_file=nowhere/val.json']
    page = parse(write_report(detector, options=moved))
    assert any('no predictions: ' in text and 'nowhere' in text for text in page.texts)
    assert 'Training loss' in page.texts and 'Average precision' not in page.texts
    (detector / 'last_checkpoint').unlink()  # it leads to where the copy is from
    checkpoint, = detector.glob('epoch_*.pth')
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    assert 'is damaged, or is none' in ''.join(parse(write_report(detector)).texts)
    checkpoint.unlink()
    assert 'holds no checkpoint' in ''.join(parse(write_report(detector)).texts)
    for path in detector.glob('2*'):
        shutil.rmtree(path)
    assert 'holds no checkpoint' in fails(TOOL, detector)


@pytest.mark.slow
def test_page_of_a_classifier(shapes, tmp_path):
    settings = {'train_dataloader.batch_size': 2, 'train_dataloader.num_workers': 0,
                'val_dataloader.num_workers': 0, 'default_hooks.logger.interval': 1,
                'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 1,
                'default_hooks.checkpoint.interval': 1,
                **{f'{name}_dataloader.dataset.data_root': shapes / 'crops' / split
                   for name, split in (('train', 'train'), ('val', 'val'),
                                       ('test', 'val'))}}
    status, _, err = call(
        'tools/train.py', 'configs/asvit_tiny_shapes.py', '--work-dir', tmp_path,
        '--cfg-options', *(f'{key}={value}' for key, value in settings.items()))
    assert status == 0, err[-2000:]
    with quiet():
        page = parse(write_report(tmp_path, tmp_path / 'page.html'))
    top1, = (row['accuracy/top1'] for row in (json.loads(line) for path in tmp_path.glob(
        '*/vis_data/scalars.json') for line in path.read_text().splitlines())
             if 'accuracy/top1' in row)
    assert f'{top1:.1f} %' in page.texts  # mmpretrain's own figure
    images = len(list((shapes / 'crops' / 'val').glob('*/*.jpg')))
    start = next(i for i, row in enumerate(page.rows) if row and 'truth' in row[0])
    counts = np.array([[int(cell.replace('·', '0')) for cell in row[1:]]
                       for row in page.rows[start + 1:start + 6]])
    assert counts.sum() == images
    assert round(100 * counts.trace() / images, 1) == round(top1, 1)
    shown = [attributes for tag, attributes in page.tags if tag == 'image']
    assert len(shown) == min(24, images - counts.trace())


@pytest.mark.slow
def test_pages_of_a_search_and_a_scaling(tmp_path):
    small = ('setting.image_size=32', 'setting.repeats=1', 'setting.num_images=2',
             'setting.num_angles=3')
    for tool, config, loop, more, page_kind, figure in (
            ('search', 'search_topology_demo', 'train_cfg', ['train_cfg.max_iters=3'],
             'topology search', 'history'),
            ('scale', 'scale_topology_demo', 'train_cfg', [
                'train_cfg.stop.params=3e6', 'train_cfg.targets.params=[3e6]',
                'train_cfg.random_walks=1'], 'scaling', 'how-it-grew')):
        work_dir = tmp_path / tool
        status, _, err = call(
            f'tools/{tool}_topology.py', f'configs/{config}.py', '--work-dir', work_dir,
            '--cfg-options', *more, *(f'{loop}.{setting}' for setting in small))
        assert status == 0, err[-2000:]
        page = parse(write_report(work_dir))
        assert page_kind in page.texts
        assert figure in {attributes.get('id') for _, attributes in page.tags}
        if tool == 'search':
            found = json.loads((work_dir / 'topology.json').read_text())
            measures = found['measures']
            assert page.row('found', found['topology'])[2:4] == [
                f'{measures[name]["mean"]:.4g}' for name in measures]
        else:
            family = json.loads((work_dir / 'family.json').read_text())
            for member in family['members']:
                assert page.row(str(member['step']), member['topology'])[2] == (
                    f'{member["params"] / 1e6:.2f}')
    (tmp_path / 'search' / 'topology.json').write_text('{"measures": {}}')
    assert 'topology.json is damaged: ' in fails(TOOL, tmp_path / 'search')
    (tmp_path / 'scale' / 'family.json').write_text('[]')
    assert 'family.json is damaged' in fails(TOOL, tmp_path / 'scale')


def test_page_of_a_study(tmp_path):
    shutil.copy(ROOT / 'docs' / 'complexity_study' / 'study.csv', tmp_path)
    (tmp_path / 'study.json').write_text(json.dumps({'params': dict(
        tau=.5, interval=[.1, .8], p_value=.01, says='as meant', higher_is_better=True,
        seconds=.5)}))
    page = parse(write_report(tmp_path))
    assert page.row('params')[2:5] == ['+0.50', '+0.10 to +0.80', 'as meant']
    rows = (tmp_path / 'study.csv').read_text().splitlines()[1:]
    assert str(len(rows)) in page.texts
    (tmp_path / 'study.csv').write_text('topology\n')
    assert 'has no rows' in fails(TOOL, tmp_path)


def test_folders_that_are_none_of_ours(tmp_path):
    assert 'does not exist' in fails(TOOL, tmp_path / 'nowhere')
    assert 'is no work directory' in fails(TOOL, tmp_path)
    shutil.copy(ROOT / 'docs' / 'complexity_study' / 'study.csv', tmp_path)
    (tmp_path / 'file').write_text('')
    assert 'cannot be written' in fails(TOOL, tmp_path, '--out', tmp_path / 'file' / 'x')
    assert not (tmp_path / 'report').exists()


# The page


def test_names_are_text_and_never_markup():
    picture = Picture(NASTY, NASTY, 'data:image/png;base64,AA', 4, 4, [Panel(NASTY, [
        Shape((0, 0, 1, 1), 'right', NASTY, NASTY)])])
    series = {NASTY: ([0, 1], [0, 1]), f'{NASTY}2': ([0, 1], [1, 0])}
    page = Page(NASTY, NASTY, {NASTY: NASTY}, [Tile(NASTY, NASTY, NASTY)], [
        Section(NASTY, [
            Text(NASTY), Table([NASTY], [[NASTY], [Bar(NASTY, 1)]], NASTY, shown=1),
            Charts([Chart(NASTY, charts.lines(series, NASTY, NASTY), NASTY),
                    Chart(NASTY, charts.bars({NASTY: 1}, NASTY)),
                    Chart(NASTY, charts.points([1], [1], NASTY, NASTY))]),
            Matrix([NASTY], [NASTY], [[3]], [[1.]], NASTY), Commands([NASTY], NASTY),
            Gallery([picture], NASTY)], NASTY)] * 3, [NASTY])
    html = render(page)
    parsed = Parsed(html)
    assert not [tag for tag, _ in parsed.tags if tag == 'script']
    assert NASTY in parsed.rows[0] and parsed.rows[1] == [NASTY]
    text = ''.join(parsed.texts)
    assert text.count(NASTY) + sum(
        value.count(NASTY) for _, attributes in parsed.tags
        for value in attributes.values()) > 60
    assert html.count('<script>') == 0


def test_a_drawing_has_the_page_s_colours_and_no_others():
    svg = charts.lines({'a': ([0, 1, 2], [1, 30, 1000]), 'b': ([0], [2])}, 'x', log=True,
                       faint=['b'])
    assert 'var(--c0)' in svg and 'var(--soft)' in svg and 'var(--line)' in svg
    assert not re.search(r'#[0-9a-f]{6}', re.sub(r'href="#\w+"', '', svg))
    assert svg == charts.lines({'a': ([0, 1, 2], [1, 30, 1000]), 'b': ([0], [2])}, 'x',
                               log=True, faint=['b'])


def test_a_resumed_run_replaces_what_it_repeats(tmp_path):
    for name, iterations in (('1', range(10, 60, 10)), ('2', range(30, 80, 10))):
        path = tmp_path / name / 'vis_data' / 'scalars.json'
        path.parent.mkdir(parents=True)
        rows = [dict(loss=float(name), iter=i, time=.5, lr=1.) for i in iterations]
        rows.append({'coco/bbox_mAP': float(name) / 10, 'step': 1})
        path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    curves = logs.curves_of(logs.read_log(tmp_path))
    assert curves.training['loss'] == ([10, 20, 30, 40, 50, 60, 70], [1, 1] + [2] * 5)
    assert curves.validation['coco/bbox_mAP'] == ([70], [.2])
    assert curves.seconds == 35 and curves.last == 70


@pytest.mark.skipif(not shutil.which('chromium'), reason='needs chromium')
@pytest.mark.slow
def test_a_browser_draws_it(tmp_path):
    shutil.copy(ROOT / 'docs' / 'complexity_study' / 'study.csv', tmp_path)
    picture = tmp_path / 'page.png'
    subprocess.run([
        'chromium', '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic',
        '--no-first-run', '--disable-background-networking', '--disable-component-update',
        '--disable-sync', f'--user-data-dir={tmp_path}/profile', '--window-size=800,1000',
        f'--screenshot={picture}', f'file://{write_report(tmp_path)}'], check=True,
        timeout=120, capture_output=True)
    from PIL import Image
    with Image.open(picture) as image:
        assert len(image.convert('RGB').getcolors(1 << 24)) > 50
