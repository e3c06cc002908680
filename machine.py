"""What this machine has for clinometer, and what will be slow, and why; nothing heavy is imported for it."""

import importlib.metadata
import math
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .pdf_files import browser

SCRIPTS = {"Chinese and Japanese": ":lang=ja", "Arabic": ":lang=ar", "emoji": ":charset=1f600"}
FONT_PACKAGES = "fonts-noto-core fonts-noto-cjk fonts-noto-color-emoji"
FOR_DEVELOPERS = ("dev", "docs")
LITTLE_MEMORY = 4 * 1024**3
LITTLE_DISK = 2 * 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package that clinometer asks for: the version that is here, None where there is none."""

    name: str
    version: str | None
    asked: str  # as in ">=2.13"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """Something optional: what it needs, what of that is missing, and the line that installs it."""

    name: str
    packages: tuple[Package, ...]
    install: str

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of packages that are not here."""
        return tuple(one.name for one in self.packages if one.version is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Something a model can run on."""

    name: str  # as --device takes it
    what: str
    memory: int | None  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What is here. Sizes are bytes; None where this system does not say."""

    clinometer: str
    python: str
    platform: str
    packages: tuple[Package, ...]
    extras: tuple[Extra, ...]
    cpus: float  # that this process may use; a container may be given a part of one
    cpus_of_machine: int
    threads_asked: str | None  # OMP_NUM_THREADS
    memory: int | None
    memory_free: int | None
    disk_free: dict[str, int | None]  # of the cache of models, of temporary files
    devices: tuple[Device, ...] | None  # None: torch was not asked
    driver: bool  # of NVIDIA
    browser: str | None  # that can print a PDF
    fonts: dict[str, bool | None]  # script -> whether a font for it is here

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of packages without which something does not run."""
        return tuple(one.name for one in self.packages if one.version is None)

    @property
    def slow(self) -> tuple[str, ...]:
        """What will be slow here, or not work, and why, with the way out."""
        return tuple(_slow(self))


def machine(*, devices: bool = False) -> Machine:
    """Look at this machine.

    Args:
        devices: ask torch for its devices, which imports it: seconds.
    """
    packages, extras = _packages()
    free, total = _memory()
    return Machine(
        clinometer=importlib.metadata.version("clinometer"),
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        packages=packages,
        extras=extras,
        cpus=_cpus(),
        cpus_of_machine=os.cpu_count() or 1,
        threads_asked=os.environ.get("OMP_NUM_THREADS"),
        memory=total,
        memory_free=free,
        disk_free={"cache of models": _disk(_cache()), "temporary files": _disk(Path(tempfile.gettempdir()))},
        devices=_devices() if devices else None,
        driver=Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None,
        browser=None if (found := browser()) is None else Path(found).name,
        fonts=_fonts(),
    )


def _packages() -> tuple[tuple[Package, ...], tuple[Extra, ...]]:
    core: list[Package] = []
    of_extras: dict[str, list[Package]] = {}
    for line in importlib.metadata.requires("clinometer") or ():
        asked, _, marker = line.partition(";")
        named = re.match(r"\s*([A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*(.*)", asked)
        extra = re.search(r"""extra\s*==\s*['"]([^'"]+)['"]""", marker)
        if named is None or named[1] == "clinometer":
            continue
        package = Package(name=named[1], version=_version(named[1]), asked=named[2].strip(" ()"))
        (core if extra is None else of_extras.setdefault(extra[1], [])).append(package)
    extras = tuple(
        Extra(name=name, packages=tuple(needs), install=f'pip install "clinometer[{name}]"')
        for name, needs in of_extras.items()
        if name not in FOR_DEVELOPERS
    )
    return tuple(core), extras


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpus() -> float:
    """CPUs that this process may use: its affinity, and the share that a container is given."""
    allowed = (
        float(len(os.sched_getaffinity(0)))
        if hasattr(os, "sched_getaffinity")
        else float(os.cpu_count() or 1)
    )
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return allowed
    return allowed if quota == "max" else min(allowed, int(quota) / int(period))


def _memory() -> tuple[int | None, int | None]:
    """Bytes that are free, and bytes there are."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        lines = []
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if len(line.split()) > 2}
    if "MemTotal" in sizes:
        return sizes.get("MemAvailable"), sizes["MemTotal"]
    try:
        return None, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None, None


def _cache() -> Path:
    """Where Hugging Face keeps models."""
    named = os.environ.get("HF_HOME")
    return Path(named) if named else Path.home() / ".cache" / "huggingface"


def _disk(folder: Path) -> int | None:
    """Bytes free where this folder is, or would be."""
    for place in (folder, *folder.parents):
        if place.exists():
            try:
                return shutil.disk_usage(place).free
            except OSError:
                return None
    return None


def _devices() -> tuple[Device, ...]:
    from importlib import import_module

    torch: Any = import_module("torch")
    found = [Device(name="cpu", what=platform.processor() or platform.machine(), memory=_memory()[1])]
    for place in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        about = torch.cuda.get_device_properties(place)
        found.append(Device(name=f"cuda:{place}", what=about.name, memory=int(about.total_memory)))
    if torch.backends.mps.is_available():
        found.append(Device(name="mps", what="Apple GPU", memory=None))
    return tuple(found)


def _fonts() -> dict[str, bool | None]:
    """Whether a font is here for scripts that DejaVu, which comes with matplotlib, does not have."""
    tool = shutil.which("fc-list")
    if tool is None:
        return dict.fromkeys(SCRIPTS)
    return {script: _listed([tool, pattern, "family"]) for script, pattern in SCRIPTS.items()}


def _listed(command: Sequence[str]) -> bool | None:
    try:
        ran = subprocess.run(command, capture_output=True, timeout=20, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return bool(ran.stdout.strip()) if ran.returncode == 0 else None


def _slow(here: Machine) -> list[str]:
    said = []
    if here.missing:
        said.append(f"{', '.join(here.missing)}: missing; what needs them stops. Install clinometer again.")
    said += _slow_devices(here) + _slow_threads(here)
    absent = {name for extra in here.extras for name in extra.missing}
    if "numba" in absent:
        said.append(
            'slices over many columns are searched with NumPy, slower than compiled: pip install "clinometer[fast]".'
        )
    if here.memory_free is not None and here.memory_free < LITTLE_MEMORY:
        said.append(
            f"{size(here.memory_free)} of memory are free: traces keep less (--max-memory says how much), and `count` "
            "works on disk."
        )
    for place, free in here.disk_free.items():
        if free is not None and free < LITTLE_DISK:
            said.append(f"{size(free)} of disk are free for {place}: saved traces and models may not fit.")
    if here.browser is None and "weasyprint" in absent:
        said.append(
            'no PDF can be printed: install Chromium, Chrome or Edge, or pip install "clinometer[pdf]".'
        )
    lacking = [script for script, there in here.fonts.items() if there is False]
    if lacking:
        said.append(
            f"names in {', '.join(lacking)} are drawn as boxes: install fonts, on Debian or Ubuntu {FONT_PACKAGES}."
        )
    return said


def _slow_devices(here: Machine) -> list[str]:
    torch = next((one.version for one in here.packages if one.name == "torch"), None)
    if here.devices is not None and any(one.name != "cpu" for one in here.devices):
        return []
    if here.driver and torch is not None and "+cpu" in torch:
        return [f"an NVIDIA driver is here and torch {torch} was built without CUDA: models run on the CPU."]
    if here.devices is None and here.driver:
        return []
    return [
        "no accelerator was found: models run on the CPU. Integrated gradients run a model some twenty times a row, "
        "faithfulness and `why` far more often; --rows takes fewer."
    ]


def _slow_threads(here: Machine) -> list[str]:
    usable = max(1, math.floor(here.cpus))
    asked = here.threads_asked
    if asked is None or not asked.isdigit():
        if here.cpus < here.cpus_of_machine:
            return [
                f"this process may use {here.cpus:g} of {here.cpus_of_machine} CPUs, and libraries start a thread for each "
                f"they see: set OMP_NUM_THREADS={usable}."
            ]
        return []
    if int(asked) < usable:
        return [f"OMP_NUM_THREADS is {asked}, and {usable} CPUs may be used: models run on {asked} of them."]
    if int(asked) > usable:
        return [f"OMP_NUM_THREADS is {asked}, and {usable} CPUs may be used: threads wait for one another."]
    return []


def size(amount: int | None) -> str:
    """Bytes as a person reads them."""
    if amount is None:
        return "unknown"
    return f"{amount / 1024**3:.1f} GiB" if amount >= 1024**3 else f"{amount / 1024**2:.0f} MiB"
