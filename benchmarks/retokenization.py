"""What fewer tokens first saves, measured: time and accuracy against operations.

    python benchmarks/retokenization.py                       # short, makes its own data
    python benchmarks/retokenization.py speed --rounds 20     # training steps, As-ViT-Small
    python benchmarks/retokenization.py classifier --data cifar10.npz --epochs 18
    python benchmarks/retokenization.py detector --data data/shapes --init classifier.pth

``speed`` times training steps at strides 16, 8 and 4 in turn. ``classifier`` and
``detector`` train the demo's small model with and without the schedule on the same data
and seeds, the two ways side by side on one core each, cores swapped from seed to seed. A
run that has finished is not run again. Tables and figures go to the work directory.
"""
import argparse
import multiprocessing
import os
import platform
import statistics
import sys
import time
from functools import partial
from pathlib import Path
from typing import Dict, List, Tuple

from common.shapes import make_data
from common.token_runs import METRICS, SCHEDULES, WAYS, read_result, run_once

from mmasvit.errors import InputError, one_line_errors
from mmasvit.memory import keep_memory
from mmasvit.paper import TABLE_6_EPOCHS
from mmasvit.token_schedule import saving

ROOT = Path(__file__).resolve().parent.parent


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('modes', nargs='*', metavar='MODE',
                        help='speed, classifier, detector; default: a short run of the '
                        'first two')
    parser.add_argument('--data', metavar='PATH', help='classifier: an .npz file (see '
                        'mmasvit.datasets.npz) or a folder of make_shapes_coco.py; '
                        'detector: such a folder; default: a small one is made')
    parser.add_argument('--init', metavar='CHECKPOINT',
                        help='detector: classifier to start from; default: none')
    parser.add_argument('--schedule', choices=SCHEDULES, default='37',
                        help='row of table 6, by its saving (default: %(default)s)')
    parser.add_argument('--seeds', type=int, default=1)
    parser.add_argument('--epochs', type=int, default=2)
    parser.add_argument('--images', type=int, metavar='N',
                        help='train on the first N images; default: all')
    parser.add_argument('--val-images', type=int, metavar='N',
                        help='evaluate on the first N; default: all')
    parser.add_argument('--val-interval', type=int, default=1, metavar='EPOCHS')
    parser.add_argument('--rounds', type=int, default=3, help='speed: steps per stride')
    parser.add_argument('--batch-size', type=int, default=8, help='speed: images a step')
    parser.add_argument('--work-dir', default='work_dirs/retokenization', metavar='DIR')
    return parser.parse_args()


# ------------------------------------------------------------------------------- speed


def time_steps(rounds: int, batch_size: int) -> Tuple[Dict[int, List[float]], dict]:
    """Seconds of As-ViT-Small's training steps at 224 px, strides in turn.

    Returns:
        The seconds of each step by stride, and the multiply-accumulates of a step's
        forward pass for one image by stride.
    """
    import torch
    from mmengine.config import Config
    from mmengine.logging import MMLogger
    from mmengine.registry import MODELS, init_default_scope

    from mmasvit.benchmarking import alternate
    MMLogger.get_instance('speed', logger_name='mmengine', log_level='WARNING')
    torch.manual_seed(0)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    cfg = Config.fromfile(ROOT / 'configs/asvit_small_in1k.py')
    init_default_scope(cfg.default_scope)
    cfg.model.train_cfg = None  # no mixed images: labels are numbers
    cfg.model.backbone.resample_outputs = False
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    images = torch.randn(batch_size, 3, 224, 224)
    from mmpretrain.structures import DataSample
    labels = [DataSample().set_gt_label(i) for i in range(batch_size)]

    def step(stride: int) -> None:
        model.backbone.set_token_stride(stride)
        sum(model(images, labels, mode='loss').values()).backward()
        optimizer.step()
        optimizer.zero_grad()

    seconds = alternate({stride: partial(step, stride) for stride in (16, 8, 4)}, rounds)
    topology = model.backbone.topology
    return seconds, {stride: topology.count_macs(num_classes=1000, token_stride=stride)
                     for stride in seconds}


def report_speed(seconds: Dict[int, List[float]], macs: dict, batch_size: int) -> str:
    """Table of step times and of what the schedules of table 6 save by them."""
    median = {stride: statistics.median(times) for stride, times in seconds.items()}
    lines = [f'Training steps of As-ViT-Small, 224 px, {batch_size} images, '
             f'{len(seconds[4])} rounds in turn, {len(os.sched_getaffinity(0))} cores:', '',
             '| stride | seconds a step: median (least to most) | of full | MACs of full |',
             '|---|---|---|---|']
    lines += [f'| {stride} | {median[stride]:.3f} ({min(times):.3f} to {max(times):.3f}) | '
              f'{median[stride] / median[4]:.1%} | {macs[stride] / macs[4]:.1%} |'
              for stride, times in seconds.items()]
    lines += ['', '| schedule of table 6 | time saved | MACs saved | difference |',
              '|---|---|---|---|']
    for name, schedule in SCHEDULES.items():
        stages = schedule.stages(TABLE_6_EPOCHS)
        time_saved, macs_saved = (saving(stages, cost) for cost in (median, macs))
        lines.append(f'| {name} % | {time_saved:.1%} | {macs_saved:.1%} | '
                     f'{100 * (time_saved - macs_saved):+.1f} points |')
    return '\n'.join(lines) + '\n'


# -------------------------------------------------------------------------------- runs


def run_all(mode: str, args: argparse.Namespace, folder: Path) -> List[dict]:
    """Train both ways with each seed, side by side where there are two cores.

    Raises:
        SystemExit: If a run fails.
    """
    cores = sorted(os.sched_getaffinity(0))[:2]
    start = multiprocessing.get_context('spawn').Process
    results = []
    for seed in range(args.seeds):
        waiting = []
        for i, way in enumerate(WAYS):
            spec = dict(mode=mode, way=way, seed=seed, data=str(Path(args.data).resolve()),
                        init=args.init, schedule=args.schedule, epochs=args.epochs,
                        images=args.images, val_images=args.val_images,
                        val_interval=args.val_interval,
                        work_dir=str(folder / f'{way}_{seed}'))
            result = read_result(spec)
            if result:
                print(f'{way}, seed {seed}: finished before', flush=True)
            else:
                waiting.append(start(target=run_once,
                                     args=(spec, cores[(i + seed) % len(cores)])))
            results.append(spec)
        groups = [waiting] if len(cores) > 1 else [[process] for process in waiting]
        for group in groups:
            began = time.time()
            for process in group:
                process.start()
            for process in group:
                process.join()
            if any(process.exitcode for process in group):
                raise SystemExit(1)
            if group:
                print(f'{mode}, seed {seed}: {len(group)} runs in '
                      f'{time.time() - began:.0f} s', flush=True)
    return [read_result(spec) for spec in results]


# ------------------------------------------------------------------------------ report


def spent(result: dict, steps: int = None) -> float:
    """Multiply-accumulates of the forward passes of a run's first ``steps`` steps."""
    return sum(images * result['macs'][str(stride)]
               for stride, images, _ in result['steps'][:steps])


def report_runs(mode: str, results: List[dict], command: str) -> str:
    """Table of all runs, and what they come to."""
    _, label = METRICS[mode]
    lines = [f'`{command}`', '',
             f'| way | seed | training, s | forward MACs, T | {label} |',
             '|---|---|---|---|---|']
    lines += [f'| {r["spec"]["way"]} | {r["spec"]["seed"]} | {r["seconds"]:.1f} | '
              f'{spent(r) / 1e12:.2f} | {r["scores"][-1][-1]:.3g} |' for r in results]
    by_way = {way: [r for r in results if r['spec']['way'] == way] for way in WAYS}
    lines += ['', f'| way | training, s: median (least to most) | {label}: mean (least to '
              'most) |', '|---|---|---|']
    for way, runs in by_way.items():
        times = [run['seconds'] for run in runs]
        scores = [run['scores'][-1][-1] for run in runs]
        lines.append(
            f'| {way} | {statistics.median(times):.1f} ({min(times):.1f} to '
            f'{max(times):.1f}) | {statistics.mean(scores):.3g} ({min(scores):.3g} to '
            f'{max(scores):.3g}) |')
    time_saved, macs_saved = (
        1 - sum(map(of, by_way['elastic'])) / sum(map(of, by_way['full']))
        for of in (lambda run: run['seconds'], spent))
    lines += ['', f'Saved: {time_saved:.1%} of the training time, {macs_saved:.1%} of the '
              f'multiply-accumulates ({100 * (time_saved - macs_saved):+.1f} points).', '',
              '| stride | step, ms, median | of full | MACs of full |', '|---|---|---|---|']
    lines += stride_rows(by_way)
    return '\n'.join(lines) + '\n'


def stride_rows(by_way: Dict[str, List[dict]]) -> List[str]:
    """Time of a step and multiply-accumulates by stride."""
    times = {}
    for run in by_way['elastic']:
        for stride, _, seconds in run['steps'][1:]:
            times.setdefault(stride, []).append(seconds)
    median = {stride: statistics.median(values) for stride, values in times.items()}
    macs = by_way['elastic'][0]['macs']
    rows = []
    for stride in sorted(median, reverse=True):
        relative = median[stride] / median[4], macs[str(stride)] / macs['4']
        rows.append(f'| {stride} | {1000 * median[stride]:.1f} | {relative[0]:.1%} | '
                    f'{relative[1]:.1%} |')
    return rows


def draw_runs(mode: str, results: List[dict], path: Path) -> None:
    """Score against multiply-accumulates and against time, a line per run."""
    from mmasvit.plotting import save_figure, subplots
    figure, (left, right) = subplots(1, 2, figsize=(10, 4), sharey=True)
    names = dict(full='full tokens', elastic='fewer tokens first')
    for result in results:
        way, seed = result['spec']['way'], result['spec']['seed']
        style = dict(color=f'C{WAYS.index(way)}', marker='o', markersize=4, alpha=0.8,
                     label=names[way] if seed == 0 else None)
        scores = [row[-1] for row in result['scores']]
        left.plot([spent(result, steps) / 1e12 for _, steps, _, _ in result['scores']],
                  scores, **style)
        right.plot([seconds for _, _, seconds, _ in result['scores']], scores, **style)
    left.set(xlabel='forward multiply-accumulates (T)', ylabel=METRICS[mode][1],
             xlim=(0, None), ylim=(0, None))
    right.set(xlabel='training time on one core (s)', xlim=(0, None))
    figure.legend(*left.get_legend_handles_labels(), loc='outside lower center', ncols=2)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    save_figure(figure, path)


def main() -> None:
    """Measure, and write tables and figures."""
    args = parse_args()
    unknown = [mode for mode in args.modes if mode not in ('speed', *METRICS)]
    if unknown:
        raise InputError(f'unknown mode {unknown[0]}; expected speed, classifier or '
                         'detector')
    if min(args.seeds, args.epochs, args.rounds, args.batch_size, args.val_interval) < 1:
        raise InputError('--seeds, --epochs, --rounds, --batch-size and --val-interval '
                         'must be at least 1')
    if args.data and not os.path.exists(args.data):
        raise InputError(f'--data {args.data} does not exist')
    from mmasvit.engine.preflight import check_writable
    from mmasvit.weights import check_checkpoint
    from mmasvit.files import replacing
    check_checkpoint(args.init)
    folder = Path(args.work_dir).resolve()
    check_writable(str(folder))
    command = ' '.join(['python benchmarks/retokenization.py', *sys.argv[1:]])
    print(f'{platform.machine()}, {len(os.sched_getaffinity(0))} cores', flush=True)
    for mode in args.modes or ['speed', 'classifier']:
        if mode == 'speed':
            text = f'`{command}`\n\n' + report_speed(
                *time_steps(args.rounds, args.batch_size), args.batch_size)
        else:
            args.data = args.data or make_data(folder / 'shapes')
            results = run_all(mode, args, folder / mode)
            text = report_runs(mode, results, command)
            draw_runs(mode, results, folder / f'{mode}.png')
        print(f'\n{text}', flush=True)
        with replacing(folder / f'{mode}.md') as temporary:
            Path(temporary).write_text(text)
    print(f'tables and figures are in {folder}')


if __name__ == '__main__':
    keep_memory()
    with one_line_errors():
        main()
