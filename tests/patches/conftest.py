"""Small networks, one thread."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread():
    """Small networks are fastest on one thread; on a busy machine many times over."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
