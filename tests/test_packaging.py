"""What ends up in the built package, and what it asks pip to install."""
import ast
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# What a user has when there is an mmdet or an mmpretrain; pip must not touch it.
BROUGHT_ALONG = {'torch', 'torchvision', 'mmengine', 'mmcv', 'cv2', 'PIL', 'mmdet',
                 'mmpretrain'}


@pytest.fixture
def checkout(tmp_path):
    """A checkout in small, with a config, a tool and what must not be packaged."""
    copy = tmp_path / 'checkout'
    for name, text in {'mmasvit/__init__.py': '', 'mmasvit/models/__init__.py': '',
                       'configs/some_config.py': '', 'configs/_base_/some_base.py': '',
                       'tools/some_tool.py': '', 'tools/dist.sh': '',
                       'tools/__pycache__/some_tool.pyc': '',
                       'scripts/some_script.py': '', 'README.md': 'What it is.',
                       'requirements/some.txt': '', 'model-index.yml': 'Import: []',
                       'tests/test_some.py': ''}.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text(text)
    for name in ('setup.py', 'MANIFEST.in', 'LICENSE', 'mmasvit/version.py'):
        shutil.copy(ROOT / name, copy / name)
    return copy


def build(checkout, *command):
    """Run setup.py; return the one file that it makes."""
    subprocess.run([sys.executable, 'setup.py', '-q', *command], cwd=checkout,
                   check=True, capture_output=True)
    made, = (checkout / 'dist').iterdir()
    return made


def assert_is_complete(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {'mmasvit/.mim/configs/some_config.py', 'mmasvit/.mim/tools/some_tool.py',
            'mmasvit/.mim/configs/_base_/some_base.py', 'mmasvit/.mim/tools/dist.sh',
            'mmasvit/.mim/model-index.yml',
            'mmasvit/models/__init__.py'} <= names
    assert not [name for name in names if '__pycache__' in name or 'test_' in name
                or 'some_script' in name]
    metadata, = (name for name in names if name.endswith('.dist-info/METADATA'))
    text = zipfile.ZipFile(wheel).read(metadata).decode()
    assert 'License: Apache-2.0\n' in text.replace('-Expression', '')
    assert 'Requires-Python: >=3.11,<3.12\n' in text and 'What it is.' in text
    assert [name for name in names if name.endswith('licenses/LICENSE')]


def test_wheel_carries_configs_and_tools_for_mim(checkout):
    assert_is_complete(build(checkout, 'bdist_wheel'))
    assert not (checkout / 'mmasvit/.mim').exists()  # the source tree stays as it is


def test_wheel_from_the_source_distribution_is_the_same(checkout, tmp_path):
    with tarfile.open(build(checkout, 'sdist')) as archive:
        archive.extractall(tmp_path / 'unpacked', filter='data')
    unpacked, = (tmp_path / 'unpacked').iterdir()
    assert_is_complete(build(unpacked, 'bdist_wheel'))


def test_removed_config_does_not_come_back(checkout):
    build(checkout, 'bdist_wheel').unlink()
    (checkout / 'configs/some_config.py').rename(checkout / 'configs/other_config.py')
    names = zipfile.ZipFile(build(checkout, 'bdist_wheel')).namelist()
    assert 'mmasvit/.mim/configs/other_config.py' in names
    assert 'mmasvit/.mim/configs/some_config.py' not in names


def declared():
    """Read what setup.py asks pip to install, and the extras."""
    program = ('from distutils.core import run_setup\n'
               'd = run_setup("setup.py", stop_after="init")\n'
               'print(repr((d.install_requires, d.extras_require)))')
    shown = subprocess.run([sys.executable, '-c', f'import setuptools\n{program}'],
                           cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return ast.literal_eval(shown.splitlines()[-1])


def test_nothing_of_the_user_is_replaced():
    required, _ = declared()
    for requirement in required:
        # No version: whatever is there will do.
        assert requirement.isidentifier()
        assert 'mm' not in requirement and 'torch' not in requirement


def foreign(folder):
    """What the files of a folder import that is neither Python's nor ours."""
    imported = set()
    ours = {'mmasvit'} | {path.stem for name in ('tools', 'scripts', 'tests')
                          for path in (ROOT / name).rglob('*.py')}
    for path in (ROOT / folder).rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.split('.')[0])
    return imported - set(sys.stdlib_module_names) - ours - BROUGHT_ALONG


@pytest.mark.parametrize('folder, chosen', [
    ('mmasvit', ['detection', 'export']), ('tools', ['detection']), ('tests', ['tests'])])
def test_every_import_is_declared(folder, chosen):
    required, extras = declared()
    required = required + [one for extra in chosen for one in extras[extra]]
    names = {requirement.split('>')[0] for requirement in required}
    assert foreign(folder) <= names


@pytest.mark.parametrize('name', ['small', 'base', 'large'])
def test_mmpretrain_knows_the_family_by_name(name):
    """What its metafile says is what is built."""
    import mmpretrain
    from mmpretrain.apis import ModelHub

    import mmasvit
    full = f'as-vit-{name}'
    assert full in mmpretrain.list_models('as-vit*')
    model, metadata = mmpretrain.get_model(full), ModelHub.get(full).metadata
    assert type(model.backbone) is mmasvit.AsViT
    assert metadata.parameters == sum(p.numel() for p in model.parameters())
    assert metadata.flops == model.backbone.count_macs((224, 224))
    mmasvit.register_all()  # importing twice stays harmless
