"""Results as a table in Markdown, and the machine in words."""

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from typing import Any

import torch

from .rounds import Middle

PACKAGES = ("clinometer", "torch", "transformers", "numba", "bertviz", "transformer-lens", "nnsight")


def machine(device: str) -> dict[str, Any]:
    """What the figures depend on, in general words."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "processors": len(os.sched_getaffinity(0)),
        "architecture": platform.machine(),
        "threads": torch.get_num_threads(),
        "device": "cpu" if device == "cpu" else torch.cuda.get_device_name(),
        "load": round(os.getloadavg()[0], 2),  # others' work at the start
        "versions": versions,
    }


def number(middle: Middle, sign: str = "") -> str:
    """A median with its interval."""
    if middle.low is None or middle.high is None:
        return f"{middle.median:{sign}.3f} (too few rounds)"
    return f"{middle.median:{sign}.3f} [{middle.low:{sign}.3f}, {middle.high:{sign}.3f}]"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns are aligned for reading as text."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (header, *rows)
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
