"""What tests take out of a result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mcp.types import CallToolResult

Call = Callable[..., CallToolResult]


def text_of(result: CallToolResult) -> str:
    """The readable half of a result."""
    (block,) = result.content
    assert block.type == "text"
    return block.text


def facts_of(result: CallToolResult) -> dict[str, Any]:
    """The structured half of a result that is no error."""
    assert not result.is_error, text_of(result)
    assert result.structured_content is not None
    return result.structured_content
