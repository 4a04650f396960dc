"""Names of the authors' released code, translated to ours."""
import re
from typing import Dict

from torch import Tensor

_BACKBONE = (
    (r'patch_embed\.proj\.', 'patch_embed.projection.'),
    (r'patch_embed\.norm\.', 'patch_embed.norm.'),
    (r'layers\.(\d)\.blocks\.(\d+)\.(norm1|attn\.qkv|attn\.proj)\.',
     r'stages.\1.blocks.\2.\3.'),
    (r'layers\.(\d)\.blocks\.(\d+)\.mlps\.0\.0\.', r'stages.\1.blocks.\2.norm2.'),
    (r'layers\.(\d)\.blocks\.(\d+)\.mlps\.0\.1\.fc1\.',
     r'stages.\1.blocks.\2.ffn.layers.0.0.'),
    (r'layers\.(\d)\.blocks\.(\d+)\.mlps\.0\.1\.fc2\.',
     r'stages.\1.blocks.\2.ffn.layers.1.'),
    # a re-embedding closes a stage there and opens the next one here
    (r'layers\.(\d)\.downsample\.(norm|reduction)\.',
     lambda m: f'stages.{int(m[1]) + 1}.downsample.{m[2]}.'),
    (r'norm\.', 'norm3.'),
)
_HEAD = (
    (r'head\.0\.', 'layers.pre_logits.'),
    (r'head\.2\.', 'layers.head.'),
)


def _rename(state: Dict[str, Tensor], rules: tuple) -> Dict[str, Tensor]:
    renamed = {}
    for key, value in state.items():
        for pattern, replacement in rules:
            name, matches = re.subn('^' + pattern, replacement, key)
            if matches:
                renamed[name] = value
                break
    return renamed


def convert_state_dict(state: Dict[str, Tensor]) -> Dict[str, Tensor]:
    """Rename the released network's weights to :class:`~mmasvit.AsViT`'s.

    The classifier is left out; see :func:`convert_head_state_dict`.

    Args:
        state: State dict under the released code's names.

    Returns:
        A state dict for ``AsViT.load_state_dict``. It has the last stage's output norm
        only and no position embedding (the released search code has none).
    """
    return _rename(state, _BACKBONE)


def convert_head_state_dict(state: Dict[str, Tensor]) -> Dict[str, Tensor]:
    """Rename the released classifier to mmpretrain's ``VisionTransformerClsHead``."""
    return _rename(state, _HEAD)
