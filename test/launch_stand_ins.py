"""What the tests of launch files use of `launch`, which has no wheel."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Configuration:
    name: str

    def perform(self, context):
        return context.launch_configurations[self.name]


@dataclass
class Context:
    launch_configurations: dict[str, str]
    argv: list[str] = field(default_factory=list)
    is_shutdown: bool = False
