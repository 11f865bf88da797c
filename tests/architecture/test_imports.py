"""The direction of imports, the purity of the core, the kernel dialect and the size of things.

All of it is read from the syntax trees, so imports inside functions and under TYPE_CHECKING count.
Every rule has a snippet below that breaks it, which shows that the check can fail.
"""

import ast
import builtins
import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(path for part in ("bot", "ops") for path in (ROOT / part).rglob("*.py"))

# What a package may import of the project; the longest matching prefix decides.
LAYERS = {
    "bot": ("bot",),
    "bot.core": ("bot.core",),
    "bot.sim": ("bot.core", "bot.sim"),
    "bot.adapters": ("bot.core", "bot.adapters"),
    "bot.shell": ("bot",),
    "ops": ("bot", "ops"),
}

# Modules without I/O, clock, randomness or logging. `random`, `time`, `datetime`, `os`, `pathlib`,
# `logging`, `asyncio`, `sqlite3` and the like stay out by not being listed.
CORE_STDLIB = {
    "__future__", "array", "bisect", "collections", "dataclasses", "enum", "functools", "hashlib",
    "heapq", "itertools", "json", "math", "operator", "re", "struct", "types", "typing",
}  # fmt: skip
CORE_BANNED_NAMES = {
    "open", "print", "input", "eval", "exec", "compile", "breakpoint", "__import__",
}  # fmt: skip

RESEARCH_ONLY = {"numba", "llvmlite", "numpy", "pandas"}  # they cost the trading process its memory
COMPILER = {"numba", "llvmlite"}
COMPILER_FILE = "ops/research/compiled.py"

# DESIGN section 3 rule 3: only what plain Python and Numba compute alike, bit by bit.
KERNEL_BUILTINS = {"abs", "min", "max", "int", "float", "bool", "len", "range"}
KERNEL_MATH = {"sqrt", "floor"}
KERNEL_BANNED_SYNTAX: dict[type[ast.AST], str] = {
    ast.Pow: "** (multiply instead)",
    ast.JoinedStr: "an f-string",
    ast.Try: "try",
    ast.TryStar: "try",
    ast.With: "with",
    ast.ListComp: "a comprehension",
    ast.SetComp: "a comprehension",
    ast.DictComp: "a comprehension",
    ast.GeneratorExp: "a comprehension",
    ast.Lambda: "lambda",
    ast.Yield: "yield",
    ast.Import: "import",
    ast.ImportFrom: "import",
}

MAX_CORE_LINES = 300
MAX_LINES = 400
MAX_BODY_LINES = 60


def module_name(path: PurePosixPath) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def imports(path: PurePosixPath, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the full name of each import; `from a import b` is the name `a.b`."""
    package = path.parent.parts
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = [*package[: len(package) - level + 1]] if level else []
                prefix = ".".join(base + ([module] if module else []))
                yield from ((node.lineno, f"{prefix}.{alias.name}") for alias in names)
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield node.lineno, name


def import_errors(path: PurePosixPath, tree: ast.AST) -> Iterator[str]:
    module = module_name(path)
    layer = max((name for name in LAYERS if within(module, name)), key=len)
    for line, name in imports(path, tree):
        top = name.partition(".")[0]
        if top in ("bot", "ops"):
            if not any(within(name, allowed) for allowed in LAYERS[layer]):
                yield f"{line}: {layer} must not import {name}"
        elif layer == "bot.core" and top not in CORE_STDLIB:
            yield f"{line}: the core is pure and must not import {name}"
        elif layer.startswith("bot") and top in RESEARCH_ONLY:
            yield f"{line}: the trading process must not import {name}"
        elif top in COMPILER and str(path) != COMPILER_FILE:
            yield f"{line}: {name} belongs in {COMPILER_FILE} only"


def purity_errors(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            # Loads only: a field of a dataclass may well be called `open`.
            case ast.Name(id=name, ctx=ast.Load()) if name in CORE_BANNED_NAMES:
                yield f"{node.lineno}: the core is pure and must not use {name}"


def is_kernel(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and any(
        isinstance(decorator, ast.Name) and decorator.id == "kernel"
        for decorator in node.decorator_list
    )


def names_from_math(tree: ast.AST) -> dict[str, str]:
    """Return local name -> name in `math`, for `from math import exp as e`."""
    return {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "math"
        for alias in node.names
    }


def math_function(node: ast.AST, from_math: dict[str, str]) -> str | None:
    """Return which function of `math` an expression names, if it names one; constants are none."""
    match node:
        case ast.Attribute(value=ast.Name(id="math"), attr=name):
            pass
        case ast.Name(id=local) if local in from_math:
            name = from_math[local]
        case _:
            return None
    return name if callable(getattr(math, name, None)) else None


def dialect_errors(tree: ast.AST) -> Iterator[str]:
    from_math = names_from_math(tree)
    for function in filter(is_kernel, ast.walk(tree)):
        line = getattr(function, "lineno", 0)
        for node in ast.walk(function):
            line = getattr(node, "lineno", line)  # operators have no line of their own
            banned = KERNEL_BANNED_SYNTAX.get(type(node))
            called = math_function(node, from_math)
            if banned:
                yield f"{line}: a kernel function must not use {banned}"
            elif called and called not in KERNEL_MATH:
                yield f"{line}: a kernel function must not use math.{called}"
            elif isinstance(node, ast.Name) and node.id == "datetime":
                yield f"{line}: a kernel function must not use datetime"
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                name = node.func.id
                if hasattr(builtins, name) and name not in KERNEL_BUILTINS:
                    yield f"{line}: a kernel function must not call {name}()"


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the length of a function's body without its docstring, in lines."""
    documented = ast.get_docstring(function, clean=False) is not None
    body = function.body[1:] if documented else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def size_errors(path: PurePosixPath, source: str, tree: ast.AST) -> Iterator[str]:
    lines = len(source.splitlines())
    limit = MAX_CORE_LINES if within(module_name(path), "bot.core") else MAX_LINES
    if lines > limit:
        yield f"1: expected at most {limit} lines, was {lines}"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = body_lines(node)
            if length > MAX_BODY_LINES:
                expected = f"expected a body of at most {MAX_BODY_LINES} lines"
                yield f"{node.lineno}: {node.name}: {expected}, was {length}"


def check(path: PurePosixPath, source: str) -> list[str]:
    """Return every broken rule of one file as `path:line: what is wrong`."""
    tree = ast.parse(source)
    module = module_name(path)
    errors = [*import_errors(path, tree), *size_errors(path, source, tree)]
    if within(module, "bot.core"):
        errors += purity_errors(tree)
    if within(module, "bot.core.kernel"):
        errors += dialect_errors(tree)
    return [f"{path}:{error}" for error in errors]


def test_both_packages_are_checked() -> None:
    packages = {path.relative_to(ROOT).parts[0] for path in FILES}
    assert packages == {"bot", "ops"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_keeps_the_rules(path: Path) -> None:
    relative = PurePosixPath(path.relative_to(ROOT).as_posix())
    assert check(relative, path.read_text(encoding="utf-8")) == []


CORE, KERNEL = "bot/core/x.py", "bot/core/kernel/x.py"
IMPURE = [
    "os", "sys", "io", "time", "datetime", "random", "secrets", "uuid", "logging", "asyncio",
    "socket", "threading", "subprocess", "pathlib", "sqlite3", "importlib", "yaml", "pydantic",
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "source", "error"),
    [
        (CORE, "import bot.sim.paths", "bot.core must not import bot.sim.paths"),
        (CORE, "from bot import shell", "bot.core must not import bot.shell"),
        (CORE, "from ..adapters import clock", "bot.core must not import bot.adapters.clock"),
        (CORE, "def f():\n    import ops.gate", "bot.core must not import ops.gate"),
        (CORE, "if TYPE_CHECKING:\n    import bot.sim", "bot.core must not import bot.sim"),
        ("bot/sim/x.py", "import bot.adapters.clock", "bot.sim must not import bot.adapters.clock"),
        ("bot/sim/x.py", "from bot.shell import cli", "bot.sim must not import bot.shell.cli"),
        ("bot/adapters/x.py", "from bot import sim", "bot.adapters must not import bot.sim"),
        ("bot/adapters/__init__.py", "from ..sim import y", "must not import bot.sim.y"),
        ("bot/shell/x.py", "from ops import gate", "bot.shell must not import ops.gate"),
        ("bot/__main__.py", "import ops.gate", "bot must not import ops.gate"),
        ("bot/shell/x.py", "import numpy as np", "the trading process must not import numpy"),
        ("bot/sim/x.py", "from pandas import Series", "must not import pandas.Series"),
        ("bot/adapters/x.py", "import_module('numba')", "must not import numba"),
        ("bot/adapters/x.py", "importlib.import_module('numpy.fft')", "must not import numpy.fft"),
        ("ops/gate/x.py", "import numba", "numba belongs in ops/research/compiled.py only"),
        ("ops/gate/x.py", "from llvmlite import ir", "belongs in ops/research/compiled.py only"),
    ],
)
def test_wrong_import_is_reported(path: str, source: str, error: str) -> None:
    [reported] = check(PurePosixPath(path), source)
    assert error in reported


@pytest.mark.parametrize("module", IMPURE)
def test_impure_module_in_the_core_is_reported(module: str) -> None:
    for source in (f"import {module}", f"from {module} import x", f"import {module}.y as z"):
        [reported] = check(PurePosixPath(CORE), source)
        assert f"the core is pure and must not import {module}" in reported


@pytest.mark.parametrize("name", sorted(CORE_BANNED_NAMES))
def test_impure_name_in_the_core_is_reported(name: str) -> None:
    for source in (f"{name}()", f"f = {name}", f"def f(g={name}): ..."):
        assert check(PurePosixPath(CORE), source) == [
            f"{CORE}:1: the core is pure and must not use {name}"
        ]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("return x ** 2", "** (multiply instead)"),
        ("x **= 2", "** (multiply instead)"),
        ("return sum(x)", "sum()"),
        ("return round(x)", "round()"),
        ("return pow(x, 2)", "pow()"),
        ("raise ValueError(x)", "ValueError()"),
        ("return f'{x}'", "an f-string"),
        ("try:\n        x = 1\n    finally:\n        x = 2", "try"),
        ("try:\n        x = 1\n    except* OSError:\n        x = 2", "try"),
        ("with x:\n        pass", "with"),
        ("return [y for y in x]", "a comprehension"),
        ("return {y for y in x}", "a comprehension"),
        ("return {y: y for y in x}", "a comprehension"),
        ("return max(y for y in x)", "a comprehension"),
        ("return lambda: x", "lambda"),
        ("yield x", "yield"),
        ("import math", "import"),
        ("return math.exp(x)", "math.exp"),
        ("f = math.log\n    return f(x)", "math.log"),
        ("return power(x, 2.0)", "math.pow"),
        ("return datetime.now()", "datetime"),
    ],
)
def test_construct_outside_the_kernel_dialect_is_reported(body: str, error: str) -> None:
    source = f"import math\nfrom math import pow as power\n@kernel\ndef f(x):\n    {body}\n"
    [reported] = check(PurePosixPath(KERNEL), source)
    assert reported.startswith(f"{KERNEL}:5: a kernel function must not ")
    assert reported.endswith((f"use {error}", f"call {error}"))


def test_legal_code_is_not_reported() -> None:
    kernel = (
        "import math\nfrom bot.core.kernel.registry import kernel\n"
        "@kernel\ndef f(x, n):\n    return math.sqrt(abs(x)) + math.floor(x) % min(n, math.inf)\n"
        "def text(x):\n    return f'{sum(y ** 2 for y in x)}'\n"
    )
    assert check(PurePosixPath(KERNEL), kernel) == []
    record = "from dataclasses import dataclass\n@dataclass\nclass Bar:\n    open: float\n"
    assert check(PurePosixPath(CORE), record + "bar = Bar(open=1.0)\nprice = bar.open\n") == []
    assert check(PurePosixPath(COMPILER_FILE), "import numba\nfrom bot.core import kernel") == []


def test_long_file_is_reported() -> None:
    source = "x = 1\n" * MAX_CORE_LINES
    assert check(PurePosixPath(CORE), source) == []
    assert check(PurePosixPath(CORE), source + "x = 1\n") == [
        f"{CORE}:1: expected at most 300 lines, was 301"
    ]
    assert check(PurePosixPath("bot/shell/x.py"), source + "x = 1\n") == []
    assert check(PurePosixPath("ops/x.py"), "x = 1\n" * 401) == [
        "ops/x.py:1: expected at most 400 lines, was 401"
    ]


@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_long_function_is_reported(keyword: str) -> None:
    longest = f'{keyword} f():\n    """Text.\n\n    More text.\n    """\n' + "    x = 1\n" * 60
    assert check(PurePosixPath("ops/x.py"), longest) == []
    assert check(PurePosixPath("ops/x.py"), longest + "    x = 1\n") == [
        "ops/x.py:1: f: expected a body of at most 60 lines, was 61"
    ]
