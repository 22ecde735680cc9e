"""The models of a server by name, each of which may be replaced while it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lvm_lab.serving.refusal import Refusal
from lvm_lab.serving.served import Served


class Models:
    """Changed and read by the event loop alone, so that nobody gets one that is retired.

    failures: by name, why the newest version of a model is not the one that is served.
    """

    def __init__(self, served: list[Served]) -> None:
        self._by_name = {one.facts.name: one for one in served}
        self.failures: dict[str, str] = {}

    def __iter__(self) -> Iterator[Served]:
        return iter(list(self._by_name.values()))

    def get(self, name: str | None) -> Served:
        """The model of a name; None: the only one. Raises Refusal."""
        if name is None:
            if len(self._by_name) == 1:
                return next(iter(self._by_name.values()))
            raise Refusal(422, f"model is missing; name one of {', '.join(self._by_name)}.")
        if name not in self._by_name:
            raise Refusal(404, f"there is no model {name[:100]!r}; name one of {', '.join(self._by_name)}.")
        return self._by_name[name]

    def path(self, name: str) -> str | None:
        """Where the version that is served lies."""
        one = self._by_name.get(name)
        return None if one is None else one.facts.path

    @contextmanager
    def held(self, name: str | None) -> Iterator[Served]:
        """A model that stays as it is until the end of the block, also where another takes its name."""
        served = self.get(name)
        served.hold()
        try:
            yield served
        finally:
            served.release()

    def replace(self, served: Served) -> None:
        """From now on this one is found under its name."""
        old = self._by_name.get(served.facts.name)
        self._by_name[served.facts.name] = served
        self.failures.pop(served.facts.name, None)
        if old is not None:
            old.retire()

    def close(self) -> None:
        """Returns when all that waits was answered."""
        for one in self:
            one.close()
