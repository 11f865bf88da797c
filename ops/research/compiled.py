"""The only place of Numba: compiles the kernel registry, function by function, from the same
sources.

`compiled("replay")` is the compiled form of `bot.core.kernel.replay.replay`. Lists of records
become NumPy arrays whose record types are generated from the dataclasses. The compile cache lies in
a folder named by the hash of all kernel sources, Numba, Python and CPU, because Numba's own index
looks at one file only and runs stale code when a callee in another file has changed.
"""

import hashlib
import os
import platform
import shutil
import sys
import types
from array import array
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import bot.core.kernel.replay as entry_point
from bot.core.kernel.records import World
from bot.core.kernel.registry import KERNEL_FUNCTIONS

# _nrt=False leaves out reference counting: the kernel allocates nothing, and counting every array
# of the World at every call made the loop 20 times slower. forceinline lets LLVM see through the
# small functions. error_model numpy: a division by zero does not raise, as every divisor is guarded
# in the kernel itself. Neither fastmath nor parallel: both change results.
OPTIONS: Any = {"cache": True, "error_model": "numpy", "_nrt": False, "forceinline": True}

KEPT_CACHES = 8
RECORD_LISTS = ("tiers", "specs", "symbols", "positions", "intents")
FIELD_DTYPES = {int: np.int64, float: np.float64}


def cache_root() -> Path:
    """Return the folder for compile caches: $RADBOT_CACHE_DIR, else the user's cache folder."""
    own = os.environ.get("RADBOT_CACHE_DIR")
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(own) if own else Path(base) / "radbot"


def available() -> bool:
    """Return whether Numba can be imported here."""
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True


def kernel_hash() -> str:
    """Return the key of the compile cache: everything that can change the machine code."""
    import llvmlite.binding as llvm
    import numba

    digest = hashlib.sha256()
    folder = Path(entry_point.__file__).parent
    for source in sorted(folder.glob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    digest.update(Path(__file__).read_bytes())
    cpu = (
        f"{platform.machine()} {llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    )
    digest.update(f"{numba.__version__} {sys.version} {np.__version__} {cpu}".encode())
    return digest.hexdigest()[:16]


def forget_old_caches(present: Path) -> None:
    """Delete the compile caches of earlier kernels, but for the newest few."""
    present.touch()
    others = sorted(
        (path for path in present.parent.iterdir() if path.is_dir() and path != present),
        key=lambda path: path.stat().st_mtime,
        reverse=True,
    )
    for path in others[KEPT_CACHES:]:
        shutil.rmtree(path, ignore_errors=True)


@cache
def _namespace() -> dict[str, Callable[..., Any]]:
    """Return name -> compiled form of every kernel function; compilation itself happens at first
    call."""
    import numba

    folder = cache_root() / "kernel" / kernel_hash()
    folder.mkdir(parents=True, exist_ok=True)
    forget_old_caches(folder)
    config: Any = numba.config
    config.CACHE_DIR = str(folder)
    scopes: dict[str, dict[str, Any]] = {}
    compiled_by_name: dict[str, Callable[..., Any]] = {}
    for function in KERNEL_FUNCTIONS:
        scope = scopes.setdefault(function.__module__, dict(function.__globals__))
        twin = types.FunctionType(function.__code__, scope, function.__name__)
        twin.__module__ = function.__module__
        twin.__qualname__ = function.__qualname__
        compiled_by_name[function.__name__] = numba.njit(**OPTIONS)(twin)
    # Each module's copy of the global names now points at the compiled forms, so calls stay
    # compiled.
    for scope in scopes.values():
        for name in compiled_by_name.keys() & scope.keys():
            scope[name] = compiled_by_name[name]
    return compiled_by_name


def compiled(name: str) -> Callable[..., Any]:
    """Return the compiled form of the kernel function `name`; KeyError when there is none."""
    return _namespace()[name]


def record_dtype(record: type) -> np.dtype[Any]:
    """Return the NumPy record type of a kernel dataclass.

    Raises
    ------
    TypeError : a field is neither int nor float; a record would truncate it silently
    """
    for field in fields(record):
        if field.type not in FIELD_DTYPES:
            raise TypeError(
                f"{record.__name__}.{field.name}: expected int or float, was {field.type}"
            )
    return np.dtype([(field.name, FIELD_DTYPES[field.type]) for field in fields(record)])  # type: ignore[index]


def record_array(records: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Return records as an array of their record type, one element each."""
    dtype = record_dtype(type(records[0]))
    rows = [tuple(getattr(record, name) for name in dtype.names or ()) for record in records]
    return np.array(rows, dtype=dtype)


def plain_array(values: Sequence[float] | array[Any]) -> np.ndarray[Any, Any]:
    """Return a list as a new array, an `array.array` as a view on the same memory."""
    if isinstance(values, array):
        return np.frombuffer(values, dtype=np.dtype(values.typecode))
    kind = np.int64 if all(isinstance(value, int) for value in values) else np.float64
    return np.array(values, dtype=kind)


def to_arrays(world: World) -> Any:
    """Return a copy of `world` for the compiled loop: records as elements of arrays, lists as
    arrays.

    The element types are named here, because an empty or all-zero list does not show its type.
    """
    columns: dict[str, Any] = {name: record_array(getattr(world, name)) for name in RECORD_LISTS}
    for name in ("params", "account"):
        columns[name] = record_array([getattr(world, name)])[0]
    for name in ("strategies", "verdicts", "samples", "window_times"):
        columns[name] = np.array(getattr(world, name), dtype=np.int64)
    for name in ("wishes", "returns", "window_equity"):
        columns[name] = np.array(getattr(world, name), dtype=np.float64)
    return World(**columns)


def read_back(world: World, arrays: Any) -> None:
    """Copy the state of `to_arrays` back into `world`, as Python ints and floats."""
    records = [(world.account, arrays.account)]
    for name in ("symbols", "positions", "intents"):
        records += zip(getattr(world, name), getattr(arrays, name), strict=True)
    for record, row in records:
        for field in fields(record):
            setattr(record, field.name, row[field.name].item())
    for name in ("wishes", "verdicts", "returns", "samples", "window_times", "window_equity"):
        getattr(world, name)[:] = getattr(arrays, name).tolist()
