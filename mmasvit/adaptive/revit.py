"""ReViT: one detector or classifier for several numbers of tokens."""
from contextlib import contextmanager
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import torch
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmasvit.adaptive.assigner import Assigner
from mmasvit.adaptive.distillation import Distillation
from mmasvit.arguments import from_dict, known_keys, whole_number
from mmasvit.errors import InputError
from mmasvit.models.as_vit import AsViT
from mmasvit.models.checks import check_token_strides
from mmasvit.random import Purpose, generator


class ReViT(BaseModel):
    """A detector of mmdet or a classifier of mmpretrain at several token strides.

    All weights are shared but the backbone's norms, of which each stride has its own. A
    step of training sums the losses of the finest stride and of others, which also learn
    what the finest one computes. After training the stride is fixed, or an assigner
    chooses one for every image before the model runs.

    It stands where the model in it stood: under the same loops, hooks, evaluators and
    wrappers. The checkpoint of a plain model loads into it (every stride starts from the
    plain norms), and :meth:`plain_state_dict` takes one out of it.

    Args:
        model: Config of a model with an :class:`~mmasvit.AsViT`, whose ``token_strides``
            are set here, or the built model.
        token_strides: Strides to train at and to choose from, of 4, 8 and 16.
        strides_per_step: ``'all'``, or how many beside the finest a step trains at; they
            are drawn from ``seed`` and the iteration. Defaults to ``'all'``.
        distill: Arguments of :class:`Distillation`; None trains without. Defaults to
            weight 0.5 and temperature 1.
        assigner: Arguments of :class:`Assigner`. Defaults to none.
        test_cfg: ``dict(token_stride=...)`` predicts at that stride. Defaults to what
            the assigner chooses, or without one to the finest.
        seed: Which strides are drawn. Defaults to 0.
        data_preprocessor: For a model that has none, as where a config has one beside
            its model.

    Raises:
        InputError: If there is no or more than one AsViT in the model, or an argument is
            none of the above.
    """

    def __init__(self, model: Union[dict, nn.Module],
                 token_strides: Sequence[int] = (16, 8, 4),
                 strides_per_step: Union[str, int] = 'all',
                 distill: Optional[dict] = dict(weight=0.5, temperature=1.),
                 assigner: Optional[dict] = None, test_cfg: Optional[dict] = None,
                 seed: int = 0, data_preprocessor: Optional[dict] = None):
        strides = check_token_strides(token_strides)
        if len(strides) < 2:
            raise InputError(f'ReViT: token_strides must be several, got {strides}')
        if isinstance(model, dict):
            model = MODELS.build(_for_strides(model, strides, data_preprocessor))
        backbone_name, backbone = _find_backbone(model)
        if backbone.token_strides != strides:
            raise InputError(f'ReViT: the model has norms for the token strides '
                             f'{backbone.token_strides}, not for {strides}')
        super().__init__(model.data_preprocessor)
        self.model = model
        self.token_strides = strides
        self._backbone = backbone_name
        if strides_per_step != 'all':
            whole_number('ReViT: strides_per_step', strides_per_step, 0, len(strides) - 1)
        self.strides_per_step = strides_per_step
        self.seed = whole_number('ReViT: seed', seed, 0)
        self.distill = None
        if distill is not None:
            self.distill = from_dict(Distillation, 'ReViT: distill', distill)
        self.assigner = None
        if assigner is not None:
            known_keys('ReViT: assigner', assigner, Assigner.ARGUMENTS)
            self.assigner = Assigner(strides, model.data_preprocessor, **assigner)
        self.test_cfg = known_keys('ReViT: test_cfg', test_cfg, ['token_stride'])
        if self.test_cfg.get('token_stride') is not None:
            self._checked(self.test_cfg['token_stride'])
        self.register_load_state_dict_pre_hook(_fit_state_dict)

    @property
    def backbone(self) -> AsViT:
        """The AsViT in the model."""
        return self.model.get_submodule(self._backbone)

    def init_weights(self) -> None:
        """Initialise the model; an assigner has come with its weights."""
        self.model.init_weights()

    def plain_state_dict(self, token_stride: int) -> Dict[str, Tensor]:
        """State dict of the plain model that computes what this one does at a stride.

        Raises:
            InputError: If there are no norms for that stride.
        """
        prefix = f'{self._backbone}.'
        plain = {key: value for key, value in self.model.state_dict().items()
                 if not key.startswith(prefix)}
        norms = self.backbone.plain_state_dict(token_stride)
        return {**plain, **{prefix + key: value for key, value in norms.items()}}

    def get_layer_depth(self, param_name: str) -> Tuple[int, int]:
        """Depth of a parameter, for layer-wise learning rate decay."""
        return self.backbone.get_layer_depth(param_name, f'model.{self._backbone}.')

    def forward(self, inputs: Tensor, data_samples: Optional[list] = None,
                mode: str = 'tensor',
                token_stride: Union[None, int, Sequence[int]] = None):
        """As the model's own, at one or several strides.

        Args:
            inputs: Images ``(N, 3, H, W)`` from the data preprocessor.
            data_samples: Their data samples.
            mode: ``'loss'``, ``'predict'`` or ``'tensor'``.
            token_stride: For ``'predict'`` and ``'tensor'``: the stride. A prediction
                also takes one per image. Defaults to that of ``test_cfg``; without one,
                a prediction asks the assigner, if there is one, and else the finest
                stride is taken.

        Returns:
            A dict of all strides' losses, a list of data samples with ``token_stride``
            in their metainfo, or what the model returns.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples, token_stride)
        if token_stride is None:
            token_stride = self.test_cfg.get('token_stride') or self.token_strides[-1]
        with self.at_stride(token_stride):
            return self.model(inputs, data_samples, mode=mode)

    def loss(self, inputs: Tensor, data_samples: list) -> Dict[str, Tensor]:
        """Losses at the finest stride and, after it, at the others of this step.

        Returns:
            All of them, ``s4.loss_cls`` and so on. Coarser strides' task losses count
            ``1 - weight`` of ``distill``, and ``s8.loss_distill`` the rest.
        """
        target, losses = None, {}
        for stride in self._strides_of_step():
            with self.at_stride(stride), self._watched() as seen:
                found = self.model(inputs, data_samples, mode='loss')
            if self.distill and target is None:
                target = self.distill.detached(seen())
            elif self.distill:
                found = self.distill.mixed(found, seen(), target)
            losses.update({f's{stride}.{name}': value for name, value in found.items()})
        return losses

    def predict(self, inputs: Tensor, data_samples: Optional[list] = None,
                token_stride: Union[None, int, Sequence[int]] = None) -> list:
        """Predict every image once, at its stride; see :meth:`forward`."""
        strides = self.choose_strides(inputs, data_samples, token_stride)
        results = [None] * len(strides)
        for stride in sorted(set(strides), reverse=True):
            places = [i for i, own in enumerate(strides) if own == stride]
            whole = len(places) == len(strides)
            images = inputs if whole else inputs[places]
            samples = data_samples and [data_samples[i] for i in places]
            with self.at_stride(stride):
                found = self.model(images, samples, mode='predict')
            for i, sample in zip(places, found):
                sample.set_metainfo(dict(token_stride=stride))
                results[i] = sample
        return results

    def choose_strides(self, inputs: Tensor, data_samples: Optional[list] = None,
                       token_stride: Union[None, int, Sequence[int]] = None) -> List[int]:
        """The stride that each image would be predicted at; see :meth:`forward`."""
        if token_stride is None:
            token_stride = self.test_cfg.get('token_stride')
        if token_stride is None and self.assigner is not None:
            return self.assigner.choose(inputs, data_samples)
        if token_stride is None or isinstance(token_stride, int):
            token_stride = [token_stride or self.token_strides[-1]] * len(inputs)
        if len(token_stride) != len(inputs):
            raise InputError(f'ReViT: {len(token_stride)} token strides for '
                             f'{len(inputs)} images')
        return [self._checked(stride) for stride in token_stride]

    @contextmanager
    def at_stride(self, stride: int) -> Iterator[None]:
        """Within it the model computes at a stride; afterwards at the finest again.

        A backward pass may follow later: blocks that are computed again carry theirs.
        """
        self.backbone.set_token_stride(self._checked(stride))
        try:
            yield
        finally:
            self.backbone.set_token_stride(self.token_strides[-1])

    def _checked(self, stride: int) -> int:
        if stride not in self.token_strides:
            raise InputError(f'ReViT: token stride must be one of '
                             f'{", ".join(map(str, self.token_strides))}, got {stride!r}')
        return int(stride)

    def _strides_of_step(self) -> List[int]:
        """The finest first, then those drawn, the same in every process."""
        *coarser, finest = self.token_strides
        if self.strides_per_step != 'all':
            iteration = MessageHub.get_current_instance().get_info('iter', 0)
            order = torch.randperm(len(coarser), generator=generator(
                Purpose.TOKEN_STRIDES, self.seed, iteration))
            coarser = [coarser[i] for i in order[:self.strides_per_step]]
        return [finest, *sorted(coarser)]

    @contextmanager
    def _watched(self) -> Iterator[Callable[[], Union[Tensor, Tuple[Tensor, ...]]]]:
        """Watch what is distilled: a classifier's logits, a detector's maps."""
        outputs = []
        handle = _distilled_part(self.model, self.backbone).register_forward_hook(
            lambda module, args, output: outputs.append(output))
        try:
            yield lambda: outputs[0]
        finally:
            handle.remove()


def _distilled_part(model: nn.Module, backbone: AsViT) -> nn.Module:
    """What a stride has in common with the finest one, whatever the task."""
    head = getattr(model, 'head', None)  # of a classifier; detectors' have other names
    if isinstance(head, nn.Module):
        return head
    neck = getattr(model, 'neck', None)
    return neck if isinstance(neck, nn.Module) else backbone


def _for_strides(cfg: dict, strides: Tuple[int, ...], data_preprocessor: Optional[dict]
                 ) -> dict:
    """A copy of a model's config, its AsViT with norms for each stride."""
    def changed(part):
        if isinstance(part, (list, tuple)):
            return type(part)(map(changed, part))
        if not isinstance(part, dict):
            return part
        copy = type(part)({key: changed(value) for key, value in part.items()})
        kind = part.get('type')
        if kind is AsViT or str(kind).split('.')[-1] == 'AsViT':
            copy['token_strides'] = strides
        return copy

    cfg = changed(cfg)
    if data_preprocessor is not None and cfg.get('data_preprocessor') is None:
        cfg['data_preprocessor'] = data_preprocessor
    return cfg


def _find_backbone(model: nn.Module) -> Tuple[str, AsViT]:
    found = [(name, part) for name, part in model.named_modules()
             if isinstance(part, AsViT)]
    if len(found) != 1:
        raise InputError(f'ReViT: the model must have one AsViT, '
                         f'{type(model).__name__} has {len(found) or "none"}')
    return found[0]


def _fit_state_dict(revit: ReViT, state_dict: Dict[str, Tensor], prefix: str,
                    *unused) -> None:
    """Pre-hook of ``load_state_dict``: a plain model's names fit too.

    An assigner that has come with its weights keeps them where there are no others.
    """
    inside = [key for key in state_dict if key.startswith(prefix)]
    if inside and not any(key.startswith(f'{prefix}model.') for key in inside):
        for key in inside:
            state_dict[f'{prefix}model.{key[len(prefix):]}'] = state_dict.pop(key)
    if revit.assigner is not None and revit.assigner.trained and not any(
            key.startswith(f'{prefix}assigner.') for key in state_dict):
        state_dict.update({f'{prefix}assigner.{key}': value for key, value
                           in revit.assigner.state_dict().items()})
