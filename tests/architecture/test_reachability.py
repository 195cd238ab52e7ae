"""Every module is used: reached by imports from the node, the commands or an engine's child process."""

from __future__ import annotations

import ast
import re

from architecture.source_tree import PACKAGE, module_name, product_files, short, tree_of

# started as `python -m ...`, listed by folder, or run from outside
ROOTS = re.compile(r"hearthnet\.(node|cli\.\w+|conformance\.\w+|adapters\.engines\.\w+|capabilities\.\w+)$")
# codecs with vectors whose only user comes with a later issue, by name
AWAITED = {
    "edge/hearthnet/mesh/gossip.py": "sync, once the node composes it",
    "edge/hearthnet/mesh/standing.py": "sync, once the node composes it",
    "edge/hearthnet/mesh/sync_client.py": "sync, once the node composes it",
    "edge/hearthnet/mesh/sync_index.py": "sync, once the node composes it",
    "edge/hearthnet/mesh/sync_session.py": "sync, once the node composes it",
    "edge/hearthnet/mesh/sync_server.py": "sync, once the node composes it",
    "edge/hearthnet/wire/merged_keys.py": "sync, once the node composes it",
    "edge/hearthnet/wire/negentropy.py": "sync, once the node composes it",
    "edge/hearthnet/wire/ordered_keys.py": "sync, once the node composes it",
    "edge/hearthnet/wire/reconcile.py": "sync, once the node composes it",
    "edge/hearthnet/wire/sync_message.py": "sync, once the node composes it",
    "edge/hearthnet/wire/recovery.py": "the people page",
    "edge/hearthnet/wire/recovery_words.py": "the people page",
}


def imports_of(path):
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("hearthnet."):
            found.add(node.value)
    return found


def test_every_module_is_reached():
    modules = {module_name(path): path for path in product_files()}
    todo = [name for name in modules if ROOTS.match(name)]
    seen = set(todo)
    while todo:
        for name in imports_of(modules[todo.pop()]) & modules.keys() - seen:
            seen.add(name)
            todo.append(name)
    # fakes ship with their port for tests and tinkerers (architecture.md); packages without code need no visit
    lost = [
        short(path)
        for name, path in modules.items()
        if name not in seen and "fake" not in path.stem and path.name != "__init__.py"
    ]
    assert not [name for name in lost if name not in AWAITED], f"reached by nothing: {lost}"


def test_spec_ids_that_are_built_are_claimed_by_a_module():
    claimed = set()
    for path in product_files():
        claimed |= set(re.findall(r"\b([MX]\d\d)\b", ast.get_docstring(tree_of(path)) or ""))
    assert {"M01", "M03", "M04", "M05", "M07", "M08", "M11", "M12", "X01", "X02", "X03", "X04"} <= claimed
    assert PACKAGE.name == "hearthnet"
