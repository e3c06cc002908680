"""Commands to begin with: doctor looks at the machine, init writes a policy to start from."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import OutputError, UsageError
from .flags import JSON
from .output import as_json, emit, emit_json, write
from .terminal import printable

if TYPE_CHECKING:
    from .machine import Extra, Machine
    from .proposed_policy import Proposal


def doctor(
    devices: Annotated[
        bool, typer.Option("--devices", help="Ask torch for its devices, too: it takes seconds to import.")
    ] = False,
    json: JSON = False,
) -> int:
    """What this machine has: versions, extras, devices, threads, fonts, disk; what will be slow, and why."""
    from .machine import machine
    from .records import plain

    here = machine(devices=devices)
    if json:
        emit_json(as_json({**plain(here), "slow": here.slow}))
    else:
        emit(_words(here))
    return 3 if here.missing else 0


def init(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="CSV or Parquet, one row per example.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to write.")] = Path("policy.toml"),
    force: Annotated[bool, typer.Option("--force", help="Replace a policy that is there.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what is proposed as JSON.")] = False,
) -> int:
    """Propose a commented policy.toml from the content of a data file. It gates nothing until somebody sets a tolerance."""
    if out.exists() and out.resolve() == data.resolve():
        raise UsageError(f"--out {out} is the file that is read. Name another.")
    if out.exists() and not force:
        raise OutputError(f"{out} exists. Name another file with --out, or replace it with --force.")
    from .bias.policy import read_policy
    from .proposed_policy import propose, to_toml

    made = propose(data)
    write(out, to_toml(made))
    read_policy(out)  # what is handed over can be read
    following = made.command(out)
    if json:
        emit_json(as_json({"proposal": made, "policy": str(out), "next": following}))
        return 0
    emit(_columns(made))
    emit(f"saved:  {out}: no tolerance is declared in it, so that nothing is gated yet\n")
    emit(f"next:   {printable(following)}\n")
    return 0


def _columns(made: "Proposal") -> str:
    """The role of every column, and why, one a line."""
    width = max(8, *(min(24, len(printable(name))) for name in made.reasons))
    lines = [
        f"columns of {Path(made.file).name}, {made.n:,} rows; proposed from their content, so read each line:"
    ]
    lines += [f"  {name:<{width}}  {why}" for name, why in made.reasons.items()]
    return "".join(f"{printable(line)}\n" for line in lines)


def _words(here: "Machine") -> str:
    from .machine import size

    lines = [f"clinometer {here.clinometer}, Python {here.python}, {here.platform}", ""]
    lines += ["packages"]
    lines += [
        f"  {one.name:<14} {one.version or 'MISSING'} ({one.asked} is asked for)" for one in here.packages
    ]
    lines += ["", "extras"]
    lines += [f"  {one.name:<14} {_extra(one)}" for one in here.extras]
    lines += ["", "machine"]
    lines.append(f"  {'CPUs':<14} {here.cpus:g} may be used, of {here.cpus_of_machine}")
    lines.append(f"  {'threads':<14} OMP_NUM_THREADS is {here.threads_asked or 'not set'}")
    lines.append(f"  {'memory':<14} {size(here.memory_free)} free of {size(here.memory)}")
    lines += [f"  {'disk':<14} {size(free)} free for {place}" for place, free in here.disk_free.items()]
    if here.devices is None:
        driver = "an NVIDIA driver is here" if here.driver else "no NVIDIA driver"
        lines.append(f"  {'devices':<14} {driver}; --devices asks torch")
    else:
        lines += [
            f"  {'device':<14} {one.name}: {one.what}, {size(one.memory)} of memory" for one in here.devices
        ]
    weasyprint = not any("weasyprint" in one.missing for one in here.extras)
    lines.append(f"  {'PDF':<14} {here.browser or ('weasyprint' if weasyprint else 'nothing can print one')}")
    said = {True: "yes", False: "no", None: "not known (there is no fc-list)"}
    lines.append(
        f"  {'fonts':<14} " + ", ".join(f"{script}: {said[there]}" for script, there in here.fonts.items())
    )
    lines += ["", "what will be slow or missing here, and why" if here.slow else "nothing here will be slow"]
    lines += [f"  - {line}" for line in here.slow]
    return "".join(f"{printable(line)}\n" for line in lines)


def _extra(one: "Extra") -> str:
    if not one.missing:
        return ", ".join(f"{package.name} {package.version}" for package in one.packages)
    return f"missing {', '.join(one.missing)}: {one.install}"
