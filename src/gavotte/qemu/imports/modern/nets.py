"""Network: `-nic`, and `-net` with one card and one backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from gavotte.qemu.imports.maps import print_map, read_map
from gavotte.qemu.imports.modern.draft import Draft
from gavotte.qemu.imports.options import Option
from gavotte.qemu.imports.syntax import Unreadable, parse_opts

__all__ = ["rewrite_nets"]

_DEFAULT_CARD: Final = {"pc": "e1000", "q35": "e1000e"}
_CARDS: Final = ("e1000", "e1000e", "i82551", "i82557b", "i82559er", "ne2k_pci", "pcnet", "rtl8139", "tulip", "vmxnet3")

# What belongs to the card, and what it is called there.
_CARD_KEYS: Final = {"mac": "mac", "macaddr": "mac", "addr": "addr", "vectors": "vectors"}

# What -nic tells a virtio card where it says nothing about it (net_param_nic in net/net.c).
_NO_VECTORS: Final = {"vectors": "0"}

_PLACE = "it is made before all other devices, as the board's card was, so it gets the same address on this machine"


@dataclass(frozen=True, slots=True)
class _Pair:
    """A card, what is behind it, and what is said of the options that made them."""

    card: dict[str, Any]
    netdev: dict[str, Any]
    changes: tuple[tuple[Option, str, str], ...]


def rewrite_nets(draft: Draft) -> None:
    """All or none: the board numbers its cards, so one that stays an option would take another's place."""
    options = draft.take("nic", "net")
    nones = [option for option in options if _type_of(option) == "none"]
    used = [option for option in options if option not in nones]
    try:
        pairs = [_nic(draft, option, number) for number, option in enumerate(one for one in used if one.name == "nic")]
        pairs += _net(draft, [option for option in used if option.name == "net"], len(pairs))
        if len({pair.netdev["id"] for pair in pairs}) < len(pairs):
            raise Unreadable("two backends would have the same id; give each an id= of its own")
    except Unreadable as e:
        for option in used:
            draft.keep(option, str(e))
    else:
        for pair in pairs:
            draft.add("netdevs", pair.netdev)
            draft.devices["board"].append({**pair.card, "netdev": pair.netdev["id"]})
            for change in pair.changes:
                draft.changed(*change)
    for option in nones:
        _none(draft, option)


def _type_of(option: Option) -> str:
    try:
        return dict(parse_opts(option.value or "", "type")).get("type", "")
    except Unreadable:
        return ""


def _nic(draft: Draft, option: Option, number: int) -> _Pair:
    pairs = parse_opts(option.value or "", "type")
    card = _card(draft, [pair for pair in pairs if pair[0] in ("model", *_CARD_KEYS)])
    netdev = _netdev([pair for pair in pairs if pair[0] not in ("model", *_CARD_KEYS)], draft.id_for(f"net{number}"))
    why = _PLACE
    if card["driver"] == "virtio-net-pci" and "vectors" not in card:
        card |= _NO_VECTORS
        why += "; -nic gives it no MSI-X vectors, and it is faster without 'vectors'"
    return _Pair(card, netdev, ((option, f"netdevs and a device {card['driver']}", why),))


def _net(draft: Draft, options: list[Option], number: int) -> list[_Pair]:
    """Several `-net`s meet at a hub; one card and one backend may as well be connected to each other."""
    cards = [option for option in options if _type_of(option) == "nic"]
    backends = [option for option in options if option not in cards]
    if not options:
        return []
    if len(cards) != 1 or len(backends) != 1:
        raise Unreadable("only one card and one backend do without a hub; use a -netdev and a -device for each")
    card = _card(draft, [pair for pair in parse_opts(cards[0].value or "", "type") if pair[0] != "type"])
    netdev = _netdev(parse_opts(backends[0].value or "", "type"), draft.id_for(f"net{number}"))
    changes = (
        (cards[0], f"a device {card['driver']}", _PLACE),
        (backends[0], "netdevs", "the hub between the two isn't needed"),
    )
    return [_Pair(card, netdev, changes)]


def _none(draft: Draft, option: Option) -> None:
    if draft.has_defaults() and not draft.sections.get("netdevs"):
        draft.keep(option, "it keeps QEMU from adding a card by itself; with -nodefaults it can go")
    else:
        draft.changed(option, "gone", "no card is added by itself in this machine")


def _card(draft: Draft, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    pc = draft.pc()
    props = dict(pairs)
    model = props.pop("model", _DEFAULT_CARD.get(pc or "", ""))
    if model in ("virtio", "virtio-net", "virtio-net-pci"):
        driver = "virtio-net-pci"
    elif model in _CARDS:
        driver = model
    else:
        raise Unreadable("which card the board would choose isn't known here; add model=")
    if pc is None or (unknown := props.keys() - _CARD_KEYS):
        raise Unreadable(
            "where the board would put its card isn't known here; use a -device"
            if pc is None
            else f"{min(unknown)}= is unknown"
        )
    card = {"driver": driver, **{_CARD_KEYS[key]: value for key, value in props.items()}}
    print_map("device", card)
    return card


def _netdev(pairs: list[tuple[str, str]], name: str) -> dict[str, Any]:
    keys = {key for key, _ in pairs}
    if keys & {"netdev", "vlan", "name"}:
        raise Unreadable("it names a backend or a hub; use a -netdev and a -device")
    if "id" in keys:
        name = next(value for key, value in pairs if key == "id")
    rest = [(key, value) for key, value in pairs if key != "id"]
    text = ",".join(f"{key}={value.replace(',', ',,')}" for key, value in [*rest, ("id", name)])
    return read_map("netdev", text)
