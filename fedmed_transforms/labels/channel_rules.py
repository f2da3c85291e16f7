"""Rules that find the label values of a channel: by value, by the name of a segment or structure, or every value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from fedmed_transforms.labels.label_map import Region

NONZERO = "nonzero"
"""Stands for every value above zero, for labels that number instances (nuclei 1, 2, 3, ...)."""

Values: TypeAlias = Sequence[int | str] | str
"""Label values, names of segments and structures, or :data:`NONZERO`."""


@dataclass(frozen=True)
class ChannelRule:
    """The label values of one channel.

    Attributes
    ----------
    channel
        The name of the channel.
    values
        Label values.
    names
        Names of segments of a DICOM SEG or structures of an RTSTRUCT, which name the channel there in place of values.
    every
        Whether every value above zero belongs to the channel.
    """

    channel: str
    values: tuple[int, ...]
    names: tuple[str, ...]
    every: bool

    def select(self, regions: Sequence[Region] | None, file: str) -> Sequence[int] | str:
        """Returns the label values of the channel in a file, or :data:`NONZERO`.

        Parameters
        ----------
        regions
            The regions of the file's label map, or None for a label map without names.
        file
            The name of the file in messages.

        Raises
        ------
        ValueError
            The file has no region with a name of the channel, or the region is no label of its image; or the file
            has no names, or no values, and the channel has nothing else. The message quotes no name of the file that
            the channel does not have.
        """
        where = f"{file}: channel {self.channel!r}"
        if regions is None:
            if self.names and not self.values:
                raise ValueError(f"{where}: found label values without names, expected values beside {self.names}")
            return NONZERO if self.every else self.values
        if self.every:
            self._check(list(regions), [region for region in regions if region.refusal and not region.empty], where)
            return NONZERO
        if self.names:
            return self._named(regions, where)
        if any(region.by_name for region in regions):
            found = "label values, which structures do not have"
            raise ValueError(f"{where}: found {found}, expected the names of structures, such as ['GTV']")
        return self.values

    def _named(self, regions: Sequence[Region], where: str) -> list[int]:
        found = [region for region in regions if region.name in self.names]
        names = [region.name for region in found]
        if not found:
            folded = {name.casefold() for name in self.names}
            near = sum(region.name.casefold() in folded for region in regions)
            similar = f" ({near} differ in upper and lower case only)" if near else ""
            raise ValueError(f"{where}: found {len(regions)} names, none of {self.names} among them{similar}")
        if len(set(names)) < len(names):
            raise ValueError(f"{where}: found several segments or structures of one name, expected one of each")
        usable = [region for region in found if not region.refusal]
        self._check(found, [region for region in found if region.refusal and not (region.empty and usable)], where)
        return [region.number for region in usable]

    def _check(self, regions: list[Region], refused: list[Region], where: str) -> None:
        if refused:
            first = refused[0]
            name = f"the structure {first.name!r}" if first.name in self.names else f"one of {len(regions)} structures"
            raise ValueError(f"{where}: {name}: found {first.refusal}")


def channel_rules(channels: Mapping[str, Values] | Sequence[Values]) -> list[ChannelRule]:
    """Reads the rules of channels.

    Raises
    ------
    ValueError
        There is no channel, or a channel has no values.
    """
    named = channels if isinstance(channels, Mapping) else dict(zip(map(str, range(len(channels))), channels))
    if not named or not all(_is_rule(values) for values in named.values()):
        found = f"found {dict(named)}; the names of segments and structures stand in a list, like values"
        raise ValueError(f"channels: expected label values or {NONZERO!r} for each, {found}")
    return [_rule(name, values) for name, values in named.items()]


def _is_rule(values: Any) -> bool:
    if isinstance(values, (str, int, float)) or values is None:
        return values == NONZERO
    return len(values) > 0 and all(value.strip() if isinstance(value, str) else value == int(value) for value in values)


def _rule(channel: str, values: Values) -> ChannelRule:
    parts = [] if isinstance(values, str) else list(values)
    return ChannelRule(
        channel=channel,
        values=tuple(int(value) for value in parts if not isinstance(value, str)),
        names=tuple(value.strip() for value in parts if isinstance(value, str)),
        every=isinstance(values, str),
    )
