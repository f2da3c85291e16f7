"""Loads the next images while the network works on the current ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")

_END: Any = object()


class Prefetched(Generic[Item]):
    """Iterates over a data loader in a separate thread, a few items ahead, in the order of the loader.

    Reading, inflating, decoding and uploads release Python's lock for the training loop. One thread is therefore
    enough, and items may already lie on a GPU. An error of the loader is raised at the position of its item (MONAI's
    ThreadBuffer ends the epoch there without an error); a loop that ends early stops the thread.

    Parameters
    ----------
    loader
        For example a ``DataLoader`` whose dataset loads onto the device; every epoch iterates over it once.
    ahead
        The largest number of items that wait, at least 1.

    Raises
    ------
    ValueError
        ``ahead`` is less than 1.

    Examples
    --------
    >>> from fedmed_transforms import Prefetched
    >>> loader = Prefetched(["batch 1", "batch 2"], ahead=1)
    >>> len(loader), list(loader)
    (2, ['batch 1', 'batch 2'])
    """

    def __init__(self, loader: Iterable[Item], ahead: int = 2) -> None:
        if ahead < 1:
            raise ValueError(f"ahead: expected at least 1 item, found {ahead}")
        self.loader = loader
        self.ahead = ahead

    def __len__(self) -> int:
        """Returns the number of items of an epoch, if the loader has a length."""
        return len(self.loader)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Item]:
        """Iterates over the items of the loader."""
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
