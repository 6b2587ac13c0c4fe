"""Plain Python values as DynamoDB's attributes, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    Item = dict[str, Any]

SMALLEST, LARGEST = 1e-130, 9.9e125


def attribute(value: Any) -> Item:
    """Return a value as DynamoDB writes it.

    Numbers that it cannot hold are left out of maps, and null in lists: NaN, infinities and what
    is beyond 1e126. What is nearer to zero than 1e-130 is zero.
    """
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case bytes():
            return {"B": value}
        case int():
            return {"N": str(value)}
        case float():
            if abs(value) < LARGEST:
                return {"N": repr(value) if abs(value) > SMALLEST else "0"}
            return {"NULL": True}
        case dict():
            return {"M": plain_to_item(value)}
    return {"L": [attribute(element) for element in value]}


def plain(written: Mapping[str, Any]) -> Any:
    """Return the value that `attribute` wrote."""
    [(kind, value)] = written.items()
    match kind:
        case "NULL":
            return None
        case "N":
            return int(value) if value.lstrip("-").isdigit() else float(value)
        case "M":
            return item_to_plain(value)
        case "L":
            return [plain(element) for element in value]
    return value


def plain_to_item(values: Mapping[str, Any]) -> Item:
    """Return an item, or what a map holds, as DynamoDB writes it."""
    return {
        name: attribute(value)
        for name, value in values.items()
        if not isinstance(value, float) or abs(value) < LARGEST
    }


def item_to_plain(item: Mapping[str, Any]) -> Item:
    """Return the values of an item."""
    return {name: plain(value) for name, value in item.items()}
