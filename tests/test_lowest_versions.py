"""The lowest versions are those that pyproject.toml allows: `.ci/deep` installs them all at once."""

import tomllib

from packaging.requirements import Requirement
from packaging.version import Version
from project_files import ROOT


def bounds() -> dict[str, Version]:
    """Of each core dependency the least version."""
    named = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    made = {}
    for requirement in map(Requirement, named):
        (bound,) = requirement.specifier
        assert bound.operator == ">=", f"{requirement}: a lower bound and no other"
        made[requirement.name] = Version(bound.version)
    return made


def test_every_lower_bound_is_in_the_file_and_nothing_else() -> None:
    lines = (ROOT / "constraints-lowest.txt").read_text("utf-8").splitlines()
    pinned = {}
    for requirement in (Requirement(line) for line in lines if line and not line.startswith("#")):
        (bound,) = requirement.specifier
        assert bound.operator == "=="
        pinned[requirement.name] = Version(bound.version)
    assert pinned == bounds()


def test_what_is_tested_is_not_below_what_is_allowed() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    tested = {
        requirement.name: next(iter(requirement.specifier)).version
        for requirement in (Requirement(line) for line in lines if line and not line.startswith("#"))
    }
    assert all(Version(tested[name]) >= least for name, least in bounds().items())
