"""Damaged data is found, whole data is not blamed."""
import json

import numpy as np
import pytest
from PIL import Image

from mmasvit.datasets.checks import check_images, image_fault, read_coco
from mmasvit.errors import InputError


def picture(path, **options):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.bmp'])
def test_image_is_whole_until_it_is_cut(tmp_path, suffix):
    path = picture(tmp_path / f'picture{suffix}')
    assert image_fault(str(path)) is None
    whole = path.read_bytes()
    for share in (0.0, 0.3, 0.95):
        path.write_bytes(whole[:int(share * len(whole))])
        fault = image_fault(str(path))
        assert fault and path.name in fault and '\n' not in fault


def test_jpeg_with_padding_behind_it_is_whole(tmp_path):
    path = picture(tmp_path / 'padded.jpg')
    path.write_bytes(path.read_bytes() + bytes(5000))
    assert image_fault(str(path)) is None


def test_text_and_folders_are_no_images(tmp_path):
    path = tmp_path / 'text.jpg'
    path.write_text('hello')
    assert 'cannot be decoded' in image_fault(str(path))
    assert str(tmp_path) in image_fault(str(tmp_path))


def test_first_fault_is_named_and_all_are_counted(tmp_path):
    good = picture(tmp_path / 'good.png')
    paths = [str(good), str(tmp_path / 'a.png'), str(tmp_path / 'b.png')]
    with pytest.raises(InputError, match=r'a\.png does not exist \(and 1 more\)'):
        check_images(paths)
    check_images(paths[:1])


def coco(**more):
    return dict(dict(images=[dict(id=1, file_name='x.jpg')], annotations=[],
                     categories=[dict(id=1, name='cat'), dict(id=2, name='dog')]), **more)


@pytest.mark.parametrize('content, line', [
    ('', 'is not json'), ('{"images": ', 'is not json'), ('[1]', 'is a json list'),
    (json.dumps(coco(categories=[])), 'has no categories'),
    (json.dumps(coco(images=[])), 'has no images'),
    (json.dumps({k: v for k, v in coco().items() if k != 'annotations'}),
     'has no annotations')])
def test_damaged_annotations(tmp_path, content, line):
    path = tmp_path / 'annotations.json'
    path.write_text(content)
    with pytest.raises(InputError, match=line) as error:
        read_coco(str(path))
    assert '\n' not in str(error.value)


def test_classes_must_meet_the_categories(tmp_path):
    path = tmp_path / 'annotations.json'
    path.write_text(json.dumps(coco()))
    assert read_coco(str(path), ('dog', 'bird')) == coco()
    with pytest.raises(InputError, match='none of the classes'):
        read_coco(str(path), ('bird', ))


def test_missing_annotations(tmp_path):
    with pytest.raises(InputError, match='does not exist'):
        read_coco(str(tmp_path / 'nothing.json'))
    with pytest.raises(InputError):
        read_coco(str(tmp_path))
