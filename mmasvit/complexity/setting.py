"""How the measures are taken: the released code's way and the paper's."""
from dataclasses import asdict, dataclass
from typing import Dict, Optional

from mmasvit.arguments import one_of, whole_number
from mmasvit.geometry import PRETRAIN_IMG_SIZE


@dataclass(frozen=True)
class Protocol:
    """Where the released code and the text of the paper differ.

    Attributes:
        name: ``'released'`` or ``'paper'``.
        radius_is_sqrt_n: Whether the circle's radius is the square root of the input's
            dimension N, or 1.
        closed_sum: Whether the length measures are plain sums over angles from 0 to
            2 pi with both ends, or integrals.
        identity_norms: Whether the length measures leave every LayerNorm out. The
            condition number keeps them.
        shared_tokenizer: Whether all repeats share the tokenizer's initialisation.
        reward_window: Steps whose measures scale the reward of the search; None for all
            (algorithm 1).
        scaling_width: Fraction of the real width that scaling measures at.
    """
    name: str
    radius_is_sqrt_n: bool
    closed_sum: bool
    identity_norms: bool
    shared_tokenizer: bool
    reward_window: Optional[int]
    scaling_width: float


FEATURES = ('last', 'pyramid')
# runs of versions that knew nothing else go on
_UNSAID = (('features', 'last'), ('pretrain_img_size', None))
PROTOCOLS: Dict[str, Protocol] = {protocol.name: protocol for protocol in (
    Protocol('released', radius_is_sqrt_n=False, closed_sum=True, identity_norms=True,
             shared_tokenizer=True, reward_window=20, scaling_width=0.25),
    Protocol('paper', radius_is_sqrt_n=True, closed_sum=False, identity_norms=False,
             shared_tokenizer=False, reward_window=None, scaling_width=1.),
)}


@dataclass(frozen=True)
class Setting:
    """What is held fixed while topologies are compared.

    Args:
        protocol: ``'released'`` or ``'paper'``. Defaults to ``'released'``.
        image_size: Side of the images in pixels; a stage with S splits has S x S
            windows at this size, unless ``pretrain_img_size`` is another. Defaults to
            224.
        repeats: Initialisations per topology, each with a circle of its own. Defaults
            to 5.
        num_angles: Angles on the circle. Defaults to 10.
        num_images: Images of the Gram matrix; the same for all topologies. Defaults to
            16.
        seed: Seed of initialisations, circles and images. Defaults to 0.
        features: What the measures look at: the pooled map of the ``'last'`` stage, as in
            the paper, or of all four stages, put together (``'pyramid'``), as a
            detector's neck reads them. Defaults to ``'last'``.
        pretrain_img_size: Side in pixels that the splits refer to. Defaults to
            ``image_size`` for the last stage, and to 224 for the pyramid: larger images
            have more windows, as a detector has.

    Raises:
        InputError: If a number is too small or absurdly large, or protocol or features
            unknown.
    """
    protocol: str = 'released'
    image_size: int = 224
    repeats: int = 5
    num_angles: int = 10
    num_images: int = 16
    seed: int = 0
    features: str = 'last'
    pretrain_img_size: Optional[int] = None

    def __post_init__(self):
        one_of('protocol', self.protocol, PROTOCOLS)
        one_of('features', self.features, FEATURES)
        if self.pretrain_img_size is not None:
            whole_number('pretrain_img_size', self.pretrain_img_size, 32, 8192)
        # the last of a closed protocol's angles is the first again
        smallest = dict(image_size=32, repeats=1, num_images=2, seed=0,
                        num_angles=3 if self.rules.closed_sum else 2)
        largest = dict(image_size=8192, repeats=10**5, num_images=10**5, num_angles=10**5,
                       seed=2**63 - 1)
        for name, least in smallest.items():
            whole_number(name, getattr(self, name), least, largest[name])

    @property
    def rules(self) -> Protocol:
        """The protocol's rules."""
        return PROTOCOLS[self.protocol]

    @property
    def window_img_size(self) -> int:
        """Side in pixels that the splits refer to."""
        default = PRETRAIN_IMG_SIZE if self.features == 'pyramid' else self.image_size
        return self.pretrain_img_size or default

    def to_dict(self) -> dict:
        """What a config would give; the paper's way with features is not mentioned."""
        return {name: value for name, value in asdict(self).items()
                if (name, value) not in _UNSAID}

    @property
    def radius(self) -> float:
        """Radius of the circle."""
        return (3 * self.image_size**2)**0.5 if self.rules.radius_is_sqrt_n else 1.
