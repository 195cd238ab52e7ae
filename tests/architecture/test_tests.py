"""Tests that can fail: no test without an assertion, none that swallows one, no sleeping, no mocks."""

from __future__ import annotations

import ast
import re

import pytest

from architecture import source_tree
from architecture.source_tree import ROOT, short, tree_of

# a call of one of these is an assertion
ASSERTING = re.compile(r"(^|[._])(assert\w*|raises|check\w*|expect\w*|verify\w*|require\w*|run_state_machine_as_test)")


def each_test(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            yield node


def asserts(node):
    for part in ast.walk(node):
        if isinstance(part, ast.Assert):
            return True
        if isinstance(part, ast.Call) and ASSERTING.search(ast.unparse(part.func)):
            return True
    return False


@pytest.mark.parametrize("path", source_tree.suite_files(), ids=short)
def test_every_test_asserts_something(path):
    empty = [node.name for node in each_test(tree_of(path)) if not asserts(node)]
    assert not empty, f"{short(path)}: {empty}"


@pytest.mark.parametrize("path", source_tree.suite_files(), ids=short)
def test_no_test_swallows_a_failure(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ExceptHandler):
            names = [] if node.type is None else re.findall(r"\w+", ast.unparse(node.type))
            broad = node.type is None or {"Exception", "BaseException", "AssertionError"} & set(names)
            raises = any(isinstance(part, ast.Raise | ast.Assert) for part in ast.walk(node))
            assert not broad or raises, f"{short(path)}:{node.lineno} swallows everything"


@pytest.mark.parametrize("path", source_tree.suite_files(), ids=short)
def test_no_test_sleeps_or_mocks(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert "unittest.mock" not in ast.unparse(node), f"{short(path)}: fakes, not mocks"
        if isinstance(node, ast.Call) and re.search(r"(^|\.)sleep$", ast.unparse(node.func)) and node.args:
            seconds = getattr(node.args[0], "value", 0)
            virtual = "clock" in ast.unparse(node.func).lower()
            assert virtual or not isinstance(seconds, int | float) or seconds <= 0.05, f"{short(path)}:{node.lineno}"


@pytest.mark.parametrize("path", source_tree.suite_files(), ids=short)
def test_every_skip_names_what_is_missing(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and re.search(r"(^|\.)(skip|skipif|importorskip)$", ast.unparse(node.func)):
            reasons = [*node.args, *(word.value for word in node.keywords)]
            assert reasons, f"{short(path)}:{node.lineno} skips without a reason"


def test_the_layers_stand_in_the_configuration():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lower = '"web | adapters", "capabilities", "mesh", "ports", "wire", "base"'
    assert f'"cli | conformance", "node", "startup", {lower}' in text
    assert "exhaustive = true" in text
