"""Families from auto-scaling side by side: beside the paper's, random scaling, and time."""
import argparse
import os
from typing import List, Optional, Sequence

import _cli


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = _cli.Parser(description=__doc__)
    parser.add_argument('work_dirs', nargs='+', metavar='DIR',
                        help='work directories of tools/scale_topology.py')
    return parser.parse_args(argv)


def in_short(depths: Sequence[int], embed_dims: int, params: int, macs: int) -> str:
    """A member in a cell of a table."""
    return (f'({",".join(map(str, depths))}) x {embed_dims}: {params / 1e6:.1f} M, '
            f'{macs / 1e9:.1f} G')


def kind(family) -> List[str]:
    """What was run, in a few words."""
    setting = family.result['setting']
    return [setting['protocol'], str(setting['seed']), f'{setting["image_size"]} px']


def targets_table(families) -> None:
    """A row per family, a column per target."""
    from mmasvit.tables import print_table
    from mmasvit.topology import FAMILY
    targets = list(dict.fromkeys((row['cost'], row['target']) for family in families
                                 for row in family.result['targets']))
    rows = []
    for family in families:
        found = {(row['cost'], row['target']): row for row in family.result['targets']}
        rows.append([family.folder, *kind(family), str(len(family.result['members']) - 1),
                     *(in_short(row['depths'], row['embed_dims'], row['params'],
                                row['macs']) if (row := found.get(target)) else ''
                       for target in targets)])
    for name in ('small', 'base', 'large'):
        member = FAMILY[name]
        near = [abs(size - member.costs()[cost]) < 0.05 * size
                for cost, size in targets]
        if any(near):
            cell = in_short(member.depths, member.embed_dims, **member.costs())
            rows.append([f'paper, {name}', '', '', '', '',
                         *(cell if close else '' for close in near)])
    print_table('the largest member not above each target: depths x C, parameters, '
                'multiply-accumulates', [
                    '', 'protocol', 'seed', 'images', 'steps',
                    *(f'{size:.3g} {cost}' for cost, size in targets)], rows)


def random_table(families) -> None:
    """A row per family, size and measure."""
    from mmasvit.tables import print_table
    rows = []
    for family in families:
        for row in family.result['comparison']:
            numbers = [float(row[key]) for key in ('ours', 'random_mean',
                                                   'random_deviation')]
            rows.append([family.folder, f'{row["size"]:.3g} {row["cost"]}',
                         row['measure'].replace('_', ' '),
                         *('{:.4g}|{:.4g} +- {:.3g}'.format(*numbers).split('|')),
                         f'{row["better_than"]} of {row["walks"]}'])
    if rows:
        print_table('against random scaling at equal size', [
            '', 'size', 'measure', 'ours', 'random: mean +- deviation', 'better than'],
            rows)


def time_table(families) -> None:
    """A row per step, a column per family."""
    from mmasvit.tables import print_table
    columns = [family.result['seconds']['steps'] for family in families]
    rows = []
    for number in range(max(map(len, columns))):
        row = [str(number + 1)]
        for family, column in zip(families, columns):
            reaches = number < len(column)
            member = family.result['members'][number + 1] if reaches else None
            row.append(f'{column[number]:.1f} s to {member["params"] / 1e6:.1f} M'
                       if reaches else '')
        rows.append(row)
    sums = [('steps', [sum(column) for column in columns]),
            ('random scalings', [family.result['seconds']['random']
                                 for family in families]),
            ('the last run, by the clock', [family.result['seconds']['clock']
                                            for family in families])]
    for label, seconds in sums:
        rows.append([label, *(f'{value / 60:.1f} min' for value in seconds)])
    print_table('seconds of measuring, summed over the processes', [
        'step', *(family.folder for family in families)], rows)


def main(args: argparse.Namespace) -> None:
    """Read everything, print the tables."""
    from mmasvit.scaling.report import read_family
    folders = dict.fromkeys(map(os.path.normpath, args.work_dirs))
    families = [read_family(folder) for folder in folders]
    targets_table(families)
    random_table(families)
    time_table(families)


if __name__ == '__main__':
    _cli.run(main, parse_args())
