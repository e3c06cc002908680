"""What every test run shares: shape checks armed, no network, no display, seeded properties."""

import os
import shutil
from collections.abc import Iterator

# Before anything below imports matplotlib or a Hugging Face library.
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import pytest
from hypothesis import settings
from jaxtyping import config, install_import_hook

# Workers of pytest-xdist set it; a table in a pipe is as wide as without it.
os.environ.pop("COLUMNS", None)

# Shapes and types are checked at each call of these modules, under pytest only. The rooms without
# torch are left out: their refusal tests hand in wrong types on purpose, to read our own message.
CHECKED = ["clinometer.interpret", "reference.armed_shapes"]
install_import_hook(CHECKED, "shape_checks.checked")

# A time limit per example would make a loaded machine fail; a random seed would make a failure vanish.
settings.register_profile("clinometer", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("clinometer")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def pytest_configure(config: pytest.Config) -> None:
    """What `-W` says, for tests that run in a process of their own (`reference.other_device`)."""
    os.environ["CLINOMETER_TESTS_WARNINGS"] = "\n".join(config.getoption("pythonwarnings") or ())


@pytest.fixture
def shapes_unchecked() -> Iterator[None]:
    """For tests of torch.compile, which cannot trace through the checker of shapes."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what this machine has no device or no browser for."""
    for_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if for_gpu:
        import torch

        if not torch.cuda.is_available():
            for item in for_gpu:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))
    if not any(shutil.which(name) for name in BROWSERS):
        for item in items:
            if item.get_closest_marker("browser"):
                item.add_marker(pytest.mark.skip(reason=f"none of {', '.join(BROWSERS)} on PATH"))
