"""A stack with a bound."""

from typing import Any


class Stack:
    """Last in, first out."""

    def __init__(self, most: int) -> None:
        self.items: list[Any] = []
        self.most = most

    def push(self, item: Any) -> None:
        """Add an item on top."""
        if len(self.items) == self.most:
            raise OverflowError(f"the stack holds {self.most} items")
        self.items.append(item)

    def pop(self) -> Any:
        """Remove the item on top and return it."""
        if not self.items:
            raise IndexError("the stack is empty")
        return self.items.pop()
