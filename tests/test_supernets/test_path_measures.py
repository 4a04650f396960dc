"""Measures of paths: closed forms, brute force, and nothing left behind."""
from math import log

import pytest
import torch
from spaces import AS_VIT, IDENTITIES, MOBILE, classifier
from torch import nn

from mmasvit import MobileTopology, Topology
from mmasvit.complexity import (PATH_MEASURES, Setting, SupernetPath, bn_gram,
                                check_measures, condition_number, measure_repeat,
                                mutual_information)
from mmasvit.errors import InputError
from mmasvit.measuring import Objective
from mmasvit.search.reward import scores
from mmasvit.supernets import SupernetMeasures


@pytest.fixture(params=[AS_VIT, MOBILE], ids=['asvit', 'mobilenet'])
def path(request):
    """A path of a supernet whose every BatchNorm trains, with numbers of all sizes."""
    backbone, width = request.param
    model = classifier(dict(backbone, bn_scope='all'), width).eval()
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for norms in (norms for layer in model.backbone.candidates().values()
                      for candidate in layer.values() for norms in candidate):
            norms.weight.normal_(generator=draw)
            norms.bias.normal_(std=.1, generator=draw)
    images = torch.randn(16, 3, 32, 32, generator=draw)
    return SupernetPath(model, model.backbone.path_of_step(1), images)


def snapshot(path):
    model = path._classifier
    return ({name: value.clone() for name, value in model.state_dict().items()},
            [(module.training, getattr(module, 'momentum', None))
             for module in model.modules()], path._supernet.path)


@pytest.mark.parametrize('name', sorted(PATH_MEASURES))
def test_a_measure_leaves_the_supernet_bitwise_as_it_was(path, name):
    before = snapshot(path)
    value = PATH_MEASURES[name](path)
    assert value == PATH_MEASURES[name](path)
    after = snapshot(path)
    assert before[1:] == after[1:]
    assert all(torch.equal(value, after[0][key]) for key, value in before[0].items())


def test_gamma_and_expressivity_are_sums_over_the_layers(path):
    means = [norms[-1].weight.abs().mean().item() for norms in path.norms if norms]
    assert len(means) == (12 if isinstance(path.topology, Topology) else 6)
    assert PATH_MEASURES['bn_gamma'](path) == pytest.approx(sum(means))
    assert PATH_MEASURES['bn_expressivity'](path) == pytest.approx(
        sum(map(log, means)), abs=1e-3)


def test_kernel_of_fixed_features_in_closed_form():
    """Check 6: of ``sum_c gamma_c h_c(x) + beta_c`` it is ``h_i . h_j + C``."""
    h = torch.randn(5, 7)
    norm = nn.BatchNorm1d(7, eps=1e-12).eval()
    nn.init.normal_(norm.weight)
    gram = bn_gram([norm], norm, h)
    torch.testing.assert_close(gram, (h @ h.T + 7).double(), rtol=1e-5, atol=1e-5)


def test_kernel_is_that_of_a_backward_pass_per_image(path):
    images = path.images[:4]
    with path.statistics_of(images):
        parameters = [p for norm in path.trained_norms for p in norm.parameters()]
        rows = [torch.cat([grad.flatten() for grad in torch.autograd.grad(
            path.logits(image[None]).sum(), parameters)]).double() for image in images]
        expected = torch.stack(rows) @ torch.stack(rows).T
        gram = bn_gram(path.trained_norms, path.logits, images)
    torch.testing.assert_close(gram, expected, rtol=1e-4,
                               atol=1e-4 * expected.max().item())
    assert condition_number(gram) > 1


def test_kernel_sees_the_path_alone(path):
    """BatchNorms of other candidates count nothing."""
    value = PATH_MEASURES['bn_trainability'](path)
    on_path = {id(norm) for norms in path.norms for norm in norms}
    with torch.no_grad():
        for layer in path._supernet.candidates().values():
            for norm in (norm for norms in layer.values() for norm in norms):
                if id(norm) not in on_path:
                    norm.weight.fill_(9.)
    assert PATH_MEASURES['bn_trainability'](path) == value


def test_uncertainty_is_zero_where_all_mini_batches_are_equal(path):
    """Check 6; and it is not where they differ."""
    assert PATH_MEASURES['bn_uncertainty'](path) > 0
    path.images = path.images[:2].repeat(8, 1, 1, 1)
    assert PATH_MEASURES['bn_uncertainty'](path) == pytest.approx(0, abs=1e-12)


def test_mutual_information_in_closed_form():
    sure = torch.tensor([[[50., 0.]], [[0., 50.]]])
    assert mutual_information(sure) == pytest.approx(log(2))  # opposite and certain
    assert mutual_information(sure[:1].repeat(3, 1, 1)) == pytest.approx(0, abs=1e-12)
    p = torch.tensor([[[.2, .8]], [[.6, .4]]])

    def entropy(*q):
        return -sum(x * log(x) for x in q)

    expected = entropy(.4, .6) - (entropy(.2, .8) + entropy(.6, .4)) / 2
    assert mutual_information(p.log()) == pytest.approx(expected, rel=1e-5)


def test_scores_by_rank_do_not_see_how_far_values_are_apart():
    objective = Objective(dict(a=1, b=-1, by='rank'))
    pool = [dict(a=1., b=5.), dict(a=2., b=1.), dict(a=1e9, b=float('inf')),
            dict(a=2., b=float('nan'))]
    # a ranks 0, 1.5, 3, 1.5 of 3; b the other way 2, 3, 0.5, 0.5
    assert scores(pool, objective) == pytest.approx(
        [2 / 3, 4.5 / 3, 3.5 / 3, 2 / 3])
    assert scores(pool[:1], objective) == [0.]
    assert Objective(objective.to_dict()) == objective
    assert 'by' not in Objective(dict(a=1)).to_dict()
    with pytest.raises(InputError, match='objective.by must be one of range, rank'):
        Objective(dict(a=1, by='luck'))


def test_measures_that_need_a_supernet_say_so():
    with pytest.raises(InputError, match='bn_gamma: there is no trained supernet'):
        check_measures(['params', 'bn_gamma'])
    with pytest.raises(InputError, match='is no As-ViT'):
        measure_repeat(MobileTopology((0, ) * 21), Setting(image_size=32, repeats=1), 0)


def test_paths_and_untrained_networks_are_measured_together(trained):
    config, checkpoint, _ = trained
    setting = Setting(image_size=32, repeats=1, num_images=16)
    measures = SupernetMeasures(str(config), str(checkpoint))
    topology = measures._supernet.path_of_step(0)
    names = ('bn_gamma', 'macs', 'bn_uncertainty', 'bn_trainability')
    first, again = (measures(topology, setting, repeat, names) for repeat in (0, 1))
    assert {name: one.value for name, one in first.items()} == {
        name: one.value for name, one in again.items()}
    assert set(first) == set(names)
    assert first['macs'].value == topology.count_macs((32, 32), pretrain_img_size=32)
    # trained in earnest: gammas have left 1
    assert abs(first['bn_gamma'].value - 12) > 1e-3


@pytest.mark.parametrize('change, line', [
    ("model = dict(backbone=dict(space=dict(K1=[4, 7])))", 'does not fit the model'),
    (f"model = dict(backbone=dict(_delete_=True, type='MobileNetSupernet', "
     f"space={IDENTITIES}))", 'does not fit the model'),
    ("model = dict(backbone=dict(_delete_=True, type='AsViT', out_indices=(3, )))",
     'has no supernet: its backbone is of the type AsViT')])
def test_checkpoint_of_another_supernet_is_one_line(trained, tmp_path, change, line):
    config, checkpoint, _ = trained
    other = tmp_path / 'other.py'
    other.write_text(f"_base_ = '{config}'\n{change}\n")
    with pytest.raises(InputError, match=line) as caught:
        SupernetMeasures(str(other), str(checkpoint))
    assert '\n' not in str(caught.value)
