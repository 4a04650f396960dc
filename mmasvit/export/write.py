"""The file, and whether it computes what the model computes."""
import time
import warnings
from typing import Callable, List, NamedTuple, Sequence, Tuple

import torch
from torch import Tensor, nn

LEAST_SIDE, MOST_SIDE = 64, 4096  # of images in a file for any size
OPSET = 18


class Comparison(NamedTuple):
    """A file beside the model on images of one size.

    Attributes:
        shape: Of the images.
        difference: Worst of all outputs, relative to the output's largest value.
        torch_ms: Milliseconds of the model.
        onnx_ms: Milliseconds of the file in onnxruntime.
    """
    shape: Tuple[int, ...]
    difference: float
    torch_ms: float
    onnx_ms: float


def write_onnx(part: nn.Module, size: Tuple[int, int], path: str, dynamic: bool = False,
               opset: int = OPSET) -> None:
    """Export a part of a model.

    Args:
        part: From :func:`~mmasvit.export.exportable`.
        size: Height and width of the images in pixels.
        path: The file.
        dynamic: Whether it is for any number of images of any size from ``LEAST_SIDE`` to
            ``MOST_SIDE``. Defaults to False: one image of ``size``.
        opset: ONNX's. Defaults to 18.
    """
    shapes, images = None, torch.rand(1, 3, *size)
    if dynamic:
        sides = dict(min=LEAST_SIDE, max=MOST_SIDE)
        shapes = {0: torch.export.Dim('n', min=1), 2: torch.export.Dim('h', **sides),
                  3: torch.export.Dim('w', **sides)}
        # of a batch of one, or of equal sides, torch would conclude that they always are
        images = torch.rand(2, 3, size[0], size[1] + 32)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('ignore')
        program = torch.onnx.export(
            part, (images, ), input_names=['images'], output_names=part.names,
            dynamic_shapes=dynamic and (shapes, ) or None, opset_version=opset,
            dynamo=True, verbose=False)
        program.save(path, external_data=False)


def compare(part: nn.Module, path: str, shapes: Sequence[Tuple[int, int, int]],
            repeats: int = 3) -> List[Comparison]:
    """Run a file and its model on the same images, and time both.

    Args:
        part: From :func:`~mmasvit.export.exportable`.
        path: The file.
        shapes: Number of images, height and width of each comparison.
        repeats: Of which the fastest is taken. Defaults to 3.
    """
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options,
                                           providers=['CPUExecutionProvider'])
    generator, found = torch.Generator().manual_seed(0), []
    for n, height, width in shapes:
        images = torch.randn(n, 3, height, width, generator=generator)
        feed = {'images': images.numpy()}
        with torch.no_grad():
            theirs, torch_ms = _timed(lambda: part(images), repeats)
        ours, onnx_ms = _timed(lambda: session.run(None, feed), repeats)
        ours = [torch.from_numpy(out) for out in ours]
        found.append(Comparison(tuple(images.shape), difference(part.names, ours, theirs),
                                torch_ms, onnx_ms))
    return found


def difference(names: Sequence[str], ours: Sequence[Tensor], theirs: Sequence[Tensor]
               ) -> float:
    """Worst difference of outputs, each relative to the largest value of its tensor.

    Detections come in the order of their scores, in which two that are equal but for
    rounding may change places: each is compared with the nearest of its label.
    """
    if 'labels' not in names:
        return max(_relative(own, other) for own, other in zip(ours, theirs))
    ours, theirs = (dict(zip(names, outs)) for outs in (ours, theirs))
    worst = 0.
    for i in range(len(theirs['labels'])):
        worst = max(worst, _of_detections({key: out[i] for key, out in ours.items()},
                                          {key: out[i] for key, out in theirs.items()}))
    return worst


def _of_detections(ours: dict, theirs: dict) -> float:
    own, other = ours['labels'] >= 0, theirs['labels'] >= 0
    if not other.any():
        return float(own.any())
    # boxes and scores on one scale, labels further apart than anything on it
    size = theirs['boxes'].abs().max()

    def key(found, valid):
        return torch.cat((found['boxes'][valid] / size, found['scores'][valid, None],
                          10. * found['labels'][valid, None]), dim=1)

    distance = torch.cdist(key(ours, own), key(theirs, other), p=float('inf'))
    if not own.any():
        return 1.
    there, nearest = distance.min(dim=1)
    worst = max(there.max().item(), distance.min(dim=0)[0].max().item())
    if 'masks' in theirs:
        masks = theirs['masks'][other][nearest]
        worst = max(worst, (ours['masks'][own] - masks).abs().max().item())
    return worst


def _relative(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-12)).item()


def _timed(run: Callable, repeats: int) -> Tuple[object, float]:
    result, times = run(), []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return result, 1e3 * min(times)
