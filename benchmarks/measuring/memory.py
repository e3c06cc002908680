"""Memory: what there is, and by how much that of a fresh process grows while one way runs once."""

import gc
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from .settings import SHORT, Setting, inputs, model
from .ways import WAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """What one run of one way held at once."""

    grown: int  # bytes beyond the model and what a short run has loaded
    whole: int  # bytes of the whole process, or all that torch holds on the device
    seconds: float


def available(device: str) -> int:
    """Bytes that can still be taken."""
    if device != "cpu":
        return int(torch.cuda.mem_get_info()[0])
    for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system does not say how much memory is available (/proc/meminfo)")


@torch.no_grad()
def measure_here(way: str, setting: Setting) -> Peak:
    """Run one way once in this process, which must be a fresh one."""
    run = WAYS[way].prepare(setting, model(setting))
    run(inputs(setting, min(SHORT, setting.length)))
    given = inputs(setting)
    gc.collect()
    if setting.device != "cpu":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak counts anew from here
        before = _resident("VmRSS")
    started = time.perf_counter()
    held = run(given)
    if setting.device != "cpu":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    whole = torch.cuda.max_memory_allocated() if setting.device != "cpu" else _resident("VmHWM")
    del held
    return Peak(grown=max(0, whole - before), whole=whole, seconds=seconds)


def measure(script: str, way: str, setting: Setting) -> Peak | str:
    """Run one way once in a process of its own; what went wrong where it did not end well."""
    command = [sys.executable, script, "--peak-of", way, "--setting", json.dumps(asdict(setting))]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        return f"the process ended with {done.returncode}: {last[0]}"
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return Peak(**found)


def _resident(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"this system does not report {name} of a process (/proc/self/status)")
