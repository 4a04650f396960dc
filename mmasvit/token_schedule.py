"""When a run uses how many tokens, and what that costs (section 4, table 6)."""
from dataclasses import dataclass
from typing import List, Mapping, NamedTuple, Sequence, Tuple

from mmasvit.errors import InputError
from mmasvit.geometry import TOKEN_STRIDE, TOKEN_STRIDES, token_grids


class TokenStage(NamedTuple):
    """A part of a run with one token stride.

    Attributes:
        begin: Epochs (or iterations) of the run before it.
        end: The same after it.
        stride: Pixels from token to token.
    """
    begin: float
    end: float
    stride: int


@dataclass(frozen=True)
class TokenSchedule:
    """Token strides as a function of progress.

    Args:
        milestones: ``(begin, stride)`` in the order of their begin, in epochs or
            iterations counted from 0; 1.5 is in the middle of the second epoch. Before
            the first begin tokens are full.

    Raises:
        InputError: If there is none, one is no pair of numbers, begins are negative,
            repeated or not in order, or a stride is not offered.
    """
    milestones: Tuple[Tuple[float, int], ...]

    def __post_init__(self):
        given = self.milestones
        if not isinstance(given, (list, tuple)) or not given:
            raise InputError(f'milestones must be a list of (begin, stride), got {given!r}')
        for pair in given:
            if (not isinstance(pair, (list, tuple)) or len(pair) != 2
                    or not all(type(value) in (int, float) for value in pair)):
                raise InputError(f'milestones: {pair!r} is no pair of numbers '
                                 '(begin, stride)')
            if not 0 <= pair[0] < float('inf'):
                raise InputError(f'milestones: {tuple(pair)} must begin at 0 or later')
            if pair[1] not in TOKEN_STRIDES:
                raise InputError(f'milestones: {tuple(pair)} asks for stride {pair[1]}; '
                                 f'offered are {", ".join(map(str, TOKEN_STRIDES))}')
        for first, second in zip(given, given[1:]):
            if first[0] >= second[0]:
                raise InputError(f'milestones: {tuple(second)} must begin after '
                                 f'{tuple(first)} does')
        object.__setattr__(self, 'milestones', tuple(tuple(pair) for pair in given))

    def begun(self, progress: float) -> int:
        """How many milestones have begun at ``progress``."""
        return sum(begin <= progress for begin, _ in self.milestones)

    def stride_at(self, progress: float) -> int:
        """Token stride when that many epochs or iterations are over."""
        begun = self.begun(progress)
        return self.milestones[begun - 1][1] if begun else TOKEN_STRIDE

    def stages(self, length: int, unit: str = 'epoch') -> List[TokenStage]:
        """The parts of a run.

        Args:
            length: Epochs or iterations of the run.
            unit: What it counts, for the error.

        Raises:
            InputError: If a milestone does not begin within the run.
        """
        if self.milestones[-1][0] >= length:
            raise InputError(f'milestones: {self.milestones[-1]} does not begin within the '
                             f'run, which has {length} {unit}s')
        begins = sorted({0, *(begin for begin, _ in self.milestones)})
        return [TokenStage(begin, end, self.stride_at(begin))
                for begin, end in zip(begins, begins[1:] + [length])]


def saving(stages: Sequence[TokenStage], macs: Mapping[int, int]) -> float:
    """Share of a run's multiply-accumulates that fewer tokens save, 0 to 1.

    Args:
        stages: The whole run.
        macs: Multiply-accumulates per image at each stride in use and at full tokens.
    """
    spent = sum((stage.end - stage.begin) * macs[stage.stride] for stage in stages)
    return 1 - spent / ((stages[-1].end - stages[0].begin) * macs[TOKEN_STRIDE])


def format_costs(size: Tuple[int, int], macs: Mapping[int, int], what: str,
                 spans: Sequence[Tuple[str, int]] = (), heading: str = '') -> str:
    """Tokens and multiply-accumulates at each stride as lines of text.

    Args:
        size: Height and width of an image in pixels.
        macs: Multiply-accumulates per image at each stride.
        what: What ``macs`` counts.
        spans: Rows ``(label, stride)``. Defaults to one per stride, without a label.
        heading: Heading of the labels.
    """
    lines = [f'{what}, images of {size[0]} x {size[1]} px',
             f'{heading:>20}  stride       tokens  GMACs/image  relative']
    for label, stride in spans or [('', stride) for stride in sorted(macs, reverse=True)]:
        rows, cols = token_grids(size, stride)[0]
        lines.append(f'{label:>20}  {stride:>6}  {f"{rows} x {cols}":>11}  '
                     f'{macs[stride] / 1e9:>11.3f}  '
                     f'{macs[stride] / macs[TOKEN_STRIDE]:>8.1%}')
    return '\n'.join(lines)


def format_plan(stages: Sequence[TokenStage], size: Tuple[int, int],
                macs: Mapping[int, int], what: str, unit: str = 'epoch') -> str:
    """The planned schedule of a run as lines of text.

    Args:
        stages: The whole run.
        size: Height and width of an image in pixels.
        macs: As in :func:`saving`.
        what: What ``macs`` counts.
        unit: What the stages count.
    """
    spans = [(f'{stage.begin:g} to {stage.end:g}', stage.stride) for stage in stages]
    heading = f'after {unit}s'
    return (f'tokens planned: {format_costs(size, macs, what, spans, heading)}\n'
            f'saving of the whole run: {saving(stages, macs):.1%} of the '
            'multiply-accumulates at full tokens')
