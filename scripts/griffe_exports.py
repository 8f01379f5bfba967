"""A Griffe extension: exported constants and type aliases appear in the API reference also without a docstring."""

from __future__ import annotations

from typing import Any

import griffe


class DocumentExports(griffe.Extension):
    """Give each exported attribute that has no docstring the word for what it is."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Visit the exports of a package and of its direct subpackages."""
        del kwargs
        for module in (pkg, *pkg.modules.values()):
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
