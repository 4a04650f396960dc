"""Images are judged as OpenCV, the loader, will see them."""
import os

import numpy as np
import pytest
from coco_sets import config, sound, write_set
from PIL import Image

from mmasvit.coco.images import check_images, compare_sizes, findings_of, look_at
from mmasvit.errors import InputError

TURNED = Image.Exif()
TURNED[0x0112] = 6


def noise(shape=(40, 50, 3), dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 256, shape).astype(dtype)


def picture(path, pixels=None, **options):
    Image.fromarray(noise() if pixels is None else pixels).save(path, **options)
    return path


def look(path):
    return look_at([str(path)])[0]


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.bmp', '.webp', '.tif', '.ppm'])
def test_image_is_whole_until_it_is_cut(tmp_path, suffix):
    path = picture(tmp_path / f'picture{suffix}')
    assert not look(path).fault
    whole = path.read_bytes()
    for share in (0.0, 0.3, 0.95):
        path.write_bytes(whole[:int(share * len(whole))])
        found = look(path)
        assert found.fault and path.name in found.text and '\n' not in found.text


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_damage_inside_is_found(tmp_path, suffix):
    path = picture(tmp_path / f'picture{suffix}')
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle:middle + 400] = bytes(400) if suffix == '.png' else b'\xff\xd9' * 200
    path.write_bytes(content)
    assert look(path).fault == 'image-damaged'


def test_jpeg_with_padding_behind_it_is_whole(tmp_path):
    path = picture(tmp_path / 'padded.jpg')
    path.write_bytes(path.read_bytes() + bytes(5000))
    assert not look(path).fault


@pytest.mark.parametrize('name, pixels', [
    ('gray.png', noise((40, 50))), ('gray.jpg', noise((40, 50))),
    ('alpha.png', noise((40, 50, 4))), ('deep.png', noise((40, 50), np.uint16)),
    ('float.tif', noise((40, 50), np.float32)), ('deep.tif', noise((40, 50), np.uint16)),
    ('int.tif', noise((40, 50), np.int32)), ('plain.tga', noise()),
    ('plain.gif', noise()), ('plain.webp', noise()), ('plain.jp2', noise()),
    ('plain.ico', noise())])
def test_refused_is_what_the_loader_cannot_load(tmp_path, name, pixels):
    mmcv = pytest.importorskip('mmcv')
    path = picture(tmp_path / name, pixels)
    try:
        loaded = mmcv.imread(str(path))
    except Exception:
        loaded = None
    found = look(path)
    assert bool(found.fault) == (loaded is None)
    if loaded is not None:
        assert (found.height, found.width) == loaded.shape[:2]


def test_lost_contents_are_told_and_not_refused(tmp_path):
    paths = [picture(tmp_path / 'deep.png', noise((40, 50), np.uint16)),
             picture(tmp_path / 'alpha.png', noise((40, 50, 4))),
             picture(tmp_path / 'plain.png')]
    found = findings_of(look_at(map(str, paths)))
    assert [(one.kind, one.refuse, one.count, one.total) for one in found] == [
        ('image-16-bit', False, 1, 3), ('image-alpha', False, 1, 3)]


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.tif', '.webp'])
def test_turn_by_exif_is_that_of_mmdets_loader(tmp_path, suffix):
    transforms = pytest.importorskip('mmcv.transforms')
    path = picture(tmp_path / f'turned{suffix}', exif=TURNED)
    loaded = transforms.LoadImageFromFile()(dict(img_path=str(path)))['img']
    found = look(path)
    assert (found.height, found.width) == loaded.shape[:2]
    sizes = np.array([50.]), np.array([40.])  # as stored
    differs = compare_sizes([found], *sizes)
    assert bool(differs) == (loaded.shape[:2] != (40, 50))
    if differs:
        assert '40 x 50, the annotation file says 50 x 40 (its EXIF' in differs[0].text


def test_turn_that_a_png_states_behind_its_pixels(tmp_path):
    cv2 = pytest.importorskip('cv2')
    content = picture(tmp_path / 'turned.png', exif=TURNED).read_bytes()
    start = content.index(b'eXIf') - 4
    end = start + 12 + int.from_bytes(content[start:start + 4], 'big')
    path = tmp_path / 'behind.png'
    path.write_bytes(content[:start] + content[end:-12] + content[start:end]
                     + content[-12:])
    assert cv2.imread(str(path)).shape[:2] == (look(path).height, look(path).width)
    assert look(path).turned


def test_no_image_at_all(tmp_path):
    text = tmp_path / 'text.jpg'
    text.write_text('hello')
    assert look(text).fault == 'image-damaged'
    assert look(tmp_path / 'nothing.jpg').fault == 'image-missing'
    assert look(tmp_path).fault


def test_first_fault_is_named_and_all_are_counted(tmp_path):
    good = picture(tmp_path / 'good.png')
    paths = [str(good), str(tmp_path / 'a.png'), str(tmp_path / 'b.png')]
    with pytest.raises(InputError, match=r'a\.png does not exist \(and 1 more\)'):
        check_images(paths)
    check_images(paths[:1])


def test_of_large_sets_a_sample_and_each_kind_is_read_to_the_end(tmp_path):
    paths = [picture(tmp_path / f'{i}.png') for i in range(20)]
    rare = picture(tmp_path / 'rare.tif', noise((40, 50), np.float32))
    for path in paths:
        content = bytearray(path.read_bytes())
        content[200:210] = bytes(10)
        path.write_bytes(content)
    total = sum(path.stat().st_size for path in paths)
    looks = look_at([*map(str, paths), str(rare)], most=total // 4)
    assert 3 <= sum(bool(found.fault) for found in looks[:-1]) <= 7
    assert looks[-1].fault  # the only one of its kind
    assert all(found.fault for found in look_at(map(str, paths)))


def test_a_limit_of_pillow_is_not_one_of_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    assert not look(picture(tmp_path / 'large.png')).fault
    assert Image.MAX_IMAGE_PIXELS == 100


def test_sizes_against_the_annotation_file(tmp_path):
    pytest.importorskip('mmdet')
    from mmasvit.engine.preflight import check_data
    coco = sound()
    for row in coco['images'][:3]:
        row['width'] += 1
    write_set(tmp_path, train=coco)
    with pytest.raises(InputError, match='3 of 4 images have another size .* is 64 x 48, '
                       'the annotation file says 65 x 48'):
        check_data(config(tmp_path))
    check_data(config(tmp_path), images=False)


@pytest.mark.parametrize('make', [
    os.mkfifo, os.mkdir, lambda path: os.symlink('/dev/zero', path),
    lambda path: os.symlink(path.name, path)])
def test_what_is_no_file_is_not_waited_for(tmp_path, make):
    make(tmp_path / 'a.png')
    found = look(tmp_path / 'a.png')
    assert found.fault in ('image-missing', 'image-damaged') and found.path in found.text


@pytest.mark.parametrize('size', [(30000, 30000), (60000, 1)])
def test_huge_images_are_refused_by_their_header(tmp_path, size):
    path = tmp_path / 'huge.png'
    Image.new('1', size).save(path)
    assert look(path).fault == 'image-huge'
    assert f'{size[0]} x {size[1]} px' in look(path).text


@pytest.mark.parametrize('pixels', [noise((200, 200, 3)), np.tile(
    np.arange(200, dtype=np.uint8)[:, None, None], (1, 200, 3))])
def test_zeros_inside_a_jpeg_are_found(tmp_path, pixels):
    path = picture(tmp_path / 'a.jpg', pixels)
    content = bytearray(path.read_bytes())
    middle = (content.index(b'\xff\xda') + len(content)) // 2
    content[middle:middle + 400] = bytes(400)
    path.write_bytes(content)
    assert look(path).fault == 'image-damaged'


def test_a_few_bytes_before_the_end_of_a_jpeg_harm_nobody(tmp_path):
    path = picture(tmp_path / 'a.jpg', noise((200, 200, 3)))
    content = path.read_bytes()
    path.write_bytes(content[:-2] + bytes(8) + content[-2:])
    assert not look(path).fault
