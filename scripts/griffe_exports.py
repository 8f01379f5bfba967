"""A Griffe extension: everything that a package exports appears in the API reference.

- Packages that import lazily list their exports in a stub, ``__init__.pyi``, as ``from .module import name as name``.
- Exported constants and type aliases appear also without a docstring.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import griffe


class DocumentExports(griffe.Extension):
    """Give each exported attribute that has no docstring the word for what it is."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Visit the exports of a package and of its direct subpackages."""
        del kwargs
        for module in (pkg, *pkg.modules.values()):
            _add_stub(module)
            for name in module.exports or ():
                exported = module.members.get(str(name))
                if exported is None:
                    continue
                try:
                    target = exported.final_target if isinstance(exported, griffe.Alias) else exported
                except (griffe.AliasResolutionError, griffe.CyclicAliasError):
                    continue  # mkdocstrings reports it
                if isinstance(target, griffe.Attribute) and target.docstring is None:
                    word = "Constant." if target.name.isupper() or target.name == "model_dict" else "Type alias."
                    target.docstring = griffe.Docstring(word, parent=target)


def _add_stub(module: griffe.Module) -> None:
    """Export what the stub of a lazy package lists."""
    if not isinstance(module.filepath, Path) or not (stub := module.filepath.with_suffix(".pyi")).is_file():
        return
    lines = re.findall(r"^from \.([\w.]+) import (\w+) as \w+$", stub.read_text("utf-8"), re.MULTILINE)
    for submodule, name in lines:
        module.set_member(name, griffe.Alias(name, f"{module.path}.{submodule}.{name}", parent=module))
    module.exports = [name for _, name in lines]
