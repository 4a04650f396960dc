"""Uncertainty from BatchNorms: our substitute, not the formula of BNNAS++."""
import torch

from mmasvit.complexity.measures.registry import PATH_MEASURES, measure
from mmasvit.complexity.supernet_path import SupernetPath, mutual_information

PREDICTIONS, IMAGES = 8, 64


@measure(higher_is_better=False, drawn=False, registry=PATH_MEASURES)
def bn_uncertainty(path: SupernetPath) -> float:
    """How much predictions under other mini-batches' statistics differ (Monte-Carlo BN).

    "Training BatchNorm Only in Neural Architecture Search and Beyond" names this term;
    its formula is not known here, and this one is ours: the mutual information in nats of
    8 predictions of the first 64 images, each under the statistics of an eighth of all.
    """
    predictions = []
    for batch in path.images.chunk(PREDICTIONS):
        with path.statistics_of(batch), torch.no_grad():
            predictions.append(path.logits(path.images[:IMAGES]))
    return mutual_information(torch.stack(predictions))
