"""What suits a set: sizes, schedule, rates. Pure functions; each says why in one line."""
import math
from typing import NamedTuple, Optional, Tuple

import numpy as np

from mmasvit.errors import InputError
from mmasvit.recipe.facts import DataFacts
from mmasvit.recipe.pace import Pace

# A detector sees objects well from its smallest anchors to half its input; the middle of
# the objects' sizes, the root of the 10th times the 90th percentile, goes to the middle.
LEAST_ENLARGED, MOST_ENLARGED = 1 / 16, 2.
LARGEST_ENLARGED = 2048  # pixels: images are not enlarged beyond
JITTER = (0.8, 0.9, 1.0, 1.12, 1.25)
ALIKE = 1.3  # sizes within this ratio count as one size
GROWS = 0.8  # power of the image's size that objects grow with: photographs have 1

# images seen in training, within so many passes over the set; and by any set at least
SEEN_FROM_SCRATCH, SEEN_FROM_WEIGHTS = 20_000, 10_000
PASSES = (12, 300)
LEAST_SEEN = 2000
SHORTEST_EPOCH = 50  # iterations: below, starting the epoch would be what takes time
VALIDATIONS = 10
VALIDATION_SHARE = 0.2  # of a given time, at most


class Sizing(NamedTuple):
    """How images are resized.

    Attributes:
        factor: All images by this factor; None if they are brought to one size.
        long_side: The longer side in pixels, then.
        why: One line.
    """
    factor: Optional[float]
    long_side: Optional[int]
    why: str


class Schedule(NamedTuple):
    """How long to train.

    Attributes:
        epochs: Number of epochs.
        images_per_epoch: Images in an epoch; None for a pass over the set.
        val_interval: Epochs from validation to validation.
        warm_up: Iterations.
        why: One line.
    """
    epochs: int
    images_per_epoch: Optional[int]
    val_interval: int
    warm_up: int
    why: str


class Rate(NamedTuple):
    """Learning rate.

    Attributes:
        lr: The rate.
        why: One line.
    """
    lr: float
    why: str


def size_images(data: DataFacts, input_size: int, smallest: float,
                crops: bool, wanted: Optional[int] = None) -> Sizing:
    """Choose how to resize the images.

    Args:
        data: Of the training images.
        input_size: Side of what the detector is trained on, in pixels.
        smallest: Side of its smallest anchors in pixels.
        crops: Whether it is trained on crops, so that images may be larger.
        wanted: Longer side that the user asks for.
    """
    if wanted:
        return Sizing(None, wanted, f'images brought to {wanted} px, as asked for')
    low, high = np.percentile(data.sides, (10, 90))
    middle, target = math.sqrt(low * high), math.sqrt(smallest * input_size / 2)
    longest = float(np.percentile(data.long_sides, 90))
    factor = max(LEAST_ENLARGED, min(target / middle, MOST_ENLARGED))
    if factor > 1:
        factor = max(1., min(factor, LARGEST_ENLARGED / longest))
    if not crops:
        factor = min(factor, input_size / longest)
    if 0.85 < factor < 1.2:
        factor = 1.
    objects = (f'objects are {low:.0f} to {high:.0f} px (10 to 90 %), the middle of what '
               f'the detector sees best is {target:.0f} px')
    if _one_size(data):
        typical = float(np.median(data.long_sides))
        side = max(32, round(factor * typical / 32) * 32)
        return Sizing(None, side, f'images of {typical:.0f} px brought to {side} px: '
                      f'{objects}')
    factor = round(factor, 2 if factor < 1 else 1)
    sides = data.long_sides
    kept = 'kept as they are' if factor == 1 else f'resized by {factor:g}'
    return Sizing(factor, None, f'images of {sides.min():.0f} to {sides.max():.0f} px '
                  f'{kept}, each by the same factor: {objects}, and their size in pixels '
                  'does not follow that of the image')


def _one_size(data: DataFacts) -> bool:
    """Whether images are to be brought to one size: they are nearly, or objects grow with
    them, as in photographs of any resolution."""
    low, high = np.percentile(data.long_sides, (5, 95))
    if high <= ALIKE * low:
        return True
    if len(data.sizes) < data.images:
        return False
    images = np.unique(data.box_images)
    side = np.log(data.long_sides[images])
    middle = np.array([np.median(np.log(data.sides[data.box_images == image]))
                       for image in images])
    if side.std() < 1e-3:
        return True
    return float(np.polyfit(side, middle, 1)[0]) >= GROWS


def plan(images: int, batch: int, seen: int, from_scratch: bool,
         epochs: Optional[int] = None, validations: int = VALIDATIONS) -> Schedule:
    """Lay out the training.

    An epoch is a pass over the set where that is of a sensible length: not so short that
    starting it takes longest, nor so long that there would be few.

    Args:
        images: Number of training images.
        batch: Images in a step, of all processes.
        seen: Images to see in all.
        from_scratch: Whether no weights are there.
        epochs: What the user asks for instead.
        validations: How many there should be.
    """
    length = images
    if images < SHORTEST_EPOCH * batch or epochs is None and seen < validations * images:
        length = max(1, seen // validations // batch) * batch
        if images < length < SHORTEST_EPOCH * batch:
            length = SHORTEST_EPOCH * batch
    asked, epochs = epochs is not None, epochs or max(1, seen // length)
    iterations = epochs * math.ceil(length / batch)
    of_each = (f'epochs over {images} images' if length == images else
               f'epochs of {length} images out of {images}')
    passes = epochs * length / images
    why = (f'{epochs} {of_each}, {passes:.3g} passes: {iterations} iterations of {batch}'
           + (' (as asked for)' if asked else ''))
    return Schedule(epochs, None if length == images else length,
                    max(1, math.ceil(epochs / validations)),
                    max(1, min(100 if from_scratch else 200, iterations // 10)), why)


def images_to_see(images: int, from_scratch: bool) -> int:
    """Images that a training from random weights, or from others, should see."""
    least = SEEN_FROM_SCRATCH if from_scratch else SEEN_FROM_WEIGHTS
    return max(images * PASSES[0], min(least, images * PASSES[1]), LEAST_SEEN)


def fit_minutes(minutes: float, pace: Pace, batch: int) -> Tuple[int, int]:
    """Images that can be seen in a time, and validations in it.

    Args:
        minutes: The time.
        pace: How fast the machine is.
        batch: Images in a step, of all processes.

    Raises:
        InputError: If it is too short.
    """
    seconds = 60 * minutes - pace.start
    validations = max(1, min(int(VALIDATION_SHARE * seconds / pace.validation),
                             VALIDATIONS))
    steps = int((seconds - validations * pace.validation) / pace.step)
    if steps < 1:
        raise InputError(
            f'--minutes {minutes:g} is too short here: the start takes {pace.start:.0f} s, '
            f'a step {pace.step:.2g} s and a validation {pace.validation:.0f} s')
    return steps * batch, validations


def scale_rate(base_lr: float, base_batch: int, batch: int, adaptive: bool) -> Rate:
    """Choose the learning rate for a batch.

    Args:
        base_lr: That of the base.
        base_batch: Images in a step that it is for.
        batch: Images in a step here.
        adaptive: Whether the optimizer is one of Adam's kind.
    """
    power, rule = (0.5, 'with the root of') if adaptive else (1., 'with')
    lr = float(f'{base_lr * (batch / base_batch)**power:.2g}')
    return Rate(lr, f'learning rate {lr:g} for {batch} images a step: the base has '
                f'{base_lr:g} for {base_batch}, scaled {rule} the batch')


def limit_detections(data: DataFacts) -> int:
    """Detections kept per image: a fifth more than the fullest image has objects, in steps
    of 50, and at least COCO's 100."""
    return max(100, math.ceil(1.2 * data.most_objects / 50) * 50)
