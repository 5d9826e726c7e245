"""Operators for Cosmic Ray: SQL and patterns in strings, and any exception."""

from collections.abc import Iterator
from typing import Any, ClassVar

from cosmic_ray.exceptions import CosmicRayTestingException
from cosmic_ray.operators.exception_replacer import ExceptionReplacer
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


class AnyExceptionReplacer(ExceptionReplacer):  # type: ignore[misc]
    """Replaces an exception that is caught; Cosmic Ray's own raises on ``asyncio.TimeoutError``."""

    def mutate(self, node: Any, index: int) -> Any:
        """Return the clause with another name, which nothing has, in place of one."""
        self._name_nodes(node)[index].get_last_leaf().value = CosmicRayTestingException.__name__
        return node


OPERATORS: dict[str, type[Operator]] = {
    "TextReplacer": TextReplacer,
    "AnyExceptionReplacer": AnyExceptionReplacer,
}
"""The operators by name, as Cosmic Ray asks a plugin for them."""
