"""The house rules of architecture.md, each as a test that names the offender."""

from __future__ import annotations

import ast
import re
import subprocess

import pytest

from architecture.source_tree import PACKAGE, ROOT, product_files, short, tree_of

LINES_MAX = 400
FUNCTION_LINES_MAX = 50
PUBLIC_NAMES_MAX = 7
# modules that are a vocabulary: their public names are the point
VOCABULARIES = {"types.py", "errors.py", "constants.py", "config.py", "ports.py", "answers.py", "capability.py"}
SUPERVISORS = {
    # broad except is allowed in the task runner and in the request middleware only; each logs
    "edge/hearthnet/mesh/supervisor.py",
    "edge/hearthnet/web/guard.py",
    "edge/hearthnet/web/bus_api.py",
    "edge/hearthnet/mesh/bus.py",
}
CARRIERS = {
    # catch everything to hand it to the one who waits, in another thread or task; nothing is swallowed
    "edge/hearthnet/adapters/store_sqlite.py",
    "edge/hearthnet/adapters/store_fake.py",
    "edge/hearthnet/adapters/engines/process.py",
    "edge/hearthnet/mesh/bus.py",
    "edge/hearthnet/mesh/events.py",
}


@pytest.mark.parametrize("path", product_files(), ids=short)
def test_file_is_not_too_long(path):
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= LINES_MAX, f"{short(path)} has {lines} lines; split it or write an ADR"


@pytest.mark.parametrize("path", product_files(), ids=short)
def test_functions_fit_on_a_screen(path):
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1}"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert not long, f"{short(path)}: {long}"


@pytest.mark.parametrize("path", product_files(), ids=short)
def test_module_has_a_noun_for_a_name(path):
    assert not re.search(r"(utils?|helpers?|manager|handlers?|misc|common)\.py$", path.name), short(path)


@pytest.mark.parametrize("path", product_files(), ids=short)
def test_module_says_what_it_is(path):
    if path.name == "__init__.py" and not path.read_text(encoding="utf-8").strip():
        return
    assert ast.get_docstring(tree_of(path)), f"{short(path)} has no docstring"


@pytest.mark.parametrize("path", product_files(), ids=short)
def test_public_surface_is_small(path):
    if path.name in VOCABULARIES or "events" in path.name:
        return
    names = [
        node.name
        for node in tree_of(path).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not _is_plain_struct(node)
        and not _is_route(node)
    ]
    assert len(names) <= PUBLIC_NAMES_MAX, f"{short(path)}: {names}"


def _is_plain_struct(node):
    return isinstance(node, ast.ClassDef) and any(
        getattr(base, "id", "") in ("Struct", "Protocol") for base in node.bases
    )


def _is_route(node):
    return any(ast.unparse(item).startswith("routes.add") for item in getattr(node, "decorator_list", ()))


def test_errors_are_defined_in_one_file():
    strays = [
        f"{short(path)}: {node.name}"
        for path in product_files()
        if path.name != "errors.py"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef)
        and any(re.search(r"(Error|Exception)$", ast.unparse(base)) for base in node.bases)
    ]
    assert not strays, strays


def test_only_supervisors_catch_everything():
    broad = set()
    for path in product_files():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ExceptHandler) and _is_broad(node):
                broad.add(short(path))
    assert broad <= SUPERVISORS | CARRIERS, sorted(broad - SUPERVISORS - CARRIERS)


def _is_broad(node):
    if node.type is None:
        return True
    return any(name in ("Exception", "BaseException") for name in re.findall(r"\w+", ast.unparse(node.type)))


def test_every_supervisor_logs_what_it_caught():
    for name in SUPERVISORS:
        path = ROOT / name
        if path.exists() and any(
            isinstance(node, ast.ExceptHandler) and _is_broad(node) for node in ast.walk(tree_of(path))
        ):
            assert "log" in path.read_text(encoding="utf-8"), name


def test_capability_files_declare_capabilities():
    for path in (PACKAGE / "capabilities").glob("*.py"):
        if path.name != "__init__.py":
            assert "@capability(" in path.read_text(encoding="utf-8"), short(path)


def _tracked_text():
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, names):
        path = ROOT / name
        if path.is_file() and path.suffix not in (".woff2", ".png", ".bin", ".npz", ".pdf", ".ico", ".tflite", ".gz"):
            yield name, path.read_text(encoding="utf-8", errors="replace")


def test_no_registry_address_and_no_path_of_one_machine_stands_in_the_tree():
    needles = [
        "files.python" + "hosted", "py" + "pi.org", "registry.npm" + "js", "deb.deb" + "ian", "/wo" + "rk/", "/fa" + "rm/",
    ]  # fmt: skip
    found = [f"{name}: {needle}" for name, text in _tracked_text() for needle in needles if needle in text]
    assert not found, found


def test_no_private_key_stands_in_the_tree():
    found = [name for name, text in _tracked_text() if "PRIVATE " + "KEY-----" in text]
    assert not found, found


def test_no_unfinished_work_is_hidden_in_the_product():
    pattern = re.compile(
        r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "Not" + "ImplementedError"]) + r")\b"
    )
    found = [short(path) for path in product_files() if pattern.search(path.read_text(encoding="utf-8"))]
    assert not found, found
