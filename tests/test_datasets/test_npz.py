"""Images in an .npz file."""
import numpy as np
import pytest
from mmengine.registry import DATASETS, init_default_scope

from mmasvit.datasets.npz import read_npz
from mmasvit.errors import InputError


@pytest.fixture
def arrays():
    random = np.random.default_rng(0)
    return dict(train_images=random.integers(0, 256, (6, 8, 8, 3), np.uint8),
                train_labels=np.arange(6), test_images=np.zeros((2, 8, 8, 3), np.uint8),
                test_labels=np.array([1, 0]))


def save(path, **arrays):
    np.savez(path, **arrays)
    return str(path)


def test_reads_the_split_it_was_asked_for(tmp_path, arrays):
    path = save(tmp_path / 'a.npz', **arrays)
    images, labels = read_npz(path)
    assert (images == arrays['train_images']).all() and (labels == np.arange(6)).all()
    assert read_npz(path, 'test')[1].tolist() == [1, 0]


def test_plain_names_serve_any_split_and_labels_may_be_missing(tmp_path, arrays):
    path = save(tmp_path / 'a.npz', images=arrays['train_images'])
    images, labels = read_npz(path, 'whatever')
    assert len(images) == 6 and labels is None


@pytest.mark.parametrize('change, message', [
    (dict(train_images=None), 'no array train_images'),
    (dict(train_images=np.zeros((0, 8, 8, 3), np.uint8)), 'holds no image'),
    (dict(train_images=np.zeros((6, 8, 8, 3))), 'uint8'),
    (dict(train_images=np.zeros((6, 3, 8, 8), np.uint8)), 'n, H, W, 3'),
    (dict(train_labels=np.arange(5)), 'integers'),
    (dict(train_labels=np.zeros(6)), 'integers'),
])
def test_arrays_of_another_form_are_named(tmp_path, arrays, change, message):
    arrays.update(change)
    kept = {name: array for name, array in arrays.items() if array is not None}
    with pytest.raises(InputError, match=message):
        read_npz(save(tmp_path / 'a.npz', **kept))


def test_no_npz_at_all(tmp_path):
    with pytest.raises(InputError, match='does not exist'):
        read_npz(str(tmp_path / 'none.npz'))
    (tmp_path / 'text.npz').write_text('hello')
    with pytest.raises(InputError, match='not an .npz'):
        read_npz(str(tmp_path / 'text.npz'))
    whole = save(tmp_path / 'whole.npz', images=np.zeros((9, 32, 32, 3), np.uint8))
    (tmp_path / 'half.npz').write_bytes(open(whole, 'rb').read()[:3000])
    with pytest.raises(InputError, match='not an .npz'):
        read_npz(str(tmp_path / 'half.npz'))


def test_dataset_feeds_an_mmpretrain_pipeline(tmp_path, arrays):
    pytest.importorskip('mmpretrain')
    init_default_scope('mmpretrain')
    dataset = DATASETS.build(dict(
        type='NpzDataset', ann_file=save(tmp_path / 'a.npz', **arrays),
        pipeline=[dict(type='Resize', scale=16), dict(type='PackInputs')]))
    assert len(dataset) == 6
    sample = dataset[4]
    assert sample['inputs'].shape == (3, 16, 16)
    assert sample['data_samples'].gt_label.item() == 4


def test_dataset_wants_labels(tmp_path, arrays):
    path = save(tmp_path / 'a.npz', images=arrays['train_images'])
    with pytest.raises(InputError, match='no labels'):
        DATASETS.build(dict(type='NpzDataset', ann_file=path))
