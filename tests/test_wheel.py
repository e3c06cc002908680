"""The wheel holds every folder, template and marker of the package: no more, no less."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from project_files import ROOT, packaged_folders, project_files

CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS = packaged_folders(CONFIGURATION)


def build(kind: str, into: Path) -> Path:
    """Build from a copy of the project's files, so that nothing is left in the checkout."""
    source = into / "source"
    for path in project_files():
        target = source / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, target)
    command = [sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", str(into / "dist")]
    built = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (result,) = (into / "dist").iterdir()
    return result


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def held(wheel: Path) -> set[str]:
    """What lies in the wheel's own folder, relative to it."""
    with zipfile.ZipFile(wheel) as archive:
        names = [Path(name) for name in archive.namelist()]
    assert {name.parts[0] for name in names} == {"clinometer", f"{wheel.name.split('-py3')[0]}.dist-info"}
    return {name.relative_to("clinometer").as_posix() for name in names if name.parts[0] == "clinometer"}


def test_the_wheel_holds_the_package_and_nothing_else(held: set[str]) -> None:
    folders = set(FOLDERS.values())
    modules = {f.as_posix() for f in project_files() if f.suffix == ".py" and f.parent in folders}
    templates = {
        f.as_posix()
        for f in project_files()
        if f.match("visualizers/templates/*") or f.match("visualizers/static/*")
    }
    assert templates
    assert held == modules | templates | {"py.typed"}


@pytest.mark.parametrize("folder", FOLDERS.values(), ids=str)
def test_the_wheel_holds_every_folder(folder: Path, held: set[str]) -> None:
    assert (folder / "__init__.py").as_posix() in held


def test_the_wheel_holds_no_tests_and_no_notebooks(held: set[str]) -> None:
    assert not {name.split("/")[0] for name in held} & {"tests", "notebooks", "benchmarks", "docs", "changes"}


def test_the_wheel_names_its_command_and_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name.split("/", 1)[1]: name for name in archive.namelist() if ".dist-info/" in name}
        command = archive.read(names["entry_points.txt"]).decode()
        metadata = archive.read(names["METADATA"]).decode()
    assert "clinometer = clinometer.cli:main" in command
    assert "licenses/LICENSE" in names
    assert "License-Expression: Apache-2.0" in metadata


def test_the_wheel_imports_from_where_it_lies(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import clinometer, clinometer.bias, clinometer.interpret, clinometer.visualizers, clinometer.cli;"
        "print(clinometer.__file__)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
    )
    assert ran.returncode == 0, ran.stderr
    assert Path(ran.stdout.strip()).is_relative_to(tmp_path / "site")


def test_the_sdist_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    sdist = build("sdist", tmp_path)
    shutil.unpack_archive(sdist, tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path / "again"),
    ]
    built = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(tmp_path / "again" / wheel.name) as two:
        assert sorted(one.namelist()) == sorted(two.namelist())
