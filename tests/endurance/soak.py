"""Kill runs and misuse tools for a while, and print what came of it as a table.

    make soak MINUTES=30
    python tests/endurance/soak.py [--minutes 30] [--kills 20] [--calls 2000] [--seed 0]

Kills have a bit more than half of the time, on one process and on two; the calls have the
rest. What the time does not suffice for is left out, and the table says how much was done.
The status is 1 if anything did not hold.
"""
import argparse
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import List

sys.path.insert(0, str(Path(__file__).parent))
import fuzz  # noqa: E402
import kills  # noqa: E402
import torch  # noqa: E402

KILLS_SHARE = 0.55  # of the time


def kill(number: int, seed: int, seconds: float) -> List[List[str]]:
    """Rows of the table: a kind with a number of processes each."""
    rows, jobs = [], [(kind, processes) for kind in kills.KINDS for processes in (1, 2)]
    end = time.time() + seconds
    for i, (kind, processes) in enumerate(jobs):
        wanted = (number + 2 - processes) // 2
        latest = time.time() + (end - time.time()) / (len(jobs) - i)
        with tempfile.TemporaryDirectory() as scratch, redirect_stdout(sys.stderr):
            try:
                done = kills.try_kind(kind, processes, wanted, seed, Path(scratch), latest)
                row = [f'{done.kills} kills in {done.runs} runs', 'ends equal']
            except AssertionError as error:
                row = ['', f'FAILED: {" ".join(str(error).split())[-300:]}']
        rows.append([f'{kind}, {processes} process{"es"[:processes * 2 - 2]}', *row])
        print(f'# {": ".join(rows[-1])}', file=sys.stderr, flush=True)
    return rows


def misuse(number: int, seed: int, minutes: float) -> List[List[str]]:
    """Rows of the table on the calls."""
    def tell(report: fuzz.Report) -> None:
        if report.faults:
            print(f'# call {report.number}: {"; ".join(report.faults)}\n#    '
                  f'{report.line}', file=sys.stderr, flush=True)

    reports = fuzz.fuzz(number, minutes, seed, tell=tell)
    found = fuzz.summary(reports)
    faults = [f'call {one.number}: {one.faults[0]}' for one in reports if one.faults]
    held = f'FAILED {found["faults"]} times: {faults[0]}' if faults else (
        'no traceback, no other status, nothing half-written, no input changed')
    ended = (f'{found["worked"]} worked, {found["refused"]} refused in a line, '
             f'{found["still_running"]} began long runs')
    return [['changed options, settings, files', f'{found["calls"]} calls: {ended}',
             held]]


def main() -> None:
    """Kill, misuse, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--minutes', type=float, default=30)
    parser.add_argument('--kills', type=int, default=20, help='of each kind of run')
    parser.add_argument('--calls', type=int, default=2000)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    began = time.time()
    rows = kill(args.kills, args.seed, 60 * args.minutes * KILLS_SHARE)
    rows += misuse(args.calls, args.seed,
                   args.minutes - (time.time() - began) / 60)
    print('| what | how often | held |\n|---|---|---|')
    for row in rows:
        print('| ' + ' | '.join(row) + ' |')
    print(f'\n{(time.time() - began) / 60:.0f} minutes, seed {args.seed}')
    sys.exit(any('FAILED' in row[-1] for row in rows))


if __name__ == '__main__':
    main()
