"""Strict configuration: frozen dataclasses filled from YAML, one default per setting."""

from __future__ import annotations

import types
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from mono_depth_ros.errors import ConfigError

T = TypeVar("T")


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key written twice; plain YAML keeps the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = sorted({str(key) for key in keys if keys.count(key) > 1})
        if repeated:
            raise ConfigError(f"{', '.join(repeated)} set twice{node.start_mark}; keep one line")
        return super().construct_mapping(node, deep)


def load_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML file whose top level is a mapping.

    Raises:
        ConfigError: the file is missing, is not YAML, repeats a key, or is not a mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read configuration {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error}; is it a YAML file?") from error
    try:
        values = yaml.load(text, Loader=_UniqueKeyLoader)
    # Damaged text may also announce dates that do not exist, or nest without end.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold `key: value` lines, it holds {type(values).__name__}")
    return values


def from_mapping(cls: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """Build the config dataclass `cls` from plain values, nested dataclasses included.

    Args:
        cls: a dataclass whose fields are numbers, strings, booleans, None, Literals, tuples or
            further dataclasses.
        values: what a YAML or JSON file held.
        where: dotted name of this mapping in its file, for messages.

    Raises:
        ConfigError: a key is unknown or missing, a value has the wrong type, or `__post_init__`
            refused it.
    """
    name = where or cls.__name__
    if not isinstance(values, Mapping):
        raise ConfigError(f"{name} must be a mapping of settings, got {values!r}")
    known = {field.name: field for field in fields(cls) if field.init}  # type: ignore[arg-type]
    unknown = sorted(str(key) for key in set(values) - set(known))
    if unknown:
        raise ConfigError(
            f"{name} has no setting {', '.join(unknown)}; it has {', '.join(sorted(known))}"
        )
    required = {
        key for key, f in known.items() if f.default is MISSING and f.default_factory is MISSING
    }
    missing = sorted(required - set(values))
    if missing:
        raise ConfigError(f"{name} needs {', '.join(missing)}; add the setting")
    hints = get_type_hints(cls)
    return cls(
        **{key: _convert(hints[key], value, f"{name}.{key}") for key, value in values.items()}
    )


def to_mapping(config: Any) -> dict[str, Any]:
    """Return a config dataclass as plain values for YAML or JSON; inverse of `from_mapping`."""
    return {key: _plain(value) for key, value in asdict(config).items()}


def require_ranges(config: Any) -> None:
    """Check every number of a config dataclass against the `range` in its field's metadata.

    Raises:
        ConfigError: one lies outside.
    """
    for item in fields(config):
        if "range" in item.metadata:
            low, high = item.metadata["range"]
            if not low <= getattr(config, item.name) <= high:
                raise ConfigError(
                    f"{item.name} is {getattr(config, item.name)}; allowed is {low} to {high}"
                )


def with_overrides(values: Mapping[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Apply `a.b=value` strings from a command line to nested plain values; value is read as YAML.

    Raises:
        ConfigError: an override has no `=` or descends into something that is not a mapping.
    """
    result = {
        key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()
    }
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise ConfigError(f"override {override!r} must look like section.setting=value")
        head, _, rest = key.partition(".")
        if rest:
            inner = result.get(head, {})
            if not isinstance(inner, Mapping):
                raise ConfigError(f"override {override!r}: {head} is {inner!r}, not a section")
            result[head] = with_overrides(inner, [f"{rest}={text}"])
        else:
            try:
                result[head] = yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise ConfigError(f"override {override!r}: {text!r} is not valid YAML") from error
    return result


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Check `value` against a type hint; the only conversions are int → float and list → tuple."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _convert_union(arguments, value, where)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{where} is {value!r}; choose from {', '.join(map(str, arguments))}")
        return value
    if isinstance(hint, type) and is_dataclass(hint):
        return value if isinstance(value, hint) else from_mapping(hint, value, where)
    if origin is tuple:
        return _convert_tuple(arguments, value, where)
    if hint is float and not isinstance(value, bool):
        # YAML 1.1 reads 1e-4, without a point, as a string.
        with suppress(TypeError, ValueError):
            number = float(value)
            if number != number:
                raise ConfigError(f"{where} is NaN; give a number")
            return number
    expected = origin or hint
    if expected is Any or (
        isinstance(value, expected) and not (isinstance(value, bool) and expected is not bool)
    ):
        return value
    raise ConfigError(f"{where} must be {getattr(hint, '__name__', hint)}, got {value!r}")


def _convert_union(options: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in options:
        return None
    for option in (option for option in options if option is not type(None)):
        try:
            return _convert(option, value, where)
        except ConfigError as error:
            reason = error
    raise reason


def _convert_tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{where} must be a list, got {value!r}")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_convert(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if len(value) != len(arguments):
        raise ConfigError(f"{where} must have {len(arguments)} entries, got {value!r}")
    return tuple(
        _convert(hint, item, f"{where}[{i}]")
        for i, (hint, item) in enumerate(zip(arguments, value, strict=True))
    )
