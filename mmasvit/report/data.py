"""The section on the data that a training checked before it began."""
from typing import Dict, List

from mmasvit.errors import InputError
from mmasvit.report.page import Block, Section, Table


def data_section(report: dict) -> Section:
    """What ``data.json`` says of each split.

    Raises:
        InputError: If it is not of that form.
    """
    try:
        return _data_section(report['splits'])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f'data.json is damaged: {type(error).__name__} {error}') from None


def _data_section(splits: Dict[str, dict]) -> Section:
    names = list(splits)
    counts = [('images', 'images'), ('objects', 'objects'), ('crowds', 'crowd regions'),
              ('images_without_objects', 'images without objects'),
              ('masks', 'objects with a mask')]
    rows = [[label, *(f'{splits[name].get(key, 0):,}' for name in names)]
            for key, label in counts]
    caption = ''
    # folders of a classifier's images have none of these
    if all(splits[name]['areas'] and splits[name]['image_sizes'] for name in names):
        caption = ('sizes as height × width in pixels; small is below 32² pixels, large '
                   'above 96²')
        rows += [[f'{key} objects', *(f'{splits[name]["areas"][key]:,}'
                                      for name in names)]
                 for key in ('small', 'medium', 'large')]
        rows += [[f'{label} image', *('{} × {}'.format(*splits[name]['image_sizes'][key])
                                      for name in names)]
                 for key, label in (('min', 'smallest'), ('median', 'median'),
                                    ('max', 'largest'))]
    else:
        rows = rows[:1]
    blocks: List[Block] = [Table(['', *names], rows, caption)]
    for name in names:
        findings = splits[name].get('findings') or []
        if findings:
            blocks.append(Table(
                [f'findings in {name}', 'number', 'of'],
                [[item['text'], str(item['count']), str(item['total'])]
                 for item in findings]))
    classes = list(dict.fromkeys(item['name'] for name in names
                                 for item in splits[name]['classes']))
    by_name = {name: {item['name']: item for item in splits[name]['classes']}
               for name in names}
    blocks.append(Table(
        ['class', *(f'{name} {what}' for name in names for what in ('images', 'objects'))],
        [[label, *(f'{by_name[name].get(label, {}).get(what, 0):,}'
                   for name in names for what in ('images', 'objects'))]
         for label in classes], shown=12))
    return Section('Data', blocks)
