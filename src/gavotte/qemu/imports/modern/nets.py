"""Network: `-nic`, and `-net` with one card and one backend."""

from __future__ import annotations

from typing import Any, Final

from gavotte.qemu.imports.maps import read_map
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


def rewrite_nets(draft: Draft) -> None:
    for number, option in enumerate(draft.take("nic")):
        _nic(draft, option, number)
    _net(draft)


def _nic(draft: Draft, option: Option, number: int) -> None:
    try:
        pairs = parse_opts(option.value or "", "type")
        if dict(pairs).get("type") == "none":
            _none(draft, option)
            return
        card = _card(draft, [pair for pair in pairs if pair[0] in ("model", *_CARD_KEYS)])
        netdev = _netdev(
            [pair for pair in pairs if pair[0] not in ("model", *_CARD_KEYS)], draft.id_for(f"net{number}")
        )
    except Unreadable as e:
        draft.keep(option, str(e))
        return
    draft.add("netdevs", netdev)
    why = _PLACE
    if card["driver"] == "virtio-net-pci" and "vectors" not in card:
        card |= _NO_VECTORS
        why += "; -nic gives it no MSI-X vectors, and it is faster without 'vectors'"
    draft.devices["board"].append({**card, "netdev": netdev["id"]})
    draft.changed(option, f"netdevs and a device {card['driver']}", why)


def _net(draft: Draft) -> None:
    """Several `-net`s meet at a hub; one card and one backend may as well be connected to each other."""
    options = draft.take("net")
    nones = [option for option in options if option.value == "none"]
    cards = [option for option in options if (option.value or "").split(",")[0] in ("nic", "type=nic")]
    backends = [option for option in options if option not in nones and option not in cards]
    if cards or backends:
        try:
            if len(cards) != 1 or len(backends) != 1:
                raise Unreadable("only one card and one backend can be connected without a hub")
            card = _card(draft, parse_opts(cards[0].value or "", "type")[1:])
            netdev = _netdev(parse_opts(backends[0].value or "", "type"), draft.id_for("net0"))
        except Unreadable as e:
            for option in (*cards, *backends):
                draft.keep(option, str(e))
        else:
            draft.add("netdevs", netdev)
            draft.devices["board"].append({**card, "netdev": netdev["id"]})
            draft.changed(cards[0], f"a device {card['driver']}", _PLACE)
            draft.changed(backends[0], "netdevs", "the hub between the two isn't needed")
    for option in nones:
        _none(draft, option)


def _none(draft: Draft, option: Option) -> None:
    if draft.has_defaults() and not draft.sections.get("netdevs"):
        draft.keep(option, "it keeps QEMU from adding a card by itself; with nodefaults it can go")
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
        raise Unreadable("which card the board would choose isn't known here")
    if pc is None or (unknown := props.keys() - _CARD_KEYS):
        raise Unreadable(
            "where the board would put its card isn't known here" if pc is None else f"{min(unknown)}= is unknown"
        )
    return {"driver": driver, **{_CARD_KEYS[key]: value for key, value in props.items()}}


def _netdev(pairs: list[tuple[str, str]], name: str) -> dict[str, Any]:
    keys = {key for key, _ in pairs}
    if keys & {"netdev", "vlan", "name"}:
        raise Unreadable("it names a backend or a hub")
    if "id" in keys:
        name = next(value for key, value in pairs if key == "id")
    rest = [(key, value) for key, value in pairs if key != "id"]
    text = ",".join(f"{key}={value.replace(',', ',,')}" for key, value in [*rest, ("id", name)])
    return read_map("netdev", text)
