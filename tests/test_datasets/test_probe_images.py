"""The images that untrained networks are measured on, from every kind of source."""
import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS
from PIL import Image

from mmasvit import Topology
from mmasvit.complexity import Setting
from mmasvit.complexity.untrained import UntrainedNetwork
from mmasvit.datasets import ProbeImages
from mmasvit.errors import InputError

MEAN, STD = np.float32([123.675, 116.28, 103.53]), np.float32([58.395, 57.12, 57.375])


@pytest.fixture
def arrays():
    return np.random.default_rng(0).integers(0, 256, (12, 40, 40, 3), np.uint8)


@pytest.fixture
def folder(tmp_path, arrays):
    for i, array in enumerate(arrays):
        path = tmp_path / 'images' / str(i % 3) / f'{i:02}.PNG'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)
    (tmp_path / 'images' / 'readme.txt').write_text('no image')
    return tmp_path / 'images'


def back(images):
    """uint8 ``(n, H, W, 3)``."""
    array = images.permute(0, 2, 3, 1).numpy() * STD + MEAN
    return np.round(array).astype(np.uint8)


def test_noise_is_what_the_measures_use_without_images():
    setting = Setting(image_size=48, num_images=5, seed=3)
    probe = UntrainedNetwork(Topology.parse('8,2,3|4,1,2|4,1,4|4,1,6|32'), setting)
    dataset = ProbeImages(image_size=48, num_images=5, seed=3)
    assert torch.equal(dataset.images, probe.images)
    assert len(dataset) == 5 and torch.equal(dataset[2], dataset.images[2])
    assert dataset.description['source'] == 'noise'


def test_all_sources_give_the_same_pixels(folder, arrays, tmp_path):
    np.savez(tmp_path / 'images.npz', images=arrays, labels=np.arange(12))
    sources = [str(folder), str(tmp_path / 'images.npz'),
               dict(type='NpzDataset', ann_file=str(tmp_path / 'images.npz'))]
    for source in sources:
        dataset = ProbeImages(source, image_size=40, num_images=12)
        # the folder's order is by name: 0/00, 0/03, ...
        pixels = sorted(image.tobytes() for image in back(dataset.images))
        assert pixels == sorted(array.tobytes() for array in arrays)


def test_images_of_a_registry_by_path(folder):
    dataset = ProbeImages(dict(type='mmpretrain.CustomDataset', data_root=str(folder),
                               extensions=('.png', )), image_size=32, num_images=4)
    assert dataset.images.shape == (4, 3, 32, 32)
    assert len(dataset.description['images']) == 4


def test_draws_depend_on_the_seed_without_repeats(folder):
    def names(seed):
        return ProbeImages(str(folder), 32, 6, seed).description['images']

    torch.manual_seed(1)
    first = names(0)
    torch.manual_seed(2)
    assert names(0) == first and len(set(first)) == 6
    assert len({tuple(names(seed)) for seed in range(5)}) == 5


def test_hash_tells_images_apart(folder):
    first = ProbeImages(str(folder), 32, 6).description
    assert ProbeImages(str(folder), 32, 6).description == first
    victim = folder / first['images'][0]
    Image.new('RGB', (40, 40)).save(victim)
    assert ProbeImages(str(folder), 32, 6).description['sha256'] != first['sha256']


def test_other_shapes_are_cropped_at_the_centre(tmp_path):
    wide = np.zeros((40, 80, 3), np.uint8)
    wide[:, 20:60] = 200
    for i in range(2):
        Image.fromarray(wide).save(tmp_path / f'{i}.png')
    images = ProbeImages(str(tmp_path), 40, 2).images
    assert (back(images) == 200).all()


def test_grey_images_and_palettes_become_rgb(tmp_path):
    Image.new('L', (50, 50), 100).save(tmp_path / 'grey.png')
    Image.new('P', (50, 50)).save(tmp_path / 'palette.png')
    assert ProbeImages(str(tmp_path), 32, 2).images.shape == (2, 3, 32, 32)


def test_bad_sources(tmp_path, folder, monkeypatch):
    for data, line in (
            ('nowhere', "neither 'noise' nor a folder"), (7, 'data must be'),
            (str(tmp_path / 'none.npz'), 'does not exist')):
        with pytest.raises(InputError, match=line):
            ProbeImages(data)
    empty = tmp_path / 'empty'
    empty.mkdir()
    with pytest.raises(InputError, match='empty has no image'):
        ProbeImages(str(empty))
    with pytest.raises(InputError, match='16 images are needed, there are 12'):
        ProbeImages(str(folder))
    with monkeypatch.context() as patch, pytest.raises(InputError, match='decoded'):
        patch.setattr(Image, 'MAX_IMAGE_PIXELS', 10)  # PIL's guard against bombs
        ProbeImages(str(folder), 32, 12)
    (folder / '0' / '00.PNG').write_bytes(b'')
    with pytest.raises(InputError, match='00.PNG cannot be decoded'):
        ProbeImages(str(folder), 32, 12)
    with pytest.raises(InputError, match='cannot be built: .*none.json'):
        ProbeImages(dict(type='mmdet.CocoDataset', ann_file='none.json'))
    with pytest.raises(InputError, match='tells of no images'):
        ProbeImages(dict(type='ProbeImages'))


@pytest.mark.parametrize('dtype, mode, ending', [
    (np.uint16, 'I;16', 'png'), (np.uint16, 'I;16', 'tif'), (np.int32, 'I', 'tif'),
    (np.float32, 'F', 'tif')])
@pytest.mark.parametrize('scale', [4, 200])
def test_more_than_8_bits_keep_their_contents(tmp_path, dtype, mode, ending, scale):
    """Not white above 255, and not black in 12 of 16 bits."""
    grey = np.random.default_rng(0).permutation(256).reshape(16, 16)
    for i in range(2):
        image = Image.fromarray((grey * scale).astype(dtype))
        assert image.mode == mode
        image.save(tmp_path / f'{i}.{ending}')
    images = ProbeImages(str(tmp_path), 16, 2).images
    assert (back(images) == grey[None, ..., None]).all()


def test_what_is_no_image_is_refused(tmp_path):
    values = np.zeros((20, 20), np.float32)
    values[3, 4] = np.nan
    Image.fromarray(values).save(tmp_path / 'nan.tif')
    with pytest.raises(InputError, match='nan.tif has values that are not finite'):
        ProbeImages(str(tmp_path), 16, 1)


def test_an_even_surface_of_16_bits_stays_one(tmp_path):
    Image.fromarray(np.full((20, 20), 3000, np.uint16)).save(tmp_path / 'even.png')
    assert (back(ProbeImages(str(tmp_path), 16, 1).images) == 0).all()


def test_images_are_turned_as_their_exif_data_say(tmp_path):
    upright = np.zeros((20, 20, 3), np.uint8)
    upright[:10] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn to the right
    Image.fromarray(np.rot90(upright)).save(tmp_path / 'turned.png', exif=exif)
    assert (back(ProbeImages(str(tmp_path), 20, 1).images)[0] == upright).all()


@pytest.mark.parametrize('shape', [(24, 24), (24, 24, 1), (24, 24, 3)])
def test_arrays_of_a_registry_may_have_any_depth(shape):
    array = np.random.default_rng(0).integers(1000, 50000, shape).astype(np.uint16)

    @DATASETS.register_module('Deep', force=True)
    class Deep:
        def __len__(self):
            return 1

        def get_data_info(self, index):
            return dict(img=array)

    image = back(ProbeImages(dict(type='Deep'), 24, 1).images)[0]
    assert image.min() == 0 and image.max() == 255
