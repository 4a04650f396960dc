"""What a backbone's time is made of.

The network is a detector's: As-ViT with position embedding and four normed outputs. Each
part depends on the width C, its stage and few choices of the genotype, at one size of
image and one rule of windows.
"""
from typing import Dict, Iterator, NamedTuple, Sequence, Tuple

from mmasvit.topology import NUM_STAGES, SEARCH_SPACE, Topology

# The choices that each kind of part depends on, beside width and stage.
OPTIONS: Dict[str, Tuple[str, ...]] = {
    'tokenizer': ('kernel', ),  # with norm and position embedding
    're_embedding': ('kernel', ),
    'windows': ('splits', ),  # into window order and back, once per stage
    'attention': ('splits', 'heads'),  # with norm and residual, once per block
    'ffn': ('expansion', ),  # the same
    'output': (),  # norm and change of layout
}


class Part(NamedTuple):
    """A piece of a backbone, at whatever width.

    Attributes:
        kind: A key of :data:`OPTIONS`.
        stage: From 1.
        option: Values of the choices named there; heads are the stage's own.
    """
    kind: str
    stage: int
    option: Tuple[int, ...]

    def __str__(self) -> str:
        words = [f'{name} {value}' for name, value
                 in zip(OPTIONS[self.kind], self.option)]
        return ' '.join((self.kind.replace('_', '-'), f'of stage {self.stage}',
                         *([f'with {", ".join(words)}'] if words else [])))


def parts_of(topology: Topology) -> Dict[Part, int]:
    """How often each part runs for one image."""
    parts = {Part('tokenizer', 1, topology.kernels[:1]): 1}
    for i in range(NUM_STAGES):
        stage, splits = i + 1, topology.splits[i]
        if i:
            parts[Part('re_embedding', stage, (topology.kernels[i], ))] = 1
        parts[Part('windows', stage, (splits, ))] = 1
        parts[Part('attention', stage, (splits, topology.heads[i]))] = topology.depths[i]
        parts[Part('ffn', stage, (topology.expansions[i], ))] = topology.depths[i]
        parts[Part('output', stage, ())] = 1
    return parts


def parts_of_space(choices: Dict[str, Sequence[int]] = SEARCH_SPACE) -> Iterator[Part]:
    """Every part that some topology of a space has, once.

    Args:
        choices: Values by the names of Table 1, which is the default.
    """
    yield from (Part('tokenizer', 1, (kernel, )) for kernel in choices['K1'])
    for stage in range(1, NUM_STAGES + 1):
        if stage > 1:
            yield from (Part('re_embedding', stage, (kernel, ))
                        for kernel in choices[f'K{stage}'])
        heads = [number * 2**(stage - 1) // 8 for number in choices['heads']]
        for splits in choices.get(f'S{stage}', (1, )):
            yield Part('windows', stage, (splits, ))
            yield from (Part('attention', stage, (splits, number)) for number in heads)
        yield from (Part('ffn', stage, (ratio, )) for ratio in choices[f'E{stage}'])
        yield Part('output', stage, ())
