"""The commands: arguments in, printed words and exit codes out.

Exit code 1 means "the policy is not met" and nothing else, so every way out passes through `main`.
Everything heavy is imported inside the command that needs it: `--help` and `audit` load no torch.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

from .errors import ClinometerError, UsageError

INTERNAL, INTERRUPTED = 5, 130
try:
    import typer

    from . import change_commands, data_commands, model_commands
    from .output import emit
    from .terminal import printable
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

app = typer.Typer(
    name="clinometer",
    help="See where a Transformer leans, what makes it lean, and prove the fix.",
    epilog=EXIT_CODES,
    add_completion=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        emit(f"clinometer {version('clinometer')}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (or set CLINOMETER_DEBUG=1).")
    ] = False,
) -> None:
    pass


for _command in (
    data_commands.audit,
    change_commands.compare,
    change_commands.monitor,
    data_commands.slices,
    data_commands.count,
    data_commands.schema,
    model_commands.demo,
    model_commands.review,
    model_commands.trace,
    model_commands.attribute,
    model_commands.methods,
    model_commands.faithfulness,
    model_commands.why,
    model_commands.mitigate,
    model_commands.swap,
    model_commands.suite,
):
    app.command(epilog=EXIT_CODES)(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; every error becomes one paragraph on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given or os.environ.get("CLINOMETER_DEBUG", "") not in {"", "0"}
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a symbol that a terminal cannot show must not stop a gate
    command = typer.main.get_command(app)
    # BadParameter, UsageError, ClickException: typer has them from click, or from a copy of its own.
    click_error: Any = typer.BadParameter.__mro__[2]
    try:
        code = command.main(
            [item for item in given if item != "--debug"] or ["--help"],
            prog_name="clinometer",
            standalone_mode=False,
        )
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except SystemExit as leave:  # typer and rich leave with 1 where a pipe is broken: 1 has one meaning here
        return INTERNAL if leave.code else 0
    except ClinometerError as error:
        return _fail(str(error), error.exit_code, debug)
    except click_error as error:
        said = error.format_message().strip().rstrip(".")
        return _fail(f"{said}. See clinometer --help.", UsageError.exit_code, debug)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return _fail(
            f"something this project did not foresee: {reason}. Run it again with --debug to see where, "
            "and please report it.",
            INTERNAL,
            debug,
        )
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"error: {printable(' '.join(message.split()))}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
