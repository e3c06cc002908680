"""The commands: arguments in, printed words and exit codes out.

Exit code 1 means "the policy is not met" and nothing else, so every way out passes through `main`.
Everything heavy is imported inside the command that needs it: `--help` and `audit` load no torch.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from .errors import ClinometerError, UsageError

INTERNAL, INTERRUPTED = 5, 130
# What is written appears whole or not at all, so this is true of every command that adds no note of its own.
NOTHING_HALF = "no file is half written, and the same line may be typed again."
try:
    import typer

    from . import (
        change_commands,
        data_commands,
        evidence_commands,
        explore_commands,
        gap_commands,
        model_commands,
        report_commands,
        setup_commands,
        trust_commands,
    )
    from .command_examples import EXAMPLES
    from .output import emit
    from .terminal import printable
except KeyboardInterrupt:  # while this file is imported, before main() can say so
    raise SystemExit(INTERRUPTED) from None
except ImportError as broken:  # a console entry imports this file before main() can give the failure its code
    print(f"error: the installation is broken: {broken}. Install clinometer again.", file=sys.stderr)
    raise SystemExit(INTERNAL) from broken

EXIT_CODES = """\
Exit codes:

0  the policy is met, or no tolerance was declared and nothing was gated

1  the policy is not met: never anything else

2  usage: a flag, an argument or the policy is wrong

3  input: the data or the model cannot be used, or the result cannot be written

4  inconclusive, or not assessed

5  internal error: please report it

130  interrupted"""
SETTINGS = """\
Settings: the command line goes before the environment (CLINOMETER_VERB_FLAG, as in CLINOMETER_REVIEW_DEVICE=cuda), the \
environment before --config, and that before the defaults."""

app = typer.Typer(
    name="clinometer",
    help="See where a Transformer leans, what makes it lean, and prove the fix.",
    epilog=f"{EXIT_CODES}\n\n{SETTINGS}",
    context_settings={"auto_envvar_prefix": "CLINOMETER"},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        emit(f"clinometer {version('clinometer')}\n")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_version,
            is_eager=True,
            allow_from_autoenv=False,
            help="Print the version and leave.",
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            allow_from_autoenv=False,
            help="Show the traceback of an error (or set CLINOMETER_DEBUG=1).",
        ),
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings: a TOML file with a table for each verb, as [audit]."),
    ] = None,
) -> None:
    if config is not None:
        from .run_settings import read_settings

        context.default_map = read_settings(config, _flags(context))


def _flags(context: typer.Context) -> dict[str, dict[str, str]]:
    """Verb -> flag without its dashes -> the parameter's name."""
    commands: dict[str, Any] = context.command.commands  # type: ignore[attr-defined]
    return {
        verb: {
            option.removeprefix("--"): parameter.name
            for parameter in command.params
            for option in parameter.opts
            if option.startswith("--") and option != "--help"
        }
        for verb, command in commands.items()
    }


def _epilog(verb: str) -> str:
    """Examples, each a paragraph of its own, then the exit codes."""
    shown = "\n\n".join(line.replace("[", "\\[") for line in EXAMPLES[verb])
    return f"Examples:\n\n{shown}\n\n{EXIT_CODES}"


for _command in (
    data_commands.audit,
    change_commands.compare,
    change_commands.monitor,
    data_commands.slices,
    data_commands.count,
    data_commands.schema,
    setup_commands.init,
    setup_commands.doctor,
    model_commands.demo,
    model_commands.review,
    evidence_commands.evidence,
    report_commands.report,
    report_commands.card,
    trust_commands.verify,
    explore_commands.explain,
    model_commands.trace,
    model_commands.attribute,
    model_commands.methods,
    model_commands.faithfulness,
    gap_commands.why,
    gap_commands.mitigate,
    gap_commands.swap,
    gap_commands.suite,
):
    app.command(epilog=_epilog(_command.__name__))(_command)


def built() -> Any:
    """The command that `app` describes. The name of each flag's variable is said once, under Settings, not at each."""
    command: Any = typer.main.get_command(app)
    for one in (command, *command.commands.values()):
        for parameter in one.params:
            if hasattr(parameter, "show_envvar"):
                parameter.show_envvar = False
    invoke = command.invoke

    def interruptible(context: Any) -> Any:
        try:
            return invoke(context)
        except KeyboardInterrupt as stopped:  # typer would make an exit code of it, and lose what it says
            raise _Interrupted(*stopped.args) from None

    command.invoke = interruptible
    return command


class _Interrupted(Exception):
    """Ctrl-C, with what the command says is left."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; every error becomes one paragraph on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given or os.environ.get("CLINOMETER_DEBUG", "") not in {"", "0"}
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a symbol that a terminal cannot show must not stop a gate
    # BadParameter, UsageError, ClickException: typer has them from click, or from a copy of its own.
    click_error: Any = typer.BadParameter.__mro__[2]
    try:
        code = built().main(
            [item for item in given if item != "--debug"] or ["--help"],
            prog_name="clinometer",
            standalone_mode=False,
        )
    except (_Interrupted, KeyboardInterrupt, typer.Abort) as stopped:
        return _interrupted(str(stopped))
    except SystemExit as leave:  # typer and rich leave with 1 where a pipe is broken: 1 has one meaning here
        return INTERNAL if leave.code else 0
    except ClinometerError as error:
        return _fail(str(error), error.exit_code, debug)
    except click_error as error:
        return _fail(_misuse(error), UsageError.exit_code, debug)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return _fail(
            f"something this project did not foresee: {reason}. Run it again with --debug to see where, "
            "and please report it.",
            INTERNAL,
            debug,
        )
    if code == INTERRUPTED:  # typer's own, while it reads arguments
        return _interrupted("")
    return code if isinstance(code, int) else 0


def _interrupted(said: str) -> int:
    """One line on what is left, on a line of its own whatever a progress bar has drawn."""
    print(f"\ninterrupted: {printable(' '.join(said.split()) or NOTHING_HALF)}", file=sys.stderr)
    return INTERRUPTED


def _misuse(error: Any) -> str:
    """What was wrong about a verb, a flag or a value, the nearest that exists, and where to read on."""
    near = sorted(getattr(error, "possibilities", None) or ())
    said = str(error.message if near else error.format_message()).strip().rstrip(".")
    if near:
        said = f"{said}: did you mean {' or '.join(near)}?"
    context = getattr(error, "ctx", None)
    where = "clinometer" if context is None else context.command_path
    return f"{said}{'' if said.endswith('?') else '.'} See {where} --help."


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"error: {printable(' '.join(message.split()))}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
