"""The house keeps its rules: folders, names, imports, captions, armed shape checks, one truth per line."""

import ast
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from project_files import ROOT, packaged_folders, project_files

import clinometer

CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS = packaged_folders(CONFIGURATION)
NOT_PACKAGED = {"tests", "benchmarks", "notebooks", "docs", "changes"}
FILES = project_files()
MODULES = [f for f in FILES if f.suffix == ".py" and f.parts[0] not in NOT_PACKAGED]
PYTHON = [f for f in FILES if f.suffix == ".py"]
NOTEBOOKS = [f for f in FILES if f.suffix == ".ipynb"]
MARKDOWN = [f for f in FILES if f.suffix == ".md"]


def read(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def python(code: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter, in a folder that is not the checkout."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", cwd=cwd, timeout=300, check=False
    )


# Folders


def test_packaged_folders_are_the_real_folders() -> None:
    assert {f.parent for f in MODULES} == set(FOLDERS.values())


def test_every_packaged_folder_is_a_package() -> None:
    assert [f for f in FOLDERS.values() if not (ROOT / f / "__init__.py").is_file()] == []


def test_every_file_in_a_room_is_code_or_declared_package_data() -> None:
    declared: dict[str, list[str]] = CONFIGURATION["tool"]["setuptools"]["package-data"]
    data = {
        path.relative_to(ROOT)
        for package, patterns in declared.items()
        for pattern in patterns
        for path in (ROOT / FOLDERS[package]).glob(pattern)
    }
    rooms = {folder.parts[0] for folder in FOLDERS.values() if folder.parts}
    stray = [f for f in FILES if f.parts[0] in rooms and f.suffix != ".py" and f not in data]
    assert stray == [], "neither a module nor named in [tool.setuptools.package-data]"


def test_the_link_that_mypy_follows_is_there() -> None:
    link = ROOT / ".typecheck" / "clinometer"
    assert link.resolve() == ROOT


# Names


@pytest.mark.parametrize("path", PYTHON, ids=str)
def test_no_file_is_called_after_nothing(path: Path) -> None:
    forbidden = {"utils", "util", "helpers", "helper", "common", "base", "core", "misc"}
    assert not forbidden & {path.stem, *path.parts[:-1]}


@pytest.mark.parametrize("path", PYTHON, ids=str)
def test_every_module_has_a_caption(path: Path) -> None:
    caption = ast.get_docstring(ast.parse(read(path)))
    assert caption, f"{path} has no docstring"
    first_line = caption.splitlines()[0]
    assert first_line.endswith((".", ":", "?"))
    assert len(first_line) <= 110


@pytest.mark.parametrize("path", PYTHON, ids=str)
def test_annotations_are_not_postponed(path: Path) -> None:
    imported = [n for n in ast.walk(ast.parse(read(path))) if isinstance(n, ast.ImportFrom)]
    assert "__future__" not in {node.module for node in imported}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_module_is_unfinished(path: Path) -> None:
    text = read(path)
    assert not re.search(r"\b(TODO|FIXME|XXX)\b|NotImplemented", text)


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    machine = re.compile(r"(?<![\w.:/])/(?:work|opt|root|home|Users|tmp)/\w")
    text = [f for f in FILES if f.suffix in {".py", ".md", ".toml", ".txt", ".ipynb", ".j2", ".yaml"}]
    assert [str(f) for f in text if machine.search(read(f))] == []


# Public names


def test_every_public_name_resolves() -> None:
    constants_first = sorted(clinometer.__all__, key=lambda name: (not name.isupper(), name))
    assert constants_first == list(clinometer.__all__)
    for name in clinometer.__all__:
        assert getattr(clinometer, name) is not None
        assert name in dir(clinometer)


@pytest.mark.parametrize("name", ["load", "wrap", "trace", "attribute", "audit", "review", "Evidence"])
def test_the_names_of_the_readme_are_public(name: str) -> None:
    assert name in clinometer.__all__


def test_type_checkers_see_the_public_names() -> None:
    tree = ast.parse(read(Path("__init__.py")))
    seen = {
        alias.asname
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == set(clinometer.__all__)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'atribute'"):
        _ = clinometer.atribute


# Imports


def test_import_contract() -> None:
    tool = shutil.which("lint-imports", path=str(Path(sys.executable).parent)) or shutil.which("lint-imports")
    if tool is None:
        pytest.skip("import-linter is not installed")
    command = [tool, "--no-cache", "--config", str(ROOT / "pyproject.toml")]
    checked = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


LOADED = """
import sys
heavy = {"torch", "transformers", "captum", "fairlearn", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""
COMMAND = """
import sys
from clinometer.cli import main
try:
    code = main()
except SystemExit as leave:
    code = leave.code
"""


@pytest.mark.parametrize(
    "module",
    [
        "",
        ".records",
        ".errors",
        ".evidence",
        ".sources",
        ".counting",
        ".cli",
        ".terminal",
        ".bias",
        ".interpret",
        ".visualizers",
    ],
)
def test_importing_loads_no_torch(module: str, tmp_path: Path) -> None:
    ran = python(f"import clinometer{module}{LOADED}", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr


def test_no_module_of_bias_loads_torch(tmp_path: Path) -> None:
    """In one interpreter, one after another, so that the first that loads it is the one named."""
    names = [f"clinometer.bias.{f.stem}" for f in MODULES if f.parts[0] == "bias" and f.stem != "__init__"]
    assert len(names) > 50
    code = "".join(f"import {name}{LOADED}" for name in sorted(names))
    ran = python(code, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["audit", "--help"]], ids=" ".join)
def test_help_and_version_load_no_torch(arguments: list[str], tmp_path: Path) -> None:
    ran = python(COMMAND + LOADED + "sys.exit(code)", *arguments, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()


def test_the_audit_of_a_file_loads_no_torch(tmp_path: Path) -> None:
    rows = [f"{i},{i % 2},{i % 3 % 2},{'ab'[i % 5 % 2]}" for i in range(200)]
    (tmp_path / "predictions.csv").write_text(
        "\n".join(["id,label,predicted,group", *rows]), encoding="utf-8"
    )
    arguments = [
        "audit",
        "predictions.csv",
        "--label",
        "label",
        "--prediction",
        "predicted",
        "--group",
        "group",
        "--json",
    ]
    ran = python(COMMAND + LOADED + "sys.exit(code)", *arguments, cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert json.loads(ran.stdout)


def test_negative_control_of_the_loads_no_torch_tests(tmp_path: Path) -> None:
    ran = python(f"import torch{LOADED}", cwd=tmp_path)
    assert ran.returncode != 0
    assert "{'torch'}" in ran.stderr


def test_the_command_runs_as_a_module(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "clinometer.cli", "--version"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ran.returncode == 0, ran.stderr
    assert CONFIGURATION["project"]["version"] in ran.stdout


# Shape checks


def test_shape_checks_are_armed() -> None:
    from reference.armed_shapes import rows_sum, scaled, transposed

    attention, value = np.full((2, 3), 1 / 3), np.ones((3, 4))
    assert rows_sum(attention, value).shape == (2, 4)
    with pytest.raises(Exception, match="key"):
        rows_sum(attention, np.ones((5, 4)))
    with pytest.raises(Exception, match="column"):
        transposed(value)
    assert transposed(np.ones((3, 3))).shape == (3, 3)
    assert scaled(value, 2).sum() == 24
    with pytest.raises(Exception, match="factor"):
        scaled(value, "2")


@pytest.mark.parametrize(
    "path", [f for f in MODULES if f.parts[0] == "interpret" and f.stem != "__init__"], ids=str
)
def test_shape_checks_are_armed_where_torch_lives(path: Path) -> None:
    if path.stem == "triton_reductions":
        pytest.importorskip(
            "triton", reason="Triton is not installed (it comes with torch's builds for CUDA)"
        )
    module = importlib.import_module(f"clinometer.interpret.{path.stem}")
    assert module.__spec__ is not None
    assert type(module.__spec__.loader).__module__.startswith("jaxtyping")


def test_shape_checks_can_be_set_aside(shapes_unchecked: None) -> None:
    from reference.armed_shapes import transposed

    assert transposed(np.ones((3, 4))).shape == (4, 3)


def test_shape_checks_stay_with_pytest(tmp_path: Path) -> None:
    code = "import sys, clinometer.interpret.models; assert 'beartype' not in sys.modules"
    ran = python(code, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr


# One truth per line


def readme_lines() -> list[str]:
    return re.findall(r"^pip install -c .*$", read(Path("README.md")), flags=re.MULTILINE)


def test_the_readme_holds_the_two_lines() -> None:
    lines = readme_lines()
    assert 'pip install -c constraints.txt ".[demo]" && clinometer demo' in lines
    assert 'pip install -c constraints.txt -e ".[dev]" && pytest' in lines


def test_ci_runs_the_readmes_lines_and_none_of_its_own() -> None:
    script = read(Path(".ci/run"))
    wanted = re.findall(r"^\w+=\$\(readme_line '(.*)'\)$", script, flags=re.MULTILINE)
    assert len(wanted) == 2
    for pattern in wanted:
        assert len([line for line in readme_lines() if re.search(pattern, line)]) == 1
    assert not re.search(r"^\s*pip install", script, flags=re.MULTILINE)


@pytest.mark.parametrize("script", ["run", "deep"])
def test_ci_scripts_can_be_run(script: str) -> None:
    path = ROOT / ".ci" / script
    assert os.access(path, os.X_OK)
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    assert subprocess.run([bash, "-n", str(path)], check=False).returncode == 0


def test_every_core_dependency_has_its_row_in_the_decision() -> None:
    table = read(Path("docs/decisions/0001-dependencies.md"))
    rows = re.findall(r"^\| `([\w-]+)` \|", table, flags=re.MULTILINE)
    core = [Requirement(line).name for line in CONFIGURATION["project"]["dependencies"]]
    assert rows == core


@pytest.mark.parametrize(
    "extra", ["core", "demo", "notebook", "fast", "devices", "adapters", "quantised", "images", "docs", "dev"]
)
def test_constraints_pin_what_is_required(extra: str) -> None:
    pinned = {}
    for line in read(Path("constraints.txt")).splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            (exact,) = requirement.specifier
            assert exact.operator == "=="
            pinned[canonicalize_name(requirement.name)] = exact.version
    project = CONFIGURATION["project"]
    lines = project["dependencies"] if extra == "core" else project["optional-dependencies"][extra]
    for line in lines:
        requirement = Requirement(line)
        if requirement.name != "clinometer":
            assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)])


def test_the_dev_extra_brings_what_no_test_should_skip_for() -> None:
    (own,) = [
        Requirement(line)
        for line in CONFIGURATION["project"]["optional-dependencies"]["dev"]
        if Requirement(line).name == "clinometer"
    ]
    assert own.extras == {"demo", "notebook", "fast", "devices", "adapters", "images", "docs"}


@pytest.mark.parametrize("path", MARKDOWN, ids=str)
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", read(path))
    assert [link for link in links if not (ROOT / path.parent / link).exists()] == []


def test_the_map_of_changes_names_files_that_exist() -> None:
    rows = [line for line in read(Path("CONTRIBUTING.md")).splitlines() if line.startswith("|")]
    named = {name for row in rows for name in re.findall(r"`([\w./]+/[\w./]*|\w+\.\w+)`", row)}
    assert named, "the map is gone"
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=str)
def test_notebook_is_stored_without_outputs(path: Path) -> None:
    notebook = json.loads(read(path))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [i for i, cell in enumerate(code) if cell["outputs"] or cell["execution_count"]] == []
    assert "widgets" not in notebook["metadata"]


def test_every_step_of_the_long_work_is_described_and_written() -> None:
    script = (ROOT / ".ci" / "deep").read_text(encoding="utf-8")
    named = re.search(r"^steps=\((.*)\)$", script, re.MULTILINE)
    assert named is not None
    steps = named[1].split()
    assert steps == re.findall(r"^    \[(\w+)\]=", script, re.MULTILINE)
    assert steps == re.findall(r"^step_(\w+)\(\) \($", script, re.MULTILINE)
    said = subprocess.run([ROOT / ".ci" / "deep", "nothing"], capture_output=True, text=True, check=False)
    assert said.returncode == 2 and "there is no step nothing; there are: wheel" in said.stderr
