"""tools/measure_topology.py as a user calls it."""
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from mmasvit.complexity import MEASURES, Setting, measure_topology
from mmasvit.datasets import ProbeImages
from mmasvit.topology import Topology

TOOL = Path(__file__).resolve().parents[2] / 'tools/measure_topology.py'
SMALL = '8,2,3|4,1,2|4,1,4|4,1,6|16,16'


def call(monkeypatch, *arguments):
    """Run the tool in this process; returns its exit status."""
    monkeypatch.setattr(sys, 'argv', ['measure_topology.py', *arguments])
    try:
        runpy.run_path(str(TOOL), run_name='__main__')
    except SystemExit as error:
        return error.code
    return 0


@pytest.fixture
def images(tmp_path):
    path = tmp_path / 'images.npz'
    values = np.random.default_rng(0).integers(0, 256, (5, 20, 30, 3), np.uint8)
    np.savez(path, images=values)
    return path, values


def test_table_and_json_are_the_librarys_numbers(monkeypatch, capsys, tmp_path, images):
    out = tmp_path / 'out.json'
    assert call(monkeypatch, SMALL, '--protocol', 'paper', '--image-size', '32',
                '--repeats', '2', '--num-angles', '4', '--num-images', '4', '--seed', '3',
                '--data', str(images[0]), '--out', str(out)) == 0
    result = json.loads(out.read_text())
    setting = Setting('paper', 32, 2, 4, 4, 3)
    expected = measure_topology(Topology.parse(SMALL), setting, list(MEASURES),
                                ProbeImages(str(images[0]), 32, 4, 3).images)
    printed = capsys.readouterr().out
    assert set(result['measures']) == set(MEASURES)
    for name, summary in expected.items():
        assert result['measures'][name]['values'] == summary.values
        assert name in printed and f'{summary.mean:.6g}' in printed
    assert result['topology'] == str(Topology.parse(SMALL))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith('.')] == []


@pytest.mark.parametrize('arguments, message', [
    (['8,2,3|4,1,2|4,1,4'], 'parts'),
    (['9,2,3|4,1,2|4,1,4|4,1,6|32'], '--any-topology'),
    ([SMALL, '--repeats', '0'], 'repeats'),
    ([SMALL, '--num-angles', '1'], 'num_angles'),
    ([SMALL, '--image-size', '8'], 'image_size'),
    ([SMALL, '--measures', 'luck'], 'luck'),
    ([SMALL, '--data', 'none.npz'], 'does not exist'),
    ([SMALL, '--data', '{images}', '--num-images', '9'], 'there are 5'),
    ([SMALL, '--device', 'warp:3'], 'device'),
    ([SMALL, '--out', '/proc/none/x.json'], '/proc/none'),
])
def test_one_line_and_status_2(monkeypatch, capsys, images, arguments, message):
    arguments = [argument.format(images=images[0]) for argument in arguments]
    assert call(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and message in error and error.count('\n') == 1


def test_outside_the_space_if_asked_for(monkeypatch):
    assert call(monkeypatch, '9,2,3|4,1,2|4,1,4|4,1,6|16,16', '--any-topology', '--repeats',
                '1', '--image-size', '32', '--measures', 'length_distortion') == 0
