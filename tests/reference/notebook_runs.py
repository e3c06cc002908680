"""Runs a notebook in a new kernel of a process of its own."""

import subprocess
import sys

import nbformat

RUN = """
import sys, nbclient, nbformat
notebook = nbformat.reads(sys.stdin.read(), as_version=4)
resources = {"metadata": {"path": sys.argv[1]}}
nbclient.NotebookClient(notebook, timeout=240, kernel_name="python3", resources=resources).execute()
print(nbformat.writes(notebook))
"""


def execute(notebook, folder):
    """The notebook with the outputs of a run in a new kernel, from a process of its own.

    On a cell with widgets the client sometimes waits for a kernel that is done and idle (nbclient issue 312; with
    ipykernel 7.4 in each of three whole runs of these tests, with the 6.31 of constraints.txt in none). It is then run
    once more, from the first cell. A cell that hangs or fails by itself fails the test.
    """
    command = [sys.executable, "-W", "ignore", "-c", RUN, str(folder)]
    for last in (False, True):
        done = subprocess.run(command, input=nbformat.writes(notebook), capture_output=True, text=True)
        if done.returncode == 0 or last or "CellTimeoutError" not in done.stderr:
            break
    assert done.returncode == 0, done.stderr[-3000:]
    return nbformat.reads(done.stdout, as_version=4)


def claims(notebook, steps, folder):
    """The notebook as it was run with these cells after its own, and the lines that they print."""
    notebook.cells += [nbformat.v4.new_code_cell(step) for step in steps]
    made = execute(notebook, folder)
    cells = made.cells[-len(steps) :]
    printed = "".join(output.get("text", "") for cell in cells for output in cell.outputs)
    return made, printed.splitlines()


def pictures(notebook):
    """Outputs that hold a PNG."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output for output in outputs if "image/png" in output.get("data", {})]
