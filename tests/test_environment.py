"""The lock, pyproject.toml and environment.yml name the same things."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def locked() -> dict[str, str]:
    """Versions by name, as the lock has them."""
    return dict(re.findall(r"^([a-z0-9.-]+)==([^\s;]+)", LOCK, re.MULTILINE))


def asked_for(group: str) -> list[Requirement]:
    """What a dependency group asks for, with the groups that it includes."""
    found = []
    for entry in PROJECT["dependency-groups"][group]:
        own = isinstance(entry, str)
        found += [Requirement(entry)] if own else asked_for(entry["include-group"])
    return found


def direct() -> list[Requirement]:
    """What is locked: the package's needs and those of the group `dev`."""
    return [Requirement(entry) for entry in PROJECT["project"]["dependencies"]] + asked_for("dev")


def test_the_tests_have_what_is_optional() -> None:
    extras = PROJECT["project"]["optional-dependencies"].values()
    assert {entry for extra in extras for entry in extra} <= set(
        PROJECT["dependency-groups"]["test"]
    )


def conda_versions() -> dict[str, str]:
    """Versions by name, as environment.yml has them; only `python` and `pip` are left out."""
    *conda, pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    specs = [spec for spec in conda if not spec.startswith("python>") and spec != "pip"]
    versions = dict(spec.split("=", 1) for spec in specs)
    return versions | dict(spec.split("==") for spec in pip["pip"] if spec != "-e .")


def test_the_lock_is_host_neutral() -> None:
    assert not re.search(r"https?:|file:|find-links|index-url|\s@\s|^-", LOCK, re.MULTILINE)


def test_every_entry_of_the_lock_has_a_hash() -> None:
    entries = re.split(r"\n(?=\S)", LOCK.strip())
    assert len(entries) == len(locked())
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("requirement", direct(), ids=str)
def test_the_lock_satisfies_the_project(requirement: Requirement) -> None:
    assert locked()[canonicalize_name(requirement.name)] in requirement.specifier


def test_what_only_the_networks_need_is_not_locked() -> None:
    assert "torch" in {requirement.name for requirement in asked_for("models")}
    assert not {"torch", "monai", "medim"} & set(locked())


def test_conda_gets_the_locked_versions() -> None:
    versions = conda_versions()
    assert versions == {name: locked()[name] for name in versions}
    assert set(versions) == {canonicalize_name(requirement.name) for requirement in direct()}


def test_the_package_has_one_version() -> None:
    from confseg import __version__

    assert __version__ == PROJECT["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
