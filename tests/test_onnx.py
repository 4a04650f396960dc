"""tools/export.py, and detectors in the form that is exported."""
import detectors
import helpers
import pytest
import torch
from mmdet.structures import DetDataSample
from torch import nn

from mmasvit.errors import InputError
from mmasvit.export import compare, exportable
from mmasvit.export.write import difference

CLASSIFIER = 'configs/asvit_imagenette.py'
ARCH = 'model.backbone.arch=4,2,2,1|2,1,2,1|2,1,2,1|2,1,2,1|8,8'


def unsure(name, folder):
    """A detector whose scores are different from one another, and not all equal."""
    model = detectors.build(name, folder).eval()
    torch.manual_seed(0)
    for key, p in model.named_parameters():
        if p.ndim == 4 and ('cls' in key or 'rpn' in key):
            nn.init.normal_(p, std=.02)
        elif 'fc_cls' in key or 'fc_reg' in key:
            nn.init.normal_(p, std=.3)
    return model


@pytest.mark.slow
@pytest.mark.parametrize('name', ['cascade', 'mask_rcnn', 'retinanet', 'fcos', 'atss'])
def test_detections_are_mmdets(name, tmp_path):
    """One tensor for the batch finds what mmdet finds image by image."""
    model = unsure(name, tmp_path)
    part = exportable(model)
    for size in ((96, 96), (75, 139)):
        images = torch.randn(2, 3, *size)
        samples = [DetDataSample(metainfo=dict(
            img_shape=size, ori_shape=size, scale_factor=(1., 1.)))
                   for _ in images]
        with torch.no_grad():
            outs = dict(zip(part.names, part(images)))
            theirs = model.predict(images, samples, rescale=False)
        for i, found in enumerate(sample.pred_instances for sample in theirs):
            ours = outs['labels'][i] >= 0
            assert ours.sum() == len(found) and ours[:len(found)].all()
            torch.testing.assert_close(outs['scores'][i, ours], found.scores)
            same = outs['labels'][i, ours] == found.labels  # but where scores are equal
            assert len(found) == 0 or same.float().mean() > .9
            torch.testing.assert_close(outs['boxes'][i, ours][same], found.bboxes[same])
            if 'masks' in outs and len(found):
                assert outs['masks'].shape[:2] == outs['labels'].shape
                assert 0 <= outs['masks'].min() and outs['masks'].max() <= 1


@pytest.mark.parametrize('name, reason', [
    ('dino', 'DINO cannot be exported'), ('solov2', 'SOLOv2 cannot be exported')])
def test_other_detectors_are_refused_but_for_their_backbone(name, reason, tmp_path):
    model = detectors.build(name, tmp_path)
    with pytest.raises(InputError, match=f'{reason}.*--backbone'):
        exportable(model)
    assert exportable(model, backbone_only=True).names[0] == 'map0'


def test_soft_suppression_is_refused(tmp_path):
    model = detectors.build('retinanet', tmp_path)
    model.bbox_head.test_cfg.nms.type = 'soft_nms'
    with pytest.raises(InputError, match='its suppression is .*soft_nms'):
        exportable(model)


def test_detections_may_change_places_but_nothing_else():
    names = ['boxes', 'scores', 'labels']
    boxes, scores = torch.rand(1, 3, 4) * 100, torch.tensor([[.9, .5, .5]])
    labels = torch.tensor([[1, 2, 2]])
    order = torch.tensor([0, 2, 1])
    same = boxes[:, order], scores[:, order], labels[:, order]
    assert difference(names, same, (boxes, scores, labels)) == 0
    assert difference(names, (boxes + 1, scores, labels), (boxes, scores, labels)) > 5e-3
    for other in ((boxes, scores, labels + 1),
                  (boxes, scores, torch.tensor([[1, 2, -1]])),
                  (boxes, scores, torch.tensor([[-1, -1, -1]]))):
        assert difference(names, other, (boxes, scores, labels)) > 1e-2


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """A classifier's, with a tiny backbone."""
    from mmengine.config import Config
    from mmengine.registry import MODELS, init_default_scope
    cfg = Config.fromfile(helpers.ROOT / CLASSIFIER)
    cfg.merge_from_dict(dict([ARCH.split('=')]))
    cfg.model.head.in_channels = 64
    init_default_scope('mmpretrain')
    model = MODELS.build(cfg.model)
    model.init_weights()
    path = tmp_path_factory.mktemp('export') / 'model.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    return path


def words(checkpoint, *more):
    return ('tools/export.py', CLASSIFIER, checkpoint, '--shape', 64, *more,
            '--cfg-options', ARCH, 'model.head.in_channels=64')


@pytest.mark.slow
@pytest.mark.parametrize('flags', [[], ['--backbone']], ids=str)
def test_tool_writes_what_it_has_checked(flags, checkpoint, tmp_path):
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxscript')
    out = tmp_path / 'model.onnx'
    printed = helpers.works(*words(checkpoint, '--out', out, *flags))
    assert 'opset 18' in printed and printed.count('1 x 64 x 64') == 3
    outputs = [one.name for one in onnx.load(out).graph.output]
    assert outputs == (['map0'] if flags else ['logits'])
    assert [path.name for path in tmp_path.iterdir()] == ['model.onnx']


@pytest.mark.slow
def test_tool_leaves_no_file_that_differs(checkpoint, tmp_path):
    pytest.importorskip('onnxscript')
    out = tmp_path / 'model.onnx'
    line = helpers.fails(*words(checkpoint, '--out', out, '--tolerance', -1))
    assert 'differs from torch' in line and not list(tmp_path.iterdir())


@pytest.mark.parametrize('more, line', [
    (['--opset', 11], '--opset must be at least 18'),
    (['--cfg-options', 'model.data_preprocessor.new=1'], "keyword argument 'new'"),
    (['--shape', 32], '--shape takes one or two sizes of at least 64')], ids=str)
def test_tool_refuses(more, line, checkpoint, tmp_path):
    pytest.importorskip('onnxscript')
    assert line in helpers.fails(*words(checkpoint, '--out', tmp_path / 'a.onnx', *more))


@pytest.mark.slow
def test_backbone_of_any_size_in_onnxruntime(tmp_path):
    pytest.importorskip('onnxscript')
    pytest.importorskip('onnxruntime')
    from mmasvit.export import write_onnx
    torch.manual_seed(0)
    model = nn.Module()
    from mmasvit import AsViT
    model.backbone = AsViT('4,4,2,1|3,2,2,1|2,1,2,1|2,1,2,1|8,8', pretrain_img_size=64)
    part, path = exportable(model, backbone_only=True), str(tmp_path / 'backbone.onnx')
    write_onnx(part, (96, 96), path, dynamic=True)
    for one in compare(part, path, [(1, 64, 64), (3, 75, 139), (2, 201, 128)], 1):
        assert one.difference < 1e-5, one
