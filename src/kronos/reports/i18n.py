"""What pages say, by language: JSON files of sentences under dotted names, with places for values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Literal, get_args

from kronos.errors import ParameterError

Language = Literal["en", "zh"]

TAGS = {"en": "en", "zh": "zh-Hans"}  # as HTML has them


class Translator:
    """The sentences of one language."""

    def __init__(self, language: Language) -> None:
        """Read them.

        Args:
            language: ``en`` or ``zh``.

        Raises:
            ParameterError: If there is no such language.
        """
        if language not in get_args(Language):
            raise ParameterError(f"There is no language '{language}'; choose one of {', '.join(get_args(Language))}.")
        self.tag = TAGS[language]
        self._sentences = _read(language)

    def __call__(self, name: str, /, **values: Any) -> str:
        """A sentence with its values; plain text, not yet escaped.

        Args:
            name: Such as ``page.advice``.
            values: By the places' names.

        Raises:
            KeyError: If there is no such sentence, or a value is missing.
        """
        return self._sentences[name].format(**values)

    @property
    def ordered(self) -> list[str]:
        """Names of all sentences, as the file has them."""
        return list(self._sentences)


@cache
def _read(language: str) -> Mapping[str, str]:
    text = (resources.files("kronos.reports") / "shared" / f"messages.{language}.json").read_text("utf-8")
    return dict(_flat("", json.loads(text)))


def _flat(prefix: str, tree: Mapping[str, Any]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in tree.items():
        dotted = f"{prefix}.{name}" if prefix else name
        found += [(dotted, value)] if isinstance(value, str) else _flat(dotted, value)
    return found
