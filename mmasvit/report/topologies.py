"""Pages of topology searches, of scalings, and of studies of measures.

They are made from the files that such runs leave, and show whatever measures those name.
"""
import base64
import json
import math
import shlex
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import numpy as np
from PIL import Image

from mmasvit.arguments import real
from mmasvit.errors import InputError
from mmasvit.files import read_json, read_table
from mmasvit.measuring import Objective
from mmasvit.plotting import SMOOTH, label, running_mean
from mmasvit.report import charts, logs
from mmasvit.report.frontier import Candidate, frontier_section
from mmasvit.report.page import (Bar, Block, Chart, Charts, Commands, Gallery, Page,
                                 Panel, Picture, Section, Table, Tile, number, table_of)
from mmasvit.scaling.report import RESULT as FAMILY_RESULT
from mmasvit.search.report import RESULT as SEARCH_RESULT

SEARCH, FAMILY, STUDY = 'topology.json', 'family.json', 'study.csv'
FIGURE = 'scaling.png'  # of a scaling
Row = Dict[str, object]
STUDY_ROW = dict(tau=real, interval=[real], higher_is_better=bool, says=str, seconds=real)


def search_page(folder: Path) -> Page:
    """The page of a finished topology search.

    Raises:
        InputError: If a file is damaged.
    """
    result = read_json(folder / SEARCH, SEARCH_RESULT)
    rows = read_table(folder / 'history.csv', ('step', 'topology'))
    try:
        measures = list(result['measures'])
        tiles = [Tile(label(name), _value(result['measures'][name]['mean']))
                 for name in measures]
        tiles += [Tile('M parameters', number(result['params'] / 1e6, 2)),
                  Tile('GMACs', number(result['macs'] / 1e9, 2)),
                  *([Tile('ms', _value(result['latency']), 'one image')]
                    if 'latency' in result else []),
                  Tile('topologies measured', f'{result["topologies_measured"]:,}')]
        best = result['best_seen']
        found = Table(['', 'topology', *map(label, measures), 'parameters (M)'], [
            ['found', result['topology'],
             *(_value(result['measures'][name]['mean']) for name in measures),
             number(result['params'] / 1e6, 2)],
            [f'best score, step {best["step"]:.0f}', best['topology'],
             *(_value(best.get(name)) for name in measures),
             number(best['params'] / 1e6, 2)]], text_columns=2)
        sections = [Section('Found', [found]), _history_section(rows, measures)]
        if 'latency' in rows[0]:
            found_values = {name: _number(value['mean'])
                            for name, value in result['measures'].items()}
            sections.insert(1, frontier_section(
                [*(Candidate(row['topology'], _number(row['latency']),
                             {name: _number(row[name]) for name in measures})
                   for row in rows),
                 Candidate(result['topology'], _number(
                     result['latency']), found_values, chosen=True)],
                Objective(result['objective']), result))
        if result.get('policy'):
            sections.append(_policy_section(result['policy']))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f'{folder}: {SEARCH} or history.csv is damaged: '
                         f'{type(error).__name__} {error}') from None
    return Page(folder.resolve().name, 'topology search', {
        'found': result['topology'], 'strategy': str(result.get('strategy', '–'))},
        tiles, [*sections, _settings_section(folder, result)])


def _history_section(rows: Sequence[Row], measures: Sequence[str]) -> Section:
    """Measures, reward and entropy over the steps."""
    drawn = []
    for name in [*measures, 'reward', 'entropy']:
        if not rows or name not in rows[0]:
            continue
        steps = np.array([_number(row['step']) for row in rows])
        values = np.array([_number(row[name]) for row in rows])
        known = np.isfinite(values)
        if not known.any():
            continue
        steps, values = steps[known], values[known]
        series = {name: (steps, values)}
        if name != 'entropy':
            series[f'mean of {SMOOTH} steps'] = (steps, running_mean(values))
        drawn.append(Chart(label(name), charts.lines(
            dict(reversed(series.items())), 'step',
            log=bool(0 < 20 * values.min() < values.max()), faint=[name] if
            len(series) > 1 else [])))
    return Section('History', [Charts(drawn)], f'{len(rows):,} topologies in '
                   f'{len({row["step"] for row in rows}):,} steps.')


def _policy_section(policy: Dict[str, Dict[str, float]]) -> Section:
    drawn = []
    for name, values in policy.items():
        likely = max(values, key=values.get)
        drawn.append(Chart(name, charts.bars(values, likely, limit=1,
                                             line=1 / len(values))))
    return Section('Policy', [Charts(drawn, small=True)], 'Probability of each value at '
                   'the end; the dashed line is where all began.')


def scaling_page(folder: Path) -> Page:
    """The page of a finished scaling.

    Raises:
        InputError: If a file is damaged.
    """
    result = read_json(folder / FAMILY, FAMILY_RESULT)
    try:
        members = result['members']
        measures = list(members[0].get('measures') or {})
        last = members[-1]
        tiles = [Tile('steps', str(last['step'])),
                 Tile('M parameters',
                      f'{members[0]["params"] / 1e6:.1f} – {last["params"] / 1e6:.1f}',
                      'smallest to largest'),
                 Tile('members chosen', str(len(result['targets'])))]
        sections = [Section('Chosen', [_member_table(
            [dict(target, step=_size(target['cost'], target['target']))
             for target in result['targets']], measures, 'at most')]),
            _growth_section(result, measures),
            Section('Members', [_member_table(members, measures, 'step')])]
        if 'latency' in members[0]:
            sections.insert(1, frontier_section(
                [Candidate(one['topology'], _number(one['latency']), {
                    name: _number(one['measures'][name]['mean']) for name in measures},
                    chosen=one['topology'] in {target['topology']
                                               for target in result['targets']})
                 for one in members], Objective(result['objective']), result))
        if (folder / FIGURE).is_file():
            sections[-2].blocks.append(_figure(folder / FIGURE))
        if result.get('comparison'):
            sections.insert(-1, _comparison_section(result['comparison']))
    except (KeyError, TypeError, ValueError, IndexError,
            OverflowError) as error:
        raise InputError(f'{folder}: {FAMILY} is damaged: {type(error).__name__} {error}'
                         ) from None
    return Page(folder.resolve().name, 'scaling', {
        'seed': result['seed_topology'], 'grown to': last['topology']}, tiles,
        [*sections, _settings_section(folder, result)])


def _member_table(members: Sequence[Row], measures: Sequence[str], first: str) -> Table:
    rows, timed = [], 'latency' in members[0]
    for member in members:
        values = member.get('measures') or {}
        rows.append([str(member['step']), member['topology'],
                     number(member['params'] / 1e6, 2), number(member['macs'] / 1e9, 2),
                     *([number(_number(member['latency']), 1)] if timed else []),
                     *(_value(values[name]['mean'] if name in values else None)
                       for name in measures)])
    return Table([first, 'topology', 'parameters (M)', 'MACs (G)',
                  *(['latency (ms)'] if timed else []), *map(label, measures)], rows, text_columns=2)


def _growth_section(result: dict, measures: Sequence[str]) -> Section:
    families = {'this family': result['members']}
    walks = [walk['members'] for walk in result.get('random') or []]
    families.update({f'_random {i}': walk for i, walk in enumerate(walks)})
    faint = [name for name in families if name.startswith('_')]
    drawn = [Chart('Width over depth', charts.lines(
        {name: ([one['total_depth'] for one in family],
                [one['total_width'] for one in family])
         for name, family in families.items()},
        'blocks', 'channels of all blocks', markers=True, faint=faint))]
    for measure in measures:
        series = {}
        for name, family in families.items():
            pairs = [(one['params'] / 1e6, _number(one['measures'][measure]['mean']))
                     for one in family if measure in (one.get('measures') or {})]
            pairs = [pair for pair in pairs if math.isfinite(pair[1])]
            if pairs:
                series[name] = tuple(zip(*pairs))
        if series:
            drawn.append(Chart(label(measure), charts.lines(
                series, 'parameters (M)', markers=True, faint=faint)))
    note = ''
    if walks:
        plural = 's' if len(walks) > 1 else ''
        note = f', beside {len(walks)} random scaling{plural} (thin)'
    return Section('How it grew', [Charts(drawn)],
                   f'{len(result["members"])} members{note}.')


def _comparison_section(rows: Sequence[Row]) -> Section:
    return Section('Against random scalings', [Table(
        ['at', 'measure', 'this family', 'random, mean', 'deviation', 'better than'],
        [[_size(row['cost'], row['size']), label(row['measure']),
          _value(row['ours']), _value(row['random_mean']),
          _value(row['random_deviation']), f'{row["better_than"]} of {row["walks"]}']
         for row in rows], text_columns=2)])


def study_page(folder: Path) -> Page:
    """The page of a finished study.

    Raises:
        InputError: If a file is damaged.
    """
    rows = read_table(folder / STUDY, ('topology', ))
    path = folder / 'study.json'
    results = read_json(path, {str: STUDY_ROW}) if path.is_file() else {}
    try:
        _, score, *_ = rows[0]
        scored, said = [_number(row[score]) for row in rows], label(score)
        names = list(results) or [name for name in rows[0] if name not in (
            'topology', score) and not name.endswith('/seconds')]
        order = sorted(names, key=lambda name: -abs(_number(
            results.get(name, {}).get('tau', 0))))
        table = [[name, 'high' if one['higher_is_better'] else 'low',
                  Bar(f'{one["tau"]:+.2f}', abs(one['tau'])),
                  '{:+.2f} to {:+.2f}'.format(*one['interval']), one['says'],
                  f'{one["seconds"]:.2f}']
                 for name, one in ((name, results[name]) for name in order
                                   if name in results)]
        drawn = [Chart(label(name), _cloud(rows, name, scored, said)) for name in order]
        best = max(rows, key=lambda row: _number(row[score]))
        tiles = [Tile('topologies', str(len(rows))),
                 Tile(said, f'{min(scored):.1f} – {max(scored):.1f} %',
                      'least to best')]
        if table:
            tiles.append(Tile('strongest tau', table[0][2].text, order[0]))
    except (KeyError, TypeError, ValueError, IndexError,
            OverflowError) as error:
        raise InputError(f'{folder}: {STUDY} or study.json is damaged: '
                         f'{type(error).__name__} {error}') from None
    sections = [Section(f'Rank correlation with {said}', [Table(
        ['measure', 'better', "Kendall's tau", '95 % interval', 'says', 's / topology'],
        table)])] if table else []
    sections.append(Section(f'Measures and {said}', [Charts(drawn)]))
    sections.append(Section('Topologies', [Table(
        ['topology', f'{said} (%)'],
        [[str(row['topology']), number(_number(row[score]), 2)]
         for row in sorted(rows, key=lambda row: -_number(row[score]))], shown=15)]))
    return Page(folder.resolve().name, 'study of measures',
                {'best topology': str(best['topology'])}, tiles, sections)


def _cloud(rows: Sequence[Row], name: str, scored: Sequence[float],
           said: str):
    values = [_number(row[name]) for row in rows]
    known = [(value, score) for value, score in zip(values, scored)
             if math.isfinite(value)]
    x, y = zip(*known) if known else ((), ())
    return charts.points(x, y, label(name), f'{said} (%)',
                         log=bool(x) and 0 < 20 * min(x) < max(x))


def _settings_section(folder: Path, result: dict) -> Section:
    """What a run was made with, and the configs it left."""
    blocks: List[Block] = []
    configs = sorted(folder.glob('configs/*.py'))
    if configs:
        blocks.append(Commands([f'python tools/train.py {shlex.quote(str(path))}'
                                for path in configs], 'To train what it found'))
    settings = {label(name): json.dumps(value) if isinstance(value, (dict, list))
                else str(value) for name, value in result.items()
                if name not in ('policy', 'space', 'members', 'targets', 'random',
                                'comparison', 'measures', 'best_seen', 'fields', 'references')}
    blocks.append(table_of(settings))
    environment = logs.environment(folder)
    if environment:
        blocks.append(table_of(environment, caption='as the last run logged it'))
    return Section('Commands, settings, environment', blocks)


def _figure(path: Path) -> Gallery:
    """A figure that the run itself drew."""
    try:
        content = path.read_bytes()
        with Image.open(path) as image:
            width, height = image.size
    except (OSError, ValueError) as error:
        raise InputError(f'{path} cannot be read: {error}') from None
    uri = 'data:image/png;base64,' + base64.b64encode(content).decode()
    return Gallery([Picture(path.name, 'beside the paper and published rules', uri, width,
                            height, [Panel('', ())])], size='wide')


def _number(value: object) -> float:
    """A number of a file; text such as ``'inf'`` stands for what json cannot say."""
    return float(value)


def _size(cost: str, size: float) -> str:
    """A limit for people."""
    return f'{size:g} ms' if cost == 'latency' else f'{size / 1e6:g} M {label(cost)}'


def _value(value: Optional[object]) -> str:
    """A measure for people: four digits."""
    return '–' if value is None else f'{float(value):.4g}'
