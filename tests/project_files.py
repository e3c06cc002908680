"""Which files belong to the project: what git tracks or would track, else what lies in its folders."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = {"__pycache__", "build", "dist", "venv", "runs", "clinometer-demo", "clinometer-review"}


@cache
def project_files() -> tuple[Path, ...]:
    """Paths relative to the repository root, sorted; the link `.typecheck/clinometer` is not followed."""
    git = shutil.which("git")
    if git and (ROOT / ".git").exists():
        listed = subprocess.run(
            [git, "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout.decode()
        names = {Path(name) for name in listed.split("\0") if name}
        return tuple(sorted(name for name in names if (ROOT / name).is_file()))
    found = []
    for path in ROOT.rglob("*"):
        relative = path.relative_to(ROOT)
        hidden = any(part.startswith(".") or part.endswith(".egg-info") for part in relative.parts[:-1])
        if path.is_file() and not hidden and not LEFT_OUT & set(relative.parts):
            found.append(relative)
    return tuple(sorted(found))


def packaged_folders(configuration: dict[str, object]) -> dict[str, Path]:
    """The packages that pyproject.toml names, and where their folder lies, relative to the root."""
    tool = configuration["tool"]
    assert isinstance(tool, dict)
    names: list[str] = tool["setuptools"]["packages"]
    return {name: Path(*name.split(".")[1:]) for name in names}
