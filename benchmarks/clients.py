"""What works with what: a small As-ViT, and a Swin beside it, in the models of others.

    python benchmarks/clients.py                    # all; mask2former takes minutes
    python benchmarks/clients.py --only mmseg       # names and kinds that hold the word

Each model is built, initialised, run for its loss and backwards, and predicts, on images
of two odd sizes. A cell of the table says "ok", or at which step it failed and how. The
exit status is 1 if As-ViT fails where Swin works. Packages that are not installed are
left out, which a line says. It writes DIR/clients.json.
"""
import argparse
import logging
import time
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Optional

import torch
from common.clients import BACKBONES, Client, all_clients
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from mmengine.registry import MODELS, init_default_scope
from rich.progress import track

import mmasvit  # noqa: F401
from mmasvit.errors import InputError, one_line_errors
from mmasvit.files import write_json
from mmasvit.tables import print_table

SIZES = ((129, 187), (203, 131))


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', nargs='+', metavar='WORD',
                        help='clients whose name or kind holds one of these')
    parser.add_argument('--out', default='work_dirs/clients', metavar='DIR')
    return parser.parse_args()


def bring(package: str) -> Optional[str]:
    """Import what a package registers; the reason if it cannot be."""
    try:
        __import__(f'{package}.models')
    except Exception as error:  # many packages assert on versions
        return ' '.join(str(error).split())
    return None


def attempt(client: Client, backbone: dict) -> str:
    """'ok', or the step that failed and why."""
    step = 'build'
    try:
        init_default_scope(client.scope)
        torch.manual_seed(0)
        model = MODELS.build(ConfigDict(client.model(backbone)))
        model.init_weights()
        for size in SIZES:
            step = f'loss at {size[0]} x {size[1]}'
            model.train()
            data = model.data_preprocessor(client.batch(size), training=True)
            losses, _ = model.parse_losses(model(**data, mode='loss'))
            step = f'backward at {size[0]} x {size[1]}'
            model.zero_grad()
            losses.backward()
            for name, p in model.named_parameters():
                if p.grad is not None and not torch.isfinite(p.grad).all():
                    raise FloatingPointError(f'gradient of {name} is not finite')
            if not any(p.grad is not None and p.grad.any()
                       for p in model.backbone.parameters()):
                raise FloatingPointError('the backbone has no gradient')
            step = f'prediction at {size[0]} x {size[1]}'
            model.eval()
            mode = 'tensor' if 'self-supervised' in client.kind else 'predict'
            data = model.data_preprocessor(client.batch(size), training=False)
            if mode == 'tensor' and isinstance(data['inputs'], list):
                data['inputs'] = data['inputs'][0]
            with torch.no_grad():
                model(**data, mode=mode)
    except Exception as error:  # whatever there is
        line = ' '.join(str(error).split()) or type(error).__name__
        return f'{step}: {type(error).__name__}: {line[:160]}'
    return 'ok'


def main() -> None:
    """Try all, print the table, and say where ours alone fails."""
    args = parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter('ignore')
    clients = [client for client in all_clients() if not args.only or any(
        word in f'{client.kind} {client.name}' for word in args.only)]
    if not clients:
        raise InputError(f'no client holds {" or ".join(args.only)}')
    reasons = {}
    for scope in sorted({client.scope for client in clients}):
        reason = bring(scope) if find_spec(scope) else 'not installed'
        if reason:
            reasons[scope] = reason
            print(f'{scope} is left out: {reason}')
    clients = [client for client in clients if client.scope not in reasons]
    Path(args.out).mkdir(parents=True, exist_ok=True)
    # momentum of some algorithms follows the run, as a Runner notes it
    for key, value in (('iter', 0), ('max_iters', 100)):
        MessageHub.get_current_instance().update_info(key, value)
    rows = []
    for client in track(clients, 'clients'):
        start = time.perf_counter()
        found = {name: attempt(client, dict(backbone))
                 for name, backbone in BACKBONES.items()}
        rows.append(dict(kind=client.kind, name=client.name, **found,
                         seconds=time.perf_counter() - start))
        write_json(Path(args.out, 'clients.json'), dict(rows=rows, left_out=reasons))
    print_table('', ['kind', 'client', *BACKBONES],
                [[row['kind'], row['name'], *(row[name] for name in BACKBONES)]
                 for row in rows])
    for kind in dict.fromkeys(row['kind'] for row in rows):
        own = [row for row in rows if row['kind'] == kind]
        counts = ', '.join(f'{name} in {sum(row[name] == "ok" for row in own)}'
                           for name in BACKBONES)
        print(f'{kind}: of {len(own)} {counts}')
    alone = [row['name'] for row in rows if row['AsViT'] != 'ok' and row['Swin'] == 'ok']
    if alone:
        raise SystemExit(f'As-ViT fails where Swin works: {", ".join(alone)}')


if __name__ == '__main__':
    with one_line_errors():
        main()
