"""Trainability from BatchNorms: our substitute, not the formula of BNNAS++."""
from mmasvit.complexity.measures.registry import PATH_MEASURES, measure
from mmasvit.complexity.ntk import bn_gram, condition_number
from mmasvit.complexity.supernet_path import SupernetPath

IMAGES = 16


@measure(higher_is_better=False, drawn=False, registry=PATH_MEASURES)
def bn_trainability(path: SupernetPath) -> float:
    """Condition number of the tangent kernel over the BatchNorms of the path alone.

    "Training BatchNorm Only in Neural Architecture Search and Beyond" names this term;
    its formula is not known here, and this one is ours. The kernel is that of the summed
    logits of 16 images over what was trained, under the images' own statistics.
    """
    images = path.images[:IMAGES]
    with path.statistics_of(images):
        return condition_number(bn_gram(path.trained_norms, path.logits, images)).item()
