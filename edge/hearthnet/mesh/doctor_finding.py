"""What the check-up looks at and what it finds (X03)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from msgspec import Struct

from hearthnet.base.config import Config
from hearthnet.base.paths import Paths
from hearthnet.ports import EngineStatus, ModelInfo

State = Literal["ok", "warn", "fail"]
Group = Literal["identity", "storage", "network", "models", "security"]


class NodeView(Struct, frozen=True):
    """What only the running node knows."""

    capabilities: int
    faults: tuple[int, int]  # calls that failed by this node's fault, of so many recent ones
    engines: tuple[EngineStatus, ...] = ()
    models: tuple[ModelInfo, ...] = ()


class Scene(Struct, frozen=True):
    """What is looked at."""

    config: Config
    paths: Paths
    now: float  # wall clock
    config_fault: str = ""  # why the configuration could not be read; then `config` holds the defaults
    node: NodeView | None = None  # None = no node runs
    shared_models: tuple[Path, ...] = (Path(sys.prefix) / "share/hearthnet/models",)  # where `make setup` puts them


class Look(Struct, frozen=True):
    """What one check saw; `values` fill the sentence, `fix` is a command."""

    state: State
    reason: str
    values: dict[str, str] = {}
    fix: str = ""
    mendable: bool = False


class Finding(Struct, frozen=True):
    """One line of the check-up."""

    check: str
    group: Group
    state: State
    reason: str
    values: dict[str, str]
    fix: str
    mendable: bool

    @property
    def key(self) -> str:
        """Locale key of the sentence."""
        common = self.reason in COMMON_REASONS
        return f"doctor.any.{self.reason}" if common else f"doctor.{self.check}.{self.reason}"


GROUPS: tuple[Group, ...] = ("identity", "storage", "network", "models", "security")


class Check(Struct, frozen=True):
    """One thing to look at; `reasons` are all it can say besides the common ones."""

    id: str
    group: Group
    look: Callable[[Scene], Look]
    reasons: tuple[str, ...]
    mend: Callable[[Scene], None] | None = None
    needs_node: bool = False


COMMON_REASONS = ("slow", "unreadable")
