"""What arguments from configs are checked with: a line says what would be right."""
from contextlib import suppress
from dataclasses import MISSING
from math import inf
from typing import Collection, Iterable, Optional, Type, TypeVar

from mmasvit.errors import InputError

Fields = TypeVar('Fields')
_WORDS = {dict: 'a dict', str: 'text', int: 'a whole number', bool: 'True or False',
          float: 'a number', list: 'a list'}


def whole_number(name: str, value, least: int, most: Optional[int] = None) -> int:
    """Check a whole number; True and 1.0 are none.

    Args:
        name: What the config calls it.
        value: What it gives.
        least: Smallest number allowed.
        most: Largest number allowed. Defaults to no limit.

    Raises:
        InputError: If it is none, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (
            most is not None and value > most):
        span = f'of at least {least}' if most is None else f'from {least} to {most}'
        raise InputError(f'{name} must be a whole number {span}, got {value!r}')
    return value


def number(name: str, value, above: float = -inf, below: float = inf) -> float:
    """Check a finite number between two others, which are not allowed themselves.

    Raises:
        InputError: If it is none, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (
            above < value < below):
        words = [f'{word} {limit:g}' for word, limit in (('above', above),
                                                         ('below', below))
                 if abs(limit) != inf]
        span = f' {" and ".join(words)}' if words else ''
        raise InputError(f'{name} must be a finite number{span}, got {value!r}')
    return value


def one_of(name: str, value, allowed: Collection[str]) -> str:
    """Check a word.

    Raises:
        InputError: If it is not among those allowed.
    """
    if not isinstance(value, str) or value not in allowed:
        raise InputError(f'{name} must be one of {", ".join(allowed)}, got {value!r}')
    return value


def known_keys(name: str, given, allowed: Iterable[str],
               needed: Iterable[str] = ()) -> dict:
    """Check the keys of a dict; None is an empty one.

    Args:
        name: What the config calls it.
        given: What it gives.
        allowed: Keys that there are.
        needed: Keys that must be given.

    Raises:
        InputError: If it is no dict, or a key is unknown or missing.
    """
    given = {} if given is None else given
    if not isinstance(given, dict):
        raise InputError(f'{name} must be a dict, got {given!r}')
    allowed = list(allowed)
    unknown = [str(key) for key in given if key not in allowed]
    missing = [key for key in needed if key not in given]
    if unknown or missing:
        faults = [f'{word} {", ".join(keys)}' for word, keys in
                  (('unknown', unknown), ('missing', missing)) if keys]
        raise InputError(f'{name}: {"; ".join(faults)}; expected '
                         f'{"some of " if not missing else ""}{", ".join(allowed)}')
    return dict(given)


def check_shape(name: str, value, shape) -> None:
    """Check that a value out of a file or a config is of a declared form.

    Args:
        name: Stands before what is wrong.
        value: The value.
        shape: None; a type or a tuple of types (a bool is no number); a function that raises
            ValueError or TypeError for what it does not take; ``[shape]`` for lists and
            tuples of such; ``{'key': shape}`` for dicts that have these keys, those
            with ``'?'`` at the end if at all; ``{str: shape}`` for dicts of such values;
            :class:`Either` for several shapes.

    Raises:
        InputError: If it is not; the line names the place.
    """
    _check_shape(name, '', value, shape)


class Either(tuple):
    """Shapes of which one must fit; an error is of the first."""

    def __new__(cls, *shapes):
        return super().__new__(cls, shapes)


def real(value) -> None:
    """A shape: a number that a float can hold, infinite or not."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f'must be a number, got {_short(value)}')
    float(value)


def numeric(value) -> None:
    """A shape: a number, or the text that stands for one that json has no sign for."""
    real(float(value) if isinstance(value, str) else value)


def _check_shape(name: str, place: str, value, shape) -> None:
    where = f'{name} {place.lstrip(".")}' if place else name
    if isinstance(shape, Either):
        for one in shape[1:]:
            with suppress(InputError):
                return _check_shape(name, place, value, one)
        return _check_shape(name, place, value, shape[0])
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            raise InputError(f'{where} must be a dict, got {_short(value)}')
        for key, inner in shape.items():
            if key is str:
                for given in value:
                    _check_shape(name, f'{place}.{given}', value[given], inner)
            elif key.rstrip('?') in value:
                key = key.rstrip('?')
                _check_shape(name, f'{place}.{key}', value[key], inner)
            elif not key.endswith('?'):
                raise InputError(f'{where} has no {key}')
    elif isinstance(shape, list):
        if not isinstance(value, (list, tuple)):
            raise InputError(f'{where} must be a list, got {_short(value)}')
        for number, one in enumerate(value):
            _check_shape(name, f'{place}.{number}', one, shape[0])
    elif isinstance(shape, (type, tuple)):
        kinds = shape if isinstance(shape, tuple) else (shape, )
        if not isinstance(value, kinds) or isinstance(value, bool) and bool not in kinds:
            words = ' or '.join(_WORDS.get(kind, kind.__name__) for kind in kinds)
            raise InputError(f'{where} must be {words}, got {_short(value)}')
    elif shape is None:
        if value is not None:
            raise InputError(f'{where} must be None, got {_short(value)}')
    else:
        try:
            shape(value)
        except (ValueError, TypeError, OverflowError, AttributeError) as error:
            raise InputError(f'{where}: {error}') from None


def _short(value, most: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= most else f'{text[:most]}...'


def from_dict(cls: Type[Fields], name: str, given, **defaults) -> Fields:
    """Build a dataclass of arguments from a dict ``<name>`` of a config.

    Args:
        cls: The dataclass; its fields are the keys, those without default needed.
        name: What the config calls it.
        given: What the config gives; None is the same as nothing.
        defaults: Values of fields that the config leaves out.

    Raises:
        InputError: If it is no dict, or a field is unknown, missing or refused.
    """
    fields = [name for name, field in cls.__dataclass_fields__.items() if field.init]
    given = {**defaults, **known_keys(name, given, fields)}
    known_keys(name, given, fields, required(cls))
    try:
        return cls(**given)
    except InputError as error:
        raise InputError(f'{name}: {error}') from None


def required(cls: type) -> list:
    """Names of a dataclass's fields that have no default."""
    return [name for name, field in cls.__dataclass_fields__.items()
            if field.default is MISSING and field.default_factory is MISSING]
