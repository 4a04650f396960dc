"""Values as text in a config file that mmengine reads.

mmengine replaces ``{{ name }}`` wherever it stands in a config, in strings and comments
too. Names out of data must come through as they are.
"""
import pprint


def literal(value, indent: int = 0, width: int = 90) -> str:
    """Python text of strings, numbers, and tuples, lists and dicts of them.

    Args:
        value: The value.
        indent: Columns that lines after the first begin with.
        width: Columns that lines should not go beyond.
    """
    text = pprint.pformat(value, width=width - indent, compact=True, sort_dicts=False)
    return _without_braces(text).replace('\n', '\n' + ' ' * indent)


def quotable(text: str) -> str:
    """Text, names of folders in it, as it can stand in a docstring."""
    text = text.replace('\\', '\\\\').replace('"""', '\\"\\"\\"')
    text = ''.join(char if char.isprintable() or char == '\n' else
                   char.encode('unicode_escape', 'backslashreplace').decode()
                   for char in text)
    return _without_braces(text)


def _without_braces(text: str) -> str:
    return text.replace('{{', '{\\x7b')
