"""A page as a tagged PDF: printed by a Chromium that is installed, else by WeasyPrint."""

import os
import shutil
import subprocess
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from .errors import OutputError

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "msedge",
)
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-pdf-header-footer",
    "--generate-pdf-document-outline",
)
SECONDS = 180
# WeasyPrint 70 stops at some grids inside grids, and knows no clamp() of sizes: one below the other, parts say the same.
ONE_COLUMN = (
    ".frame,.three,.pair,dl.facts,dl.facts dl.facts{display:block!important}"
    ".three div+div{border-left:0!important;padding-left:0!important}dl.facts dd{margin-left:1em!important}"
    "h1{font-size:22pt!important}h2{font-size:15pt!important}.verdict .word{font-size:20pt!important}"
)
Printer = Literal["chromium", "weasyprint"]


def browser() -> str | None:
    """The first browser on PATH that can print, or None."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def printer() -> Printer | None:
    """What would print a page here, or None where nothing can."""
    if browser() is not None:
        return "chromium"
    return "weasyprint" if find_spec("weasyprint") is not None else None


def needed_printer() -> Printer:
    """What would print a page here.

    Raises:
        OutputError: nothing can; the message names both ways out.
    """
    found = printer()
    if found is None:
        raise OutputError(
            "nothing here can print a PDF. Install Chromium, Chrome or Edge so that it is found on PATH "
            f'({", ".join(BROWSERS[:3])}, ...), or WeasyPrint: pip install "clinometer[pdf]".'
        )
    return found


def save_pdf(page: str, target: Path, *, by: Printer | None = None) -> Printer:
    """Print a page of HTML; the file appears whole or not at all.

    Args:
        page: a whole HTML page that needs nothing beside it.
        target: the PDF file; one that is there is replaced.
        by: who prints; the first that is here unless said.

    Returns:
        Who printed it.

    Raises:
        OutputError: nothing here can print, the printing failed, or the file cannot be written.
    """
    chosen = by or needed_printer()
    try:
        with tempfile.TemporaryDirectory(
            prefix=".clinometer-pdf-", dir=target.parent.resolve(), ignore_cleanup_errors=True
        ) as folder:
            made = Path(folder) / "report.pdf"
            if chosen == "chromium":
                _by_chromium(page, made)
            else:
                _by_weasyprint(page, made)
            _whole(made)
            made.chmod(0o644)
            made.replace(target)
    except OSError as error:
        raise OutputError(
            f"{target} cannot be written: {error.strerror or error}. Name another folder with --out."
        ) from error
    return chosen


def _by_chromium(page: str, made: Path) -> None:
    found = browser()
    if found is None:
        raise OutputError(f"no Chromium is on PATH ({', '.join(BROWSERS)}).")
    source = made.with_suffix(".html")
    source.write_text(page, encoding="utf-8")
    command = [found, *FLAGS, f"--user-data-dir={made.parent / 'profile'}", f"--print-to-pdf={made}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--no-sandbox")  # Chromium does not start for root with its sandbox
    try:
        ran = subprocess.run(
            [*command, source.as_uri()],
            capture_output=True,
            timeout=SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise OutputError(f"{Path(found).name} did not print the page within {SECONDS} s.") from error
    if ran.returncode != 0 or not made.is_file():
        said = ran.stderr.decode("utf-8", "backslashreplace").strip().splitlines()[-1:] or ["it said nothing"]
        raise OutputError(
            f"{Path(found).name} could not print the page (exit code {ran.returncode}): {said[0]}"
        )


def _by_weasyprint(page: str, made: Path) -> None:
    try:
        weasyprint = import_module("weasyprint")
    except ImportError as error:
        raise OutputError(
            f'WeasyPrint cannot be imported: {error}. pip install "clinometer[pdf]".'
        ) from error
    except OSError as error:  # its libraries (Pango) are not Python packages
        raise OutputError(
            f"WeasyPrint lacks a library of the system: {error}. Its documentation says how to install Pango; or install "
            "Chromium."
        ) from error
    try:
        weasyprint.HTML(string=page, url_fetcher=_pictures_in_the_page(weasyprint)).write_pdf(
            made, stylesheets=[weasyprint.CSS(string=ONE_COLUMN)], pdf_variant="pdf/ua-1"
        )
    except Exception as error:  # whatever its layout stops at
        raise OutputError(
            f"WeasyPrint could not print the page ({type(error).__name__}: {error}). Install Chromium, which can."
        ) from error


def _pictures_in_the_page(weasyprint: Any) -> Any:
    """What WeasyPrint may fetch: pictures in the page itself, and nothing from outside."""
    by_class = getattr(weasyprint.urls, "URLFetcher", None)
    if by_class is not None:
        return by_class(allowed_protocols={"data"})

    def fetch(url: str, *more: Any, **named: Any) -> Any:
        if not url.startswith("data:"):
            raise ValueError(f"the page asks for {url}, and nothing is fetched")
        return weasyprint.default_url_fetcher(url, *more, **named)

    return fetch


def _whole(made: Path) -> None:
    """What was printed starts and ends as a PDF does."""
    written = made.read_bytes()
    if not written.startswith(b"%PDF-") or b"%%EOF" not in written[-1024:]:
        raise OutputError(
            "what was printed is no whole PDF. Print report.html from a browser, and please report it."
        )
