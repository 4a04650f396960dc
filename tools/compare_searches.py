"""Compare finished topology searches: table 3 over seeds, and strategies by score."""
import argparse
import os
from typing import List, Optional

import _cli


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = _cli.Parser(description=__doc__)
    parser.add_argument('work_dirs', nargs='+', metavar='DIR',
                        help='work directories of tools/search_topology.py')
    parser.add_argument('--out', metavar='FILE.png', help='draw the scores over the '
                        'evaluations; the searches must share a setting')
    return parser.parse_args(argv)


def searches_table(groups) -> None:
    """A row per search."""
    from mmasvit.tables import print_table
    rows = []
    for name, searches in groups.items():
        for search in searches:
            result, change = search.result, ''
            if result['entropy'] is not None:
                change = f'{result["entropy_of_space"]:.2f} to {result["entropy"]:.2f}'
            rows.append([name, str(result['seed']), result['topology'],
                         result['best_seen']['topology'], change,
                         f'{sum(result["seconds"]["measures"].values()) / 60:.1f}'])
    print_table('searches; minutes of measuring, summed over processes', ['', 'seed', 'found', 'best seen', 'entropy', 'minutes'], rows)


def table_3(groups) -> None:
    """A column per kind of search: mean over seeds (deviation over mean)."""
    from mmasvit.paper import TABLE_3
    from mmasvit.search.comparison import found_values, policy_values
    from mmasvit.tables import print_table
    columns = {'paper': {name: f'{mean:.1f} ({relative:.1f})'
                         for name, (mean, relative) in TABLE_3.items()}}
    for name, searches in groups.items():
        for which, values in (('found', found_values(searches)),
                              ('policy', policy_values(searches))):
            lines = [which, f'{len(searches)} seeds', *name.split(', ')]
            if values and set(TABLE_3) <= set(values):
                columns['\n'.join(lines)] = {
                    choice: f'{spread.mean:.1f} ({spread.deviation / spread.mean:.1f})'
                    for choice, spread in values.items()}
    print_table('table 3', ['', *columns],
                [[choice, *(column[choice] for column in columns.values())]
                 for choice in TABLE_3])


def scores_table(groups, rated) -> None:
    """A row per kind of search, with the spread over seeds."""
    from mmasvit.stats import Spread
    from mmasvit.tables import print_table
    rows = []
    for name, searches in groups.items():
        histories = [rated[search.folder] for search in searches]
        columns = [[max(scores) for scores in histories],
                   [sum(scores) / len(scores) for scores in histories],
                   [sum(tail) / len(tail) for tail in
                    (scores[-max(1, len(scores) // 10):] for scores in histories)],
                   [search.result['topologies_measured'] for search in searches]]
        rows.append([name, str(len(searches)), str(min(map(len, histories))),
                     *('{:.3f} +- {:.3f}'.format(*Spread.of(column))
                       for column in columns[:3]), f'{Spread.of(columns[3]).mean:.0f}'])
    print_table('scores on the range of all: mean over seeds +- deviation',
                ['', 'seeds', 'evaluations', 'best', 'mean', 'last tenth', 'different'],
                rows)


def main(args: argparse.Namespace) -> None:
    """Read everything, print the tables, draw the figure."""
    import numpy as np

    from mmasvit.errors import InputError
    from mmasvit.search.comparison import group, rate
    from mmasvit.search.figure import plot_comparison
    from mmasvit.search.report import read_results
    folders = dict.fromkeys(map(os.path.normpath, args.work_dirs))
    searches = [read_results(folder) for folder in folders]
    groups = group(searches)
    try:
        rated = {search.folder: scores for search, scores
                 in zip(searches, rate(searches))}
    except InputError as error:
        if args.out:
            raise
        rated, reason = None, error
    searches_table(groups)
    table_3(groups)
    if rated is None:
        print(f'no scores: {reason}')
        return
    scores_table(groups, rated)
    if args.out:
        plot_comparison({name: [np.array(rated[search.folder]) for search in members]
                         for name, members in groups.items()}, args.out)


if __name__ == '__main__':
    _cli.run(main, parse_args())
