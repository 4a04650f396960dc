"""DVT: a cascade of classifiers on growing numbers of tokens."""
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import torch
from mmengine.model import BaseModel, BaseModule, ModuleList
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmasvit.adaptive.reuse import Reuse, ReusingAsViT, Upstream
from mmasvit.adaptive.thresholds import ALWAYS, NEVER
from mmasvit.arguments import from_dict, known_keys, number
from mmasvit.errors import InputError
from mmasvit.models.as_vit import AsViT
from mmasvit.models.checks import check_token_strides


class DVT(BaseModel):
    """Exits at coarse, then at finer tokens; an image leaves where one is sure of it.

    "Not All Images are Worth 16x16 Words" on As-ViT: every exit is a classifier at its
    token stride, and from the second on it reuses features and attention of the one
    before (:class:`~mmasvit.adaptive.reuse.Reuse`). Training sums the losses of all
    exits. In prediction an image leaves at the first exit whose largest probability
    reaches that exit's threshold, and later exits do not compute it; the last one answers
    whatever is left. The thresholds are a buffer, ``exit_thresholds``, of every
    checkpoint: ``tools/calibrate_exits.py`` sets them. Until then no image leaves early.

    It stands where an ``ImageClassifier`` of mmpretrain stands, under the same loops,
    hooks and evaluators.

    Args:
        exits: Two or three ``dict(token_stride=..., loss_weight=1.)``, the coarsest
            tokens first.
        backbone: Config of an :class:`~mmasvit.AsViT`.
        head: Config of each exit's head.
        neck: Config of each exit's neck. Defaults to none.
        reuse: Arguments of :class:`~mmasvit.adaptive.reuse.Reuse`; None for no reuse.
            Defaults to its own defaults.
        share_weights: Whether all exits are one network, whose norms alone each stride
            has for itself, beside the modules of reuse. Defaults to False.
        train_cfg: ``augments`` of batches, as in ``ImageClassifier``.
        test_cfg: ``dict(thresholds=...)``, one per exit, instead of the buffer, or
            ``dict(token_stride=...)``: every image goes as far as that exit and leaves
            there.
        data_preprocessor: As in ``ImageClassifier``.

    Raises:
        InputError: If an argument is none of the above.
    """
    assigner = None  # unlike a ReViT it needs none

    def __init__(self, exits: Sequence[dict], backbone: dict, head: dict,
                 neck: Optional[dict] = None, reuse: Optional[dict] = dict(),
                 share_weights: bool = False, train_cfg: Optional[dict] = None,
                 test_cfg: Optional[dict] = None,
                 data_preprocessor: Optional[dict] = None):
        strides, self.loss_weights = _check_exits(exits)
        super().__init__({'_scope_': 'mmpretrain', 'type': 'ClsDataPreprocessor',
                          'batch_augments': train_cfg, **(data_preprocessor or {})})
        self.token_strides = strides
        self.reuse = (Reuse(feature_source=None, relations=False) if reuse is None
                      else from_dict(Reuse, 'DVT: reuse', reuse))
        self.share_weights = share_weights
        self.networks = ModuleList(
            _Network(backbone, neck, head, own, self.reuse,
                     [stride for stride in own if stride != strides[0]])
            for own in ([strides] if share_weights else zip(strides)))
        self.register_buffer('exit_thresholds',
                             torch.tensor([NEVER] * (len(strides) - 1) + [ALWAYS]))
        self.test_cfg = known_keys('DVT: test_cfg', test_cfg,
                                   ['token_stride', 'thresholds'])
        self._fixed(None)  # refused here and not at the first prediction
        if self.test_cfg.get('thresholds') is not None:
            self._checked(self.test_cfg['thresholds'])

    def set_thresholds(self, thresholds: Sequence[float]) -> None:
        """Set the confidence from which images leave at each exit, in the buffer.

        Args:
            thresholds: One per exit, as :func:`solve_thresholds` gives them; the last
                exit answers whatever its own is.

        Raises:
            InputError: If it is not one number per exit.
        """
        self.exit_thresholds.copy_(torch.tensor(self._checked(thresholds)))

    @property
    def thresholds(self) -> List[float]:
        """Those in use: of ``test_cfg``, or else of the buffer."""
        given = self.test_cfg.get('thresholds')
        return self.exit_thresholds.tolist() if given is None else self._checked(given)

    def get_layer_depth(self, param_name: str) -> Tuple[int, int]:
        """Depth of a parameter, for layer-wise learning rate decay."""
        place = int(param_name.split('.')[1])
        return self.networks[place].backbone.get_layer_depth(
            param_name, f'networks.{place}.backbone.')

    def forward(self, inputs: Tensor, data_samples: Optional[list] = None,
                mode: str = 'tensor', token_stride: Optional[int] = None):
        """As an ``ImageClassifier``'s.

        Args:
            inputs: Images ``(N, 3, H, W)`` from the data preprocessor.
            data_samples: Their data samples.
            mode: ``'loss'``, ``'predict'`` or ``'tensor'``.
            token_stride: For ``'predict'`` and ``'tensor'``: of the exit that all images
                go to, and no further. Defaults to that of ``test_cfg``; without one,
                images are predicted where they leave, and ``'tensor'`` is of the last.

        Returns:
            A dict of all exits' losses, a list of data samples with ``token_stride`` and
            ``exit`` (0 for the first) in their metainfo, or an exit's logits.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples, token_stride)
        *_, (network, features) = self._run(inputs, self._fixed(token_stride))
        return network.head(features)

    def loss(self, inputs: Tensor, data_samples: list) -> Dict[str, Tensor]:
        """Losses of all exits, ``s16.loss`` and so on, each times its weight."""
        losses = {}
        exits = self._run(inputs)
        for stride, weight, (network, features) in zip(
                self.token_strides, self.loss_weights, exits):
            for name, value in network.head.loss(features, data_samples).items():
                # which mmengine sums; anything else is only logged
                losses[f's{stride}.{name}'] = value * weight if 'loss' in name else value
        return losses

    def predict(self, inputs: Tensor, data_samples: Optional[list] = None,
                token_stride: Optional[int] = None) -> list:
        """Predict each image at its exit; see :meth:`forward`."""
        fixed = self._fixed(token_stride)
        thresholds = self.thresholds if fixed is None else [NEVER] * fixed + [ALWAYS]
        results: list = [None] * len(inputs)
        left, upstream = list(range(len(inputs))), None
        for place, threshold in enumerate(thresholds):
            features, upstream = self._step(place, inputs, upstream,
                                            place < len(thresholds) - 1)
            found = self._network(place).head.predict(
                features, data_samples and [data_samples[i] for i in left])
            for i, sample in zip(left, found):
                sample.set_metainfo(dict(token_stride=self.token_strides[place],
                                         exit=place))
                results[i] = sample
            sure = torch.stack([sample.pred_score.max() for sample in found])
            stay = (sure < threshold).nonzero().flatten().tolist()
            if not stay:
                break
            if len(stay) < len(left):
                inputs, upstream = inputs[stay], upstream.of(stay)
                left = [left[i] for i in stay]
        return results

    def _run(self, inputs: Tensor, last: Optional[int] = None
             ) -> Iterator[Tuple['_Network', Tuple[Tensor, ...]]]:
        """Each exit's network up to one, and what its head gets of all images."""
        upstream, last = None, len(self.token_strides) - 1 if last is None else last
        for place in range(last + 1):
            features, upstream = self._step(place, inputs, upstream, place < last)
            yield self._network(place), features

    def _step(self, place: int, inputs: Tensor, upstream: Optional[Upstream],
              export: bool) -> Tuple[Tuple[Tensor, ...], Upstream]:
        return self._network(place)(inputs, self.token_strides[place], upstream, export)

    def _network(self, place: int) -> '_Network':
        return self.networks[0 if self.share_weights else place]

    def _fixed(self, token_stride: Optional[int]) -> Optional[int]:
        """Place of the exit that all images go to; None where each has its own."""
        stride = token_stride or self.test_cfg.get('token_stride')
        if stride is None:
            return None
        if stride not in self.token_strides:
            raise InputError(f'DVT: token stride must be one of '
                             f'{", ".join(map(str, self.token_strides))}, got {stride!r}')
        return self.token_strides.index(stride)

    def _checked(self, thresholds: Sequence[float]) -> List[float]:
        exits = len(self.token_strides)
        given = thresholds.tolist() if hasattr(thresholds, 'tolist') else thresholds
        if not isinstance(given, (list, tuple)) or len(given) != exits:
            raise InputError(f'DVT: thresholds must be one number for each of the '
                             f'{exits} exits, got {given!r}')
        return [*(float(number('DVT: thresholds', one)) for one in given[:-1]), ALWAYS]


class _Network(BaseModule):
    """A classifier of one exit, or of all that share their weights.

    Args:
        backbone: Config of an As-ViT.
        neck: Config of the neck, or None.
        head: Config of the head.
        token_strides: Strides with norms of their own.
        reuse: What is reused.
        reused_at: At which of the strides.
    """

    def __init__(self, backbone: dict, neck: Optional[dict], head: dict,
                 token_strides: Sequence[int], reuse: Reuse, reused_at: Sequence[int]):
        super().__init__()
        backbone = dict(backbone)
        kind = backbone.pop('type', None)
        if kind is not AsViT and str(kind).split('.')[-1] != 'AsViT':
            raise InputError(f"DVT: the backbone must be of type 'AsViT', is {kind!r}")
        backbone['token_strides'] = token_strides
        self.backbone = ReusingAsViT(reuse, reused_at, **backbone)
        self.neck = None if neck is None else _built(neck)
        self.head = _built(head)

    def forward(self, inputs: Tensor, token_stride: int, upstream: Optional[Upstream],
                export: bool) -> Tuple[Tuple[Tensor, ...], Upstream]:
        """What the head gets, and what is left for the next exit."""
        maps, left = self.backbone(inputs, token_stride, upstream, export)
        return maps if self.neck is None else self.neck(maps), left


def _built(cfg: dict) -> nn.Module:
    # mmpretrain's, whatever the default scope
    return MODELS.build({'_scope_': 'mmpretrain', **cfg})


def _check_exits(exits: Sequence[dict]) -> Tuple[Tuple[int, ...], Tuple[float, ...]]:
    """Token strides and weights of the losses."""
    if not isinstance(exits, (list, tuple)) or len(exits) < 2:
        raise InputError(f'DVT: exits must be two or three dicts, got {exits!r}')
    exits = [known_keys('DVT: exits', one, ['token_stride', 'loss_weight'],
                        ['token_stride']) for one in exits]
    given = tuple(one['token_stride'] for one in exits)
    strides = check_token_strides(given)
    if strides != given:
        raise InputError(f'DVT: exits must go from coarse tokens to fine, got token '
                         f'strides {given}')
    weights = tuple(float(number('DVT: loss_weight', one.get('loss_weight', 1.)))
                    for one in exits)
    return strides, weights
