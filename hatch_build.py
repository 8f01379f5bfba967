"""Build hook of the wheel: it carries the workbench, built with a node that pip brings where there is none."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WorkbenchBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Builds the assets of the workbench unless they exist."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return node as a Python package if the assets must be built and the PATH has no node."""
        web = self._web()
        return [] if web.is_built() or web.has_node() else [web.NODE_REQUIREMENT]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the assets, and add them to the wheel: Git ignores them, so the wheel would too."""
        if version == "editable":  # a checkout builds them with `make web`
            return
        web = self._web()
        if not web.is_built():
            web.build()
        build_data["artifacts"].append("/src/kronos/serve/assets")

    def _web(self) -> ModuleType:
        spec = importlib.util.spec_from_file_location("web_build", Path(self.root) / "web" / "build.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
