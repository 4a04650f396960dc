"""Print when a config's run uses how many tokens, and what that saves, without training.

The plan is what ElasticTokenHook prints when training starts: matrix products and
convolutions of the backbone, forward, per image. Below it stands table 6 of the paper as
this project counts it, beside the paper's numbers. Of a DVT, what an image costs that
leaves at each exit, all before it, heads and reuse counted.
"""
import argparse
from typing import List, Optional

import _cli


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = _cli.Parser(description=__doc__)
    _cli.add_config_arguments(parser)
    parser.add_argument('--shape', type=int, nargs='+', metavar='PX',
                        help='height and width, or one number for both; default: the '
                        "hook's img_size, or else 224, or 1024 for a detector")
    parser.add_argument('--whole', action='store_true',
                        help='also count neck and heads, by running the model once (a '
                        'minute or more for a large detector)')
    return parser.parse_args(argv)


def find_hook(cfg):
    """The config's ElasticTokenHook, built, or None.

    Raises:
        InputError: If it has one that cannot be built.
    """
    from mmasvit import ElasticTokenHook
    from mmasvit.errors import InputError
    for hook in cfg.get('custom_hooks') or ():
        if hook['type'] in ('ElasticTokenHook', ElasticTokenHook):
            options = {key: value for key, value in hook.items()
                       if key not in ('type', 'priority')}
            try:
                return ElasticTokenHook(**options)
            except TypeError as error:
                raise InputError(f'ElasticTokenHook: {error}') from None


def find_stages(cfg, hook) -> tuple:
    """The parts of the config's run, and what they count.

    Raises:
        InputError: If the config does not say how long the run is.
    """
    from mmasvit.errors import InputError
    unit = 'epoch' if hook.by_epoch else 'iteration'
    length = cfg.train_cfg.get(f'max_{"epochs" if hook.by_epoch else "iters"}')
    if length is None:
        raise InputError(f'{cfg.filename}: milestones count {unit}s, and train_cfg does '
                         f'not say how many {unit}s the run has')
    return hook.schedule.stages(length, unit), unit


def format_table_6() -> str:
    """Table 6 of the paper as this project counts it, beside the paper's numbers."""
    from mmasvit.geometry import TOKEN_STRIDE, TOKEN_STRIDES
    from mmasvit.paper import RELATIVE_MACS, TABLE_6, TABLE_6_EPOCHS
    from mmasvit.token_schedule import TokenSchedule, saving
    from mmasvit.topology import FAMILY
    macs = {stride: FAMILY['large'].count_macs(token_stride=stride)
            for stride in TOKEN_STRIDES}
    lines = ['table 6, As-ViT-L at 224 px, 300 epochs: multiply-accumulates']
    for stride, name in ((16, '4x'), (8, '2x')):
        relative = macs[stride] / macs[TOKEN_STRIDE]
        implied = '' if stride == 16 else ', implied by its savings'
        lines.append(f'  {name} fewer tokens a side: {relative:6.1%} of full '
                     f'(paper: {RELATIVE_MACS[stride]} %{implied})')
    lines.append(f'  {"epochs at 4x | 2x | full":>28}  {"saved":>6}  paper')
    for name, (milestones, paper) in TABLE_6.items():
        stages = TokenSchedule(milestones).stages(TABLE_6_EPOCHS)
        lines.append(f'  {name:>28}  {saving(stages, macs):>6.1%}  {paper} %')
    return '\n'.join(lines)


def format_exits(model, size: tuple) -> str:
    """What an image costs that leaves at each exit of a DVT."""
    from mmasvit.adaptive.measure import exit_macs
    from mmasvit.geometry import token_grids
    costs = exit_macs(model, size)
    lines = [f'exits at {size[0]} x {size[1]} px, each with all before it',
             f'{"exit":>6} {"stride":>7} {"tokens":>12} {"GMACs/image":>12} '
             f'{"relative":>9}']
    for k, (stride, cost) in enumerate(zip(model.token_strides, costs)):
        tokens = ' x '.join(map(str, token_grids(size, stride)[0]))
        lines.append(f'{k + 1:6} {stride:7} {tokens:>12} {cost / 1e9:12.3f} '
                     f'{cost / costs[-1]:9.1%}')
    return '\n'.join(lines)


def main(args: argparse.Namespace) -> None:
    """Print the plan and table 6."""
    from mmasvit import analysis
    from mmasvit.adaptive import DVT
    from mmasvit.engine.hooks.elastic_tokens import count_backbones, find_elastic
    from mmasvit.engine.launch import load_config
    from mmasvit.geometry import TOKEN_STRIDE, TOKEN_STRIDES
    from mmasvit.token_schedule import format_costs, format_plan, saving
    shape = analysis.check_shape(args.shape, least=max(TOKEN_STRIDES))
    cfg = load_config(args.config, args.cfg_options)
    hook = find_hook(cfg)
    stages, unit = find_stages(cfg, hook) if hook else (None, None)
    size = analysis.counting_size(cfg, shape or (hook and hook.img_size))
    model = analysis.build_to_count(cfg, freeze=False)
    if isinstance(model, DVT):
        print(format_exits(model.requires_grad_(False), size))
        return
    macs, what = count_backbones(find_elastic(model), size)  # of what trains
    model.requires_grad_(False)
    if stages:
        print(format_plan(stages, size, macs, what, unit))
    else:
        print(f'{args.config} has no ElasticTokenHook; fewer tokens would cost:\n'
              f'{format_costs(size, macs, what)}')
    if args.whole:
        rest = analysis.count_model_macs(model, size, analysis.is_detector(cfg))
        rest -= macs[TOKEN_STRIDE]
        print(f'neck and heads, as tools/get_flops.py counts them: {rest / 1e9:.3f} '
              'GMACs/image at any stride')
        if stages:
            whole = {stride: rest + macs[stride] for stride in macs}
            print(f'saving of the whole run with them: {saving(stages, whole):.1%}')
    print()
    print(format_table_6())


if __name__ == '__main__':
    _cli.run(main, parse_args())
