"""The indicator of BN-NAS (Chen et al., ICCV 2021)."""
from mmasvit.complexity.measures.registry import PATH_MEASURES, measure
from mmasvit.complexity.supernet_path import SupernetPath


@measure(higher_is_better=True, drawn=False, registry=PATH_MEASURES)
def bn_gamma(path: SupernetPath) -> float:
    """Sum over the layers of mean ``|gamma|`` of the last BatchNorm; an identity has 0.

    Nothing is computed but this sum: neither data nor a pass through the network.
    """
    return sum(path.gammas)
