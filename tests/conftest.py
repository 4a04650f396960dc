"""What all tests share: a quiet log, few threads, and where the data lie."""
import logging
from pathlib import Path

import helpers
import pytest
import torch
from mmengine.logging import MMLogger

DATA = Path(__file__).parent / 'data'
SHARED = Path(__file__).resolve().parents[2] / 'shared'


def pytest_configure(config):
    config.addinivalue_line('markers', 'slow: takes more than about five seconds')


@pytest.fixture(scope='session', autouse=True)
def few_threads():
    """The networks here are small: on many cores threads would only wait."""
    torch.set_num_threads(min(torch.get_num_threads(), 4))


@pytest.fixture(autouse=True)
def seed():
    """Make a failure repeatable."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def own_globals():
    """Forget what a Runner leaves behind."""
    with helpers.own_globals():
        yield


@pytest.fixture(autouse=True)
def quiet_log(own_globals):
    """Drop mmengine's line per initialised tensor; ``log`` still sees the records."""
    for handler in MMLogger.get_current_instance().handlers:
        if type(handler) is logging.StreamHandler:
            handler.setLevel(logging.WARNING)


@pytest.fixture
def log(caplog):
    """Records of mmengine's logger, which does not propagate them."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    caplog.set_level(logging.INFO, logger=logger.name)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.fixture(scope='session')
def shared_dir():
    """The folder beside the checkout with data that is not part of it."""
    if not SHARED.is_dir():
        pytest.skip('needs ../shared beside the checkout')
    return SHARED


@pytest.fixture(scope='session')
def golden_path(request):
    """Path of a golden file by its name: ours, or else the shared one."""
    def find(name):
        path = DATA / f'{name}.npz'
        if not path.exists():
            path = request.getfixturevalue('shared_dir') / 'golden' / f'{name}.npz'
        if not path.exists():
            pytest.skip(f'needs ../shared/golden/{name}.npz')
        return path

    return find
