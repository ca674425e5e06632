"""
How the same thing is said to each provider through libcloud.  Values and pure functions: no libcloud, no I/O.

A machine is ours if it carries the tag of our installation, never by its name alone.  Where a provider has tags with values,
they are called C{modabatchd-installation} and C{modabatchd-node}, and their values are UUIDs.  Where tags are bare words, of
at most fifty letters at Linode, they are C{modabatchd-i:} and C{modabatchd-n:} with the UUIDs' digits; Vultr's only tag holds
both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from modabatchd.infrastructure.node import MachineState

INSTALLATION: Final = "modabatchd-installation"
NODE: Final = "modabatchd-node"
_WORDS: Final = ("modabatchd-i:", "modabatchd-n:")


class Tags(msgspec.Struct, frozen=True):
    """Whose a machine is.  @ivar installation: our UUID.  @ivar node: the node's; empty if that tag has been lost."""

    installation: str
    node: str

    def named(self) -> dict[str, str]:
        """As tags that have values."""
        return {INSTALLATION: self.installation, NODE: self.node}

    def words(self) -> list[str]:
        """As tags that are bare words."""
        return [word + UUID(value).hex for word, value in zip(_WORDS, (self.installation, self.node), strict=True)]


class Ref(msgspec.Struct, frozen=True):
    """
    Stands for an object of libcloud's that a driver wants instead of an id.

    @ivar link: where the provider wants a path instead of an id.
    """

    kind: Literal["size", "image", "zone", "other"]
    id: str
    link: str = ""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """
    A machine to be created.

    @ivar spot: whether the provider may take it back when it likes.
    @ivar password: for providers that insist on one; nobody knows it.
    @ivar options: what the pool says, by the names in L{Dialect.options}.
    """

    name: str
    tags: Tags
    size: str
    zone: str
    spot: bool
    user_data: str
    password: str
    options: Mapping[str, str]


class Offered(msgspec.Struct, frozen=True, kw_only=True):
    """A size as its provider describes it.  @ivar cpus, memory: cores and MiB; 0 where it does not say."""

    id: str
    cpus: int = 0
    memory: int = 0


class Sizes(msgspec.Struct, frozen=True):
    """
    How to ask about a size.

    @ivar query: the parameters of a request about one size, for whose answer there is C{told}; L{None}: libcloud's
        C{list_sizes} asks the provider, and not a table of its own.
    @ivar told: the sizes in an answer.
    """

    query: Callable[[str], Mapping[str, str]] | None = None
    told: Callable[[Any], Sequence[Offered]] | None = None


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is particular to a driver.

    @ivar create: the arguments of C{create_node}.
    @ivar owner: reads the tags of a machine, from C{Node.extra} or from an item of the provider's answer, which agree in this.
    @ivar told: how many machines of the installation an answer of the provider's lists; L{None}: it is no list.  See Note
        [Empty lists] in L{modabatchd.infrastructure.libcloud}.  L{None} instead of a function: lists cannot be misread.
    @ivar listing: the arguments of C{list_nodes}.
    @ivar destroying: the arguments of C{destroy_node}, beside the node.
    @ivar account: what the driver is made with, unless the account says otherwise; L{None} for what it does not take.
    @ivar options: those that a pool may have, and whether it must.
    @ivar spot: whether there are spot machines.
    @ivar zoned: whether a zone must be named.
    @ivar states: by C{Node.extra["status"]}, where libcloud's states say less.
    @ivar console: the driver's method that tells a machine's console; empty if it has none.
    @ivar user_data_limit: in bytes.
    @ivar sizes: how the provider is asked what it has; L{None} where that is not done.
    """

    create: Callable[[Wanted], dict[str, Any]]
    owner: Callable[[Mapping[str, Any]], Tags | None]
    told: Callable[[Any, str], int | None] | None = None
    listing: Callable[[str], dict[str, Any]] = lambda installation: {}
    destroying: Mapping[str, Any] = {}
    account: Mapping[str, Any] = {}
    options: Mapping[str, bool]
    spot: bool = False
    zoned: bool = False
    states: Mapping[str, MachineState] = {}
    console: str = ""
    user_data_limit: int = 65535
    sizes: Sizes | None = None


def complaints(spoken: Dialect, options: Mapping[str, str], zones: Iterable[str] = (), spot: bool = False) -> Sequence[str]:
    """What is wrong with a pool's options, zones and market, a sentence for each mistake."""
    unknown = [f"There is no option {name}." for name in sorted(options.keys() - spoken.options.keys())]
    missing = [f"The option {name} is missing." for name, must in spoken.options.items() if must and not options.get(name)]
    zoneless = ["Zones must be named."] if spoken.zoned and not all([*zones]) else []
    market = ["There is no spot market."] if spot and not spoken.spot else []
    return [*unknown, *missing, *zoneless, *market]


def named(where: str) -> Callable[[Mapping[str, Any]], Tags | None]:
    """An L{Dialect.owner} that finds tags with values under a key."""

    def owner(data: Mapping[str, Any]) -> Tags | None:
        tags = data.get(where) or {}
        return Tags(tags[INSTALLATION], tags.get(NODE, "")) if INSTALLATION in tags else None

    return owner


def worded(data: Mapping[str, Any]) -> Tags | None:
    """An L{Dialect.owner} that finds tags that are bare words."""
    words = data.get("tags") or []
    installation, node = [next((word[len(start) :] for word in words if word.startswith(start)), "") for start in _WORDS]
    return tags_of(installation, node)


def tags_of(installation: str, node: str) -> Tags | None:
    """By the digits of the two UUIDs; L{None} if the first is none."""
    owner = _uuid(installation)
    return Tags(owner, _uuid(node)) if owner else None


def _uuid(digits: str) -> str:
    try:
        return str(UUID(digits))
    except ValueError:
        return ""


def counting(key: str, owner: Callable[[Mapping[str, Any]], Tags | None]) -> Callable[[Any, str], int | None]:
    """A L{Dialect.told} for answers in JSON that list machines under a key."""

    def told(answer: Any, installation: str) -> int | None:
        items = answer.get(key) if isinstance(answer, dict) else None
        return count_ours(items, owner, installation) if isinstance(items, list) else None

    return told


def count_ours(items: Iterable[Any], owner: Callable[[Mapping[str, Any]], Tags | None], installation: str) -> int:
    """How many of these items of an answer are machines of the installation."""
    return sum((tags := owner(item)) is not None and tags.installation == installation for item in items)


def words_of(text: str | None) -> list[str]:
    """What stands between commas."""
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def others(text: str | None) -> list[Ref]:
    """References to what stands between commas."""
    return [Ref("other", word) for word in words_of(text)]


def only(**arguments: Any) -> dict[str, Any]:
    """Without those that are empty."""
    return {name: value for name, value in arguments.items() if value}
