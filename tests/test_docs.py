"""README and docs: commands parse, configs, files and headings are there."""
import ast
import re
import runpy
import shlex
import sys
from unittest import mock

import pytest
from helpers import ROOT, load

PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
CONFIGS = sorted((ROOT / 'configs').rglob('*.py'))
BESIDE = {'tools/dist_train.sh': ('tools/train.py', 1),
          'tools/dist_test.sh': ('tools/test.py', 2),
          'tools/dist_search.sh': ('tools/search_topology.py', 1),
          'tools/dist_scale.sh': ('tools/scale_topology.py', 1),
          'tools/slurm_train.sh': ('tools/train.py', None)}


def docstring(path):
    return ast.get_docstring(ast.parse(path.read_text())) or ''


def texts():
    """All that may hold a command, by where it stands."""
    for path in PAGES:
        yield path, path.read_text()
    for path in (*CONFIGS, *(ROOT / 'tools').glob('*.py'),
                 *(ROOT / 'benchmarks').glob('*.py')):
        yield path, docstring(path)


def commands(text):
    """Lines that start one of our scripts, as lists of words."""
    text = re.sub(r'\$\([^)]*\)', 'X', re.sub(r'\\\n\s*', ' ', text))
    spans = [span for line in text.splitlines() for span in line.split('`')]
    start = r'^(?:\$ )?(?:[A-Z_]+=\S+ )*(?:python|bash) (?=(?:tools|benchmarks)/)'
    for span in spans:
        span = span.strip()
        found = re.match(start, span)
        if found and '[' not in span.split('#')[0].split('--cfg-options')[0]:
            words = shlex.split(span[found.end():], comments=True)
            yield words[:next((i for i, word in enumerate(words)
                               if word in ('|', '&&', ';')), None)]


def each_command():
    found = {}
    for path, text in texts():
        for words in commands(text):
            found.setdefault(' '.join(words), (path.name, words))
    return [pytest.param(words, id=f'{place}: {line[:60]}')
            for line, (place, words) in found.items()]


def parse(words):
    """Read a command line as its script does, without running it."""
    script, *words = words
    if script in BESIDE:
        script, place = BESIDE[script]
        if place is not None:
            assert int(words.pop(place)) > 0
        words += ['--launcher', 'pytorch']
    if script.startswith('tools/'):
        return load(script)['parse_args'](words)
    with mock.patch.object(sys, 'argv', [script, *words]), \
            mock.patch.object(sys, 'path', [str(ROOT / 'benchmarks'), *sys.path]):
        return runpy.run_path(str(ROOT / script))['parse_args']()


@pytest.mark.parametrize('words', each_command())
def test_command_lines_parse(words):
    parse(words)


def test_commands_are_found_and_wrong_ones_seen():
    text = ('run `A=1 bash tools/dist_train.sh c.py 8 --amp`, then\n'
            '    python tools/train.py c.py \\\n      --amp  # fast\n')
    assert list(commands(text)) == [['tools/dist_train.sh', 'c.py', '8', '--amp'],
                                    ['tools/train.py', 'c.py', '--amp']]
    assert len(each_command()) > 40
    for words in (['tools/train.py', 'c.py', '--fast'], ['tools/train.py'],
                  ['tools/dist_train.sh', 'c.py', '8', 'd.py']):
        with pytest.raises(SystemExit):
            parse(words)


@pytest.mark.parametrize('path', [place for place, _ in texts()],
                         ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_are_named_exist(path):
    text = path.read_text()
    named = re.findall(r'(?<![\w/.])(?:configs|docs|tools|benchmarks|tests|mmasvit|'
                       r'scripts)/[\w./]+\.(?:py|md|sh|png|csv)\b', text)
    made = {'configs/my_detector.py'}  # by the reader
    assert [name for name in named if name not in made and not (ROOT / name).exists()] \
        == []


def anchors(path):
    """What GitHub makes of a page's headings."""
    headings = re.findall(r'^#+ (.*)$', path.read_text(), flags=re.M)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')
            for heading in headings}


@pytest.mark.parametrize('path', PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    text = re.sub(r'```.*?```', '', path.read_text(), flags=re.S)
    for target in re.findall(r'\]\(([^)\s]+)\)', text):
        if target.startswith(('http://', 'https://')):
            continue
        name, _, anchor = target.partition('#')
        file = path.parent / name if name else path
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_every_page_is_in_the_index_and_every_tool_in_a_page():
    index = (ROOT / 'docs/README.md').read_text()
    assert [path.name for path in PAGES[1:] if path.name not in index] == ['README.md']
    pages = ''.join(path.read_text() for path in PAGES)
    tools = [path.name for path in (ROOT / 'tools').iterdir()
             if path.suffix in ('.py', '.sh')]
    assert [name for name in tools if f'tools/{name}' not in pages] == ['_cli.py']


def test_readme_is_a_page_and_no_manual():
    assert len((ROOT / 'README.md').read_text().splitlines()) <= 130
