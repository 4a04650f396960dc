"""tools/measure_topology.py as a user calls it."""
import json

import numpy as np
import pytest
from helpers import call, fails

from mmasvit.complexity import MEASURES, Setting, measure_topology
from mmasvit.datasets import ProbeImages
from mmasvit.topology import Topology

TOOL = 'tools/measure_topology.py'
SMALL = '8,2,3|4,1,2|4,1,4|4,1,6|16,16'


@pytest.fixture
def images(tmp_path):
    path = tmp_path / 'images.npz'
    values = np.random.default_rng(0).integers(0, 256, (5, 20, 30, 3), np.uint8)
    np.savez(path, images=values)
    return path, values


def test_table_and_json_are_the_librarys_numbers(tmp_path, images):
    out = tmp_path / 'out.json'
    status, printed, _ = call(
        TOOL, SMALL, '--protocol', 'paper', '--image-size', 32, '--repeats', 2,
        '--num-angles', 4, '--num-images', 4, '--seed', 3, '--data', images[0], '--out',
        out)
    assert status == 0
    result = json.loads(out.read_text())
    setting = Setting('paper', 32, 2, 4, 4, 3)
    expected = measure_topology(Topology.parse(SMALL), setting, list(MEASURES),
                                ProbeImages(str(images[0]), 32, 4, 3).images)
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
def test_one_line_and_status_2(images, arguments, message):
    arguments = [argument.format(images=images[0]) for argument in arguments]
    assert message in fails(TOOL, *arguments)


def test_outside_the_space_if_asked_for():
    assert call(TOOL, '9,2,3|4,1,2|4,1,4|4,1,6|16,16', '--any-topology', '--repeats', 1,
                '--image-size', 32, '--measures', 'length_distortion')[0] == 0
