"""The assigner: a light classifier that chooses an image's token stride."""
from typing import List, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmasvit.arguments import number, whole_number
from mmasvit.engine.checkpoints import check_fit, read
from mmasvit.engine.launch import load_config
from mmasvit.errors import InputError

IMG_SIZE = 64


class Assigner(nn.Module):
    """Chooses a stride for each image from the image made small.

    It sees what the model that it serves sees: the same normalisation, without padding.
    It does not train here, but as a classifier of its own.

    Args:
        token_strides: What to choose from; the classes in this order.
        data_preprocessor: Of the model that it serves.
        config: Config file that it was trained with, as
            ``tools/label_token_lengths.py`` writes it: its ``model`` and ``img_size``.
        model: In place of ``config``: the classifier of mmpretrain, with a class per
            stride.
        checkpoint: Its weights. Defaults to none: they must come with the checkpoint of
            the whole.
        img_size: Side in pixels that images are shrunk to. Defaults to what ``config``
            says, or else 64.
        bias: Added to the log probability of each stride before the likeliest is taken;
            it moves the mean cost. Defaults to zeros.

    Raises:
        InputError: If the classifier has another number of classes, another
            normalisation, or its checkpoint does not fit.
    """
    ARGUMENTS = ('config', 'model', 'checkpoint', 'img_size', 'bias')

    def __init__(self, token_strides: Sequence[int], data_preprocessor: nn.Module,
                 config: Optional[str] = None, model: Optional[dict] = None,
                 checkpoint: Optional[str] = None, img_size: Optional[int] = None,
                 bias: Optional[Sequence[float]] = None):
        super().__init__()
        if (config is None) == (model is None):
            raise InputError('assigner: give either config or model')
        if config is not None:
            model, trained_size = _read_config(config)
            img_size = img_size or trained_size
        self.token_strides = tuple(token_strides)
        # its parts are mmpretrain's, whatever the scope of the model that it serves
        self.model = MODELS.build({'_scope_': 'mmpretrain', **model})
        classes = getattr(getattr(self.model, 'head', None), 'num_classes', None)
        if classes != len(self.token_strides):
            raise InputError(f'assigner: the classifier has {classes} classes, there are '
                             f'{len(self.token_strides)} token strides')
        own, theirs = map(_normalisation, (self.model.data_preprocessor,
                                           data_preprocessor))
        if own != theirs:
            raise InputError(f'assigner: it normalises images by {own}, the model by '
                             f'{theirs}')
        self.img_size = whole_number('assigner: img_size', img_size or IMG_SIZE, 1)
        self.set_bias(bias or [0.] * len(self.token_strides))
        self.trained = checkpoint is not None
        if self.trained:
            check_fit(self.model, read(checkpoint), checkpoint)
        self.requires_grad_(False)
        self.train()

    def set_bias(self, bias: Sequence[float]) -> None:
        """Move the choice from now on; see the class.

        Raises:
            InputError: If it is not one finite number per stride.
        """
        if len(bias) != len(self.token_strides):
            raise InputError(f'assigner: bias must be one number per token stride, got '
                             f'{bias!r}')
        self.bias = tuple(float(number('assigner: bias', one)) for one in bias)

    def train(self, mode: bool = True) -> 'Assigner':
        """Stay in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def log_probabilities(self, inputs: Tensor, data_samples: Optional[list] = None
                          ) -> Tensor:
        """Log probability of each stride, ``(N, strides)``.

        Args:
            inputs: Images ``(N, 3, H, W)`` as the model gets them.
            data_samples: Where padding was added, ``img_shape`` tells the image's size.
        """
        small = []
        for i, image in enumerate(inputs):
            sample = data_samples[i] if data_samples else None
            height, width = getattr(sample, 'img_shape', image.shape[-2:])[:2]
            small.append(F.interpolate(image[None, :, :height, :width],
                                       size=(self.img_size, ) * 2, mode='area'))
        return F.log_softmax(self.model(torch.cat(small), mode='tensor').float(), dim=1)

    def choose(self, inputs: Tensor, data_samples: Optional[list] = None) -> List[int]:
        """The stride of each image; arguments as in :meth:`log_probabilities`."""
        scores = self.log_probabilities(inputs, data_samples)
        best = (scores + scores.new_tensor(self.bias)).argmax(1)
        return [self.token_strides[i] for i in best.tolist()]


def _read_config(path: str) -> Tuple[dict, Optional[int]]:
    """Model and size of images of an assigner's own config."""
    cfg = load_config(path)
    if not isinstance(cfg.get('model'), dict):
        raise InputError(f'assigner: config {path} has no model')
    return cfg.model, cfg.get('img_size')


def _normalisation(preprocessor: nn.Module) -> Tuple[object, ...]:
    """Means, deviations and whether channels are swapped."""
    values = [getattr(preprocessor, name).flatten().tolist()
              if isinstance(getattr(preprocessor, name, None), Tensor) else None
              for name in ('mean', 'std')]
    swap = getattr(preprocessor, '_channel_conversion',
                   getattr(preprocessor, 'to_rgb', False))
    return (*values, bool(swap))
