"""Messages of the pages by language: JSON files of texts under dotted keys, with placeholders for values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Literal, get_args

from kronos.errors import ParameterError

Language = Literal["en", "zh"]

TAGS = {"en": "en", "zh": "zh-Hans"}  # of the HTML lang attribute


class Translator:
    """The messages of one language."""

    def __init__(self, language: Language) -> None:
        """Load the messages.

        Args:
            language: ``en`` or ``zh``.

        Raises:
            ParameterError: If the language is unknown.
        """
        if language not in get_args(Language):
            raise ParameterError(f"Invalid language '{language}': choose one of {', '.join(get_args(Language))}.")
        self.tag = TAGS[language]
        self._messages = _read_messages(language)

    def __call__(self, key: str, /, **values: Any) -> str:
        """Format a message; the result is plain text, not escaped.

        Args:
            key: Key of the message, such as ``page.advice``.
            values: Values of the placeholders.

        Raises:
            KeyError: If there is no such message, or a value is missing.
        """
        return self._messages[key].format(**values)

    @property
    def keys(self) -> list[str]:
        """Keys of all messages, in the order of the file."""
        return list(self._messages)


@cache
def _read_messages(language: str) -> Mapping[str, str]:
    text = (resources.files("kronos.reports") / "shared" / f"messages.{language}.json").read_text("utf-8")
    return dict(_flatten("", json.loads(text)))


def _flatten(prefix: str, tree: Mapping[str, Any]) -> list[tuple[str, str]]:
    messages: list[tuple[str, str]] = []
    for name, value in tree.items():
        key = f"{prefix}.{name}" if prefix else name
        messages += [(key, value)] if isinstance(value, str) else _flatten(key, value)
    return messages
