"""Every module is used: reached by imports from the node, the commands or an engine's child process."""

from __future__ import annotations

import ast
import re

from architecture.source_tree import PACKAGE, module_name, product_files, short, tree_of

# started as `python -m ...`, listed by folder, or run from outside
ROOTS = re.compile(r"hearthnet\.(node|cli\.\w+|conformance\.\w+|adapters\.engines\.\w+|capabilities\.\w+)$")
# tested parts whose place in the node comes with the next slice of issue 3, by name; the list only shrinks
AWAITED = {
    "finding neighbours, once the node composes it": (
        "adapters/announcer_mdns",
        "adapters/announcer_udp",
        "adapters/network_interfaces",
        "mesh/discovery",
        "mesh/peer_record",
        "mesh/peer_schema",
        "mesh/peers",
        "mesh/remote",
        "mesh/waiting",
        "wire/announce_pace",
    ),
    "broadcast, once the node composes it": (
        "mesh/broadcaster",
        "mesh/gossip_queue",
        "wire/broadcast",
        "wire/gossip_message",
        "wire/overlay",
    ),
    "sync, once the node composes it": (
        "mesh/gossip",
        "mesh/standing",
        "mesh/sync_client",
        "mesh/sync_index",
        "mesh/sync_server",
        "mesh/sync_session",
        "wire/merged_keys",
        "wire/negentropy",
        "wire/ordered_keys",
        "wire/reconcile",
        "wire/sync_message",
    ),
    "messages and board, once their capabilities come": (
        "mesh/board",
        "mesh/chat",
        "mesh/chat_keys",
        "mesh/chat_seal",
        "mesh/chat_store",
        "mesh/ratchets",
    ),
    "the people page": (
        "wire/recovery",
        "wire/recovery_words",
    ),
}


def awaited(name):
    return any(name == f"edge/hearthnet/{part}.py" for parts in AWAITED.values() for part in parts)


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
    missing = [name for name in lost if not awaited(name)]
    assert not missing, f"reached by nothing: {missing}"
    assert len(lost) == sum(map(len, AWAITED.values())), "take what is reached now off the list"


def test_spec_ids_that_are_built_are_claimed_by_a_module():
    claimed = set()
    for path in product_files():
        claimed |= set(re.findall(r"\b([MX]\d\d)\b", ast.get_docstring(tree_of(path)) or ""))
    assert {"M01", "M03", "M04", "M05", "M07", "M08", "M11", "M12", "X01", "X02", "X03", "X04"} <= claimed
    assert PACKAGE.name == "hearthnet"
