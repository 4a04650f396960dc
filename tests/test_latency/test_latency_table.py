"""Sums of parts, and what a table does not hold."""
import json
from dataclasses import replace

import pytest
import torch
from helpers import fails
from hypothesis import given, strategies as st
from latencies import make_table, part_ms, save_table

from mmasvit import AsViT, Topology
from mmasvit.errors import InputError
from mmasvit.latency import LatencyTable, parts_of
from mmasvit.latency.conditions import Conditions
from mmasvit.latency.parts import parts_of_space
from mmasvit.latency.profile import compare, profile, random_topologies
from mmasvit.latency.timing import build_part
from mmasvit.random import Purpose
from mmasvit.search.space import Space

SPACE = Space()
choices = st.tuples(*(st.integers(0, len(values) - 1)
                      for values in SPACE.choices.values()))


@given(choices, st.tuples(*[st.integers(1, 4)] * 4), st.integers(8, 64))
def test_a_network_is_the_sum_of_its_parts(choice, depths, width):
    topology = replace(SPACE.topology(choice), depths=depths, embed_dims=width)
    # times that are powers of the width are interpolated without error
    total = part_ms(next(iter(parts_of(topology))), width)
    for i in range(4):
        own = [part for part in parts_of(topology) if part.stage == i + 1]
        for part in own:
            if part.kind != 'tokenizer':
                blocks = depths[i] if part.kind in ('attention', 'ffn') else 1
                total += blocks * part_ms(part, width)
    assert make_table().milliseconds(topology) == pytest.approx(1.25 * total)


def test_every_topology_of_the_space_is_made_of_its_parts():
    known = set(parts_of_space())
    for topology in SPACE.each_value():
        assert set(parts_of(topology)) <= known
    used = {part for topology in SPACE.each_value() for part in parts_of(topology)
            if part.kind != 'attention'}  # which depends on two choices
    assert used == {part for part in known if part.kind != 'attention'}


@pytest.mark.parametrize('text', ['8,2,3,2|4,1,2,1|3,2,4,1|2,1,6,2|32,24',
                                  '5,8,2,1|2,4,6,1|4,1,2,3|4,1,2,1|64,16'])
def test_parts_one_after_the_other_are_the_network(text):
    """With the network's own weights they compute what it computes."""
    topology, size = Topology.parse(text), (96, 160)
    torch.manual_seed(0)
    backbone = AsViT(topology).eval()
    backbone.init_weights()
    image = torch.rand(1, 3, *size)
    built = {part: build_part(part, topology.embed_dims, size, 224)[0].eval()
             for part in parts_of(topology)}

    def run(kind, stage, x, weights=None):
        part, = (part for part in built if (part.kind, part.stage) == (kind, stage))
        if weights is not None:
            target = built[part]
            target = target.parts[0] if hasattr(target, 'parts') else target
            fitting = {name: value for name, value in weights.state_dict().items()
                       if name in target.state_dict()
                       and value.shape == target.state_dict()[name].shape}
            assert fitting
            target.load_state_dict(fitting, strict=False)
        return built[part](x)

    with torch.no_grad():
        x, outs = run('tokenizer', 1, image, backbone), []
        for i, stage in enumerate(backbone.stages, 1):
            if i > 1:
                x = run('re_embedding', i, x, stage.downsample)
            assert torch.equal(run('windows', i, x), x)
            from mmasvit.models.stage_grid import StageGrid
            grid = StageGrid(x.shape[1:3], size, stage.windows[0], 4)
            y = grid.partition(x)
            for block in stage.blocks:
                y = run('ffn', i, run('attention', i, y, block), block)
            x = grid.restore(y)
            outs.append(run('output', i, x, getattr(backbone, f'norm{i - 1}')))
        for ours, theirs in zip(outs, backbone(image), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_file_gives_back_what_was_saved(tmp_path):
    path = save_table(tmp_path, size=224)
    table, again = make_table(size=224), LatencyTable.read(path)
    assert again.conditions == table.conditions and again.times == table.times
    assert (again.factor, again.references) == (table.factor, table.references)
    rows = json.loads((tmp_path / 'device.json').read_text())['parts']
    assert {(row['splits'], *row['window'], *row['grid']) for row in rows
            if row['part'] == 'attention' and row['stage'] == 1} == {
        (2, 28, 28, 56, 56), (4, 14, 14, 56, 56), (8, 7, 7, 56, 56)}


@pytest.mark.parametrize('text, line', [
    ('8,3,3|4,1,2|4,1,4|4,1,6|32', 'holds no windows of stage 1 with splits 3'),
    ('9,2,3|4,1,2|4,1,4|4,1,6|32', 'holds no tokenizer of stage 1 with kernel 9'),
    ('8,2,3,1|4,1,2,1|4,1,4,1|4,1,6,1|32,128', 'widths from C = 8 to 64, not 128'),
    ('8,2,3|4,1,2|4,1,4|4,1,7|32', 'no ffn of stage 4 with expansion 7')])
def test_what_is_not_held_is_refused(text, line):
    with pytest.raises(InputError, match=line) as caught:
        make_table().milliseconds(Topology.parse(text))
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('change, line', [
    (lambda d: d.update(kind='x'), 'is no device profile'),
    (lambda d: d['parts'][0].update(part='x'), 'part'),
    (lambda d: d['parts'][0].pop('kernel'), 'kernel'),
    (lambda d: d['parts'][0]['milliseconds'].update({'32': dict(median=-1, low=1, high=1)}),
     'above 0'),
    (lambda d: d['parts'][0].update(milliseconds={'x': dict(median=1, low=1, high=1)}),
     'damaged'),
    (lambda d: d.update(parts=[]), 'no width with all parts'),
    (lambda d: d['parts'][0].pop('milliseconds'), 'milliseconds'),
    (lambda d: d['conditions'].pop('dtype'), 'dtype'), (lambda d: d.pop('factor'), 'factor')])
def test_damaged_files_are_one_line(tmp_path, change, line):
    path = tmp_path / 'device.json'
    make_table().save(path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=line) as caught:
        LatencyTable.read(path)
    assert '\n' not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.slow
def test_a_real_profile_and_networks_that_it_never_saw(monkeypatch, tmp_path):
    monkeypatch.setattr('mmasvit.latency.timing.SECONDS', 0)
    conditions = Conditions.here('cpu', (32, 32), 224, 'float32', False)
    table = profile(conditions, [16], 1, references=True)
    assert set(table.times) == set(parts_of_space()) and table.factor > 0
    assert {'Swin-T', 'ResNet-50', 'As-ViT-L'} <= set(table.references)
    swin = table.references['Swin-T']
    assert swin['params'] == pytest.approx(27.5e6, rel=.01)
    result = compare(table, 4, 0, 1)
    for topology, predicted, measured, error in result.rows:
        assert predicted == pytest.approx(table.milliseconds(topology))
        assert error == pytest.approx(predicted / measured - 1)
    assert 0 <= result.median <= result.worst
    other = make_table(device='Abacus')
    with pytest.raises(InputError, match='is of the device Abacus'):
        compare(other, 4, 0, 1)


def test_drawn_networks_are_seeded_within_the_widths_and_no_others():
    drawn = random_topologies([16, 40], 30, Purpose.UNSEEN, 0)
    assert drawn == random_topologies([16, 40], 30, Purpose.UNSEEN, 0)
    assert not set(drawn) & set(random_topologies([16, 40], 30, Purpose.CALIBRATION, 0))
    assert len(set(drawn)) == 30 and len({one.embed_dims for one in drawn}) > 5
    assert all(16 <= one.embed_dims <= 40 and one.in_search_space for one in drawn)


@pytest.mark.parametrize('words, line', [
    (['--shape', 16], '--shape'), (['--widths', 4], '--widths must be a whole number'),
    (['--rounds', 0], '--rounds'), (['--threads', 0], '--threads'),
    (['--device', 'abacus'], 'device'), (['--check', 2], '--check'),
    (['--check', 5], 'none.json cannot be read')])
def test_bad_arguments_of_the_tool(tmp_path, words, line):
    assert line in fails('tools/profile_device.py', '--out', tmp_path / 'none.json', *words)
    assert not list(tmp_path.iterdir())
