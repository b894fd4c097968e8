"""A smoke run of a benchmark on real processes, and its report, for all tests of a file."""

import re
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
import pytest

from bench.__main__ import main
from bench.machine import Machine
from bench.report import Budget

R = TypeVar("R")


class Kept(msgspec.Struct, Generic[R]):
    """What is looked at of results.json."""

    benchmark: str
    budgets: list[Budget]
    machine: Machine
    notices: list[str]
    results: R


class Smoke(Generic[R]):
    """What a run has left in `folder`."""

    def __init__(self, folder: Path, kind: type[R]) -> None:
        self.folder = folder
        self.page = (folder / "README.md").read_text(encoding="utf-8")
        data = (folder / "results.json").read_bytes()
        self.kept: Kept[R] = msgspec.json.decode(data, type=Kept[kind])  # type: ignore[valid-type]
        self.results = self.kept.results

    @property
    def links(self) -> set[str]:
        """The files that the page names; fails if one isn't there."""
        found = set(re.findall(r"\]\((\S+?)\)", self.page))
        assert found <= self.files
        return found

    @property
    def files(self) -> set[str]:
        return {file.name for file in self.folder.iterdir()}


def run(places: pytest.TempPathFactory, name: str, kind: type[R]) -> Smoke[R]:
    """Run the benchmark of that name, whose results are of this kind."""
    folder = places.mktemp(name) / "report"
    assert main([name, "--quick", "--report", str(folder)]) == 0
    return Smoke(folder, kind)
