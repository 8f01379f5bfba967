"""Access to the parts of a tool result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mcp.types import CallToolResult

Call = Callable[..., CallToolResult]


def text_of(result: CallToolResult) -> str:
    """Return the text of a result."""
    texts = [block.text for block in result.content if block.type == "text"]
    assert texts
    assert len(texts) == len(result.content)
    return "\n".join(texts)


def content_of(result: CallToolResult) -> dict[str, Any]:
    """Return the structured content of a successful result."""
    assert not result.is_error, text_of(result)
    assert result.structured_content is not None
    return result.structured_content
