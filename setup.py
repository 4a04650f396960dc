"""Packaging of mmasvit.

``install_requires`` names no mm package and no torch on purpose: mmdet and mmpretrain
exist as originals and as maintained forks under other names, and pip would install one
beside (that is, over) the other. Whoever installs mmasvit has one of them already;
``requirements/`` pins a complete environment for those who have none.
"""
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
MIM_FOLDERS = ('configs', 'tools')
EXPORT = ['onnx>=1.19', 'onnxruntime', 'onnxscript']
DETECTION = ['pycocotools>=2.0.11', 'shapely']


class BuildPyWithMim(build_py):
    """Put what ``mim`` looks for into ``mmasvit/.mim`` of the built package.

    It goes straight into the build directory: the source tree stays as it is.
    """

    def run(self):
        super().run()
        if self.editable_mode:  # the checkout itself has the folders
            return
        mim = Path(self.build_lib, 'mmasvit', '.mim')
        for folder in MIM_FOLDERS:
            shutil.rmtree(mim / folder, ignore_errors=True)
            shutil.copytree(ROOT / folder, mim / folder,
                            ignore=shutil.ignore_patterns('__pycache__', '*.pyc'))
        shutil.copy2(ROOT / 'model-index.yml', mim)


def version():
    """Read the version without importing the package, which would need torch."""
    names = {}
    exec((ROOT / 'mmasvit' / 'version.py').read_text(), names)
    return names['__version__']


setup(
    name='mmasvit',
    version=version(),
    description='The As-ViT family for OpenMMLab: backbones, topology search, scaling',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='mmasvit authors',
    license='Apache-2.0',
    license_files=['LICENSE'],
    keywords='vision transformer, object detection, neural architecture search, '
             'OpenMMLab',
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3 :: Only',
        'Programming Language :: Python :: 3.11',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
    packages=find_packages(include=['mmasvit', 'mmasvit.*']),
    package_data={'mmasvit.report': ['page.html', 'page.css']},
    cmdclass={'build_py': BuildPyWithMim},
    python_requires='>=3.11,<3.12',  # what an install has shown
    install_requires=['jinja2', 'markupsafe', 'matplotlib', 'numpy', 'orjson', 'rich',
                      'scipy', 'simplejpeg'],
    extras_require={
        'detection': DETECTION,
        'export': EXPORT,
        'tests': [*DETECTION, *EXPORT, 'pytest', 'pytest-xdist', 'hypothesis'],
    },
    zip_safe=False,
)
