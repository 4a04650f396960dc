"""All As-ViTs of Table 1 in one network."""
from functools import partial
from typing import Dict, Optional, Sequence, Tuple, Union

import torch
from mmengine.model import ModuleDict
from torch import Tensor, nn

from mmasvit.arguments import whole_number
from mmasvit.errors import InputError
from mmasvit.geometry import NUM_STAGES, PRETRAIN_IMG_SIZE, TOKEN_STRIDE
from mmasvit.models.as_vit import AsViT
from mmasvit.supernets.supernet import Scope, Supernet
from mmasvit.topology import Topology

# Of narrow linear layers that stay as they start, 0.02 would leave GELU all but linear
# and attention all but even.
INIT_CFG = dict(type='Xavier', layer='Linear', distribution='uniform')


class AsViTSupernet(Supernet):
    """As-ViTs of a space in one backbone, with a BatchNorm for every candidate.

    The weights are those of one As-ViT with the largest value of every choice. A smaller
    candidate uses a part of them: the pixels or tokens in the middle of a kernel that its
    own kernel covers, and the first hidden units. Splits and heads have no weights.

    As-ViT has LayerNorms only; they stay, frozen. What trains is a BatchNorm at the
    output of every candidate, before the residual: of the tokenizer (layer ``K1``, a
    candidate per kernel), the re-embeddings (``K2`` to ``K4``), the attentions (``attn1``
    to ``attn4``, a candidate for each pair of splits and heads, since two BatchNorms in a
    row would leave the first gamma without effect), and the FFNs (``E1`` to ``E4``).
    Candidates of a layer have the same number of trainable numbers. After a search the
    BatchNorms are dropped and a plain As-ViT is trained.

    Args:
        space: Choices; see :class:`~mmasvit.search.space.Space`. Defaults to Table 1.
        bn_scope: ``'all'``, a list of layers, or None to train all weights; see
            :class:`Supernet`. ``'last'`` is the same as ``'all'`` here. Defaults to
            ``'all'``.
        seed: Which paths are drawn. Defaults to 0.
        out_indices: As of :class:`~mmasvit.AsViT`. Defaults to ``(3, )``.
        pretrain_img_size: Side in pixels of the images that the splits refer to. Defaults
            to 224.
        use_abs_pos_embed: Whether positions are embedded, frozen like the rest. Defaults
            to False.
        init_cfg: Initialisation. Defaults to Xavier's of linear layers.

    Attributes:
        shared: The As-ViT that holds the weights; its own output means nothing.
        out_channels: Channels of each output.

    Raises:
        InputError: If an argument is none of the above.
    """

    def __init__(self, space: Optional[Dict[str, Sequence[int]]] = None,
                 bn_scope: Scope = 'all', seed: int = 0,
                 out_indices: Sequence[int] = (3, ),
                 pretrain_img_size: int = PRETRAIN_IMG_SIZE,
                 use_abs_pos_embed: bool = False,
                 init_cfg: Optional[Union[dict, Sequence[dict]]] = None):
        super().__init__(Topology, space, bn_scope, seed)
        whole_number('AsViTSupernet: pretrain_img_size', pretrain_img_size, TOKEN_STRIDE)
        largest = Topology.of_values({name: max(values) for name, values
                                      in self.space.choices.items()})
        for heads in self.space.choices['heads']:
            if largest.embed_dims * 8 % heads:
                raise InputError(f'AsViTSupernet: heads={heads} leave channels of '
                                 f'attention unused at C = {largest.embed_dims}, and '
                                 'would have fewer weights than other candidates')
        self._options = dict(out_indices=out_indices, output_norm=True,
                             pretrain_img_size=pretrain_img_size,
                             use_abs_pos_embed=use_abs_pos_embed)
        self.shared = AsViT(largest, init_cfg=init_cfg or INIT_CFG, **self._options)
        self.out_channels = self.shared.out_channels
        self.norms = ModuleDict()
        for layer, (width, candidates) in self._layers().items():
            self.norms[layer] = ModuleDict({
                candidate: nn.BatchNorm1d(width) for candidate in candidates})
        self._freeze()

    def _layers(self) -> Dict[str, Tuple[int, Sequence[str]]]:
        """Width and candidates of every layer that is built."""
        values, layers = {**self.space.choices, 'S4': (1, )}, {}
        for i in range(len(self.shared.stages)):
            width, number = self.shared.topology.widths[i], i + 1
            layers[f'K{number}'] = width, [*map(str, values[f'K{number}'])]
            layers[f'attn{number}'] = width, [
                f'{splits}x{heads}' for splits in values[f'S{number}']
                for heads in values['heads']]
            layers[f'E{number}'] = width, [*map(str, values[f'E{number}'])]
        return layers

    def candidates(self) -> Dict[str, Dict[str, Tuple[nn.Module, ...]]]:
        """The norm of every candidate of every layer."""
        return {layer: {candidate: (norm, ) for candidate, norm in norms.items()}
                for layer, norms in self.norms.items()}

    def candidates_of(self, topology: Topology) -> Dict[str, str]:
        """The candidate of each layer that a path takes."""
        found = {}
        for i in range(NUM_STAGES):
            found[f'K{i + 1}'] = str(topology.kernels[i])
            found[f'attn{i + 1}'] = f'{topology.splits[i]}x{topology.num_heads}'
            found[f'E{i + 1}'] = str(topology.expansions[i])
        return {layer: found[layer] for layer in self.norms}

    def plain_state_dict(self, topology: Topology) -> Dict[str, Tensor]:
        """The weights of a path, views, under the names of a plain As-ViT."""
        self.check(topology)
        largest, weights = self.shared.topology, {}
        for name, weight in self.shared.named_parameters():
            parts = name.split('.')
            if parts[0] == 'patch_embed' and weight.ndim == 4:
                weight = _centre(weight, topology.kernels[0], TOKEN_STRIDE)
            elif 'downsample' in parts:
                stage = int(parts[1])
                edge = largest.kernels[stage]
                weight = weight.unflatten(-1, (-1, edge, edge))
                weight = _centre(weight, topology.kernels[stage], 2).flatten(-3)
            elif 'ffn' in parts:
                stage = int(parts[1])
                hidden = topology.expansions[stage] * topology.widths[stage]
                if '.layers.0.0.' in name:
                    weight = weight[:hidden]
                elif weight.ndim == 2:
                    weight = weight[:, :hidden]
            weights[name] = weight
        return weights

    def forward_path(self, x: Tensor, topology: Topology) -> Tuple[Tensor, ...]:
        """Images to the maps of a path: of a plain As-ViT with BatchNorms in it."""
        network = self._plain(topology)
        norms = {layer: norms[-1] for layer, norms in self.norms_of(topology).items()}
        places = {'K1': network.patch_embed}
        for number, stage in enumerate(network.stages, 1):
            if stage.downsample is not None:
                places[f'K{number}'] = stage.downsample
            places[f'attn{number}'] = stage.blocks[0].attn
            places[f'E{number}'] = stage.blocks[0].ffn
        for layer, place in places.items():
            place.register_forward_hook(partial(_normalise, norms[layer]))
        return network(x)

    def _plain(self, topology: Topology) -> AsViT:
        """An As-ViT of a path whose weights are the shared ones, not copies.

        It is made anew for every pass: what the backward pass computes again still finds
        the weights of its own path.
        """
        with torch.device('meta'):
            network = AsViT(topology, **self._options).train(self.training)
        for name, weight in self.plain_state_dict(topology).items():
            owner, _, own_name = name.rpartition('.')
            module = network.get_submodule(owner)
            del module._parameters[own_name]
            setattr(module, own_name, weight)
        return network


def _centre(weight: Tensor, edge: int, stride: int) -> Tensor:
    """The part of kernels ``(..., K, K)`` that one of a smaller edge covers.

    Both are laid as 'same' padding lays them, so each weight keeps its pixel.
    """
    start = max(weight.shape[-1] - stride, 0) // 2 - max(edge - stride, 0) // 2
    return weight[..., start:start + edge, start:start + edge]


def _normalise(norm: nn.Module, place: nn.Module, inputs, output: Tensor) -> Tensor:
    """Forward hook: BatchNorm over the tokens ``(N, ..., C)`` of all images."""
    return norm(output.flatten(0, -2)).view_as(output)
