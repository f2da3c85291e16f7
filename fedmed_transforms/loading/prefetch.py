"""The next images while the network works on these."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")

_END: Any = object()


class Prefetched(Generic[Item]):
    """Iterates over a loader of data in a thread of its own, a few items ahead, in the loader's order.

    Reading, inflating, decoding and uploads leave Python's lock to the training loop, so a thread is enough, and items
    may lie on a GPU already. An error of the loader is raised where its item would have come (MONAI's ThreadBuffer ends
    the epoch there instead, without a word); a loop that is left early stops the thread.

    Parameters
    ----------
    loader
        For example a ``DataLoader`` whose dataset loads onto the device; iterated anew for each epoch.
    ahead
        How many items wait at most, at least 1.

    Raises
    ------
    ValueError
        ``ahead`` is less than 1.
    """

    def __init__(self, loader: Iterable[Item], ahead: int = 2) -> None:
        if ahead < 1:
            raise ValueError(f"ahead: expected at least 1 item, found {ahead}")
        self.loader = loader
        self.ahead = ahead

    def __len__(self) -> int:
        """Items of an epoch, where the loader knows them."""
        return len(self.loader)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Item]:
        """The loader's items."""
        items = iter(self.loader)
        with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
            pending: deque[Future[Item]] = deque(pool.submit(next, items, _END) for _ in range(self.ahead))
            try:
                while (item := pending.popleft().result()) is not _END:
                    pending.append(pool.submit(next, items, _END))
                    yield item
            finally:
                for future in pending:
                    future.cancel()
