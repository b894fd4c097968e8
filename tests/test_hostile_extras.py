"""What needs an extra package says so at once, with the line to type; it starts nothing."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
from test_cli import encke_

import encke.friends
from encke.errors import StoreError
from encke.extras import EXTRAS
from encke.friends.directories import open_directory
from encke.friends.opening import open_store
from encke.reactor.loop import Reactor

POSTGRES = "postgresql://nobody:secret@127.0.0.1:9/nothing"
SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"


def without(directory: Path, *packages: str) -> dict[str, str]:
    """An environment in which `packages` can't be imported, as if they weren't installed."""
    for package in packages:
        (directory / f"{package}.py").write_text(
            f"raise ModuleNotFoundError(\"No module named '{package}'\", name='{package}')\n"
        )
    return {
        "PYTHONPATH": os.pathsep.join([str(directory), *filter(None, [os.getenv("PYTHONPATH")])])
    }


@pytest.mark.parametrize("package", ["psycopg", "psycopg_pool"])
@pytest.mark.parametrize("by", ["flag", "environment", "file"])
def test_hostile_postgres_without_its_driver(tmp_path: Path, package: str, by: str) -> None:
    """`encke serve` refuses a store whose driver isn't there, wherever it was named, instead of
    being ready and having its router killed by each publication; the password isn't shown."""
    environment = without(tmp_path, package)
    flags = ["--control", "127.0.0.1:0", "--listen", "127.0.0.1:0"]
    if by == "flag":
        flags += ["--friends", POSTGRES]
    elif by == "environment":
        environment["ENCKE_FRIENDS"] = POSTGRES
    else:
        (tmp_path / "encke.toml").write_text(f"friends = '{POSTGRES}'\n")
        flags += ["--config", str(tmp_path / "encke.toml")]
    refused(encke_("serve", *flags, stdin=b"", **environment), package, "postgres")


def test_hostile_nats_credentials_without_nkeys(tmp_path: Path) -> None:
    """Credentials that can't be signed with are refused, instead of being tried for ever."""
    (tmp_path / "seed").write_text(SEED)
    flags = ["--nats", "nats://127.0.0.1:9", "--nats-credentials", str(tmp_path / "seed")]
    said = encke_("serve", *flags, stdin=b"", **without(tmp_path, "nkeys"))
    refused(said, "nkeys", "cluster")


@pytest.mark.parametrize(
    ("command", "package", "extra"),
    [
        (["friends", "load", "-", "--friends", POSTGRES], "psycopg", "postgres"),
        (["friends", "export", "--friends", POSTGRES], "psycopg_pool", "postgres"),
        (["friends", "generate", "--users", "100"], "igraph", "graph"),
        (["friends", "stats", "--plot", "p.png"], "matplotlib", "plot"),
        (["watch", "--plot", "p.png"], "matplotlib", "plot"),
        (["nodes", "--nats", "nats://127.0.0.1:9"], "nats", "cluster"),
        (["send", "1", "text", "--nats", "nats://127.0.0.1:9"], "nats", "cluster"),
    ],
)
def test_hostile_commands_without_an_extra(
    tmp_path: Path, command: Sequence[str], package: str, extra: str
) -> None:
    """So do all commands, in the same words."""
    refused(encke_(*command, stdin=b"", **without(tmp_path, package)), package, extra)


def refused(done: tuple[int, str, str], package: str, extra: str) -> None:
    """It was one line that says what lacks and what to type."""
    code, out, err = done
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert f"{package} isn't installed" in err
    assert err.endswith(f"install it: pip install 'encke[{extra}]'\n")
    assert "secret" not in err


def test_hostile_a_driver_that_is_broken(tmp_path: Path) -> None:
    """A package that is there but can't be loaded is named with its reason: psycopg without
    libpq is such a one."""
    (tmp_path / "psycopg.py").write_text("raise ImportError('no pq wrapper\\navailable.')\n")
    environment = without(tmp_path)
    code, _, err = encke_("serve", "--friends", POSTGRES, stdin=b"", **environment)
    assert code == 1
    assert "psycopg can't be loaded (no pq wrapper available)" in err
    assert err.endswith("pip install 'encke[postgres]'\n")


def test_hostile_a_driver_that_went_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uninstalled beneath a running server, the driver is a store that can't be used: a router
    answers 503, and lives."""
    if (package := getattr(encke.friends, "postgres", None)) is not None:
        monkeypatch.setattr(encke.friends, "postgres", package)  # put back afterwards
    for name in list(sys.modules):
        if name.startswith(("psycopg", "encke.friends.postgres")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for opened in (
        lambda: open_store(POSTGRES, ""),
        lambda: open_directory(Reactor(), POSTGRES, ""),
    ):
        with pytest.raises(StoreError, match=r"encke\[postgres\]"):
            opened()


def test_every_extra_is_known() -> None:
    """Each extra of the package is there under the names of what is imported of it."""
    pyproject = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))
    declared = pyproject["project"]["optional-dependencies"]
    assert {extra for extra, _ in EXTRAS.values()} == set(declared)
    for module, (extra, _) in EXTRAS.items():
        packages = {re.split(r"[\[>]", each)[0] for each in declared[extra]}
        assert PACKAGES.get(module, module) in packages


PACKAGES = {"nats": "nats-py", "psycopg_pool": "psycopg"}
"""Modules and the packages that bring them, where the names differ."""


def test_what_needs_no_extra_starts_without_any(tmp_path: Path) -> None:
    """Nobody pays for what they don't use: `encke serve` imports no extra by default."""
    program = (
        "import sys; from encke.node.__main__ import check; from encke.settings import Settings;"
        "check(Settings()); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **without(tmp_path, *EXTRAS)},
    )
    assert not EXTRAS.keys() & set(done.stdout.split())
