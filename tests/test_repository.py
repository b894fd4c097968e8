"""What the repository itself keeps to: its commits, and the length of its files."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

SINCE = "21b6e6fbf788b714b764498827d9ff84be5209b9"
"""The last commit before this was asked for."""

SUBJECT = 72
"""Characters of a commit's subject, at most: `git log --oneline` fits a terminal."""

LINES = 450
"""Of a file of the package, at most."""


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
    )


def test_subjects_of_commits() -> None:
    """They are short; the text below says the rest."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no clone")
    if git("merge-base", "--is-ancestor", SINCE, "HEAD").returncode:
        pytest.skip("this clone's history doesn't reach back that far")
    log = git("log", "--format=%h %s", f"{SINCE}..HEAD")
    assert log.returncode == 0, log.stderr
    subjects = [line.partition(" ") for line in log.stdout.splitlines()]
    long = [f"{hash} {subject}" for hash, _, subject in subjects if len(subject) > SUBJECT]
    assert not long, f"more than {SUBJECT} characters: {long}"


@pytest.mark.parametrize("file", sorted((ROOT / "src").rglob("*.py")), ids=lambda file: file.name)
def test_length_of_files(file: Path) -> None:
    """A file that grows beyond does two things."""
    lines = len(file.read_text("utf-8").splitlines())
    assert lines <= LINES, f"{file.relative_to(ROOT)} has {lines} lines: split it by what it does"
