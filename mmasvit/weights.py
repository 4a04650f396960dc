"""Checkpoints are read as tensors and plain values, or not at all."""
import os
import zipfile
from pickle import UnpicklingError
from typing import Any, Optional

import torch
from mmengine.runner.checkpoint import CheckpointLoader, get_torch_safe_globals

from mmasvit.errors import InputError


class DamagedCheckpoint(InputError):
    """A file that was a checkpoint, or never one: nothing can be read out of it."""


def check_checkpoint(path: Optional[str]) -> None:
    """Check that a local file is there, and whole if it is a checkpoint.

    The checksums in it are compared, which torch does not do: a second for each gigabyte.

    Raises:
        InputError: If it is missing.
        DamagedCheckpoint: If it is not whole.
    """
    if not path or '://' in path:
        return
    if not os.path.isfile(path):
        reason = 'is no file' if os.path.exists(path) else 'does not exist'
        raise InputError(f'checkpoint {path} {reason}')
    try:
        with open(path, 'rb') as file:
            pickled = file.read(1) == b'\x80'  # as torch wrote before it took to zip
        if pickled:
            return
        with zipfile.ZipFile(path) as content:
            damaged = content.testzip()
    except OSError as error:
        raise InputError(f'checkpoint {path} cannot be read: {error.strerror}') from None
    except Exception:  # zipfile raises many kinds, zlib's and struct's among them
        damaged = path
    if damaged:
        raise DamagedCheckpoint(f'checkpoint {path} is damaged, or is none')


def read_checkpoint(path: str, map_location: str = 'cpu') -> Any:
    """Read a checkpoint without running anything that is in it.

    A pickle may name any function to call. mmengine's loader warns and reads such a file
    all the same; here only tensors, plain values and what mmengine itself stores count.

    Args:
        path: A file, or an address that mmengine knows how to fetch.
        map_location: Device to load to. Defaults to ``'cpu'``.

    Raises:
        InputError: If the file is missing, or holds more than that.
        DamagedCheckpoint: If it is damaged.
    """
    check_checkpoint(path)
    try:
        if '://' in path:
            return CheckpointLoader.load_checkpoint(path, map_location)
        with torch.serialization.safe_globals(get_torch_safe_globals()):
            return torch.load(path, map_location=map_location, weights_only=True)
    except UnpicklingError:
        raise InputError(
            f'checkpoint {path} holds more than weights and plain values, and reading that '
            'can run any program. If you trust whoever made it, keep its weights alone: '
            "python -c 'import sys, torch; torch.save({\"state_dict\": torch.load(sys.argv"
            '[1], "cpu", weights_only=False)["state_dict"]}, sys.argv[2])\' '
            f'{path} weights.pth') from None
    except Exception as error:  # whatever a damaged file raises
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DamagedCheckpoint(f'checkpoint {path} cannot be read: {line}') from None
