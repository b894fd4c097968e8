"""No two modules import each other, by whatever way round: whoever reads one finds an end."""

import ast
from collections.abc import Container, Iterator
from pathlib import Path

SRC = Path(__file__).parent.parent / "src"


def module_of(path: Path) -> str:
    """``encke.wire.http``; a package by its own name."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(
    module: str, is_package: bool, tree: ast.AST, modules: Container[str]
) -> Iterator[str]:
    """What the file names in an import, wherever it stands, or by import_module; of
    ``from x import y`` it's x.y if that is one of `modules`, else x."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(what, names, level):
                room = module.split(".") if level else []
                room = room[: len(room) - level + is_package]
                base = ".".join([*room, *([what] if what else [])])
                for alias in names:
                    inside = f"{base}.{alias.name}"
                    yield inside if inside in modules else base
            case ast.Call(ast.Attribute(attr="import_module"), [ast.Constant(str(name))]):
                yield name


def imports_of_all() -> dict[str, set[str]]:
    """Each module of the package, and which others of it it imports."""
    paths = {module_of(path): path for path in SRC.rglob("*.py")}
    found = {}
    for module, path in paths.items():
        tree = ast.parse(path.read_bytes())
        names = imported(module, path.name == "__init__.py", tree, paths)
        found[module] = {name for name in names if name in paths and name != module}
    return found


def circle(imports: dict[str, set[str]]) -> list[str]:
    """Modules each of which imports the next, the last one the first; none: there is no circle."""
    done: set[str] = set()
    way: list[str] = []

    def visit(module: str) -> list[str]:
        if module in way:
            return way[way.index(module) :]
        if module in done:
            return []
        way.append(module)
        for other in sorted(imports[module]):
            if found := visit(other):
                return found
        way.pop()
        done.add(module)
        return []

    return next(filter(None, map(visit, sorted(imports))), [])


def test_no_circle() -> None:
    """Nor one through an import within a function, or for types only: what two modules share
    belongs into a third one that both import."""
    found = circle(imports_of_all())
    assert not found, "imports go round: " + " -> ".join([*found, *found[:1]])


def test_a_circle_is_found() -> None:
    """Of any length, and named in order; two ways to one module are none."""
    assert circle({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]
    assert circle({"a": {"a"}}) == ["a"]


def test_every_way_to_import_is_seen() -> None:
    """Relative and absolute, at the top and within a function, by name and by import_module."""
    source = """
import encke.ids
from ..errors import BadUserId
from . import tls
def f():
    from .link import Link
    importlib.import_module("encke.client")
"""
    modules = {"encke.cluster.tls", "encke.cluster.a"}
    assert set(imported("encke.cluster.dialer", False, ast.parse(source), modules)) == {
        "encke.ids", "encke.errors", "encke.cluster.tls", "encke.cluster.link", "encke.client",
    }  # fmt: skip
    assert list(imported("encke.cluster", True, ast.parse("from . import a"), modules)) == [
        "encke.cluster.a"
    ]
