"""A JupyterLab of its own, and a browser that notes what went wrong and what came from outside."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from clinometer import demo
from clinometer.interpret.folders import save
from clinometer.interpret.preprocessing import TablePreprocessor
from clinometer.interpret.transformer import Architecture, Classifier

from .browsing import launched

# Without these, only the cells in view exist, and news are asked of a server outside.
SETTINGS = {
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
}
KERNEL_IS_READY = """() => {
    const kernel = window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel;
    return kernel?.connectionStatus === 'connected' && kernel?.status === 'idle';
}"""
CELLS_HAVE_RUN = (
    "count => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]"
    ".filter(p => /\\[\\d+\\]:/.test(p.textContent)).length === count"
)
# A server, a kernel and a browser are ended, not closed: what they leave open is theirs.
MARKS = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]


def untrained(folder: Path) -> None:
    """The demo's model before its first step: a notebook finds it, and has nothing to train."""
    parts = demo.applications(0)
    kinds = {kind: [f.name for f in demo.FEATURES if f.kind == kind] for kind in ("numeric", "categorical")}
    preprocessor = TablePreprocessor.fit(parts["train"].inputs, **kinds, logarithms=demo.LOGARITHMS)
    architecture = Architecture(
        kind="table", width=32, layers=3, heads=4, feed_forward=64, **preprocessor.shape()
    )
    torch.manual_seed(0)
    extra = {"name": "loanapp", "positive": "approved", "threshold": 0.0}
    save(folder, Classifier(architecture), preprocessor, labels=("denied", "approved"), extra=extra)


@contextmanager
def served(work: Path, own: Path) -> Iterator[tuple[str, str]]:
    """A server over the folder `work`, its settings in `own`: its address, and the token in an address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    settings = {
        name: str(own / name.lower())
        for name in (
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "JUPYTER_RUNTIME_DIR",
            "JUPYTERLAB_SETTINGS_DIR",
            "JUPYTERLAB_WORKSPACES_DIR",
            "IPYTHONDIR",
        )
    }
    configured = own / "jupyter_config_dir" / "labconfig"
    configured.mkdir(parents=True)
    (configured / "default_setting_overrides.json").write_text(json.dumps(SETTINGS))
    log = (own / "lab.log").open("w")
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
        env={**os.environ, **settings},
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
                assert server.poll() is None, (own / "lab.log").read_text()
                time.sleep(0.25)
        else:
            pytest.fail(f"JupyterLab did not answer: {(own / 'lab.log').read_text()}")
        yield home, token
    finally:
        server.terminate()
        server.wait(timeout=30)
        log.close()


@contextmanager
def opened(work: Path, own: Path, notebook: str) -> Iterator[tuple[Any, list[str], list[str]]]:
    """A browser's tab with a notebook of the folder and its kernel ready; errors of the console, requests to outside."""
    wrong: list[str] = []
    outside: list[str] = []
    with launched() as browser, served(work, own) as (home, token):
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
        tab.goto(f"{home}/doc/tree/{notebook}?token={token}&reset")
        tab.wait_for_selector(".jp-NotebookPanel .jp-Notebook", timeout=60_000)
        tab.wait_for_function(KERNEL_IS_READY, timeout=60_000)
        yield tab, wrong, outside
        browser.close()


def run_all(tab: Any, n_cells: int, *, timeout: int = 120_000) -> None:
    """Run every cell and wait until all have."""
    tab.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")
    tab.wait_for_function(CELLS_HAVE_RUN, arg=n_cells, timeout=timeout)
    assert tab.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']").count() == 0


def run_cell(tab: Any, place: int, *, timeout: int = 60_000) -> str:
    """Run one code cell again and give what it printed, if anything."""
    cell = tab.locator(".jp-CodeCell").nth(place)
    before = cell.locator(".jp-InputPrompt").text_content()
    cell.locator(".cm-content").click()
    tab.keyboard.press("Control+Enter")
    tab.wait_for_function(
        "([place, before]) => { const prompt = document.querySelectorAll('.jp-CodeCell')[place]"
        ".querySelector('.jp-InputPrompt').textContent; return prompt !== before && /\\[\\d+\\]:/.test(prompt) }",
        arg=[place, before],
        timeout=timeout,
    )
    return "".join(cell.locator(".jp-OutputArea-output").all_inner_texts())
