"""Configuration from TOML files, environment and flags; every mistake is named with file and line (X04).

Order, a later one wins: built-in, `/etc/hearthnet/config.toml`, `<config>/config.toml`, `<config>/conf.d/*.toml`, the
file named by `--config`, `HEARTHNET_<SECTION>_<KEY>`, flags. `${NAME}` in a text is replaced by that variable.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
from msgspec import inspect

from hearthnet.base.config import Config
from hearthnet.base.configline import Key, line_of
from hearthnet.base.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hearthnet.base.paths import Paths

RESERVED_VARIABLES: Final = frozenset(("HEARTHNET_HOME",))
_SYSTEM_FILE = Path("/etc/hearthnet/config.toml")
_PREFIX = "HEARTHNET_"
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_WORDS = {**dict.fromkeys(("true", "1", "yes", "on"), True), **dict.fromkeys(("false", "0", "no", "off"), False)}
_PATH = re.compile(r"\.([^.\[\]`]+)|\[(\d+)\]")
_Layer: TypeAlias = dict[str, Any]


def load_config(
    paths: Paths,
    environ: Mapping[str, str],
    *,
    extra_file: Path | None = None,
    flags: Mapping[str, str] | None = None,
    system_file: Path = _SYSTEM_FILE,
) -> Config:
    """The configuration of this node; `flags` maps `section.key` to text. Raises ConfigError."""
    files = [system_file, paths.config / "config.toml", *sorted((paths.config / "conf.d").glob("*.toml"))]
    layers = [_read_file(path, environ, required=False) for path in files]
    if extra_file is not None:
        layers.append(_read_file(extra_file, environ, required=True))
    layers += [_from_environment(environ), _from_flags(flags or {})]
    merged: _Layer = {}
    for layer in layers:
        for section, values in layer.items():
            merged.setdefault(section, {}).update(values)
    return msgspec.convert(merged, Config)


def render_default(values: Mapping[str, str] | None = None) -> str:
    """A commented file of all keys with their defaults; `values` (`section.key` to text) stand uncommented."""
    chosen = _from_flags(values or {})
    lines = [
        "# Configuration of this node. A line that begins with # shows the built-in value; remove the # to change it.",
        "# Every key can also be set as an environment variable: HEARTHNET_<SECTION>_<KEY>.",
    ]
    for section in msgspec.structs.fields(Config):
        lines += ["", f"# {section.type.__doc__}", f"[{section.name}]"]
        for field in msgspec.structs.fields(section.type):
            lines.append(f"# {_description(field)}")
            if field.name in chosen.get(section.name, {}):
                lines.append(f"{field.name} = {_to_toml(chosen[section.name][field.name])}")
            else:
                lines.append(f"#{field.name} = {_to_toml(field.default)}")
    return "\n".join(lines) + "\n"


# ---- files ---------------------------------------------------------------------------------------------------


def _read_file(path: Path, environ: Mapping[str, str], *, required: bool) -> _Layer:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not required:
            return {}
        raise ConfigError(f"{path}: {error.strerror}", fix="make the file readable for the node") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8", fix="save the file as UTF-8 text") from error
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        where = line[1] if line else str(text.count("\n") + 1)
        raise ConfigError(
            f"{path}:{where}: {error}", fix="see the form of each key: hearthnet config default"
        ) from error
    layer: _Layer = {}
    for name, value in found.items():
        layer[name] = _expanded(value, [name], path, text, environ)
    try:
        msgspec.convert(layer, Config)
    except msgspec.ValidationError as error:
        raise _located(str(error), path, text) from error
    return layer


def _expanded(value: Any, key: Key, path: Path, text: str, environ: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _expanded(item, [*key, name], path, text, environ) for name, item in value.items()}
    if isinstance(value, list):
        return [_expanded(item, [*key, at], path, text, environ) for at, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{path}:{line_of(text, key)}: {_dotted(key)}: {value} is no usable number")
    if not isinstance(value, str):
        return value
    for name in _VARIABLE.findall(value):
        if name not in environ:
            raise ConfigError(
                f"{path}:{line_of(text, key)}: {_dotted(key)}: the environment variable {name} is not set",
                fix=f"export {name}=..., or write the value itself",
            )
    return _VARIABLE.sub(lambda found: environ[found[1]], value)


def _located(message: str, path: Path, text: str) -> ConfigError:
    """The message of msgspec with file and line; for an unknown key with the nearest known one."""
    problem, _, where = message.partition(" - at `$")
    key: Key = [name or int(index) for name, index in _PATH.findall(where)]
    unknown = re.search(r"unknown field `(.*)`$", problem)
    if unknown is None:
        expected = problem[0].lower() + problem[1:].replace("`", "")
        return ConfigError(f"{path}:{line_of(text, key)}: {_dotted(key)}: {expected}", fix=_meaning(key))
    kind = "section" if not key else "key"
    here = f"{path}:{line_of(text, [*key, unknown[1]])}"
    return ConfigError(
        f"{here}: unknown {kind} {_dotted([*key, unknown[1]])}", fix=_nearest(unknown[1], _names_at(key))
    )


# ---- environment and flags -----------------------------------------------------------------------------------


def _from_environment(environ: Mapping[str, str]) -> _Layer:
    known = {f"{_PREFIX}{section}_{field.name}".upper(): (section, field) for section, field in _all_keys()}
    layer: _Layer = {}
    for variable in sorted(environ):
        if not variable.startswith(_PREFIX) or variable in RESERVED_VARIABLES:
            continue
        if variable not in known:
            names = [*known, *RESERVED_VARIABLES]
            raise ConfigError(f"unknown environment variable {variable}", fix=_nearest(variable, names))
        section, field = known[variable]
        if environ[variable] or isinstance(_plain_type(field), inspect.StrType):
            layer.setdefault(section, {})[field.name] = _parsed(environ[variable], field, variable)
    return layer


def _from_flags(flags: Mapping[str, str]) -> _Layer:
    known = {f"{section}.{field.name}": (section, field) for section, field in _all_keys()}
    layer: _Layer = {}
    for name, text in flags.items():
        if name not in known:
            raise ConfigError(f"unknown key {name}", fix=_nearest(name, list(known)))
        section, field = known[name]
        layer.setdefault(section, {})[field.name] = _parsed(text, field, name)
    return layer


def _parsed(text: str, field: msgspec.structs.FieldInfo, name: str) -> Any:
    """A text as the key's type wants it, still in TOML's terms."""
    kind = _plain_type(field)
    try:
        value: Any = text
        if isinstance(kind, inspect.BoolType):
            value = _WORDS.get(text.strip().lower(), text)
        elif isinstance(kind, inspect.IntType):
            value = int(text)
        elif isinstance(kind, inspect.FloatType):
            value = float(text) if math.isfinite(float(text)) else text
        elif isinstance(kind, inspect.VarTupleType) and isinstance(kind.item_type, inspect.StrType):
            value = [part.strip() for part in text.split(",") if part.strip()]
        elif isinstance(kind, inspect.VarTupleType):
            value = msgspec.json.decode(text)
        msgspec.convert(value, field.type)
    except (ValueError, msgspec.DecodeError) as error:
        raise ConfigError(f"{name}: {text!r} does not fit: {error}", fix=_description(field)) from error
    return value


# ---- what the structs say ------------------------------------------------------------------------------------


def _all_keys() -> Iterator[tuple[str, msgspec.structs.FieldInfo]]:
    for section in msgspec.structs.fields(Config):
        for field in msgspec.structs.fields(section.type):
            yield section.name, field


def _plain_type(field: msgspec.structs.FieldInfo) -> inspect.Type:
    kind = inspect.type_info(field.type)
    return kind.type if isinstance(kind, inspect.Metadata) else kind


def _names_at(key: Key) -> list[str]:
    """The names that may stand below a key."""
    struct: Any = Config
    for name in key:
        if isinstance(name, str):
            kind = _plain_type(next(field for field in msgspec.structs.fields(struct) if field.name == name))
            item = kind.item_type if isinstance(kind, inspect.VarTupleType) else kind
            struct = item.cls if isinstance(item, inspect.StructType) else struct
    return [field.name for field in msgspec.structs.fields(struct)]


def _meaning(key: Key) -> str:
    found = [field for section, field in _all_keys() if key[:2] == [section, field.name]]
    return _description(found[0]) if found else ""


def _description(field: msgspec.structs.FieldInfo) -> str:
    return str(msgspec.json.schema(field.type).get("description", ""))


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(sorted(known))}"


def _dotted(key: Key) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).removeprefix(".")


def _to_toml(value: Any) -> str:
    return msgspec.json.encode(value).decode()  # of texts, numbers, booleans and lists of texts TOML reads the same
