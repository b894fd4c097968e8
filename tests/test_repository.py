"""What the repository itself keeps to: its commits, its files and names, and what lists them."""

import ast
import re
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


def documentation(room: Path) -> str:
    """What a package says of itself."""
    return ast.get_docstring(ast.parse((room / "__init__.py").read_bytes())) or ""


ROOMS = sorted(file.parent for file in (ROOT / "src/encke").rglob("__init__.py"))
IN_ORDER = [room for room in ROOMS if "reading order" in documentation(room)]


@pytest.mark.parametrize("room", IN_ORDER, ids=lambda room: room.name)
def test_reading_orders_are_whole(room: Path) -> None:
    """A package that says in which order its files are read names each of them."""
    named = set(re.findall(r"`(\w+)`", documentation(room)))
    files = {file.stem for file in room.glob("*.py") if file.stem != "__init__"}
    assert files <= named


def test_there_are_reading_orders() -> None:
    """The two rooms in which a stranger would be lost have one."""
    assert {"gateway", "hub"} <= {room.name for room in IN_ORDER}


def test_every_decision_is_listed() -> None:
    """docs/adr/README.md has each page, by its number, and no other."""
    adr = ROOT / "docs/adr"
    listed = re.findall(
        r"^\| \[(\d{4})\]\((\1-[a-z-]+\.md)\) \|", (adr / "README.md").read_text(), re.MULTILINE
    )
    assert [page for _, page in listed] == sorted(page.name for page in adr.glob("0*.md"))


SHARED_ROOMS = ("hub", "gateway", "router", "wire", "cluster", "control")


def names_of_types(tree: ast.Module) -> set[str]:
    """Public classes and aliases at the top of a file."""
    names = set()
    for node in tree.body:
        match node:
            case ast.ClassDef(name=name) | ast.Assign([ast.Name(name)]) if not name.isupper():
                names.add(name)
    return {name for name in names if name[0].isupper()}


def test_one_word_is_one_thing() -> None:
    """No two types of the server's rooms have one name: a reader needn't ask which is meant."""
    files: dict[str, list[str]] = {}
    for room in SHARED_ROOMS:
        for file in sorted((ROOT / "src/encke" / room).rglob("*.py")):
            for name in names_of_types(ast.parse(file.read_bytes())):
                files.setdefault(name, []).append(str(file.relative_to(ROOT)))
    assert {"Hub", "Target", "HttpEvent"} <= files.keys()
    assert {name: where for name, where in files.items() if len(where) > 1} == {}
