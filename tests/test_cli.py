"""What the tools' command lines share."""
import argparse
import subprocess
import sys

import pytest
from helpers import ROOT, TOOLS, fails, load, tool_imports
from mmengine.config import DictAction

from mmasvit.shapes.coco import ShapesSettings
from mmasvit.engine.launch import load_config
from mmasvit.errors import InputError

HELP = '''
import contextlib, io, runpy, sys
for tool in sys.argv[1:]:
    sys.argv = [tool, '--help']
    sys.path[0] = 'tools'
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        runpy.run_path(tool, run_name='__main__')
    assert printed.getvalue().startswith('usage: '), tool
    print(tool, *sorted({name.split('.')[0] for name in sys.modules}))
'''


def test_help_loads_no_library():
    """Neither torch nor anything else that is not Python's own."""
    tools = [str(path.relative_to(ROOT)) for path in TOOLS]
    done = subprocess.run([sys.executable, '-c', HELP, *tools], cwd=ROOT, text=True,
                          capture_output=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == tools and len(tools) > 10
    before = subprocess.run([sys.executable, '-c', 'import sys; print(*sys.modules)'],
                            text=True, capture_output=True, check=True).stdout.split()
    # what an environment loads at every start of Python, from its .pth files
    usual = {name.split('.')[0] for name in before} | {'_cli'}
    for tool, *modules in lines:
        assert set(modules) - sys.stdlib_module_names - usual == set(), tool


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text("a = dict(b=1, c=dict(d='text'))\n")
    return str(path)


@pytest.mark.parametrize('words', [
    ['a.b=2'], ['a.b=None', 'a.c.d=1.5'], ['a.b=[(1,2),x]'], ['a.b="(\'x\',\'y\')"'],
    ['a.b=True', 'a.b=3'], ['a.c.d=k=v'], ['a.new=1,2']])
def test_cfg_options_mean_what_they_mean_to_mmengine(config, words):
    theirs = argparse.ArgumentParser()
    theirs.add_argument('--cfg-options', nargs='+', action=DictAction)
    expected = load_config(config)
    changes = theirs.parse_args(['--cfg-options', *words]).cfg_options
    expected.merge_from_dict(changes)
    assert load_config(config, changes).to_dict() == expected.to_dict()
    for argv in (['--cfg-options', *words],
                 [part for word in words for part in ('--cfg-options', word)]):
        args = load('tools/train.py')['parse_args']([config, *argv])
        got = load_config(args.config, args.cfg_options)
        assert got.to_dict() == expected.to_dict()


def test_bad_cfg_options(config):
    assert "K=V expected, got 'a.b'" in fails(
        'tools/train.py', config, '--cfg-options', 'a.c.d=1', 'a.b')
    with pytest.raises(InputError, match='--cfg-options: Imbalanced brackets'):
        load_config(config, ['a.b=[1,(2]'])


def test_a_wrong_command_line_is_one_line():
    assert 'unrecognized arguments: --colour' in fails(
        'tools/train.py', 'config.py', '--colour', 'red')
    assert 'the following arguments are required: config' in fails('tools/train.py')


@pytest.mark.parametrize('error, status', [
    (InputError('so'), 2), (KeyboardInterrupt(), 130), (ValueError('a defect'), None)])
def test_only_bad_input_is_one_line(error, status, capsys):
    def main(args):
        raise error

    with tool_imports():
        from _cli import run
    with pytest.raises(SystemExit if status else ValueError) as raised:
        run(main, None)
    assert not status or raised.value.code == status
    assert ('error: so' in capsys.readouterr().err) == (status == 2)


def test_defaults_that_help_states_are_the_library_s():
    args = load('tools/make_shapes_coco.py')['parse_args'](['out'])
    assert ShapesSettings(args.images, args.val_images, args.size,
                          args.seed) == ShapesSettings()


def test_what_a_config_builds_on_is_a_file(tmp_path):
    zero, config = tmp_path / 'zero.py', tmp_path / 'mine.py'
    zero.symlink_to('/dev/zero')  # read to its end, it would fill the memory
    between = tmp_path / 'between.py'
    between.write_text("_base_ = ['./zero.py']\n")
    config.write_text("_base_ = './between.py'\n")
    with pytest.raises(InputError, match='builds on .*zero.py, which is no file'):
        load_config(str(config))


@pytest.mark.parametrize('entry', ['val_interval', 'max_epochs', 'max_iters', 'val_begin'])
def test_loops_count_in_whole_numbers(config, entry):
    with pytest.raises(InputError, match=f'train_cfg.{entry}'):
        load_config(config, {f'train_cfg.{entry}': 'a=b'})
    load_config(config, {f'train_cfg.{entry}': 2.})  # as one of mmdet's own has it


@pytest.mark.parametrize('entry, value, line', [
    ('param_scheduler', [dict(type='CosineAnnealingLR', T_max='x')], 'must be a number'),
    ('param_scheduler', [dict(type='MultiStepLR', milestones=['x'])], 'milestones.0'),
    ('model', dict(head=dict(gamma=2**64)), 'model.head.gamma must be')])
def test_numbers_are_numbers(config, entry, value, line):
    with pytest.raises(InputError, match=line):
        load_config(config, {entry: value})


@pytest.mark.parametrize('tool', ['report', 'compare_families', 'compare_searches'])
def test_a_name_that_no_file_can_have(tool):
    assert 'File name too long' in fails(f'tools/{tool}.py', 'a' * 5000)
