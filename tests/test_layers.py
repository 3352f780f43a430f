"""The house's order: who may import whom, and how long a file is. Read from the sources, nothing is run."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent
PACKAGES = {"faceanim_cli": ROOT / "faceanim_cli", "faceanim_models": ROOT / "models" / "faceanim_models"}

# The order of layers, from the bottom. A room (a folder or file at the top of the package) imports only rooms
# of lines before its own. "faceanim_cli" is the package itself, with what it exports.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("faceanim_models",),
    ("errors", "interrupts", "pictures"),
    ("files", "tables", "csv_tables", "device", "image_metrics"),
    ("media",),
    ("faces",),
    ("motion", "provenance"),
    ("weights",),
    ("animation",),
    ("batch", "live"),
    ("data",),
    ("training", "evaluation", "benchmark"),
    ("faceanim_cli",),
    ("doctor", "console", "standard_streams"),
    ("web",),
    ("commands",),
    ("app",),
    ("__main__",),
)
LONGEST, SHORTEST = 330, 30  # lines of a file


@cache
def modules() -> dict[str, Path]:
    """Every module by its full name."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in folder.rglob("*.py"):
            parts = (package, *path.relative_to(folder).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports() -> dict[str, frozenset[str]]:
    """Whom each module imports, of ours: anywhere in it, in functions and under TYPE_CHECKING as well."""
    return {name: frozenset(_imported(name, path)) - {name} for name, path in modules().items()}


def _imported(name: str, path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _nearest(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
            for alias in node.names:
                if (base, alias.name) != ("faceanim_cli", "__version__"):  # a text, set before any import
                    yield from _nearest(f"{base}.{alias.name}")


def _nearest(name: str) -> Iterator[str]:
    """The module that a name is or lies in, if it is one of ours."""
    if name.split(".", maxsplit=1)[0] in PACKAGES:
        while name not in modules():
            name = name.rpartition(".")[0]
        yield name


def room(module: str) -> str:
    """The folder or file at the top of the package that a module is in."""
    parts = module.split(".")
    return parts[1] if parts[0] == "faceanim_cli" and len(parts) > 1 else parts[0]


def broken_arrows() -> set[tuple[str, str]]:
    """Imports against the order of layers."""
    height = {name: level for level, line in enumerate(LAYERS) for name in line}
    return {
        (module, other)
        for module, others in imports().items()
        for other in others
        if room(module) != room(other) and height[room(other)] >= height[room(module)]
    }


def circles() -> set[tuple[str, ...]]:
    """Modules that import each other in a circle, a tuple for each knot (strongly connected component)."""
    graph = imports()
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: set[tuple[str, ...]] = set()

    def visit(module: str) -> None:  # Tarjan 1972
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in graph[module]:
            if other not in index:
                visit(other)
            if other in stack:
                low[module] = min(low[module], low[other])
        if low[module] == index[module]:
            knot = stack[stack.index(module) :]
            del stack[-len(knot) :]
            if len(knot) > 1:
                found.add(tuple(sorted(knot)))

    for module in graph:
        if module not in index:
            visit(module)
    return found


def odd_lengths() -> set[str]:
    """Files that are no idea of their own, or more than one."""
    lines = {
        module: len(path.read_text(encoding="utf-8").splitlines())
        for module, path in modules().items()
        if path.name not in ("__init__.py", "__main__.py")
    }
    return {module for module, count in lines.items() if not SHORTEST <= count <= LONGEST}


def test_every_room_has_its_layer() -> None:
    listed = [name for line in LAYERS for name in line]
    assert sorted(listed) == sorted({room(module) for module in modules()}), "LAYERS lists every room once"


def test_imports_run_downwards() -> None:
    broken = broken_arrows()
    assert not broken, "\n".join(f"{module} imports {other}" for module, other in sorted(broken))


def test_no_circles() -> None:
    told = [
        f"{module} imports {other}"
        for knot in sorted(circles())
        for module in knot
        for other in sorted(imports()[module] & set(knot))
    ]
    assert not told, "\n".join(told)


def test_networks_import_nothing_of_ours() -> None:
    ours = [
        f"{module} imports {other}"
        for module, others in imports().items()
        for other in others
        if module.startswith("faceanim_models") and other.startswith("faceanim_cli")
    ]
    assert not ours, "\n".join(ours)


def test_a_file_is_one_idea() -> None:
    odd = odd_lengths()
    assert not odd, f"not {SHORTEST} to {LONGEST} lines: {', '.join(sorted(odd))}"


def test_a_file_of_tests_is_no_longer_than_others() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in TESTS.rglob("*.py")}
    long = sorted(str(path.relative_to(TESTS)) for path, count in lines.items() if count > LONGEST)
    assert long == []


def test_a_broken_rule_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each rule, broken in a package of its own."""
    files = {
        "faceanim_cli/__init__.py": "",
        "faceanim_cli/media/__init__.py": "",
        "faceanim_cli/media/reader.py": "def late():\n    from faceanim_cli.animation import job\n",
        "faceanim_cli/animation/__init__.py": "",
        "faceanim_cli/animation/job.py": "from .clip import Clip\n",
        "faceanim_cli/animation/clip.py": (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import faceanim_cli.animation.job\n"
        ),
        "faceanim_models/__init__.py": "",
        "faceanim_models/network.py": "from faceanim_cli.media.reader import late\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for name in PACKAGES:
        monkeypatch.setitem(PACKAGES, name, tmp_path / name)
    modules.cache_clear()
    imports.cache_clear()
    try:
        assert broken_arrows() == {
            ("faceanim_cli.media.reader", "faceanim_cli.animation.job"),
            ("faceanim_models.network", "faceanim_cli.media.reader"),
        }
        assert circles() == {("faceanim_cli.animation.clip", "faceanim_cli.animation.job")}
        with pytest.raises(
            AssertionError, match=r"faceanim_models\.network imports faceanim_cli\.media\.reader"
        ):
            test_networks_import_nothing_of_ours()
        with pytest.raises(AssertionError, match=r"media\.reader imports faceanim_cli\.animation\.job"):
            test_imports_run_downwards()
        assert "faceanim_cli.animation.job" in odd_lengths()
    finally:
        modules.cache_clear()
        imports.cache_clear()
