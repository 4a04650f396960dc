"""Learning rates that fall layer by layer, and rules that hold beside custom keys."""
from typing import Callable, Dict, List, Optional, Tuple

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from mmasvit.errors import InputError

DepthOf = Callable[[str], Tuple[int, int]]


def layer_depth_of(model: nn.Module) -> DepthOf:
    """How deep in its backbone a parameter of a whole model lies.

    Backbones answer that with ``get_layer_depth(name, prefix)``, as AsViT and those of
    mmpretrain do; detectors do not pass the question on.

    Args:
        model: A detector, a classifier, or anything else with a backbone in it.

    Returns:
        A function from a parameter's name to its layer (0 the tokenizer) and the number
        of layers; all that is outside of a backbone lies in the last layer.

    Raises:
        InputError: If no part of the model has layers that can be counted.
    """
    parts = {f'{name}.': part for name, part in model.named_modules()
             if name and hasattr(part, 'get_layer_depth')}
    if not parts:
        raise InputError(f'layer decay: no part of {type(model).__name__} has '
                         'get_layer_depth, which AsViT and backbones of mmpretrain have')

    def depth_of(name: str) -> Tuple[int, int]:
        prefix = next((prefix for prefix in parts if name.startswith(prefix)), None)
        return parts[prefix].get_layer_depth(name, prefix) if prefix else (0, 1)

    return depth_of


@OPTIM_WRAPPER_CONSTRUCTORS.register_module(force=True)
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor, with two differences in ``paramwise_cfg``.

    - ``layer_decay_rate``: what is d layers below the top of the backbone learns at this
      to the power of d of the rate; the neck, the heads and output norms at the whole
      rate. Defaults to 1.
    - ``custom_keys`` say what they say and nothing else: ``{'backbone': dict(lr_mult=
      0.5)}`` leaves norms without weight decay if ``norm_decay_mult`` is 0. In mmengine
      a key that matches replaces all other rules.

    Examples:
        >>> optim_wrapper = dict(
        ...     optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
        ...     constructor='LayerDecayOptimWrapperConstructor',
        ...     paramwise_cfg=dict(layer_decay_rate=0.7, norm_decay_mult=0.))
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: Optional[dict] = None):
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        rules = dict(self.paramwise_cfg or {})
        self.custom_keys: Dict[str, dict] = dict(rules.pop('custom_keys', {}))
        self.decay_rate = rules.pop('layer_decay_rate', 1.)
        if not isinstance(self.decay_rate, (int, float)) or not 0 < self.decay_rate <= 1:
            raise InputError('paramwise_cfg.layer_decay_rate must be above 0 and at most '
                             f'1, got {self.decay_rate!r}')
        # never empty: without any rule mmengine makes a single group
        self.paramwise_cfg = dict(rules, custom_keys={})

    def add_params(self, params: List[dict], module: nn.Module, prefix: str = '',
                   is_dcn_module: Optional[bool] = None) -> None:
        """Add a group per parameter that trains; called for each module in turn."""
        super().add_params(params, module, prefix, is_dcn_module)
        if prefix:
            return
        names = {id(parameter): name for name, parameter in module.named_parameters()}
        depth_of = layer_depth_of(module) if self.decay_rate != 1 else None
        for group in params:
            name = names[id(group['params'][0])]
            self._apply_custom_keys(group, name)
            if depth_of:
                layer, layers = depth_of(name)
                scale = self.decay_rate**(layers - 1 - layer)
                group['lr'] = group.get('lr', self.base_lr) * scale
        if depth_of:
            rates = sorted({group['lr'] for group in params})
            print_log(f'layer decay {self.decay_rate}: learning rates from '
                      f'{rates[0]:.3g} to {rates[-1]:.3g}', logger='current')

    def _apply_custom_keys(self, group: dict, name: str) -> None:
        """Of keys that are part of a name, the longest with a setting decides on it."""
        settings: dict = {}
        for key in sorted(sorted(self.custom_keys), key=len):
            if key in name:
                settings.update(self.custom_keys[key])
        if 'lr_mult' in settings:
            group['lr'] = group.get('lr', self.base_lr) * settings.pop('lr_mult')
        if 'decay_mult' in settings:
            group['weight_decay'] = self.base_wd * settings.pop('decay_mult')
        group.update(settings)
