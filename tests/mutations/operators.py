"""Cosmic Ray's operator for SQL and patterns in strings."""

from collections.abc import Iterator
from typing import Any, ClassVar

from cosmic_ray.operators.operator import Example, Operator

from tests.mutations.texts import mutations


class TextReplacer(Operator):  # type: ignore[misc]  # Cosmic Ray is in an environment apart
    """Changes SQL and patterns in strings, docstrings aside."""

    kinds: ClassVar[tuple[str, ...]] = ("string", "fstring_string")

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """Yield the node's place once for each mutation."""
        if node.type in self.kinds and node.parent.type != "simple_stmt":
            for _ in mutations(node.value):
                yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Return the node with one of the mutations."""
        node.value = list(mutations(node.value))[index]
        return node

    @classmethod
    def examples(cls) -> tuple[Any, ...]:
        """Return a mutation, as documentation."""
        return (Example('x = "WHERE a <= b"', 'x = "WHERE a < b"'),)


class Provider:
    """Makes the operator known to Cosmic Ray as ``text/TextReplacer``."""

    def __iter__(self) -> Iterator[str]:
        return iter(["TextReplacer"])

    def __getitem__(self, name: str) -> type[TextReplacer]:
        return {"TextReplacer": TextReplacer}[name]
