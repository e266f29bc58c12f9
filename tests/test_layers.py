"""The house stands: who may import whom, in Rust and in Python, and how long a file may be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "rust" / "spikesim-core" / "src"
PYTHON = ROOT / "python" / "spikesim"

LONGEST = 500

#: error → {graph, kernels} → {formats, plan} → step → learn → runtime: a module imports only what
#: stands left.
RUST_MAY_IMPORT = {
    "error": set(),
    "graph": {"error"},
    "kernels": {"error"},
    "formats": {"error", "graph", "kernels"},
    "plan": {"error", "graph", "kernels"},
    "step": {"error", "graph", "kernels", "plan"},
    "learn": {"error", "graph", "kernels", "plan", "step"},
    "runtime": {"error", "graph", "kernels", "formats", "plan", "step", "learn"},
}

#: The same for the Python package, from left to right; a set stands side by side and its members
#: do not import each other. Types alone (`if TYPE_CHECKING`) may be named from anywhere.
PYTHON_ORDER: list[set[str]] = [
    {"errors"},
    {"_core"},
    {"knobs", "_inputs", "events"},
    {"ops"},
    {"data", "energy"},
    {"result"},
    {"stream"},
    {"simulator", "plot"},
    {"_summary"},
    {"_nodes"},
    {"network"},
    {"nir"},
    {"reference", "train", "learn"},
    {"quantisation"},
    {"convert"},
    {"models", "conformance", "detection"},
    {"recipes"},
    {"cli"},
    {"__main__"},
]

#: Libraries that are not run-time dependencies of everything, and the modules that need them.
ONLY_IN: dict[str, tuple[str, ...]] = {
    "torch": (
        "reference/",
        "train/",
        "convert/",
        "models/",
        "conformance/",
        "detection/loss.py",
        "recipes/",
        "data/make_digits.py",
        "cli/demo.py",
    ),
    "torchvision": ("data/vision.py", "recipes/"),
    "PIL": ("data/cifar.py", "plot/"),
    "snntorch": ("convert/", "conformance/"),
    "spikingjelly": ("convert/", "conformance/"),
    "norse": ("convert/", "conformance/"),
    "sinabs": ("convert/", "conformance/"),
    "sklearn": ("data/make_digits.py", "recipes/", "learn/readout.py"),
    "matplotlib": ("energy/report.py", "energy/plot.py", "detection/drawing.py", "plot/"),
    "typer": ("cli/",),
    "rich": ("cli/", "simulator.py", "convert/ann/progress.py"),
    "h5py": ("nir/",),
    "nir": (),
    "eventcv": (),
    "aedat": (),
    "safetensors": (),
    "tonic": (),
}

#: Scripts beside the package: they use it whole, as a user does, and nothing imports them.
SCRIPTS = {"data/make_digits.py"}


def sources(folder: Path, suffix: str) -> list[Path]:
    return sorted(p for p in folder.rglob(f"*{suffix}") if "target" not in p.parts)


# --- Rust ---------------------------------------------------------------------------------------


def rust_code(path: Path) -> str:
    """The file without comments and without its unit tests' module."""
    text = re.sub(r"//[^\n]*", "", path.read_text(encoding="utf-8"))
    return re.split(r"#\[cfg\(test\)\]\s*mod tests", text)[0]


def rust_imports(text: str) -> set[str]:
    """First names after `crate::` and `super::super::`-like climbs do not occur: tops only."""
    found = set(re.findall(r"\bcrate::(\w+)", text))
    for group in re.findall(r"\bcrate::\{((?:[^{}]|\{[^{}]*\})*)\}", text):
        flat = re.sub(r"\{[^{}]*\}", "", group)
        found |= set(re.findall(r"(?:^|,)\s*(\w+)", flat))
    return {"error" if name in ("Error", "Result") else name for name in found}


def module_of(path: Path) -> str:
    return path.relative_to(CORE).parts[0].removesuffix(".rs")


@pytest.mark.parametrize("path", sources(CORE, ".rs"), ids=lambda p: str(p.relative_to(CORE)))
def test_rust_modules_import_only_what_stands_left(path: Path) -> None:
    module = module_of(path)
    if module == "lib":
        return
    assert module in RUST_MAY_IMPORT, f"{module} has no place in the table of this test"
    wrong = rust_imports(rust_code(path)) - RUST_MAY_IMPORT[module] - {module}
    assert not wrong, f"{module} imports {sorted(wrong)}"


def test_the_rust_table_is_one_way() -> None:
    for module, imports in RUST_MAY_IMPORT.items():
        for other in imports:
            assert module not in RUST_MAY_IMPORT[other]


def test_the_check_sees_every_form_of_rust_import() -> None:
    text = "use crate::{Result, graph::{self, Node}, plan};\nlet x = crate::runtime::go();"
    assert rust_imports(text) == {"error", "graph", "plan", "runtime"}


def test_modules_do_not_climb_past_their_parent() -> None:
    """`super::super` would leave the module unseen by the table."""
    for path in sources(CORE, ".rs"):
        depth = len(path.relative_to(CORE).parts) - (path.name == "mod.rs")
        climbs = [m.count("super") for m in re.findall(r"(?:super::)+", rust_code(path))]
        assert all(n < depth for n in climbs), path


def test_the_core_knows_no_python() -> None:
    manifest = (ROOT / "rust" / "spikesim-core" / "Cargo.toml").read_text(encoding="utf-8")
    assert not re.search(r"^(pyo3|numpy)\b", manifest, re.MULTILINE)


def test_unsafe_stands_in_kernels_alone_and_says_why() -> None:
    for path in sources(ROOT / "rust", ".rs"):
        blocks = re.findall(r"\bunsafe\b", rust_code(path))
        if blocks:
            assert "kernels" in path.parts, f"{path.relative_to(ROOT)} has unsafe code"
            assert "SAFETY" in path.read_text(encoding="utf-8"), path


# --- Python -------------------------------------------------------------------------------------


def python_imports(source: str, package: tuple[str, ...]) -> set[str]:
    """Dotted names that a module imports when it runs, anywhere in it; types are left out."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                visit(child)
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            name = ".".join(part for part in (base, node.module) if part)
            # `from spikesim import knobs` imports the module, not the package's face.
            found.update(
                f"{name}.{alias.name}" if name == "spikesim" else name for alias in node.names
            )
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(source))
    return found


def unit_of(path: Path) -> str:
    return path.relative_to(PYTHON).parts[0].removesuffix(".py")


def rank(unit: str) -> int:
    for i, units in enumerate(PYTHON_ORDER):
        if unit in units:
            return i
    pytest.fail(f"{unit} has no place in the table of this test")


MODULES = [p for p in sources(PYTHON, ".py") if p.name != "__init__.py" or p.parent != PYTHON]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PYTHON)))
def test_python_modules_import_only_what_stands_left(path: Path) -> None:
    relative = str(path.relative_to(PYTHON))
    package = ("spikesim", *path.relative_to(PYTHON).parts[:-1])
    imports = python_imports(path.read_text(encoding="utf-8"), package)
    unit = unit_of(path)
    for name in imports:
        parts = name.split(".")
        if parts[0] == "spikesim":
            if relative in SCRIPTS:
                continue
            if len(parts) == 1:
                assert unit == "cli", f"{relative} imports the whole package"
                continue
            other = parts[1]
            assert other == unit or rank(other) < rank(unit), f"{relative} imports {name}"
        elif parts[0] in ONLY_IN:
            assert relative.startswith(ONLY_IN[parts[0]] or ("(nowhere)",)), (
                f"{relative} imports {name}"
            )


def test_nothing_imports_a_script() -> None:
    for path in MODULES:
        package = ("spikesim", *path.relative_to(PYTHON).parts[:-1])
        imports = python_imports(path.read_text(encoding="utf-8"), package)
        assert not any(name.endswith("make_digits") for name in imports), path


def test_the_check_sees_every_form_of_python_import() -> None:
    source = (
        "import spikesim.plan\nfrom spikesim import knobs\nfrom . import a\nfrom .b import c\n"
        "from ..d import e\ndef f():\n    import torch.nn\n"
        "if TYPE_CHECKING:\n    import types_only\n"
    )
    assert python_imports(source, ("spikesim", "x")) == {
        *("spikesim.plan", "spikesim.knobs", "spikesim.x", "spikesim.x.b", "spikesim.d"),
        "torch.nn",
    }


@pytest.mark.parametrize("module", ["spikesim", "spikesim.data", "spikesim.energy"])
def test_light_modules_load_nothing_heavy(module: str) -> None:
    heavy = sorted(ONLY_IN)
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


# --- Size ---------------------------------------------------------------------------------------


def test_no_file_is_too_long() -> None:
    folders = [ROOT / name for name in ("rust", "python", "tests", "bench")]
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in folders
        for suffix in (".rs", ".py", ".pyi")
        for path in sources(folder, suffix)
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST
    }
    assert not long, f"over {LONGEST} lines, one concept a file: {long}"
