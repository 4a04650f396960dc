"""Length distortion and NTK condition number, ours against two other ways.

    python benchmarks/complexity.py [--genotype ... --image-size 224 --rounds 5]

"Released" is how the authors' code does it: a backward pass per output channel, and a
backward pass over the whole batch per image; some of these passes are timed and the rest
extrapolated. "Straightforward" is one ``torch.func.jvp``, and ``vmap(grad)``. All three
work on the same weights, take turns, and must give the same numbers. The floor is the
multiply-accumulates of two passes per angle and three per image at the rate of a large
matrix product in the same run. The last lines are a whole measurement, five
initialisations, nothing extrapolated.
"""
import argparse
import os
from pathlib import Path

import torch
from torch import nn

from mmasvit import AsViT, Topology
from mmasvit.benchmarking import Timing, alternate, matrix_rate
from mmasvit.complexity import (MEASURES, Setting, condition_number, measure_topology,
                                ntk_gram)
from mmasvit.complexity.untrained import UntrainedNetwork
from mmasvit.errors import InputError, one_line_errors
from mmasvit.memory import keep_memory
from mmasvit.tables import print_table
from mmasvit.plotting import save_figure, subplots

CHANNELS, IMAGES = 4, 2  # backward passes of the released way that are really run


class Plain(nn.Module):
    """The network as anybody would write it: explicit attention, torch's operators."""

    def __init__(self, probe: UntrainedNetwork, identity_norms: bool):
        super().__init__()
        size = probe.setting.image_size
        self.backbone = AsViT(probe.topology, out_indices=(3, ), pretrain_img_size=size,
                              use_abs_pos_embed=False, attn_impl='explicit',
                              output_norm=False).eval()
        self.backbone.load_state_dict({
            name: value for name, value in probe.backbone.state_dict().items()
            if name in self.backbone.state_dict()})
        if identity_norms:
            for module in list(self.backbone.modules()):
                for name, child in module.named_children():
                    if isinstance(child, nn.LayerNorm):
                        setattr(module, name, nn.Identity())

    def forward(self, images):
        return self.backbone(images)[0].mean(dim=(2, 3))


class LengthDistortion:
    """Three ways to the sum of speeds over the angles of the released protocol."""

    def __init__(self, probe: UntrainedNetwork):
        self.probe = probe
        self.network = Plain(probe, probe.setting.rules.identity_norms)
        self.theta = torch.linspace(0, 2 * torch.pi, probe.setting.num_angles)
        self.scale = 1.

    def _points(self, theta):
        u0, u1 = self.probe.basis
        cos, sin = (t[:, None, None, None] for t in (theta.cos(), theta.sin()))
        return self.probe.setting.radius * (u0 * cos + u1 * sin)

    def ours(self):
        del self.probe.__dict__['velocity']
        return MEASURES['length_distortion'](self.probe)

    def straightforward(self):
        with torch.no_grad():
            _, v = torch.func.jvp(lambda theta: self.network(self._points(theta)),
                                  (self.theta, ), (torch.ones_like(self.theta), ))
        return v.norm(dim=1).sum().item()

    def released(self, channels=CHANNELS):
        theta = self.theta.clone().requires_grad_()
        features = self.network(self._points(theta))
        columns = [torch.autograd.grad(features[:, channel].sum(), theta,
                                       retain_graph=True)[0]
                   for channel in range(channels)]
        return torch.stack(columns, dim=1).norm(dim=1).sum().item()


class ConditionNumber:
    """Three ways to the condition number of the tangent kernel."""

    def __init__(self, probe: UntrainedNetwork):
        self.probe = probe
        self.network = Plain(probe, False)
        self.weights = {name: p for name, p in self.network.named_parameters()
                        if name.endswith('weight')}

    def ours(self):
        return condition_number(ntk_gram(self.probe.backbone, self.probe.features,
                                         self.probe.images)).item()

    def straightforward(self):
        weights = {name: p.detach() for name, p in self.weights.items()}

        def total(weights, image):
            return torch.func.functional_call(self.network, weights, image[None]).sum()

        grads = torch.func.vmap(torch.func.grad(total), (None, 0))(weights,
                                                                   self.probe.images)
        return self._condition([grad.flatten(1) for grad in grads.values()])

    def released(self, images=IMAGES):
        features = self.network(self.probe.images)
        rows = [torch.autograd.grad(features[i].sum(), list(self.weights.values()),
                                    retain_graph=True) for i in range(images)]
        return self._condition([torch.stack([g.flatten() for g in column])
                                for column in zip(*rows)])

    @staticmethod
    def _condition(parts):
        parts = [part.double() for part in parts]
        return condition_number(sum(part @ part.T for part in parts)).item()


def whole_released(seconds: Timing, one_pass: Timing, run: int, passes: int) -> Timing:
    """Seconds of all passes from those of some and those of one."""
    each = (seconds.median - one_pass.median) / (run - 1)
    return Timing(*(value + (passes - run) * each for value in seconds))


def compare(quantity, run: int, passes: int, rounds: int) -> dict:
    """Time the three ways to one quantity; seconds by way."""
    argument = 'channels' if isinstance(quantity, LengthDistortion) else 'images'
    seconds = {name: Timing.of(values) for name, values in alternate({
        'ours': quantity.ours, 'straightforward': quantity.straightforward,
        'one': lambda: quantity.released(**{argument: 1}),
        'released': lambda: quantity.released(**{argument: run}),
    }, rounds).items()}
    seconds['released'] = whole_released(seconds['released'], seconds.pop('one'), run,
                                         passes)
    return seconds


def draw(rows: dict, floors: dict, out_file: str) -> None:
    """Bars of seconds per initialisation, and the floor."""
    figure, axes = subplots(1, len(rows), figsize=(9, 3))
    for panel, (name, ways) in zip(axes, rows.items()):
        values = [timing.median for timing in ways.values()]
        bars = panel.barh(list(ways), values, color=['C0', '0.6', '0.8'])
        panel.bar_label(bars, [f'{value:.3g} s' for value in values], padding=3)
        panel.axvline(floors[name], color='C3', linestyle='--',
                      label=f'floor {floors[name]:.2g} s')
        panel.set(xscale='log', title=name, xlabel='seconds per initialisation')
        panel.set_xlim(right=max(values) * 6)
        panel.legend(loc='lower right')
    save_figure(figure, out_file)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--genotype', default='seed')
    parser.add_argument('--image-size', type=int, default=224, metavar='PX')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--out', default='work_dirs/benchmarks', help='folder')
    return parser.parse_args()


def main() -> None:
    """Time, compare, print, draw."""
    args = parse_args()
    if args.rounds < 1:
        raise InputError(f'--rounds must be at least 1, got {args.rounds}')
    topology = Topology.of(args.genotype)
    setting = Setting(image_size=args.image_size)
    os.makedirs(args.out, exist_ok=True)
    probe = UntrainedNetwork(topology, setting)
    size = (args.image_size, ) * 2
    macs = topology.count_macs(size, pretrain_img_size=args.image_size)
    probe.velocity  # what all repeats share is not timed

    length, kernel = LengthDistortion(probe), ConditionNumber(probe)
    rate = matrix_rate()
    rows = {
        'length distortion': compare(length, CHANNELS, topology.widths[-1], args.rounds),
        'NTK condition number': compare(kernel, IMAGES, setting.num_images, args.rounds)}
    floors = {'length distortion': 2 * setting.num_angles * 2 * macs / rate,
              'NTK condition number': 3 * setting.num_images * 2 * macs / rate}

    table = []
    for name, ways in rows.items():
        table += [(name, way, f'{timing.median:.2f}',
                   f'{timing.low:.2f} to {timing.high:.2f}',
                   f'{timing.median / ways["ours"].median:.1f}')
                  for way, timing in ways.items()]
        table.append((name, 'floor', f'{floors[name]:.2f}', '',
                      f'{floors[name] / ways["ours"].median:.2f}'))
    print_table(f'{topology}, {args.image_size} px, {torch.get_num_threads()} threads, '
                f'matrix products at {rate / 1e9:.0f} GFLOP/s',
                ('one initialisation', 'way', 'seconds', 'spread', 'ours is faster by'),
                table)

    double = UntrainedNetwork(topology, setting, dtype=torch.float64)
    for name, quantity, measure in (
            ('length distortion', length, 'length_distortion'),
            ('NTK condition number', kernel, 'ntk_condition_number')):
        ours, exact = quantity.ours(), MEASURES[measure](double)
        print(f'{name}: ours {ours:.9g}, straightforward '
              f'{quantity.straightforward():.9g}, ours in float64 {exact:.9g} '
              f'(float32 off by {abs(ours / exact - 1):.1e})')
    del double

    whole = alternate({'whole': lambda: measure_topology(topology, setting)}, args.rounds,
                      warm_ups=0)['whole']
    released, plain = (5 * sum(ways[way].median for ways in rows.values())
                       for way in ('released', 'straightforward'))
    timing = Timing.of(whole)
    floor = 5 * sum(floors.values())
    print(f'both measures, 5 initialisations: {timing.median:.1f} s ({timing.low:.1f} to '
          f'{timing.high:.1f}); released way {released:.0f} s, '
          f'{released / timing.median:.0f} times as long; straightforward {plain:.0f} s, '
          f'{plain / timing.median:.1f} times; floor {floor:.1f} s')
    out_file = str(Path(args.out, 'complexity.png'))
    draw(rows, floors, out_file)
    print(out_file)


if __name__ == '__main__':
    keep_memory()
    with one_line_errors():
        main()
