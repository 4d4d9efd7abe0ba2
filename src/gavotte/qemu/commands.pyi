"""The types of QMP's commands.

Written by `make stubs` from query-qmp-schema of QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), x86_64. Don't edit.
Each type is named after the shortest way to it, since QEMU doesn't tell its names.
"""

# ruff: noqa: UP013  # a key named `str` or `int` would hide that type in a class

from collections.abc import Sequence
from typing import Literal, NotRequired, TypeAlias, TypedDict, overload

from gavotte.qemu.props import Json, PropertyMap
from gavotte.qmp.client import QmpClient

__all__ = ["Commands", "argument_of", "command_of", "execute", "python_name"]

async def execute(
    client: QmpClient,
    command: str,
    arguments: PropertyMap,
    *,
    deadline: float = ...,
    fds: Sequence[int] = ...,
    oob: bool = ...,
    final: bool = ...,
) -> Json: ...
def command_of(name: str) -> str: ...
def argument_of(command: str, name: str) -> str: ...
def python_name(name: str) -> str: ...

class Empty(TypedDict): ...

AddFd = TypedDict(
    "AddFd",
    {
        "fdset-id": int,
        "fd": int,
    },
)

class BlockDirtyBitmapAdd(TypedDict):
    node: str
    name: str
    granularity: NotRequired[int]
    persistent: NotRequired[bool]
    disabled: NotRequired[bool]

class BlockDirtyBitmapClear(TypedDict):
    node: str
    name: str

class BlockDirtyBitmapMerge(TypedDict):
    node: str
    target: str
    bitmaps: list[BlockDirtyBitmapMergeBitmaps]

BlockDirtyBitmapMergeBitmaps: TypeAlias = str | BlockDirtyBitmapClear
BlockExportAddIothread: TypeAlias = str | list[str]
BlockExportAddVhostUserBlkAddrFd = TypedDict(
    "BlockExportAddVhostUserBlkAddrFd",
    {
        "type": Literal["fd"],
        "str": str,
    },
)
BlockExportAddVhostUserBlkAddrInet = TypedDict(
    "BlockExportAddVhostUserBlkAddrInet",
    {
        "type": Literal["inet"],
        "host": str,
        "port": str,
        "numeric": NotRequired[bool],
        "to": NotRequired[int],
        "ipv4": NotRequired[bool],
        "ipv6": NotRequired[bool],
        "keep-alive": NotRequired[bool],
        "keep-alive-count": NotRequired[int],
        "keep-alive-idle": NotRequired[int],
        "keep-alive-interval": NotRequired[int],
        "mptcp": NotRequired[bool],
    },
)

class BlockExportAddVhostUserBlkAddrUnix(TypedDict):
    type: Literal["unix"]
    path: str
    abstract: NotRequired[bool]
    tight: NotRequired[bool]

class BlockExportAddVhostUserBlkAddrVsock(TypedDict):
    type: Literal["vsock"]
    cid: str
    port: str

BlockExportAddVhostUserBlkAddr: TypeAlias = (
    BlockExportAddVhostUserBlkAddrFd
    | BlockExportAddVhostUserBlkAddrInet
    | BlockExportAddVhostUserBlkAddrUnix
    | BlockExportAddVhostUserBlkAddrVsock
)
BlockJobChangeType: TypeAlias = Literal[
    "commit", "stream", "mirror", "backup", "create", "amend", "snapshot-load", "snapshot-save", "snapshot-delete"
]
BlockdevAddBlkdebug = TypedDict(
    "BlockdevAddBlkdebug",
    {
        "driver": Literal["blkdebug"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "image": BlockdevAddBlkdebugImage,
        "config": NotRequired[str],
        "align": NotRequired[int],
        "max-transfer": NotRequired[int],
        "opt-write-zero": NotRequired[int],
        "max-write-zero": NotRequired[int],
        "opt-discard": NotRequired[int],
        "max-discard": NotRequired[int],
        "inject-error": NotRequired[list[BlockdevAddBlkdebugInjectError]],
        "set-state": NotRequired[list[BlockdevAddBlkdebugSetState]],
        "take-child-perms": NotRequired[list[BlockdevAddBlkdebugTakeChildPerms]],
        "unshare-child-perms": NotRequired[list[BlockdevAddBlkdebugTakeChildPerms]],
    },
)
BlockdevAddBlklogwrites = TypedDict(
    "BlockdevAddBlklogwrites",
    {
        "driver": Literal["blklogwrites"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "file": BlockdevAddBlkdebugImage,
        "log": BlockdevAddBlkdebugImage,
        "log-sector-size": NotRequired[int],
        "log-append": NotRequired[bool],
        "log-super-update-interval": NotRequired[int],
    },
)
BlockdevAddBlkreplay = TypedDict(
    "BlockdevAddBlkreplay",
    {
        "driver": Literal["blkreplay"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "image": BlockdevAddBlkdebugImage,
    },
)
BlockdevAddBlkverify = TypedDict(
    "BlockdevAddBlkverify",
    {
        "driver": Literal["blkverify"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "test": BlockdevAddBlkdebugImage,
        "raw": BlockdevAddBlkdebugImage,
    },
)
BlockdevAddBochs = TypedDict(
    "BlockdevAddBochs",
    {
        "driver": Literal["bochs"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "file": BlockdevAddBlkdebugImage,
    },
)
BlockdevAddCloop = TypedDict(
    "BlockdevAddCloop",
    {
        "driver": Literal["cloop"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "file": BlockdevAddBlkdebugImage,
    },
)
BlockdevAddCompress = TypedDict(
    "BlockdevAddCompress",
    {
        "driver": Literal["compress"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "file": BlockdevAddBlkdebugImage,
    },
)
BlockdevAddCopyBeforeWrite = TypedDict(
    "BlockdevAddCopyBeforeWrite",
    {
        "driver": Literal["copy-before-write"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "file": BlockdevAddBlkdebugImage,
        "target": BlockdevAddBlkdebugImage,
        "bitmap": NotRequired[BlockDirtyBitmapClear],
        "on-cbw-error": NotRequired[Literal["break-guest-write", "break-snapshot"]],
        "cbw-timeout": NotRequired[int],
        "min-cluster-size": NotRequired[int],
    },
)
BlockdevAddCopyOnRead = TypedDict(
    "BlockdevAddCopyOnRead",
    {
        "driver": Literal["copy-on-read"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "file": BlockdevAddBlkdebugImage,
        "bottom": NotRequired[str],
    },
)
BlockdevAddDmg = TypedDict(
    "BlockdevAddDmg",
    {
        "driver": Literal["dmg"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "file": BlockdevAddBlkdebugImage,
    },
)
BlockdevAddFile = TypedDict(
    "BlockdevAddFile",
    {
        "driver": Literal["file"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "filename": str,
        "pr-manager": NotRequired[str],
        "locking": NotRequired[Literal["auto", "on", "off"]],
        "aio": NotRequired[Literal["threads", "native", "io_uring"]],
        "aio-max-batch": NotRequired[int],
        "drop-cache": NotRequired[bool],
        "x-check-cache-dropped": NotRequired[bool],
    },
)
BlockdevAddFtp = TypedDict(
    "BlockdevAddFtp",
    {
        "driver": Literal["ftp"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "url": str,
        "readahead": NotRequired[int],
        "timeout": NotRequired[int],
        "username": NotRequired[str],
        "password-secret": NotRequired[str],
        "proxy-username": NotRequired[str],
        "proxy-password-secret": NotRequired[str],
    },
)
BlockdevAddFtps = TypedDict(
    "BlockdevAddFtps",
    {
        "driver": Literal["ftps"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "url": str,
        "readahead": NotRequired[int],
        "timeout": NotRequired[int],
        "username": NotRequired[str],
        "password-secret": NotRequired[str],
        "proxy-username": NotRequired[str],
        "proxy-password-secret": NotRequired[str],
        "sslverify": NotRequired[bool],
    },
)
BlockdevAddHostCdrom = TypedDict(
    "BlockdevAddHostCdrom",
    {
        "driver": Literal["host_cdrom"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "filename": str,
        "pr-manager": NotRequired[str],
        "locking": NotRequired[Literal["auto", "on", "off"]],
        "aio": NotRequired[Literal["threads", "native", "io_uring"]],
        "aio-max-batch": NotRequired[int],
        "drop-cache": NotRequired[bool],
        "x-check-cache-dropped": NotRequired[bool],
    },
)
BlockdevAddHostDevice = TypedDict(
    "BlockdevAddHostDevice",
    {
        "driver": Literal["host_device"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "filename": str,
        "pr-manager": NotRequired[str],
        "locking": NotRequired[Literal["auto", "on", "off"]],
        "aio": NotRequired[Literal["threads", "native", "io_uring"]],
        "aio-max-batch": NotRequired[int],
        "drop-cache": NotRequired[bool],
        "x-check-cache-dropped": NotRequired[bool],
    },
)
BlockdevAddHttp = TypedDict(
    "BlockdevAddHttp",
    {
        "driver": Literal["http"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "url": str,
        "readahead": NotRequired[int],
        "timeout": NotRequired[int],
        "username": NotRequired[str],
        "password-secret": NotRequired[str],
        "proxy-username": NotRequired[str],
        "proxy-password-secret": NotRequired[str],
        "cookie": NotRequired[str],
        "cookie-secret": NotRequired[str],
        "force-range": NotRequired[bool],
    },
)
BlockdevAddHttps = TypedDict(
    "BlockdevAddHttps",
    {
        "driver": Literal["https"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "url": str,
        "readahead": NotRequired[int],
        "timeout": NotRequired[int],
        "username": NotRequired[str],
        "password-secret": NotRequired[str],
        "proxy-username": NotRequired[str],
        "proxy-password-secret": NotRequired[str],
        "cookie": NotRequired[str],
        "cookie-secret": NotRequired[str],
        "force-range": NotRequired[bool],
        "sslverify": NotRequired[bool],
    },
)
BlockdevAddIoUring = TypedDict(
    "BlockdevAddIoUring",
    {
        "driver": Literal["io_uring"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "filename": str,
    },
)
BlockdevAddIscsi = TypedDict(
    "BlockdevAddIscsi",
    {
        "driver": Literal["iscsi"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "transport": Literal["tcp", "iser"],
        "portal": str,
        "target": str,
        "lun": NotRequired[int],
        "user": NotRequired[str],
        "password-secret": NotRequired[str],
        "initiator-name": NotRequired[str],
        "header-digest": NotRequired[Literal["crc32c", "none", "crc32c-none", "none-crc32c"]],
        "timeout": NotRequired[int],
    },
)
BlockdevAddLuks = TypedDict(
    "BlockdevAddLuks",
    {
        "driver": Literal["luks"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "file": BlockdevAddBlkdebugImage,
        "key-secret": NotRequired[str],
        "header": NotRequired[BlockdevAddBlkdebugImage],
    },
)
BlockdevAddNbd = TypedDict(
    "BlockdevAddNbd",
    {
        "driver": Literal["nbd"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "server": BlockExportAddVhostUserBlkAddr,
        "export": NotRequired[str],
        "tls-creds": NotRequired[str],
        "tls-hostname": NotRequired[str],
        "x-dirty-bitmap": NotRequired[str],
        "reconnect-delay": NotRequired[int],
        "open-timeout": NotRequired[int],
    },
)
BlockdevAddNfs = TypedDict(
    "BlockdevAddNfs",
    {
        "driver": Literal["nfs"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "server": BlockdevAddNfsServer,
        "path": str,
        "user": NotRequired[int],
        "group": NotRequired[int],
        "tcp-syn-count": NotRequired[int],
        "readahead-size": NotRequired[int],
        "page-cache-size": NotRequired[int],
        "debug": NotRequired[int],
    },
)
BlockdevAddNullAio = TypedDict(
    "BlockdevAddNullAio",
    {
        "driver": Literal["null-aio"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "size": NotRequired[int],
        "latency-ns": NotRequired[int],
        "read-zeroes": NotRequired[bool],
    },
)
BlockdevAddNullCo = TypedDict(
    "BlockdevAddNullCo",
    {
        "driver": Literal["null-co"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "size": NotRequired[int],
        "latency-ns": NotRequired[int],
        "read-zeroes": NotRequired[bool],
    },
)
BlockdevAddNvme = TypedDict(
    "BlockdevAddNvme",
    {
        "driver": Literal["nvme"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "device": str,
        "namespace": int,
    },
)
BlockdevAddNvmeIoUring = TypedDict(
    "BlockdevAddNvmeIoUring",
    {
        "driver": Literal["nvme-io_uring"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "path": str,
    },
)
BlockdevAddParallels = TypedDict(
    "BlockdevAddParallels",
    {
        "driver": Literal["parallels"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "file": BlockdevAddBlkdebugImage,
    },
)
BlockdevAddPreallocate = TypedDict(
    "BlockdevAddPreallocate",
    {
        "driver": Literal["preallocate"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "file": BlockdevAddBlkdebugImage,
        "prealloc-align": NotRequired[int],
        "prealloc-size": NotRequired[int],
    },
)
BlockdevAddQcow = TypedDict(
    "BlockdevAddQcow",
    {
        "driver": Literal["qcow"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "file": BlockdevAddBlkdebugImage,
        "backing": NotRequired[BlockdevAddQcow2Backing],
        "encrypt": NotRequired[BlockdevAddQcowEncrypt],
    },
)
BlockdevAddQcow2 = TypedDict(
    "BlockdevAddQcow2",
    {
        "driver": Literal["qcow2"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "file": BlockdevAddBlkdebugImage,
        "backing": NotRequired[BlockdevAddQcow2Backing],
        "lazy-refcounts": NotRequired[bool],
        "pass-discard-request": NotRequired[bool],
        "pass-discard-snapshot": NotRequired[bool],
        "pass-discard-other": NotRequired[bool],
        "discard-no-unref": NotRequired[bool],
        "overlap-check": NotRequired[BlockdevAddQcow2OverlapCheck],
        "cache-size": NotRequired[int],
        "l2-cache-size": NotRequired[int],
        "l2-cache-entry-size": NotRequired[int],
        "refcount-cache-size": NotRequired[int],
        "cache-clean-interval": NotRequired[int],
        "encrypt": NotRequired[BlockdevAddQcow2Encrypt],
        "data-file": NotRequired[BlockdevAddBlkdebugImage],
    },
)
BlockdevAddQed = TypedDict(
    "BlockdevAddQed",
    {
        "driver": Literal["qed"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "file": BlockdevAddBlkdebugImage,
        "backing": NotRequired[BlockdevAddQcow2Backing],
    },
)
BlockdevAddQuorum = TypedDict(
    "BlockdevAddQuorum",
    {
        "driver": Literal["quorum"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "blkverify": NotRequired[bool],
        "children": list[BlockdevAddBlkdebugImage],
        "vote-threshold": int,
        "rewrite-corrupted": NotRequired[bool],
        "read-pattern": NotRequired[Literal["quorum", "fifo"]],
    },
)
BlockdevAddRaw = TypedDict(
    "BlockdevAddRaw",
    {
        "driver": Literal["raw"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "file": BlockdevAddBlkdebugImage,
        "offset": NotRequired[int],
        "size": NotRequired[int],
    },
)
BlockdevAddRbd = TypedDict(
    "BlockdevAddRbd",
    {
        "driver": Literal["rbd"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "pool": str,
        "namespace": NotRequired[str],
        "image": str,
        "conf": NotRequired[str],
        "snapshot": NotRequired[str],
        "encrypt": NotRequired[BlockdevAddRbdEncrypt],
        "user": NotRequired[str],
        "auth-client-required": NotRequired[list[Literal["cephx", "none"]]],
        "key-secret": NotRequired[str],
        "server": NotRequired[list[BlockdevAddRbdServer]],
    },
)
BlockdevAddReplication = TypedDict(
    "BlockdevAddReplication",
    {
        "driver": Literal["replication"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "file": BlockdevAddBlkdebugImage,
        "mode": Literal["primary", "secondary"],
        "top-id": NotRequired[str],
    },
)
BlockdevAddSnapshotAccess = TypedDict(
    "BlockdevAddSnapshotAccess",
    {
        "driver": Literal["snapshot-access"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "file": BlockdevAddBlkdebugImage,
    },
)
BlockdevAddSsh = TypedDict(
    "BlockdevAddSsh",
    {
        "driver": Literal["ssh"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "server": BlockdevAddSshServer,
        "path": str,
        "user": NotRequired[str],
        "host-key-check": NotRequired[BlockdevAddSshHostKeyCheck],
    },
)
BlockdevAddThrottle = TypedDict(
    "BlockdevAddThrottle",
    {
        "driver": Literal["throttle"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "throttle-group": str,
        "file": BlockdevAddBlkdebugImage,
    },
)
BlockdevAddVdi = TypedDict(
    "BlockdevAddVdi",
    {
        "driver": Literal["vdi"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "file": BlockdevAddBlkdebugImage,
    },
)
BlockdevAddVhdx = TypedDict(
    "BlockdevAddVhdx",
    {
        "driver": Literal["vhdx"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "file": BlockdevAddBlkdebugImage,
    },
)
BlockdevAddVirtioBlkVfioPci = TypedDict(
    "BlockdevAddVirtioBlkVfioPci",
    {
        "driver": Literal["virtio-blk-vfio-pci"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "path": str,
    },
)
BlockdevAddVirtioBlkVhostUser = TypedDict(
    "BlockdevAddVirtioBlkVhostUser",
    {
        "driver": Literal["virtio-blk-vhost-user"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "path": str,
    },
)
BlockdevAddVirtioBlkVhostVdpa = TypedDict(
    "BlockdevAddVirtioBlkVhostVdpa",
    {
        "driver": Literal["virtio-blk-vhost-vdpa"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "path": str,
    },
)
BlockdevAddVmdk = TypedDict(
    "BlockdevAddVmdk",
    {
        "driver": Literal["vmdk"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "file": BlockdevAddBlkdebugImage,
        "backing": NotRequired[BlockdevAddQcow2Backing],
    },
)
BlockdevAddVpc = TypedDict(
    "BlockdevAddVpc",
    {
        "driver": Literal["vpc"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "file": BlockdevAddBlkdebugImage,
    },
)
BlockdevAddVvfat = TypedDict(
    "BlockdevAddVvfat",
    {
        "driver": Literal["vvfat"],
        "node-name": NotRequired[str],
        "discard": NotRequired[Literal["ignore", "unmap"]],
        "cache": NotRequired[BlockdevAddCache],
        "active": NotRequired[bool],
        "read-only": NotRequired[bool],
        "auto-read-only": NotRequired[bool],
        "force-share": NotRequired[bool],
        "detect-zeroes": NotRequired[Literal["off", "on", "unmap"]],
        "dir": str,
        "fat-type": NotRequired[int],
        "floppy": NotRequired[bool],
        "label": NotRequired[str],
        "rw": NotRequired[bool],
    },
)
BlockdevAdd: TypeAlias = (
    BlockdevAddBlkdebug
    | BlockdevAddBlklogwrites
    | BlockdevAddBlkreplay
    | BlockdevAddBlkverify
    | BlockdevAddBochs
    | BlockdevAddCloop
    | BlockdevAddCompress
    | BlockdevAddCopyBeforeWrite
    | BlockdevAddCopyOnRead
    | BlockdevAddDmg
    | BlockdevAddFile
    | BlockdevAddFtp
    | BlockdevAddFtps
    | BlockdevAddHostCdrom
    | BlockdevAddHostDevice
    | BlockdevAddHttp
    | BlockdevAddHttps
    | BlockdevAddIoUring
    | BlockdevAddIscsi
    | BlockdevAddLuks
    | BlockdevAddNbd
    | BlockdevAddNfs
    | BlockdevAddNullAio
    | BlockdevAddNullCo
    | BlockdevAddNvme
    | BlockdevAddNvmeIoUring
    | BlockdevAddParallels
    | BlockdevAddPreallocate
    | BlockdevAddQcow
    | BlockdevAddQcow2
    | BlockdevAddQed
    | BlockdevAddQuorum
    | BlockdevAddRaw
    | BlockdevAddRbd
    | BlockdevAddReplication
    | BlockdevAddSnapshotAccess
    | BlockdevAddSsh
    | BlockdevAddThrottle
    | BlockdevAddVdi
    | BlockdevAddVhdx
    | BlockdevAddVirtioBlkVfioPci
    | BlockdevAddVirtioBlkVhostUser
    | BlockdevAddVirtioBlkVhostVdpa
    | BlockdevAddVmdk
    | BlockdevAddVpc
    | BlockdevAddVvfat
)
BlockdevAddBlkdebugImage: TypeAlias = BlockdevAdd | str
BlockdevAddBlkdebugInjectError = TypedDict(
    "BlockdevAddBlkdebugInjectError",
    {
        "event": BlockdevAddBlkdebugInjectErrorEvent,
        "state": NotRequired[int],
        "iotype": NotRequired[BlockdevAddBlkdebugInjectErrorIotype],
        "errno": NotRequired[int],
        "delay-ns": NotRequired[int],
        "sector": NotRequired[int],
        "once": NotRequired[bool],
        "immediately": NotRequired[bool],
    },
)
BlockdevAddBlkdebugInjectErrorEvent: TypeAlias = Literal[
    "l1_update",
    "l1_grow_alloc_table",
    "l1_grow_write_table",
    "l1_grow_activate_table",
    "l2_load",
    "l2_update",
    "l2_update_compressed",
    "l2_alloc_cow_read",
    "l2_alloc_write",
    "read_aio",
    "read_backing_aio",
    "read_compressed",
    "write_aio",
    "write_compressed",
    "vmstate_load",
    "vmstate_save",
    "cow_read",
    "cow_write",
    "reftable_load",
    "reftable_grow",
    "reftable_update",
    "refblock_load",
    "refblock_update",
    "refblock_update_part",
    "refblock_alloc",
    "refblock_alloc_hookup",
    "refblock_alloc_write",
    "refblock_alloc_write_blocks",
    "refblock_alloc_write_table",
    "refblock_alloc_switch_table",
    "cluster_alloc",
    "cluster_alloc_bytes",
    "cluster_free",
    "flush_to_os",
    "flush_to_disk",
    "pwritev_rmw_head",
    "pwritev_rmw_after_head",
    "pwritev_rmw_tail",
    "pwritev_rmw_after_tail",
    "pwritev",
    "pwritev_zero",
    "pwritev_done",
    "empty_image_prepare",
    "l1_shrink_write_table",
    "l1_shrink_free_l2_clusters",
    "cor_write",
    "cluster_alloc_space",
    "none",
]
BlockdevAddBlkdebugInjectErrorIotype: TypeAlias = Literal[
    "read", "write", "write-zeroes", "discard", "flush", "block-status"
]

class BlockdevAddBlkdebugSetState(TypedDict):
    event: BlockdevAddBlkdebugInjectErrorEvent
    state: NotRequired[int]
    new_state: int

BlockdevAddBlkdebugTakeChildPerms: TypeAlias = Literal["consistent-read", "write", "write-unchanged", "resize"]
BlockdevAddCache = TypedDict(
    "BlockdevAddCache",
    {
        "direct": NotRequired[bool],
        "no-flush": NotRequired[bool],
    },
)
BlockdevAddDriver: TypeAlias = Literal[
    "blkdebug",
    "blklogwrites",
    "blkreplay",
    "blkverify",
    "bochs",
    "cloop",
    "compress",
    "copy-before-write",
    "copy-on-read",
    "dmg",
    "file",
    "snapshot-access",
    "ftp",
    "ftps",
    "host_cdrom",
    "host_device",
    "http",
    "https",
    "io_uring",
    "iscsi",
    "luks",
    "nbd",
    "nfs",
    "null-aio",
    "null-co",
    "nvme",
    "nvme-io_uring",
    "parallels",
    "preallocate",
    "qcow",
    "qcow2",
    "qed",
    "quorum",
    "raw",
    "rbd",
    "replication",
    "ssh",
    "throttle",
    "vdi",
    "vhdx",
    "virtio-blk-vfio-pci",
    "virtio-blk-vhost-user",
    "virtio-blk-vhost-vdpa",
    "vmdk",
    "vpc",
    "vvfat",
]

class BlockdevAddNfsServer(TypedDict):
    type: Literal["inet"]
    host: str

BlockdevAddQcow2Backing: TypeAlias = BlockdevAdd | str | None
BlockdevAddQcow2EncryptAes = TypedDict(
    "BlockdevAddQcow2EncryptAes",
    {
        "format": Literal["aes"],
        "key-secret": NotRequired[str],
    },
)
BlockdevAddQcow2EncryptLuks = TypedDict(
    "BlockdevAddQcow2EncryptLuks",
    {
        "format": Literal["luks"],
        "key-secret": NotRequired[str],
    },
)
BlockdevAddQcow2Encrypt: TypeAlias = BlockdevAddQcow2EncryptAes | BlockdevAddQcow2EncryptLuks
BlockdevAddQcow2OverlapCheck: TypeAlias = BlockdevAddQcow2OverlapCheck2 | Literal["none", "constant", "cached", "all"]
BlockdevAddQcow2OverlapCheck2 = TypedDict(
    "BlockdevAddQcow2OverlapCheck2",
    {
        "template": NotRequired[Literal["none", "constant", "cached", "all"]],
        "main-header": NotRequired[bool],
        "active-l1": NotRequired[bool],
        "active-l2": NotRequired[bool],
        "refcount-table": NotRequired[bool],
        "refcount-block": NotRequired[bool],
        "snapshot-table": NotRequired[bool],
        "inactive-l1": NotRequired[bool],
        "inactive-l2": NotRequired[bool],
        "bitmap-directory": NotRequired[bool],
    },
)
BlockdevAddQcowEncrypt = TypedDict(
    "BlockdevAddQcowEncrypt",
    {
        "format": Literal["aes"],
        "key-secret": NotRequired[str],
    },
)
BlockdevAddRbdEncryptLuks = TypedDict(
    "BlockdevAddRbdEncryptLuks",
    {
        "format": Literal["luks"],
        "parent": NotRequired[BlockdevAddRbdEncrypt],
        "key-secret": str,
    },
)
BlockdevAddRbdEncryptLuksAny = TypedDict(
    "BlockdevAddRbdEncryptLuksAny",
    {
        "format": Literal["luks-any"],
        "parent": NotRequired[BlockdevAddRbdEncrypt],
        "key-secret": str,
    },
)
BlockdevAddRbdEncryptLuks2 = TypedDict(
    "BlockdevAddRbdEncryptLuks2",
    {
        "format": Literal["luks2"],
        "parent": NotRequired[BlockdevAddRbdEncrypt],
        "key-secret": str,
    },
)
BlockdevAddRbdEncrypt: TypeAlias = BlockdevAddRbdEncryptLuks | BlockdevAddRbdEncryptLuksAny | BlockdevAddRbdEncryptLuks2

class BlockdevAddRbdServer(TypedDict):
    host: str
    port: str

class BlockdevAddSshHostKeyCheckHash(TypedDict):
    mode: Literal["hash"]
    type: Literal["md5", "sha1", "sha256"]
    hash: str

class BlockdevAddSshHostKeyCheckOther(TypedDict):
    mode: Literal["known_hosts", "none"]

BlockdevAddSshHostKeyCheck: TypeAlias = BlockdevAddSshHostKeyCheckHash | BlockdevAddSshHostKeyCheckOther
BlockdevAddSshServer = TypedDict(
    "BlockdevAddSshServer",
    {
        "host": str,
        "port": str,
        "numeric": NotRequired[bool],
        "to": NotRequired[int],
        "ipv4": NotRequired[bool],
        "ipv6": NotRequired[bool],
        "keep-alive": NotRequired[bool],
        "keep-alive-count": NotRequired[int],
        "keep-alive-idle": NotRequired[int],
        "keep-alive-interval": NotRequired[int],
        "mptcp": NotRequired[bool],
    },
)
BlockdevBackup = TypedDict(
    "BlockdevBackup",
    {
        "job-id": NotRequired[str],
        "device": str,
        "sync": Literal["top", "full", "none", "incremental", "bitmap"],
        "speed": NotRequired[int],
        "bitmap": NotRequired[str],
        "bitmap-mode": NotRequired[Literal["on-success", "never", "always"]],
        "compress": NotRequired[bool],
        "on-source-error": NotRequired[Literal["report", "ignore", "enospc", "stop", "auto"]],
        "on-target-error": NotRequired[Literal["report", "ignore", "enospc", "stop", "auto"]],
        "on-cbw-error": NotRequired[Literal["break-guest-write", "break-snapshot"]],
        "auto-finalize": NotRequired[bool],
        "auto-dismiss": NotRequired[bool],
        "filter-node-name": NotRequired[str],
        "discard-source": NotRequired[bool],
        "x-perf": NotRequired[BlockdevBackupXPerf],
        "target": str,
    },
)
BlockdevBackupXPerf = TypedDict(
    "BlockdevBackupXPerf",
    {
        "use-copy-range": NotRequired[bool],
        "max-workers": NotRequired[int],
        "max-chunk": NotRequired[int],
        "min-cluster-size": NotRequired[int],
    },
)
BlockdevCreateOptionsFile = TypedDict(
    "BlockdevCreateOptionsFile",
    {
        "driver": Literal["file"],
        "filename": str,
        "size": int,
        "preallocation": NotRequired[Literal["off", "metadata", "falloc", "full"]],
        "nocow": NotRequired[bool],
        "extent-size-hint": NotRequired[int],
    },
)
BlockdevCreateOptionsLuks = TypedDict(
    "BlockdevCreateOptionsLuks",
    {
        "driver": Literal["luks"],
        "key-secret": NotRequired[str],
        "cipher-alg": NotRequired[BlockdevCreateOptionsLuksCipherAlg],
        "cipher-mode": NotRequired[Literal["ecb", "cbc", "xts", "ctr"]],
        "ivgen-alg": NotRequired[Literal["plain", "plain64", "essiv"]],
        "ivgen-hash-alg": NotRequired[BlockdevCreateOptionsLuksIvgenHashAlg],
        "hash-alg": NotRequired[BlockdevCreateOptionsLuksIvgenHashAlg],
        "iter-time": NotRequired[int],
        "file": NotRequired[BlockdevAddBlkdebugImage],
        "header": NotRequired[BlockdevAddBlkdebugImage],
        "size": int,
        "preallocation": NotRequired[Literal["off", "metadata", "falloc", "full"]],
    },
)

class BlockdevCreateOptionsNfs(TypedDict):
    driver: Literal["nfs"]
    location: BlockdevCreateOptionsNfsLocation
    size: int

BlockdevCreateOptionsParallels = TypedDict(
    "BlockdevCreateOptionsParallels",
    {
        "driver": Literal["parallels"],
        "file": BlockdevAddBlkdebugImage,
        "size": int,
        "cluster-size": NotRequired[int],
    },
)
BlockdevCreateOptionsQcow = TypedDict(
    "BlockdevCreateOptionsQcow",
    {
        "driver": Literal["qcow"],
        "file": BlockdevAddBlkdebugImage,
        "size": int,
        "backing-file": NotRequired[str],
        "encrypt": NotRequired[BlockdevCreateOptionsQcowEncrypt],
    },
)
BlockdevCreateOptionsQcow2 = TypedDict(
    "BlockdevCreateOptionsQcow2",
    {
        "driver": Literal["qcow2"],
        "file": BlockdevAddBlkdebugImage,
        "data-file": NotRequired[BlockdevAddBlkdebugImage],
        "data-file-raw": NotRequired[bool],
        "extended-l2": NotRequired[bool],
        "size": int,
        "version": NotRequired[Literal["v2", "v3"]],
        "backing-file": NotRequired[str],
        "backing-fmt": NotRequired[BlockdevAddDriver],
        "encrypt": NotRequired[BlockdevCreateOptionsQcowEncrypt],
        "cluster-size": NotRequired[int],
        "preallocation": NotRequired[Literal["off", "metadata", "falloc", "full"]],
        "lazy-refcounts": NotRequired[bool],
        "refcount-bits": NotRequired[int],
        "compression-type": NotRequired[Literal["zlib", "zstd"]],
    },
)
BlockdevCreateOptionsQed = TypedDict(
    "BlockdevCreateOptionsQed",
    {
        "driver": Literal["qed"],
        "file": BlockdevAddBlkdebugImage,
        "size": int,
        "backing-file": NotRequired[str],
        "backing-fmt": NotRequired[BlockdevAddDriver],
        "cluster-size": NotRequired[int],
        "table-size": NotRequired[int],
    },
)
BlockdevCreateOptionsRbd = TypedDict(
    "BlockdevCreateOptionsRbd",
    {
        "driver": Literal["rbd"],
        "location": BlockdevCreateOptionsRbdLocation,
        "size": int,
        "cluster-size": NotRequired[int],
        "encrypt": NotRequired[BlockdevCreateOptionsRbdEncrypt],
    },
)

class BlockdevCreateOptionsSsh(TypedDict):
    driver: Literal["ssh"]
    location: BlockdevCreateOptionsSshLocation
    size: int

class BlockdevCreateOptionsVdi(TypedDict):
    driver: Literal["vdi"]
    file: BlockdevAddBlkdebugImage
    size: int
    preallocation: NotRequired[Literal["off", "metadata", "falloc", "full"]]

BlockdevCreateOptionsVhdx = TypedDict(
    "BlockdevCreateOptionsVhdx",
    {
        "driver": Literal["vhdx"],
        "file": BlockdevAddBlkdebugImage,
        "size": int,
        "log-size": NotRequired[int],
        "block-size": NotRequired[int],
        "subformat": NotRequired[Literal["dynamic", "fixed"]],
        "block-state-zero": NotRequired[bool],
    },
)
BlockdevCreateOptionsVmdk = TypedDict(
    "BlockdevCreateOptionsVmdk",
    {
        "driver": Literal["vmdk"],
        "file": BlockdevAddBlkdebugImage,
        "size": int,
        "extents": NotRequired[list[BlockdevAddBlkdebugImage]],
        "subformat": NotRequired[BlockdevCreateOptionsVmdkSubformat],
        "backing-file": NotRequired[str],
        "adapter-type": NotRequired[Literal["ide", "buslogic", "lsilogic", "legacyESX"]],
        "hwversion": NotRequired[str],
        "toolsversion": NotRequired[str],
        "zeroed-grain": NotRequired[bool],
    },
)
BlockdevCreateOptionsVpc = TypedDict(
    "BlockdevCreateOptionsVpc",
    {
        "driver": Literal["vpc"],
        "file": BlockdevAddBlkdebugImage,
        "size": int,
        "subformat": NotRequired[Literal["dynamic", "fixed"]],
        "force-size": NotRequired[bool],
    },
)

class BlockdevCreateOptionsOther(TypedDict):
    driver: Literal[
        "blkdebug",
        "blklogwrites",
        "blkreplay",
        "blkverify",
        "bochs",
        "cloop",
        "compress",
        "copy-before-write",
        "copy-on-read",
        "dmg",
        "ftp",
        "ftps",
        "host_cdrom",
        "host_device",
        "http",
        "https",
        "io_uring",
        "iscsi",
        "nbd",
        "null-aio",
        "null-co",
        "nvme",
        "nvme-io_uring",
        "preallocate",
        "quorum",
        "raw",
        "replication",
        "snapshot-access",
        "throttle",
        "virtio-blk-vfio-pci",
        "virtio-blk-vhost-user",
        "virtio-blk-vhost-vdpa",
        "vvfat",
    ]

BlockdevCreateOptions: TypeAlias = (
    BlockdevCreateOptionsFile
    | BlockdevCreateOptionsLuks
    | BlockdevCreateOptionsNfs
    | BlockdevCreateOptionsParallels
    | BlockdevCreateOptionsQcow
    | BlockdevCreateOptionsQcow2
    | BlockdevCreateOptionsQed
    | BlockdevCreateOptionsRbd
    | BlockdevCreateOptionsSsh
    | BlockdevCreateOptionsVdi
    | BlockdevCreateOptionsVhdx
    | BlockdevCreateOptionsVmdk
    | BlockdevCreateOptionsVpc
    | BlockdevCreateOptionsOther
)
BlockdevCreateOptionsLuksCipherAlg: TypeAlias = Literal[
    "aes-128",
    "aes-192",
    "aes-256",
    "des",
    "3des",
    "cast5-128",
    "serpent-128",
    "serpent-192",
    "serpent-256",
    "twofish-128",
    "twofish-192",
    "twofish-256",
    "sm4",
]
BlockdevCreateOptionsLuksIvgenHashAlg: TypeAlias = Literal[
    "md5", "sha1", "sha224", "sha256", "sha384", "sha512", "ripemd160", "sm3"
]
BlockdevCreateOptionsNfsLocation = TypedDict(
    "BlockdevCreateOptionsNfsLocation",
    {
        "server": BlockdevAddNfsServer,
        "path": str,
        "user": NotRequired[int],
        "group": NotRequired[int],
        "tcp-syn-count": NotRequired[int],
        "readahead-size": NotRequired[int],
        "page-cache-size": NotRequired[int],
        "debug": NotRequired[int],
    },
)
BlockdevCreateOptionsQcowEncryptLuks = TypedDict(
    "BlockdevCreateOptionsQcowEncryptLuks",
    {
        "format": Literal["luks"],
        "key-secret": NotRequired[str],
        "cipher-alg": NotRequired[BlockdevCreateOptionsLuksCipherAlg],
        "cipher-mode": NotRequired[Literal["ecb", "cbc", "xts", "ctr"]],
        "ivgen-alg": NotRequired[Literal["plain", "plain64", "essiv"]],
        "ivgen-hash-alg": NotRequired[BlockdevCreateOptionsLuksIvgenHashAlg],
        "hash-alg": NotRequired[BlockdevCreateOptionsLuksIvgenHashAlg],
        "iter-time": NotRequired[int],
    },
)
BlockdevCreateOptionsQcowEncryptQcow = TypedDict(
    "BlockdevCreateOptionsQcowEncryptQcow",
    {
        "format": Literal["qcow"],
        "key-secret": NotRequired[str],
    },
)
BlockdevCreateOptionsQcowEncrypt: TypeAlias = (
    BlockdevCreateOptionsQcowEncryptLuks | BlockdevCreateOptionsQcowEncryptQcow
)
BlockdevCreateOptionsRbdEncryptLuks = TypedDict(
    "BlockdevCreateOptionsRbdEncryptLuks",
    {
        "format": Literal["luks"],
        "key-secret": str,
        "cipher-alg": NotRequired[BlockdevCreateOptionsLuksCipherAlg],
    },
)
BlockdevCreateOptionsRbdEncryptLuks2 = TypedDict(
    "BlockdevCreateOptionsRbdEncryptLuks2",
    {
        "format": Literal["luks2"],
        "key-secret": str,
        "cipher-alg": NotRequired[BlockdevCreateOptionsLuksCipherAlg],
    },
)

class BlockdevCreateOptionsRbdEncryptLuksAny(TypedDict):
    format: Literal["luks-any"]

BlockdevCreateOptionsRbdEncrypt: TypeAlias = (
    BlockdevCreateOptionsRbdEncryptLuks | BlockdevCreateOptionsRbdEncryptLuks2 | BlockdevCreateOptionsRbdEncryptLuksAny
)
BlockdevCreateOptionsRbdLocation = TypedDict(
    "BlockdevCreateOptionsRbdLocation",
    {
        "pool": str,
        "namespace": NotRequired[str],
        "image": str,
        "conf": NotRequired[str],
        "snapshot": NotRequired[str],
        "encrypt": NotRequired[BlockdevAddRbdEncrypt],
        "user": NotRequired[str],
        "auth-client-required": NotRequired[list[Literal["cephx", "none"]]],
        "key-secret": NotRequired[str],
        "server": NotRequired[list[BlockdevAddRbdServer]],
    },
)
BlockdevCreateOptionsSshLocation = TypedDict(
    "BlockdevCreateOptionsSshLocation",
    {
        "server": BlockdevAddSshServer,
        "path": str,
        "user": NotRequired[str],
        "host-key-check": NotRequired[BlockdevAddSshHostKeyCheck],
    },
)
BlockdevCreateOptionsVmdkSubformat: TypeAlias = Literal[
    "monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized"
]

class BlockdevSnapshot(TypedDict):
    node: str
    overlay: str

BlockdevSnapshotDeleteInternalSync = TypedDict(
    "BlockdevSnapshotDeleteInternalSync",
    {
        "id": str,
        "name": str,
        "vm-state-size": int,
        "date-sec": int,
        "date-nsec": int,
        "vm-clock-sec": int,
        "vm-clock-nsec": int,
        "icount": NotRequired[int],
    },
)

class BlockdevSnapshotInternalSync(TypedDict):
    device: str
    name: str

BlockdevSnapshotSync = TypedDict(
    "BlockdevSnapshotSync",
    {
        "device": NotRequired[str],
        "node-name": NotRequired[str],
        "snapshot-file": str,
        "snapshot-node-name": NotRequired[str],
        "format": NotRequired[str],
        "mode": NotRequired[Literal["existing", "absolute-paths"]],
    },
)

class ChardevAdd(TypedDict):
    pty: NotRequired[str]

class ChardevAddArgumentsBackendBraille(TypedDict):
    type: Literal["braille"]
    data: ChardevAddArgumentsBackendNullData

class ChardevAddArgumentsBackendDbus(TypedDict):
    type: Literal["dbus"]
    data: ChardevAddArgumentsBackendDbusData

class ChardevAddArgumentsBackendFile(TypedDict):
    type: Literal["file"]
    data: ChardevAddArgumentsBackendFileData

class ChardevAddArgumentsBackendHub(TypedDict):
    type: Literal["hub"]
    data: ChardevAddArgumentsBackendHubData

class ChardevAddArgumentsBackendMemory(TypedDict):
    type: Literal["memory"]
    data: ChardevAddArgumentsBackendRingbufData

class ChardevAddArgumentsBackendMsmouse(TypedDict):
    type: Literal["msmouse"]
    data: ChardevAddArgumentsBackendNullData

class ChardevAddArgumentsBackendMux(TypedDict):
    type: Literal["mux"]
    data: ChardevAddArgumentsBackendMuxData

class ChardevAddArgumentsBackendNull(TypedDict):
    type: Literal["null"]
    data: ChardevAddArgumentsBackendNullData

class ChardevAddArgumentsBackendParallel(TypedDict):
    type: Literal["parallel"]
    data: ChardevAddArgumentsBackendSerialData

class ChardevAddArgumentsBackendPipe(TypedDict):
    type: Literal["pipe"]
    data: ChardevAddArgumentsBackendSerialData

class ChardevAddArgumentsBackendPty(TypedDict):
    type: Literal["pty"]
    data: ChardevAddArgumentsBackendPtyData

class ChardevAddArgumentsBackendQemuVdagent(TypedDict):
    type: Literal["qemu-vdagent"]
    data: ChardevAddArgumentsBackendQemuVdagentData

class ChardevAddArgumentsBackendRingbuf(TypedDict):
    type: Literal["ringbuf"]
    data: ChardevAddArgumentsBackendRingbufData

class ChardevAddArgumentsBackendSerial(TypedDict):
    type: Literal["serial"]
    data: ChardevAddArgumentsBackendSerialData

class ChardevAddArgumentsBackendSocket(TypedDict):
    type: Literal["socket"]
    data: ChardevAddArgumentsBackendSocketData

class ChardevAddArgumentsBackendSpiceport(TypedDict):
    type: Literal["spiceport"]
    data: ChardevAddArgumentsBackendSpiceportData

class ChardevAddArgumentsBackendSpicevmc(TypedDict):
    type: Literal["spicevmc"]
    data: ChardevAddArgumentsBackendSpicevmcData

class ChardevAddArgumentsBackendStdio(TypedDict):
    type: Literal["stdio"]
    data: ChardevAddArgumentsBackendStdioData

class ChardevAddArgumentsBackendTestdev(TypedDict):
    type: Literal["testdev"]
    data: ChardevAddArgumentsBackendNullData

class ChardevAddArgumentsBackendUdp(TypedDict):
    type: Literal["udp"]
    data: ChardevAddArgumentsBackendUdpData

class ChardevAddArgumentsBackendVc(TypedDict):
    type: Literal["vc"]
    data: ChardevAddArgumentsBackendVcData

class ChardevAddArgumentsBackendWctablet(TypedDict):
    type: Literal["wctablet"]
    data: ChardevAddArgumentsBackendNullData

ChardevAddArgumentsBackend: TypeAlias = (
    ChardevAddArgumentsBackendBraille
    | ChardevAddArgumentsBackendDbus
    | ChardevAddArgumentsBackendFile
    | ChardevAddArgumentsBackendHub
    | ChardevAddArgumentsBackendMemory
    | ChardevAddArgumentsBackendMsmouse
    | ChardevAddArgumentsBackendMux
    | ChardevAddArgumentsBackendNull
    | ChardevAddArgumentsBackendParallel
    | ChardevAddArgumentsBackendPipe
    | ChardevAddArgumentsBackendPty
    | ChardevAddArgumentsBackendQemuVdagent
    | ChardevAddArgumentsBackendRingbuf
    | ChardevAddArgumentsBackendSerial
    | ChardevAddArgumentsBackendSocket
    | ChardevAddArgumentsBackendSpiceport
    | ChardevAddArgumentsBackendSpicevmc
    | ChardevAddArgumentsBackendStdio
    | ChardevAddArgumentsBackendTestdev
    | ChardevAddArgumentsBackendUdp
    | ChardevAddArgumentsBackendVc
    | ChardevAddArgumentsBackendWctablet
)

class ChardevAddArgumentsBackendDbusData(TypedDict):
    logfile: NotRequired[str]
    logappend: NotRequired[bool]
    logtimestamp: NotRequired[bool]
    name: str
    encoding: NotRequired[Literal["cp437", "utf8"]]

ChardevAddArgumentsBackendFileData = TypedDict(
    "ChardevAddArgumentsBackendFileData",
    {
        "logfile": NotRequired[str],
        "logappend": NotRequired[bool],
        "logtimestamp": NotRequired[bool],
        "in": NotRequired[str],
        "out": str,
        "append": NotRequired[bool],
    },
)

class ChardevAddArgumentsBackendHubData(TypedDict):
    logfile: NotRequired[str]
    logappend: NotRequired[bool]
    logtimestamp: NotRequired[bool]
    chardevs: list[str]

class ChardevAddArgumentsBackendMuxData(TypedDict):
    logfile: NotRequired[str]
    logappend: NotRequired[bool]
    logtimestamp: NotRequired[bool]
    chardev: str

class ChardevAddArgumentsBackendNullData(TypedDict):
    logfile: NotRequired[str]
    logappend: NotRequired[bool]
    logtimestamp: NotRequired[bool]

class ChardevAddArgumentsBackendPtyData(TypedDict):
    logfile: NotRequired[str]
    logappend: NotRequired[bool]
    logtimestamp: NotRequired[bool]
    path: NotRequired[str]

class ChardevAddArgumentsBackendQemuVdagentData(TypedDict):
    logfile: NotRequired[str]
    logappend: NotRequired[bool]
    logtimestamp: NotRequired[bool]
    mouse: NotRequired[bool]
    clipboard: NotRequired[bool]

class ChardevAddArgumentsBackendRingbufData(TypedDict):
    logfile: NotRequired[str]
    logappend: NotRequired[bool]
    logtimestamp: NotRequired[bool]
    size: NotRequired[int]

class ChardevAddArgumentsBackendSerialData(TypedDict):
    logfile: NotRequired[str]
    logappend: NotRequired[bool]
    logtimestamp: NotRequired[bool]
    device: str

ChardevAddArgumentsBackendSocketData = TypedDict(
    "ChardevAddArgumentsBackendSocketData",
    {
        "logfile": NotRequired[str],
        "logappend": NotRequired[bool],
        "logtimestamp": NotRequired[bool],
        "addr": NbdServerStartAddr,
        "tls-creds": NotRequired[str],
        "tls-authz": NotRequired[str],
        "server": NotRequired[bool],
        "wait": NotRequired[bool],
        "nodelay": NotRequired[bool],
        "telnet": NotRequired[bool],
        "tn3270": NotRequired[bool],
        "websocket": NotRequired[bool],
        "reconnect-ms": NotRequired[int],
    },
)

class ChardevAddArgumentsBackendSpiceportData(TypedDict):
    logfile: NotRequired[str]
    logappend: NotRequired[bool]
    logtimestamp: NotRequired[bool]
    fqdn: str

class ChardevAddArgumentsBackendSpicevmcData(TypedDict):
    logfile: NotRequired[str]
    logappend: NotRequired[bool]
    logtimestamp: NotRequired[bool]
    type: str

class ChardevAddArgumentsBackendStdioData(TypedDict):
    logfile: NotRequired[str]
    logappend: NotRequired[bool]
    logtimestamp: NotRequired[bool]
    signal: NotRequired[bool]

class ChardevAddArgumentsBackendUdpData(TypedDict):
    logfile: NotRequired[str]
    logappend: NotRequired[bool]
    logtimestamp: NotRequired[bool]
    remote: NbdServerStartAddr
    local: NotRequired[NbdServerStartAddr]

class ChardevAddArgumentsBackendVcData(TypedDict):
    logfile: NotRequired[str]
    logappend: NotRequired[bool]
    logtimestamp: NotRequired[bool]
    width: NotRequired[int]
    height: NotRequired[int]
    cols: NotRequired[int]
    rows: NotRequired[int]
    encoding: NotRequired[Literal["cp437", "utf8"]]

class CxlAddDynamicCapacityExtents(TypedDict):
    offset: int
    len: int

CxlAddDynamicCapacitySelectionPolicy: TypeAlias = Literal["free", "contiguous", "prescriptive", "enable-shared-access"]
CxlInjectCorrectableErrorType: TypeAlias = Literal[
    "cache-data-ecc",
    "mem-data-ecc",
    "crc-threshold",
    "retry-threshold",
    "cache-poison-received",
    "mem-poison-received",
    "physical",
]

class CxlInjectUncorrectableErrorsErrors(TypedDict):
    type: CxlInjectUncorrectableErrorsErrorsType
    header: list[int]

CxlInjectUncorrectableErrorsErrorsType: TypeAlias = Literal[
    "cache-data-parity",
    "cache-address-parity",
    "cache-be-parity",
    "cache-data-ecc",
    "mem-data-parity",
    "mem-address-parity",
    "mem-be-parity",
    "mem-data-ecc",
    "reinit-threshold",
    "rsvd-encoding",
    "poison-received",
    "receiver-overflow",
    "internal",
    "cxl-ide-tx",
    "cxl-ide-rx",
]
DeviceListProperties = TypedDict(
    "DeviceListProperties",
    {
        "name": str,
        "type": str,
        "description": NotRequired[str],
        "default-value": NotRequired[Json],
    },
)
DriveBackup = TypedDict(
    "DriveBackup",
    {
        "job-id": NotRequired[str],
        "device": str,
        "sync": Literal["top", "full", "none", "incremental", "bitmap"],
        "speed": NotRequired[int],
        "bitmap": NotRequired[str],
        "bitmap-mode": NotRequired[Literal["on-success", "never", "always"]],
        "compress": NotRequired[bool],
        "on-source-error": NotRequired[Literal["report", "ignore", "enospc", "stop", "auto"]],
        "on-target-error": NotRequired[Literal["report", "ignore", "enospc", "stop", "auto"]],
        "on-cbw-error": NotRequired[Literal["break-guest-write", "break-snapshot"]],
        "auto-finalize": NotRequired[bool],
        "auto-dismiss": NotRequired[bool],
        "filter-node-name": NotRequired[str],
        "discard-source": NotRequired[bool],
        "x-perf": NotRequired[BlockdevBackupXPerf],
        "target": str,
        "format": NotRequired[str],
        "mode": NotRequired[Literal["existing", "absolute-paths"]],
    },
)
DumpGuestMemoryFormat: TypeAlias = Literal[
    "elf", "kdump-zlib", "kdump-lzo", "kdump-snappy", "kdump-raw-zlib", "kdump-raw-lzo", "kdump-raw-snappy", "win-dmp"
]

class InputSendEventEventsAbs(TypedDict):
    type: Literal["abs"]
    data: InputSendEventEventsRelData

class InputSendEventEventsBtn(TypedDict):
    type: Literal["btn"]
    data: InputSendEventEventsBtnData

class InputSendEventEventsKey(TypedDict):
    type: Literal["key"]
    data: InputSendEventEventsKeyData

class InputSendEventEventsMtt(TypedDict):
    type: Literal["mtt"]
    data: InputSendEventEventsMttData

class InputSendEventEventsRel(TypedDict):
    type: Literal["rel"]
    data: InputSendEventEventsRelData

InputSendEventEvents: TypeAlias = (
    InputSendEventEventsAbs
    | InputSendEventEventsBtn
    | InputSendEventEventsKey
    | InputSendEventEventsMtt
    | InputSendEventEventsRel
)

class InputSendEventEventsBtnData(TypedDict):
    button: InputSendEventEventsBtnDataButton
    down: bool

InputSendEventEventsBtnDataButton: TypeAlias = Literal[
    "left", "middle", "right", "wheel-up", "wheel-down", "side", "extra", "wheel-left", "wheel-right", "touch"
]

class InputSendEventEventsKeyData(TypedDict):
    key: SendKeyKeys
    down: bool

InputSendEventEventsMttData = TypedDict(
    "InputSendEventEventsMttData",
    {
        "type": Literal["begin", "update", "end", "cancel", "data"],
        "slot": int,
        "tracking-id": int,
        "axis": Literal["x", "y"],
        "value": int,
    },
)

class InputSendEventEventsRelData(TypedDict):
    axis: Literal["x", "y"]
    value: int

MigrateChannels = TypedDict(
    "MigrateChannels",
    {
        "channel-type": Literal["main", "cpr"],
        "addr": MigrateChannelsAddr,
    },
)

class MigrateChannelsAddrExec(TypedDict):
    transport: Literal["exec"]
    args: list[str]

class MigrateChannelsAddrFile(TypedDict):
    transport: Literal["file"]
    filename: str
    offset: int

MigrateChannelsAddrRdma = TypedDict(
    "MigrateChannelsAddrRdma",
    {
        "transport": Literal["rdma"],
        "host": str,
        "port": str,
        "numeric": NotRequired[bool],
        "to": NotRequired[int],
        "ipv4": NotRequired[bool],
        "ipv6": NotRequired[bool],
        "keep-alive": NotRequired[bool],
        "keep-alive-count": NotRequired[int],
        "keep-alive-idle": NotRequired[int],
        "keep-alive-interval": NotRequired[int],
        "mptcp": NotRequired[bool],
    },
)
MigrateChannelsAddrSocketFd = TypedDict(
    "MigrateChannelsAddrSocketFd",
    {
        "transport": Literal["socket"],
        "type": Literal["fd"],
        "str": str,
    },
)
MigrateChannelsAddrSocketInet = TypedDict(
    "MigrateChannelsAddrSocketInet",
    {
        "transport": Literal["socket"],
        "type": Literal["inet"],
        "host": str,
        "port": str,
        "numeric": NotRequired[bool],
        "to": NotRequired[int],
        "ipv4": NotRequired[bool],
        "ipv6": NotRequired[bool],
        "keep-alive": NotRequired[bool],
        "keep-alive-count": NotRequired[int],
        "keep-alive-idle": NotRequired[int],
        "keep-alive-interval": NotRequired[int],
        "mptcp": NotRequired[bool],
    },
)

class MigrateChannelsAddrSocketUnix(TypedDict):
    transport: Literal["socket"]
    type: Literal["unix"]
    path: str
    abstract: NotRequired[bool]
    tight: NotRequired[bool]

class MigrateChannelsAddrSocketVsock(TypedDict):
    transport: Literal["socket"]
    type: Literal["vsock"]
    cid: str
    port: str

MigrateChannelsAddr: TypeAlias = (
    MigrateChannelsAddrExec
    | MigrateChannelsAddrFile
    | MigrateChannelsAddrRdma
    | MigrateChannelsAddrSocketFd
    | MigrateChannelsAddrSocketInet
    | MigrateChannelsAddrSocketUnix
    | MigrateChannelsAddrSocketVsock
)
MigrateContinueState: TypeAlias = Literal[
    "none",
    "setup",
    "cancelling",
    "cancelled",
    "active",
    "postcopy-device",
    "postcopy-active",
    "postcopy-paused",
    "postcopy-recover-setup",
    "postcopy-recover",
    "completed",
    "failing",
    "failed",
    "colo",
    "pre-switchover",
    "device",
    "wait-unplug",
]
MigrateSetParameters = TypedDict(
    "MigrateSetParameters",
    {
        "announce-initial": NotRequired[int],
        "announce-max": NotRequired[int],
        "announce-rounds": NotRequired[int],
        "announce-step": NotRequired[int],
        "throttle-trigger-threshold": NotRequired[int],
        "cpu-throttle-initial": NotRequired[int],
        "cpu-throttle-increment": NotRequired[int],
        "cpu-throttle-tailslow": NotRequired[bool],
        "tls-creds": NotRequired[MigrateSetParametersTlsCreds],
        "tls-hostname": NotRequired[MigrateSetParametersTlsCreds],
        "tls-authz": NotRequired[MigrateSetParametersTlsCreds],
        "max-bandwidth": NotRequired[int],
        "avail-switchover-bandwidth": NotRequired[int],
        "downtime-limit": NotRequired[int],
        "x-checkpoint-delay": NotRequired[int],
        "multifd-channels": NotRequired[int],
        "xbzrle-cache-size": NotRequired[int],
        "max-postcopy-bandwidth": NotRequired[int],
        "max-cpu-throttle": NotRequired[int],
        "multifd-compression": NotRequired[Literal["none", "zlib", "zstd"]],
        "multifd-zlib-level": NotRequired[int],
        "multifd-qatzip-level": NotRequired[int],
        "multifd-zstd-level": NotRequired[int],
        "block-bitmap-mapping": NotRequired[list[MigrateSetParametersBlockBitmapMapping]],
        "x-vcpu-dirty-limit-period": NotRequired[int],
        "vcpu-dirty-limit": NotRequired[int],
        "mode": NotRequired[Literal["normal", "cpr-reboot", "cpr-transfer", "cpr-exec"]],
        "zero-page-detection": NotRequired[Literal["none", "legacy", "multifd"]],
        "direct-io": NotRequired[bool],
        "x-rdma-chunk-size": NotRequired[int],
        "cpr-exec-command": NotRequired[list[str]],
    },
)
MigrateSetParametersBlockBitmapMapping = TypedDict(
    "MigrateSetParametersBlockBitmapMapping",
    {
        "node-name": str,
        "alias": str,
        "bitmaps": list[MigrateSetParametersBlockBitmapMappingBitmaps],
    },
)

class MigrateSetParametersBlockBitmapMappingBitmaps(TypedDict):
    name: str
    alias: str
    transform: NotRequired[MigrateSetParametersBlockBitmapMappingBitmapsTransform]

class MigrateSetParametersBlockBitmapMappingBitmapsTransform(TypedDict):
    persistent: NotRequired[bool]

MigrateSetParametersTlsCreds: TypeAlias = str | None

class NbdServerStartAddrFd(TypedDict):
    type: Literal["fd"]
    data: NbdServerStartAddrFdData

class NbdServerStartAddrInet(TypedDict):
    type: Literal["inet"]
    data: BlockdevAddSshServer

class NbdServerStartAddrUnix(TypedDict):
    type: Literal["unix"]
    data: NbdServerStartAddrUnixData

class NbdServerStartAddrVsock(TypedDict):
    type: Literal["vsock"]
    data: NbdServerStartAddrVsockData

NbdServerStartAddr: TypeAlias = (
    NbdServerStartAddrFd | NbdServerStartAddrInet | NbdServerStartAddrUnix | NbdServerStartAddrVsock
)
NbdServerStartAddrFdData = TypedDict(
    "NbdServerStartAddrFdData",
    {
        "str": str,
    },
)

class NbdServerStartAddrUnixData(TypedDict):
    path: str
    abstract: NotRequired[bool]
    tight: NotRequired[bool]

class NbdServerStartAddrVsockData(TypedDict):
    cid: str
    port: str

NetdevAddPasstParam = TypedDict(
    "NetdevAddPasstParam",
    {
        "str": str,
    },
)
NetdevAddPasstSearch = TypedDict(
    "NetdevAddPasstSearch",
    {
        "str": str,
    },
)
NetdevAddPasstTcpPorts = TypedDict(
    "NetdevAddPasstTcpPorts",
    {
        "str": str,
    },
)
NetdevAddUserDnssearch = TypedDict(
    "NetdevAddUserDnssearch",
    {
        "str": str,
    },
)
NetdevAddUserGuestfwd = TypedDict(
    "NetdevAddUserGuestfwd",
    {
        "str": str,
    },
)
NetdevAddUserHostfwd = TypedDict(
    "NetdevAddUserHostfwd",
    {
        "str": str,
    },
)

class ObjectAddAuthzListRules(TypedDict):
    match: str
    policy: Literal["deny", "allow"]
    format: NotRequired[Literal["exact", "glob"]]

ObjectAddInputLinuxGrabToggle: TypeAlias = Literal[
    "ctrl-ctrl", "alt-alt", "shift-shift", "meta-meta", "scrolllock", "ctrl-scrolllock"
]
ObjectAddThrottleGroupLimits = TypedDict(
    "ObjectAddThrottleGroupLimits",
    {
        "iops-total": NotRequired[int],
        "iops-total-max": NotRequired[int],
        "iops-total-max-length": NotRequired[int],
        "iops-read": NotRequired[int],
        "iops-read-max": NotRequired[int],
        "iops-read-max-length": NotRequired[int],
        "iops-write": NotRequired[int],
        "iops-write-max": NotRequired[int],
        "iops-write-max-length": NotRequired[int],
        "bps-total": NotRequired[int],
        "bps-total-max": NotRequired[int],
        "bps-total-max-length": NotRequired[int],
        "bps-read": NotRequired[int],
        "bps-read-max": NotRequired[int],
        "bps-read-max-length": NotRequired[int],
        "bps-write": NotRequired[int],
        "bps-write-max": NotRequired[int],
        "bps-write-max-length": NotRequired[int],
        "iops-size": NotRequired[int],
    },
)

class QomListGet(TypedDict):
    properties: list[QomListGetProperties]

class QomListGetProperties(TypedDict):
    name: str
    type: str
    value: NotRequired[Json]

class QomListTypes(TypedDict):
    name: str
    abstract: NotRequired[bool]
    parent: NotRequired[str]

class QueryAccelerators(TypedDict):
    enabled: QueryAcceleratorsEnabled
    present: list[QueryAcceleratorsEnabled]

QueryAcceleratorsEnabled: TypeAlias = Literal["hvf", "kvm", "mshv", "nvmm", "qtest", "tcg", "whpx", "xen"]
QueryAcpiOspmStatus = TypedDict(
    "QueryAcpiOspmStatus",
    {
        "device": NotRequired[str],
        "slot": str,
        "slot-type": Literal["DIMM", "CPU"],
        "source": int,
        "status": int,
    },
)
QueryAudiodevsAlsa = TypedDict(
    "QueryAudiodevsAlsa",
    {
        "id": str,
        "driver": Literal["alsa"],
        "timer-period": NotRequired[int],
        "in": NotRequired[QueryAudiodevsAlsaIn],
        "out": NotRequired[QueryAudiodevsAlsaIn],
        "threshold": NotRequired[int],
    },
)
QueryAudiodevsDbus = TypedDict(
    "QueryAudiodevsDbus",
    {
        "id": str,
        "driver": Literal["dbus"],
        "timer-period": NotRequired[int],
        "in": NotRequired[QueryAudiodevsNoneIn],
        "out": NotRequired[QueryAudiodevsNoneIn],
        "nsamples": NotRequired[int],
    },
)
QueryAudiodevsJack = TypedDict(
    "QueryAudiodevsJack",
    {
        "id": str,
        "driver": Literal["jack"],
        "timer-period": NotRequired[int],
        "in": NotRequired[QueryAudiodevsJackIn],
        "out": NotRequired[QueryAudiodevsJackIn],
    },
)
QueryAudiodevsNone = TypedDict(
    "QueryAudiodevsNone",
    {
        "id": str,
        "driver": Literal["none"],
        "timer-period": NotRequired[int],
        "in": NotRequired[QueryAudiodevsNoneIn],
        "out": NotRequired[QueryAudiodevsNoneIn],
    },
)
QueryAudiodevsOss = TypedDict(
    "QueryAudiodevsOss",
    {
        "id": str,
        "driver": Literal["oss"],
        "timer-period": NotRequired[int],
        "in": NotRequired[QueryAudiodevsOssIn],
        "out": NotRequired[QueryAudiodevsOssIn],
        "try-mmap": NotRequired[bool],
        "exclusive": NotRequired[bool],
        "dsp-policy": NotRequired[int],
    },
)
QueryAudiodevsPa = TypedDict(
    "QueryAudiodevsPa",
    {
        "id": str,
        "driver": Literal["pa"],
        "timer-period": NotRequired[int],
        "in": NotRequired[QueryAudiodevsPaIn],
        "out": NotRequired[QueryAudiodevsPaIn],
        "server": NotRequired[str],
    },
)
QueryAudiodevsPipewire = TypedDict(
    "QueryAudiodevsPipewire",
    {
        "id": str,
        "driver": Literal["pipewire"],
        "timer-period": NotRequired[int],
        "in": NotRequired[QueryAudiodevsPipewireIn],
        "out": NotRequired[QueryAudiodevsPipewireIn],
    },
)
QueryAudiodevsSdl = TypedDict(
    "QueryAudiodevsSdl",
    {
        "id": str,
        "driver": Literal["sdl"],
        "timer-period": NotRequired[int],
        "in": NotRequired[QueryAudiodevsSdlIn],
        "out": NotRequired[QueryAudiodevsSdlIn],
    },
)
QueryAudiodevsSpice = TypedDict(
    "QueryAudiodevsSpice",
    {
        "id": str,
        "driver": Literal["spice"],
        "timer-period": NotRequired[int],
        "in": NotRequired[QueryAudiodevsNoneIn],
        "out": NotRequired[QueryAudiodevsNoneIn],
    },
)
QueryAudiodevsWav = TypedDict(
    "QueryAudiodevsWav",
    {
        "id": str,
        "driver": Literal["wav"],
        "timer-period": NotRequired[int],
        "in": NotRequired[QueryAudiodevsNoneIn],
        "out": NotRequired[QueryAudiodevsNoneIn],
        "path": NotRequired[str],
    },
)
QueryAudiodevs: TypeAlias = (
    QueryAudiodevsAlsa
    | QueryAudiodevsDbus
    | QueryAudiodevsJack
    | QueryAudiodevsNone
    | QueryAudiodevsOss
    | QueryAudiodevsPa
    | QueryAudiodevsPipewire
    | QueryAudiodevsSdl
    | QueryAudiodevsSpice
    | QueryAudiodevsWav
)
QueryAudiodevsAlsaIn = TypedDict(
    "QueryAudiodevsAlsaIn",
    {
        "mixing-engine": NotRequired[bool],
        "fixed-settings": NotRequired[bool],
        "frequency": NotRequired[int],
        "channels": NotRequired[int],
        "voices": NotRequired[int],
        "format": NotRequired[Literal["u8", "s8", "u16", "s16", "u32", "s32", "f32"]],
        "buffer-length": NotRequired[int],
        "dev": NotRequired[str],
        "period-length": NotRequired[int],
        "try-poll": NotRequired[bool],
    },
)
QueryAudiodevsJackIn = TypedDict(
    "QueryAudiodevsJackIn",
    {
        "mixing-engine": NotRequired[bool],
        "fixed-settings": NotRequired[bool],
        "frequency": NotRequired[int],
        "channels": NotRequired[int],
        "voices": NotRequired[int],
        "format": NotRequired[Literal["u8", "s8", "u16", "s16", "u32", "s32", "f32"]],
        "buffer-length": NotRequired[int],
        "server-name": NotRequired[str],
        "client-name": NotRequired[str],
        "connect-ports": NotRequired[str],
        "start-server": NotRequired[bool],
        "exact-name": NotRequired[bool],
    },
)
QueryAudiodevsNoneIn = TypedDict(
    "QueryAudiodevsNoneIn",
    {
        "mixing-engine": NotRequired[bool],
        "fixed-settings": NotRequired[bool],
        "frequency": NotRequired[int],
        "channels": NotRequired[int],
        "voices": NotRequired[int],
        "format": NotRequired[Literal["u8", "s8", "u16", "s16", "u32", "s32", "f32"]],
        "buffer-length": NotRequired[int],
    },
)
QueryAudiodevsOssIn = TypedDict(
    "QueryAudiodevsOssIn",
    {
        "mixing-engine": NotRequired[bool],
        "fixed-settings": NotRequired[bool],
        "frequency": NotRequired[int],
        "channels": NotRequired[int],
        "voices": NotRequired[int],
        "format": NotRequired[Literal["u8", "s8", "u16", "s16", "u32", "s32", "f32"]],
        "buffer-length": NotRequired[int],
        "dev": NotRequired[str],
        "buffer-count": NotRequired[int],
        "try-poll": NotRequired[bool],
    },
)
QueryAudiodevsPaIn = TypedDict(
    "QueryAudiodevsPaIn",
    {
        "mixing-engine": NotRequired[bool],
        "fixed-settings": NotRequired[bool],
        "frequency": NotRequired[int],
        "channels": NotRequired[int],
        "voices": NotRequired[int],
        "format": NotRequired[Literal["u8", "s8", "u16", "s16", "u32", "s32", "f32"]],
        "buffer-length": NotRequired[int],
        "name": NotRequired[str],
        "stream-name": NotRequired[str],
        "latency": NotRequired[int],
    },
)
QueryAudiodevsPipewireIn = TypedDict(
    "QueryAudiodevsPipewireIn",
    {
        "mixing-engine": NotRequired[bool],
        "fixed-settings": NotRequired[bool],
        "frequency": NotRequired[int],
        "channels": NotRequired[int],
        "voices": NotRequired[int],
        "format": NotRequired[Literal["u8", "s8", "u16", "s16", "u32", "s32", "f32"]],
        "buffer-length": NotRequired[int],
        "name": NotRequired[str],
        "stream-name": NotRequired[str],
        "latency": NotRequired[int],
    },
)
QueryAudiodevsSdlIn = TypedDict(
    "QueryAudiodevsSdlIn",
    {
        "mixing-engine": NotRequired[bool],
        "fixed-settings": NotRequired[bool],
        "frequency": NotRequired[int],
        "channels": NotRequired[int],
        "voices": NotRequired[int],
        "format": NotRequired[Literal["u8", "s8", "u16", "s16", "u32", "s32", "f32"]],
        "buffer-length": NotRequired[int],
        "buffer-count": NotRequired[int],
    },
)

class QueryBalloon(TypedDict):
    actual: int

QueryBlock = TypedDict(
    "QueryBlock",
    {
        "device": str,
        "qdev": NotRequired[str],
        "type": str,
        "removable": bool,
        "locked": bool,
        "inserted": NotRequired[QueryNamedBlockNodes],
        "tray_open": NotRequired[bool],
        "io-status": NotRequired[Literal["ok", "failed", "nospace"]],
    },
)
QueryBlockExports = TypedDict(
    "QueryBlockExports",
    {
        "id": str,
        "type": Literal["nbd", "vhost-user-blk", "fuse", "vduse-blk"],
        "node-name": str,
        "shutting-down": bool,
    },
)
QueryBlockJobsMirror = TypedDict(
    "QueryBlockJobsMirror",
    {
        "type": Literal["mirror"],
        "device": str,
        "len": int,
        "offset": int,
        "busy": bool,
        "paused": bool,
        "speed": int,
        "io-status": Literal["ok", "failed", "nospace"],
        "ready": bool,
        "status": QueryBlockJobsStatus,
        "auto-finalize": bool,
        "auto-dismiss": bool,
        "error": NotRequired[str],
        "actively-synced": bool,
    },
)
QueryBlockJobsOther = TypedDict(
    "QueryBlockJobsOther",
    {
        "type": Literal[
            "amend", "backup", "commit", "create", "snapshot-delete", "snapshot-load", "snapshot-save", "stream"
        ],
        "device": str,
        "len": int,
        "offset": int,
        "busy": bool,
        "paused": bool,
        "speed": int,
        "io-status": Literal["ok", "failed", "nospace"],
        "ready": bool,
        "status": QueryBlockJobsStatus,
        "auto-finalize": bool,
        "auto-dismiss": bool,
        "error": NotRequired[str],
    },
)
QueryBlockJobs: TypeAlias = QueryBlockJobsMirror | QueryBlockJobsOther
QueryBlockJobsStatus: TypeAlias = Literal[
    "undefined",
    "created",
    "running",
    "paused",
    "ready",
    "standby",
    "waiting",
    "pending",
    "aborting",
    "concluded",
    "null",
]
QueryBlockstats = TypedDict(
    "QueryBlockstats",
    {
        "device": NotRequired[str],
        "qdev": NotRequired[str],
        "node-name": NotRequired[str],
        "stats": QueryBlockstatsStats,
        "driver-specific": NotRequired[QueryBlockstatsDriverSpecific],
        "parent": NotRequired[QueryBlockstats],
        "backing": NotRequired[QueryBlockstats],
    },
)
QueryBlockstatsDriverSpecificFile = TypedDict(
    "QueryBlockstatsDriverSpecificFile",
    {
        "driver": Literal["file"],
        "discard-nb-ok": int,
        "discard-nb-failed": int,
        "discard-bytes-ok": int,
    },
)
QueryBlockstatsDriverSpecificHostDevice = TypedDict(
    "QueryBlockstatsDriverSpecificHostDevice",
    {
        "driver": Literal["host_device"],
        "discard-nb-ok": int,
        "discard-nb-failed": int,
        "discard-bytes-ok": int,
    },
)
QueryBlockstatsDriverSpecificNvme = TypedDict(
    "QueryBlockstatsDriverSpecificNvme",
    {
        "driver": Literal["nvme"],
        "completion-errors": int,
        "aligned-accesses": int,
        "unaligned-accesses": int,
    },
)

class QueryBlockstatsDriverSpecificOther(TypedDict):
    driver: Literal[
        "blkdebug",
        "blklogwrites",
        "blkreplay",
        "blkverify",
        "bochs",
        "cloop",
        "compress",
        "copy-before-write",
        "copy-on-read",
        "dmg",
        "ftp",
        "ftps",
        "host_cdrom",
        "http",
        "https",
        "io_uring",
        "iscsi",
        "luks",
        "nbd",
        "nfs",
        "null-aio",
        "null-co",
        "nvme-io_uring",
        "parallels",
        "preallocate",
        "qcow",
        "qcow2",
        "qed",
        "quorum",
        "raw",
        "rbd",
        "replication",
        "snapshot-access",
        "ssh",
        "throttle",
        "vdi",
        "vhdx",
        "virtio-blk-vfio-pci",
        "virtio-blk-vhost-user",
        "virtio-blk-vhost-vdpa",
        "vmdk",
        "vpc",
        "vvfat",
    ]

QueryBlockstatsDriverSpecific: TypeAlias = (
    QueryBlockstatsDriverSpecificFile
    | QueryBlockstatsDriverSpecificHostDevice
    | QueryBlockstatsDriverSpecificNvme
    | QueryBlockstatsDriverSpecificOther
)

class QueryBlockstatsStats(TypedDict):
    rd_bytes: int
    wr_bytes: int
    zone_append_bytes: int
    unmap_bytes: int
    rd_operations: int
    wr_operations: int
    zone_append_operations: int
    flush_operations: int
    unmap_operations: int
    rd_total_time_ns: int
    wr_total_time_ns: int
    zone_append_total_time_ns: int
    flush_total_time_ns: int
    unmap_total_time_ns: int
    wr_highest_offset: int
    rd_merged: int
    wr_merged: int
    zone_append_merged: int
    unmap_merged: int
    idle_time_ns: NotRequired[int]
    failed_rd_operations: int
    failed_wr_operations: int
    failed_zone_append_operations: int
    failed_flush_operations: int
    failed_unmap_operations: int
    invalid_rd_operations: int
    invalid_wr_operations: int
    invalid_zone_append_operations: int
    invalid_flush_operations: int
    invalid_unmap_operations: int
    account_invalid: bool
    account_failed: bool
    timed_stats: list[QueryBlockstatsStatsTimedStats]
    rd_latency_histogram: NotRequired[QueryBlockstatsStatsRdLatencyHistogram]
    wr_latency_histogram: NotRequired[QueryBlockstatsStatsRdLatencyHistogram]
    zone_append_latency_histogram: NotRequired[QueryBlockstatsStatsRdLatencyHistogram]
    flush_latency_histogram: NotRequired[QueryBlockstatsStatsRdLatencyHistogram]

class QueryBlockstatsStatsRdLatencyHistogram(TypedDict):
    boundaries: list[int]
    bins: list[int]

class QueryBlockstatsStatsTimedStats(TypedDict):
    interval_length: int
    min_rd_latency_ns: int
    max_rd_latency_ns: int
    avg_rd_latency_ns: int
    min_wr_latency_ns: int
    max_wr_latency_ns: int
    avg_wr_latency_ns: int
    min_zone_append_latency_ns: int
    max_zone_append_latency_ns: int
    avg_zone_append_latency_ns: int
    min_flush_latency_ns: int
    max_flush_latency_ns: int
    avg_flush_latency_ns: int
    avg_rd_queue_depth: float
    avg_wr_queue_depth: float
    avg_zone_append_queue_depth: float

QueryChardev = TypedDict(
    "QueryChardev",
    {
        "label": str,
        "filename": str,
        "frontend-open": bool,
    },
)

class QueryChardevBackends(TypedDict):
    name: str

QueryColoStatus = TypedDict(
    "QueryColoStatus",
    {
        "mode": Literal["none", "primary", "secondary"],
        "last-mode": Literal["none", "primary", "secondary"],
        "reason": Literal["none", "request", "error", "processing"],
    },
)

class QueryCommandLineOptions(TypedDict):
    option: str
    parameters: list[QueryCommandLineOptionsParameters]

class QueryCommandLineOptionsParameters(TypedDict):
    name: str
    type: Literal["string", "boolean", "number", "size"]
    help: NotRequired[str]
    default: NotRequired[str]

class QueryCommands(TypedDict):
    name: str

QueryCpuDefinitions = TypedDict(
    "QueryCpuDefinitions",
    {
        "name": str,
        "migration-safe": NotRequired[bool],
        "static": bool,
        "unavailable-features": NotRequired[list[str]],
        "typename": str,
        "alias-of": NotRequired[str],
        "deprecated": bool,
    },
)

class QueryCpuModelBaseline(TypedDict):
    model: QueryCpuModelBaselineModel

class QueryCpuModelBaselineModel(TypedDict):
    name: str
    props: NotRequired[Json]

QueryCpuModelComparison = TypedDict(
    "QueryCpuModelComparison",
    {
        "result": Literal["incompatible", "identical", "superset", "subset"],
        "responsible-properties": list[str],
    },
)
QueryCpuModelExpansion = TypedDict(
    "QueryCpuModelExpansion",
    {
        "model": QueryCpuModelBaselineModel,
        "deprecated-props": NotRequired[list[str]],
    },
)
QueryCpusFastS390x = TypedDict(
    "QueryCpusFastS390x",
    {
        "cpu-index": int,
        "qom-type": str,
        "qom-path": str,
        "thread-id": int,
        "props": NotRequired[QueryCpusFastProps],
        "target": Literal["s390x"],
        "cpu-state": QueryCpusFastS390xCpuState,
        "dedicated": NotRequired[bool],
        "entitlement": NotRequired[Literal["auto", "low", "medium", "high"]],
    },
)
QueryCpusFastOther = TypedDict(
    "QueryCpusFastOther",
    {
        "cpu-index": int,
        "qom-type": str,
        "qom-path": str,
        "thread-id": int,
        "props": NotRequired[QueryCpusFastProps],
        "target": Literal[
            "aarch64",
            "alpha",
            "arm",
            "avr",
            "hexagon",
            "hppa",
            "i386",
            "loongarch64",
            "m68k",
            "microblaze",
            "mips",
            "mips64",
            "mips64el",
            "mipsel",
            "or1k",
            "ppc",
            "ppc64",
            "riscv32",
            "riscv64",
            "rx",
            "sh4",
            "sh4eb",
            "sparc",
            "sparc64",
            "tricore",
            "x86_64",
            "xtensa",
            "xtensaeb",
        ],
    },
)
QueryCpusFast: TypeAlias = QueryCpusFastS390x | QueryCpusFastOther
QueryCpusFastProps = TypedDict(
    "QueryCpusFastProps",
    {
        "node-id": NotRequired[int],
        "drawer-id": NotRequired[int],
        "book-id": NotRequired[int],
        "socket-id": NotRequired[int],
        "die-id": NotRequired[int],
        "cluster-id": NotRequired[int],
        "module-id": NotRequired[int],
        "core-id": NotRequired[int],
        "thread-id": NotRequired[int],
    },
)
QueryCpusFastS390xCpuState: TypeAlias = Literal["uninitialized", "stopped", "check-stop", "operating", "load"]
QueryCpusFastTarget: TypeAlias = Literal[
    "aarch64",
    "alpha",
    "arm",
    "avr",
    "hexagon",
    "hppa",
    "i386",
    "loongarch64",
    "m68k",
    "microblaze",
    "mips",
    "mips64",
    "mips64el",
    "mipsel",
    "or1k",
    "ppc",
    "ppc64",
    "riscv32",
    "riscv64",
    "rx",
    "s390x",
    "sh4",
    "sh4eb",
    "sparc",
    "sparc64",
    "tricore",
    "x86_64",
    "xtensa",
    "xtensaeb",
]

class QueryCryptodev(TypedDict):
    id: str
    service: list[Literal["cipher", "hash", "mac", "aead", "akcipher"]]
    client: list[QueryCryptodevClient]

class QueryCryptodevClient(TypedDict):
    queue: int
    type: Literal["builtin", "vhost-user", "lkcf"]

QueryCurrentMachine = TypedDict(
    "QueryCurrentMachine",
    {
        "wakeup-suspend-support": bool,
    },
)
QueryDirtyRate = TypedDict(
    "QueryDirtyRate",
    {
        "dirty-rate": NotRequired[int],
        "status": Literal["unstarted", "measuring", "measured"],
        "start-time": int,
        "calc-time": int,
        "calc-time-unit": Literal["second", "millisecond"],
        "sample-pages": int,
        "mode": Literal["page-sampling", "dirty-ring", "dirty-bitmap"],
        "vcpu-dirty-rate": NotRequired[list[QueryDirtyRateVcpuDirtyRate]],
    },
)
QueryDirtyRateVcpuDirtyRate = TypedDict(
    "QueryDirtyRateVcpuDirtyRate",
    {
        "id": int,
        "dirty-rate": int,
    },
)
QueryDisplayOptionsCurses = TypedDict(
    "QueryDisplayOptionsCurses",
    {
        "type": Literal["curses"],
        "full-screen": NotRequired[bool],
        "window-close": NotRequired[bool],
        "show-cursor": NotRequired[bool],
        "gl": NotRequired[Literal["off", "on", "core", "es"]],
        "charset": NotRequired[str],
    },
)
QueryDisplayOptionsDbus = TypedDict(
    "QueryDisplayOptionsDbus",
    {
        "type": Literal["dbus"],
        "full-screen": NotRequired[bool],
        "window-close": NotRequired[bool],
        "show-cursor": NotRequired[bool],
        "gl": NotRequired[Literal["off", "on", "core", "es"]],
        "rendernode": NotRequired[str],
        "addr": NotRequired[str],
        "p2p": NotRequired[bool],
        "audiodev": NotRequired[str],
    },
)
QueryDisplayOptionsEglHeadless = TypedDict(
    "QueryDisplayOptionsEglHeadless",
    {
        "type": Literal["egl-headless"],
        "full-screen": NotRequired[bool],
        "window-close": NotRequired[bool],
        "show-cursor": NotRequired[bool],
        "gl": NotRequired[Literal["off", "on", "core", "es"]],
        "rendernode": NotRequired[str],
    },
)
QueryDisplayOptionsGtk = TypedDict(
    "QueryDisplayOptionsGtk",
    {
        "type": Literal["gtk"],
        "full-screen": NotRequired[bool],
        "window-close": NotRequired[bool],
        "show-cursor": NotRequired[bool],
        "gl": NotRequired[Literal["off", "on", "core", "es"]],
        "clipboard": NotRequired[bool],
        "grab-on-hover": NotRequired[bool],
        "zoom-to-fit": NotRequired[bool],
        "show-tabs": NotRequired[bool],
        "show-menubar": NotRequired[bool],
        "keep-aspect-ratio": NotRequired[bool],
        "scale": NotRequired[float],
    },
)
QueryDisplayOptionsSdl = TypedDict(
    "QueryDisplayOptionsSdl",
    {
        "type": Literal["sdl"],
        "full-screen": NotRequired[bool],
        "window-close": NotRequired[bool],
        "show-cursor": NotRequired[bool],
        "gl": NotRequired[Literal["off", "on", "core", "es"]],
        "grab-mod": NotRequired[Literal["lctrl-lalt", "lshift-lctrl-lalt", "rctrl"]],
    },
)
QueryDisplayOptionsOther = TypedDict(
    "QueryDisplayOptionsOther",
    {
        "type": Literal["default", "none", "spice-app"],
        "full-screen": NotRequired[bool],
        "window-close": NotRequired[bool],
        "show-cursor": NotRequired[bool],
        "gl": NotRequired[Literal["off", "on", "core", "es"]],
    },
)
QueryDisplayOptions: TypeAlias = (
    QueryDisplayOptionsCurses
    | QueryDisplayOptionsDbus
    | QueryDisplayOptionsEglHeadless
    | QueryDisplayOptionsGtk
    | QueryDisplayOptionsSdl
    | QueryDisplayOptionsOther
)

class QueryDump(TypedDict):
    status: Literal["none", "active", "completed", "failed"]
    completed: int
    total: int

class QueryDumpGuestMemoryCapability(TypedDict):
    formats: list[DumpGuestMemoryFormat]

QueryFdsets = TypedDict(
    "QueryFdsets",
    {
        "fdset-id": int,
        "fds": list[QueryFdsetsFds],
    },
)

class QueryFdsetsFds(TypedDict):
    fd: int
    opaque: NotRequired[str]

class QueryFirmwareLog(TypedDict):
    version: NotRequired[str]
    log: str

class QueryGicCapabilities(TypedDict):
    version: int
    emulated: bool
    kernel: bool

QueryHotpluggableCpus = TypedDict(
    "QueryHotpluggableCpus",
    {
        "type": str,
        "vcpus-count": int,
        "props": QueryCpusFastProps,
        "qom-path": NotRequired[str],
    },
)

class QueryHvBalloonStatusReport(TypedDict):
    committed: int
    available: int

QueryIothreads = TypedDict(
    "QueryIothreads",
    {
        "id": str,
        "thread-id": int,
        "poll-max-ns": int,
        "poll-grow": int,
        "poll-shrink": int,
        "poll-weight": int,
        "aio-max-batch": int,
    },
)
QueryJobs = TypedDict(
    "QueryJobs",
    {
        "id": str,
        "type": BlockJobChangeType,
        "status": QueryBlockJobsStatus,
        "current-progress": int,
        "total-progress": int,
        "error": NotRequired[str],
    },
)

class QueryKvm(TypedDict):
    enabled: bool
    present: bool

QueryMachines = TypedDict(
    "QueryMachines",
    {
        "name": str,
        "alias": NotRequired[str],
        "is-default": NotRequired[bool],
        "cpu-max": int,
        "hotpluggable-cpus": bool,
        "numa-mem-supported": bool,
        "deprecated": bool,
        "default-cpu-type": NotRequired[str],
        "default-ram-id": NotRequired[str],
        "acpi": bool,
        "compat-props": NotRequired[list[QueryMachinesCompatProps]],
    },
)
QueryMachinesCompatProps = TypedDict(
    "QueryMachinesCompatProps",
    {
        "qom-type": str,
        "property": str,
        "value": str,
    },
)
QueryMemdev = TypedDict(
    "QueryMemdev",
    {
        "id": NotRequired[str],
        "size": int,
        "merge": bool,
        "dump": bool,
        "prealloc": bool,
        "share": bool,
        "reserve": NotRequired[bool],
        "host-nodes": list[int],
        "policy": Literal["default", "preferred", "bind", "interleave"],
    },
)

class QueryMemoryDevicesDimm(TypedDict):
    type: Literal["dimm"]
    data: QueryMemoryDevicesDimmData

class QueryMemoryDevicesHvBalloon(TypedDict):
    type: Literal["hv-balloon"]
    data: QueryMemoryDevicesHvBalloonData

class QueryMemoryDevicesNvdimm(TypedDict):
    type: Literal["nvdimm"]
    data: QueryMemoryDevicesDimmData

class QueryMemoryDevicesSgxEpc(TypedDict):
    type: Literal["sgx-epc"]
    data: QueryMemoryDevicesSgxEpcData

class QueryMemoryDevicesSpMem(TypedDict):
    type: Literal["sp-mem"]
    data: QueryMemoryDevicesSpMemData

class QueryMemoryDevicesVirtioMem(TypedDict):
    type: Literal["virtio-mem"]
    data: QueryMemoryDevicesVirtioMemData

class QueryMemoryDevicesVirtioPmem(TypedDict):
    type: Literal["virtio-pmem"]
    data: QueryMemoryDevicesVirtioPmemData

QueryMemoryDevices: TypeAlias = (
    QueryMemoryDevicesDimm
    | QueryMemoryDevicesHvBalloon
    | QueryMemoryDevicesNvdimm
    | QueryMemoryDevicesSgxEpc
    | QueryMemoryDevicesSpMem
    | QueryMemoryDevicesVirtioMem
    | QueryMemoryDevicesVirtioPmem
)

class QueryMemoryDevicesDimmData(TypedDict):
    id: NotRequired[str]
    addr: int
    size: int
    slot: int
    node: int
    memdev: str
    hotplugged: bool
    hotpluggable: bool

QueryMemoryDevicesHvBalloonData = TypedDict(
    "QueryMemoryDevicesHvBalloonData",
    {
        "id": NotRequired[str],
        "memaddr": NotRequired[int],
        "max-size": int,
        "memdev": NotRequired[str],
    },
)

class QueryMemoryDevicesSgxEpcData(TypedDict):
    id: NotRequired[str]
    memaddr: int
    size: int
    node: int
    memdev: str

class QueryMemoryDevicesSpMemData(TypedDict):
    id: NotRequired[str]
    addr: int
    size: int
    node: int
    memdev: str

QueryMemoryDevicesVirtioMemData = TypedDict(
    "QueryMemoryDevicesVirtioMemData",
    {
        "id": NotRequired[str],
        "memaddr": int,
        "requested-size": int,
        "size": int,
        "max-size": int,
        "block-size": int,
        "node": int,
        "memdev": str,
    },
)

class QueryMemoryDevicesVirtioPmemData(TypedDict):
    id: NotRequired[str]
    memaddr: int
    size: int
    memdev: str

QueryMemorySizeSummary = TypedDict(
    "QueryMemorySizeSummary",
    {
        "base-memory": int,
        "plugged-memory": NotRequired[int],
    },
)

class QueryMice(TypedDict):
    name: str
    index: int
    current: bool
    absolute: bool

QueryMigrate = TypedDict(
    "QueryMigrate",
    {
        "status": NotRequired[MigrateContinueState],
        "ram": NotRequired[QueryMigrateRam],
        "remaining": NotRequired[int],
        "vfio": NotRequired[QueryMigrateVfio],
        "xbzrle-cache": NotRequired[QueryMigrateXbzrleCache],
        "total-time": NotRequired[int],
        "expected-downtime": NotRequired[int],
        "downtime": NotRequired[int],
        "setup-time": NotRequired[int],
        "cpu-throttle-percentage": NotRequired[int],
        "error-desc": NotRequired[str],
        "blocked-reasons": NotRequired[list[str]],
        "postcopy-blocktime": NotRequired[int],
        "postcopy-vcpu-blocktime": NotRequired[list[int]],
        "postcopy-latency": NotRequired[int],
        "postcopy-latency-dist": NotRequired[list[int]],
        "postcopy-vcpu-latency": NotRequired[list[int]],
        "postcopy-non-vcpu-latency": NotRequired[int],
        "socket-address": NotRequired[list[BlockExportAddVhostUserBlkAddr]],
        "dirty-limit-throttle-time-per-round": NotRequired[int],
        "dirty-limit-ring-full-time": NotRequired[int],
    },
)

class QueryMigrateCapabilities(TypedDict):
    capability: QueryMigrateCapabilitiesCapability
    state: bool

QueryMigrateCapabilitiesCapability: TypeAlias = Literal[
    "xbzrle",
    "rdma-pin-all",
    "auto-converge",
    "events",
    "postcopy-ram",
    "x-colo",
    "release-ram",
    "return-path",
    "pause-before-switchover",
    "multifd",
    "dirty-bitmaps",
    "postcopy-blocktime",
    "late-block-activate",
    "x-ignore-shared",
    "validate-uuid",
    "background-snapshot",
    "zero-copy-send",
    "postcopy-preempt",
    "switchover-ack",
    "dirty-limit",
    "mapped-ram",
]
QueryMigrateRam = TypedDict(
    "QueryMigrateRam",
    {
        "transferred": int,
        "remaining": int,
        "total": int,
        "duplicate": int,
        "normal": int,
        "normal-bytes": int,
        "dirty-pages-rate": int,
        "mbps": float,
        "dirty-sync-count": int,
        "postcopy-requests": int,
        "page-size": int,
        "multifd-bytes": int,
        "pages-per-second": int,
        "precopy-bytes": int,
        "downtime-bytes": int,
        "postcopy-bytes": int,
        "dirty-sync-missed-zero-copy": int,
    },
)

class QueryMigrateVfio(TypedDict):
    transferred: int

QueryMigrateXbzrleCache = TypedDict(
    "QueryMigrateXbzrleCache",
    {
        "cache-size": int,
        "bytes": int,
        "pages": int,
        "cache-miss": int,
        "cache-miss-rate": float,
        "encoding-rate": float,
        "overflow": int,
    },
)

class QueryName(TypedDict):
    name: NotRequired[str]

QueryNamedBlockNodes = TypedDict(
    "QueryNamedBlockNodes",
    {
        "file": str,
        "node-name": str,
        "ro": bool,
        "drv": str,
        "backing_file": NotRequired[str],
        "backing_file_depth": int,
        "children": list[QueryNamedBlockNodesChildren],
        "active": bool,
        "encrypted": bool,
        "detect_zeroes": Literal["off", "on", "unmap"],
        "bps": int,
        "bps_rd": int,
        "bps_wr": int,
        "iops": int,
        "iops_rd": int,
        "iops_wr": int,
        "image": QueryNamedBlockNodesImage,
        "bps_max": NotRequired[int],
        "bps_rd_max": NotRequired[int],
        "bps_wr_max": NotRequired[int],
        "iops_max": NotRequired[int],
        "iops_rd_max": NotRequired[int],
        "iops_wr_max": NotRequired[int],
        "bps_max_length": NotRequired[int],
        "bps_rd_max_length": NotRequired[int],
        "bps_wr_max_length": NotRequired[int],
        "iops_max_length": NotRequired[int],
        "iops_rd_max_length": NotRequired[int],
        "iops_wr_max_length": NotRequired[int],
        "iops_size": NotRequired[int],
        "group": NotRequired[str],
        "cache": QueryNamedBlockNodesCache,
        "write_threshold": int,
        "dirty-bitmaps": NotRequired[list[QueryNamedBlockNodesDirtyBitmaps]],
    },
)
QueryNamedBlockNodesCache = TypedDict(
    "QueryNamedBlockNodesCache",
    {
        "writeback": bool,
        "direct": bool,
        "no-flush": bool,
    },
)
QueryNamedBlockNodesChildren = TypedDict(
    "QueryNamedBlockNodesChildren",
    {
        "child": str,
        "node-name": str,
    },
)

class QueryNamedBlockNodesDirtyBitmaps(TypedDict):
    name: NotRequired[str]
    count: int
    granularity: int
    recording: bool
    busy: bool
    persistent: bool
    inconsistent: NotRequired[bool]

QueryNamedBlockNodesImage = TypedDict(
    "QueryNamedBlockNodesImage",
    {
        "filename": str,
        "format": str,
        "dirty-flag": NotRequired[bool],
        "actual-size": NotRequired[int],
        "virtual-size": int,
        "cluster-size": NotRequired[int],
        "encrypted": NotRequired[bool],
        "compressed": NotRequired[bool],
        "backing-filename": NotRequired[str],
        "full-backing-filename": NotRequired[str],
        "backing-filename-format": NotRequired[str],
        "snapshots": NotRequired[list[BlockdevSnapshotDeleteInternalSync]],
        "limits": NotRequired[QueryNamedBlockNodesImageLimits],
        "format-specific": NotRequired[QueryNamedBlockNodesImageFormatSpecific],
        "backing-image": NotRequired[QueryNamedBlockNodesImage],
    },
)

class QueryNamedBlockNodesImageFormatSpecificFile(TypedDict):
    type: Literal["file"]
    data: QueryNamedBlockNodesImageFormatSpecificFileData

class QueryNamedBlockNodesImageFormatSpecificLuks(TypedDict):
    type: Literal["luks"]
    data: QueryNamedBlockNodesImageFormatSpecificLuksData

class QueryNamedBlockNodesImageFormatSpecificQcow2(TypedDict):
    type: Literal["qcow2"]
    data: QueryNamedBlockNodesImageFormatSpecificQcow2Data

class QueryNamedBlockNodesImageFormatSpecificRbd(TypedDict):
    type: Literal["rbd"]
    data: QueryNamedBlockNodesImageFormatSpecificRbdData

class QueryNamedBlockNodesImageFormatSpecificVmdk(TypedDict):
    type: Literal["vmdk"]
    data: QueryNamedBlockNodesImageFormatSpecificVmdkData

QueryNamedBlockNodesImageFormatSpecific: TypeAlias = (
    QueryNamedBlockNodesImageFormatSpecificFile
    | QueryNamedBlockNodesImageFormatSpecificLuks
    | QueryNamedBlockNodesImageFormatSpecificQcow2
    | QueryNamedBlockNodesImageFormatSpecificRbd
    | QueryNamedBlockNodesImageFormatSpecificVmdk
)
QueryNamedBlockNodesImageFormatSpecificFileData = TypedDict(
    "QueryNamedBlockNodesImageFormatSpecificFileData",
    {
        "extent-size-hint": NotRequired[int],
    },
)
QueryNamedBlockNodesImageFormatSpecificLuksData = TypedDict(
    "QueryNamedBlockNodesImageFormatSpecificLuksData",
    {
        "cipher-alg": BlockdevCreateOptionsLuksCipherAlg,
        "cipher-mode": Literal["ecb", "cbc", "xts", "ctr"],
        "ivgen-alg": Literal["plain", "plain64", "essiv"],
        "ivgen-hash-alg": NotRequired[BlockdevCreateOptionsLuksIvgenHashAlg],
        "hash-alg": BlockdevCreateOptionsLuksIvgenHashAlg,
        "detached-header": bool,
        "payload-offset": int,
        "master-key-iters": int,
        "uuid": str,
        "slots": list[QueryNamedBlockNodesImageFormatSpecificLuksDataSlots],
    },
)
QueryNamedBlockNodesImageFormatSpecificLuksDataSlots = TypedDict(
    "QueryNamedBlockNodesImageFormatSpecificLuksDataSlots",
    {
        "active": bool,
        "iters": NotRequired[int],
        "stripes": NotRequired[int],
        "key-offset": int,
    },
)
QueryNamedBlockNodesImageFormatSpecificQcow2Data = TypedDict(
    "QueryNamedBlockNodesImageFormatSpecificQcow2Data",
    {
        "compat": str,
        "data-file": NotRequired[str],
        "data-file-raw": NotRequired[bool],
        "extended-l2": NotRequired[bool],
        "lazy-refcounts": NotRequired[bool],
        "corrupt": NotRequired[bool],
        "refcount-bits": int,
        "encrypt": NotRequired[QueryNamedBlockNodesImageFormatSpecificQcow2DataEncrypt],
        "bitmaps": NotRequired[list[QueryNamedBlockNodesImageFormatSpecificQcow2DataBitmaps]],
        "compression-type": Literal["zlib", "zstd"],
    },
)

class QueryNamedBlockNodesImageFormatSpecificQcow2DataBitmaps(TypedDict):
    name: str
    granularity: int
    flags: list[Literal["in-use", "auto"]]

QueryNamedBlockNodesImageFormatSpecificQcow2DataEncryptLuks = TypedDict(
    "QueryNamedBlockNodesImageFormatSpecificQcow2DataEncryptLuks",
    {
        "format": Literal["luks"],
        "cipher-alg": BlockdevCreateOptionsLuksCipherAlg,
        "cipher-mode": Literal["ecb", "cbc", "xts", "ctr"],
        "ivgen-alg": Literal["plain", "plain64", "essiv"],
        "ivgen-hash-alg": NotRequired[BlockdevCreateOptionsLuksIvgenHashAlg],
        "hash-alg": BlockdevCreateOptionsLuksIvgenHashAlg,
        "detached-header": bool,
        "payload-offset": int,
        "master-key-iters": int,
        "uuid": str,
        "slots": list[QueryNamedBlockNodesImageFormatSpecificLuksDataSlots],
    },
)

class QueryNamedBlockNodesImageFormatSpecificQcow2DataEncryptAes(TypedDict):
    format: Literal["aes"]

QueryNamedBlockNodesImageFormatSpecificQcow2DataEncrypt: TypeAlias = (
    QueryNamedBlockNodesImageFormatSpecificQcow2DataEncryptLuks
    | QueryNamedBlockNodesImageFormatSpecificQcow2DataEncryptAes
)
QueryNamedBlockNodesImageFormatSpecificRbdData = TypedDict(
    "QueryNamedBlockNodesImageFormatSpecificRbdData",
    {
        "encryption-format": NotRequired[Literal["luks", "luks2", "luks-any"]],
    },
)
QueryNamedBlockNodesImageFormatSpecificVmdkData = TypedDict(
    "QueryNamedBlockNodesImageFormatSpecificVmdkData",
    {
        "create-type": str,
        "cid": int,
        "parent-cid": int,
        "extents": list[QueryNamedBlockNodesImageFormatSpecificVmdkDataExtents],
    },
)
QueryNamedBlockNodesImageFormatSpecificVmdkDataExtents = TypedDict(
    "QueryNamedBlockNodesImageFormatSpecificVmdkDataExtents",
    {
        "filename": str,
        "format": str,
        "virtual-size": int,
        "cluster-size": NotRequired[int],
        "compressed": NotRequired[bool],
    },
)
QueryNamedBlockNodesImageLimits = TypedDict(
    "QueryNamedBlockNodesImageLimits",
    {
        "request-alignment": int,
        "max-discard": NotRequired[int],
        "discard-alignment": NotRequired[int],
        "max-write-zeroes": NotRequired[int],
        "write-zeroes-alignment": NotRequired[int],
        "opt-transfer": NotRequired[int],
        "max-transfer": NotRequired[int],
        "max-hw-transfer": NotRequired[int],
        "max-iov": int,
        "max-hw-iov": NotRequired[int],
        "min-mem-alignment": int,
        "opt-mem-alignment": int,
    },
)

class QueryPci(TypedDict):
    bus: int
    devices: list[QueryPciDevices]

class QueryPciDevices(TypedDict):
    bus: int
    slot: int
    function: int
    class_info: QueryPciDevicesClassInfo
    id: QueryPciDevicesId
    irq: NotRequired[int]
    irq_pin: int
    qdev_id: str
    pci_bridge: NotRequired[QueryPciDevicesPciBridge]
    regions: list[QueryPciDevicesRegions]

QueryPciDevicesClassInfo = TypedDict(
    "QueryPciDevicesClassInfo",
    {
        "desc": NotRequired[str],
        "class": int,
    },
)
QueryPciDevicesId = TypedDict(
    "QueryPciDevicesId",
    {
        "device": int,
        "vendor": int,
        "subsystem": NotRequired[int],
        "subsystem-vendor": NotRequired[int],
    },
)

class QueryPciDevicesPciBridge(TypedDict):
    bus: QueryPciDevicesPciBridgeBus
    devices: NotRequired[list[QueryPciDevices]]

class QueryPciDevicesPciBridgeBus(TypedDict):
    number: int
    secondary: int
    subordinate: int
    io_range: QueryPciDevicesPciBridgeBusIoRange
    memory_range: QueryPciDevicesPciBridgeBusIoRange
    prefetchable_range: QueryPciDevicesPciBridgeBusIoRange

class QueryPciDevicesPciBridgeBusIoRange(TypedDict):
    base: int
    limit: int

class QueryPciDevicesRegions(TypedDict):
    bar: int
    type: str
    address: int
    size: int
    prefetch: NotRequired[bool]
    mem_type_64: NotRequired[bool]

class QueryPrManagers(TypedDict):
    id: str
    connected: bool

QueryQmpSchemaAlternate = TypedDict(
    "QueryQmpSchemaAlternate",
    {
        "name": str,
        "meta-type": Literal["alternate"],
        "features": NotRequired[list[str]],
        "members": list[QueryQmpSchemaAlternateMembers],
    },
)
QueryQmpSchemaArray = TypedDict(
    "QueryQmpSchemaArray",
    {
        "name": str,
        "meta-type": Literal["array"],
        "features": NotRequired[list[str]],
        "element-type": str,
    },
)
QueryQmpSchemaBuiltin = TypedDict(
    "QueryQmpSchemaBuiltin",
    {
        "name": str,
        "meta-type": Literal["builtin"],
        "features": NotRequired[list[str]],
        "json-type": QueryQmpSchemaBuiltinJsonType,
    },
)
QueryQmpSchemaCommand = TypedDict(
    "QueryQmpSchemaCommand",
    {
        "name": str,
        "meta-type": Literal["command"],
        "features": NotRequired[list[str]],
        "arg-type": str,
        "ret-type": str,
        "allow-oob": NotRequired[bool],
    },
)
QueryQmpSchemaEnum = TypedDict(
    "QueryQmpSchemaEnum",
    {
        "name": str,
        "meta-type": Literal["enum"],
        "features": NotRequired[list[str]],
        "members": list[QueryQmpSchemaEnumMembers],
        "values": list[str],  # deprecated
    },
)
QueryQmpSchemaEvent = TypedDict(
    "QueryQmpSchemaEvent",
    {
        "name": str,
        "meta-type": Literal["event"],
        "features": NotRequired[list[str]],
        "arg-type": str,
    },
)
QueryQmpSchemaObject = TypedDict(
    "QueryQmpSchemaObject",
    {
        "name": str,
        "meta-type": Literal["object"],
        "features": NotRequired[list[str]],
        "members": list[QueryQmpSchemaObjectMembers],
        "tag": NotRequired[str],
        "variants": NotRequired[list[QueryQmpSchemaObjectVariants]],
    },
)
QueryQmpSchema: TypeAlias = (
    QueryQmpSchemaAlternate
    | QueryQmpSchemaArray
    | QueryQmpSchemaBuiltin
    | QueryQmpSchemaCommand
    | QueryQmpSchemaEnum
    | QueryQmpSchemaEvent
    | QueryQmpSchemaObject
)

class QueryQmpSchemaAlternateMembers(TypedDict):
    type: str

QueryQmpSchemaBuiltinJsonType: TypeAlias = Literal[
    "string", "number", "int", "boolean", "null", "object", "array", "value"
]

class QueryQmpSchemaEnumMembers(TypedDict):
    name: str
    features: NotRequired[list[str]]

class QueryQmpSchemaObjectMembers(TypedDict):
    name: str
    type: str
    default: NotRequired[Json]
    features: NotRequired[list[str]]

class QueryQmpSchemaObjectVariants(TypedDict):
    case: str
    type: str

class QueryReplay(TypedDict):
    mode: Literal["none", "record", "play"]
    filename: NotRequired[str]
    icount: int

class QueryRocker(TypedDict):
    name: str
    id: int
    ports: int

class QueryRockerOfDpaFlows(TypedDict):
    cookie: int
    hits: int
    key: QueryRockerOfDpaFlowsKey
    mask: QueryRockerOfDpaFlowsMask
    action: QueryRockerOfDpaFlowsAction

QueryRockerOfDpaFlowsAction = TypedDict(
    "QueryRockerOfDpaFlowsAction",
    {
        "goto-tbl": NotRequired[int],
        "group-id": NotRequired[int],
        "tunnel-lport": NotRequired[int],
        "vlan-id": NotRequired[int],
        "new-vlan-id": NotRequired[int],
        "out-pport": NotRequired[int],
    },
)
QueryRockerOfDpaFlowsKey = TypedDict(
    "QueryRockerOfDpaFlowsKey",
    {
        "priority": int,
        "tbl-id": int,
        "in-pport": NotRequired[int],
        "tunnel-id": NotRequired[int],
        "vlan-id": NotRequired[int],
        "eth-type": NotRequired[int],
        "eth-src": NotRequired[str],
        "eth-dst": NotRequired[str],
        "ip-proto": NotRequired[int],
        "ip-tos": NotRequired[int],
        "ip-dst": NotRequired[str],
    },
)
QueryRockerOfDpaFlowsMask = TypedDict(
    "QueryRockerOfDpaFlowsMask",
    {
        "in-pport": NotRequired[int],
        "tunnel-id": NotRequired[int],
        "vlan-id": NotRequired[int],
        "eth-src": NotRequired[str],
        "eth-dst": NotRequired[str],
        "ip-proto": NotRequired[int],
        "ip-tos": NotRequired[int],
    },
)
QueryRockerOfDpaGroups = TypedDict(
    "QueryRockerOfDpaGroups",
    {
        "id": int,
        "type": int,
        "vlan-id": NotRequired[int],
        "pport": NotRequired[int],
        "index": NotRequired[int],
        "out-pport": NotRequired[int],
        "group-id": NotRequired[int],
        "set-vlan-id": NotRequired[int],
        "pop-vlan": NotRequired[int],
        "group-ids": NotRequired[list[int]],
        "set-eth-src": NotRequired[str],
        "set-eth-dst": NotRequired[str],
        "ttl-check": NotRequired[int],
    },
)
QueryRockerPorts = TypedDict(
    "QueryRockerPorts",
    {
        "name": str,
        "enabled": bool,
        "link-up": bool,
        "speed": int,
        "duplex": Literal["half", "full"],
        "autoneg": Literal["off", "on"],
    },
)
QueryRxFilter = TypedDict(
    "QueryRxFilter",
    {
        "name": str,
        "promiscuous": bool,
        "multicast": Literal["normal", "none", "all"],
        "unicast": Literal["normal", "none", "all"],
        "vlan": Literal["normal", "none", "all"],
        "broadcast-allowed": bool,
        "multicast-overflow": bool,
        "unicast-overflow": bool,
        "main-mac": str,
        "vlan-table": list[int],
        "unicast-table": list[str],
        "multicast-table": list[str],
    },
)

class QueryS390xCpuPolarization(TypedDict):
    polarization: Literal["horizontal", "vertical"]

QuerySevSev = TypedDict(
    "QuerySevSev",
    {
        "enabled": bool,
        "api-major": int,
        "api-minor": int,
        "build-id": int,
        "state": QuerySevState,
        "sev-type": Literal["sev"],
        "policy": int,
        "handle": int,
    },
)
QuerySevSevSnp = TypedDict(
    "QuerySevSevSnp",
    {
        "enabled": bool,
        "api-major": int,
        "api-minor": int,
        "build-id": int,
        "state": QuerySevState,
        "sev-type": Literal["sev-snp"],
        "snp-policy": int,
    },
)
QuerySev: TypeAlias = QuerySevSev | QuerySevSevSnp

class QuerySevAttestationReport(TypedDict):
    data: str

QuerySevCapabilities = TypedDict(
    "QuerySevCapabilities",
    {
        "pdh": str,
        "cert-chain": str,
        "cpu0-id": str,
        "cbitpos": int,
        "reduced-phys-bits": int,
    },
)

class QuerySevLaunchMeasure(TypedDict):
    data: str

QuerySevState: TypeAlias = Literal[
    "uninit", "launch-update", "launch-secret", "running", "send-update", "receive-update"
]

class QuerySgx(TypedDict):
    sgx: bool
    sgx1: bool
    sgx2: bool
    flc: bool
    sections: list[QuerySgxSections]

class QuerySgxSections(TypedDict):
    node: int
    size: int

QuerySpice = TypedDict(
    "QuerySpice",
    {
        "enabled": bool,
        "migrated": bool,
        "host": NotRequired[str],
        "port": NotRequired[int],
        "tls-port": NotRequired[int],
        "auth": NotRequired[str],
        "compiled-version": NotRequired[str],
        "mouse-mode": Literal["client", "server", "unknown"],
        "channels": NotRequired[list[QuerySpiceChannels]],
    },
)
QuerySpiceChannels = TypedDict(
    "QuerySpiceChannels",
    {
        "host": str,
        "port": str,
        "family": Literal["ipv4", "ipv6", "unix", "vsock", "unknown"],
        "connection-id": int,
        "channel-type": int,
        "channel-id": int,
        "tls": bool,
    },
)
QueryStats = TypedDict(
    "QueryStats",
    {
        "provider": Literal["kvm", "cryptodev"],
        "qom-path": NotRequired[str],
        "stats": list[QueryStatsStats],
    },
)

class QueryStatsArgumentsProviders(TypedDict):
    provider: Literal["kvm", "cryptodev"]
    names: NotRequired[list[str]]

class QueryStatsSchemas(TypedDict):
    provider: Literal["kvm", "cryptodev"]
    target: Literal["vm", "vcpu", "cryptodev"]
    stats: list[QueryStatsSchemasStats]

QueryStatsSchemasStats = TypedDict(
    "QueryStatsSchemasStats",
    {
        "name": str,
        "type": QueryStatsSchemasStatsType,
        "unit": NotRequired[Literal["bytes", "seconds", "cycles", "boolean"]],
        "base": NotRequired[int],
        "exponent": int,
        "bucket-size": NotRequired[int],
    },
)
QueryStatsSchemasStatsType: TypeAlias = Literal["cumulative", "instant", "peak", "linear-histogram", "log2-histogram"]

class QueryStatsStats(TypedDict):
    name: str
    value: QueryStatsStatsValue

QueryStatsStatsValue: TypeAlias = int | bool | list[int]

class QueryStatus(TypedDict):
    running: bool
    status: QueryStatusStatus

QueryStatusStatus: TypeAlias = Literal[
    "debug",
    "inmigrate",
    "internal-error",
    "io-error",
    "paused",
    "postmigrate",
    "prelaunch",
    "finish-migrate",
    "restore-vm",
    "running",
    "save-vm",
    "shutdown",
    "suspended",
    "watchdog",
    "guest-panicked",
    "colo",
]

class QueryTarget(TypedDict):
    arch: QueryCpusFastTarget

class QueryTpm(TypedDict):
    id: str
    model: Literal["tpm-tis", "tpm-crb", "tpm-spapr"]
    options: QueryTpmOptions

class QueryTpmOptionsEmulator(TypedDict):
    type: Literal["emulator"]
    data: QueryTpmOptionsEmulatorData

class QueryTpmOptionsPassthrough(TypedDict):
    type: Literal["passthrough"]
    data: QueryTpmOptionsPassthroughData

QueryTpmOptions: TypeAlias = QueryTpmOptionsEmulator | QueryTpmOptionsPassthrough

class QueryTpmOptionsEmulatorData(TypedDict):
    chardev: str

QueryTpmOptionsPassthroughData = TypedDict(
    "QueryTpmOptionsPassthroughData",
    {
        "path": NotRequired[str],
        "cancel-path": NotRequired[str],
    },
)

class QueryUuid(TypedDict):
    UUID: str

QueryVcpuDirtyLimit = TypedDict(
    "QueryVcpuDirtyLimit",
    {
        "cpu-index": int,
        "limit-rate": int,
        "current-rate": int,
    },
)

class QueryVersion(TypedDict):
    qemu: QueryVersionQemu
    package: str

class QueryVersionQemu(TypedDict):
    major: int
    minor: int
    micro: int

class QueryVmGenerationId(TypedDict):
    guid: str

class QueryVnc(TypedDict):
    enabled: bool
    host: NotRequired[str]
    family: NotRequired[Literal["ipv4", "ipv6", "unix", "vsock", "unknown"]]
    service: NotRequired[str]
    auth: NotRequired[str]
    clients: NotRequired[list[QueryVncClients]]

class QueryVncClients(TypedDict):
    host: str
    service: str
    family: Literal["ipv4", "ipv6", "unix", "vsock", "unknown"]
    websocket: bool
    x509_dname: NotRequired[str]
    sasl_username: NotRequired[str]

class QueryVncServers(TypedDict):
    id: str
    server: list[QueryVncServersServer]
    clients: list[QueryVncClients]
    auth: QueryVncServersAuth
    vencrypt: NotRequired[QueryVncServersVencrypt]
    display: NotRequired[str]

QueryVncServersAuth: TypeAlias = Literal["none", "vnc", "ra2", "ra2ne", "tight", "ultra", "tls", "vencrypt", "sasl"]

class QueryVncServersServer(TypedDict):
    host: str
    service: str
    family: Literal["ipv4", "ipv6", "unix", "vsock", "unknown"]
    websocket: bool
    auth: QueryVncServersAuth
    vencrypt: NotRequired[QueryVncServersVencrypt]

QueryVncServersVencrypt: TypeAlias = Literal[
    "plain", "tls-none", "x509-none", "tls-vnc", "x509-vnc", "tls-plain", "x509-plain", "tls-sasl", "x509-sasl"
]

class QueryXenReplicationStatus(TypedDict):
    error: bool
    desc: NotRequired[str]

QueryYankBlockNode = TypedDict(
    "QueryYankBlockNode",
    {
        "type": Literal["block-node"],
        "node-name": str,
    },
)

class QueryYankChardev(TypedDict):
    type: Literal["chardev"]
    id: str

class QueryYankMigration(TypedDict):
    type: Literal["migration"]

QueryYank: TypeAlias = QueryYankBlockNode | QueryYankChardev | QueryYankMigration

class RequestEbpf(TypedDict):
    object: str

class SendKeyKeysNumber(TypedDict):
    type: Literal["number"]
    data: int

class SendKeyKeysQcode(TypedDict):
    type: Literal["qcode"]
    data: SendKeyKeysQcodeData

SendKeyKeys: TypeAlias = SendKeyKeysNumber | SendKeyKeysQcode
SendKeyKeysQcodeData: TypeAlias = Literal[
    "unmapped",
    "shift",
    "shift_r",
    "alt",
    "alt_r",
    "ctrl",
    "ctrl_r",
    "menu",
    "esc",
    "1",
    "2",
    "3",
    "4",
    "5",
    "6",
    "7",
    "8",
    "9",
    "0",
    "minus",
    "equal",
    "backspace",
    "tab",
    "q",
    "w",
    "e",
    "r",
    "t",
    "y",
    "u",
    "i",
    "o",
    "p",
    "bracket_left",
    "bracket_right",
    "ret",
    "a",
    "s",
    "d",
    "f",
    "g",
    "h",
    "j",
    "k",
    "l",
    "semicolon",
    "apostrophe",
    "grave_accent",
    "backslash",
    "z",
    "x",
    "c",
    "v",
    "b",
    "n",
    "m",
    "comma",
    "dot",
    "slash",
    "asterisk",
    "spc",
    "caps_lock",
    "f1",
    "f2",
    "f3",
    "f4",
    "f5",
    "f6",
    "f7",
    "f8",
    "f9",
    "f10",
    "num_lock",
    "scroll_lock",
    "kp_divide",
    "kp_multiply",
    "kp_subtract",
    "kp_add",
    "kp_enter",
    "kp_decimal",
    "sysrq",
    "kp_0",
    "kp_1",
    "kp_2",
    "kp_3",
    "kp_4",
    "kp_5",
    "kp_6",
    "kp_7",
    "kp_8",
    "kp_9",
    "less",
    "f11",
    "f12",
    "print",
    "home",
    "pgup",
    "pgdn",
    "end",
    "left",
    "up",
    "down",
    "right",
    "insert",
    "delete",
    "stop",
    "again",
    "props",
    "undo",
    "front",
    "copy",
    "open",
    "paste",
    "find",
    "cut",
    "lf",
    "help",
    "meta_l",
    "meta_r",
    "compose",
    "pause",
    "ro",
    "hiragana",
    "henkan",
    "yen",
    "muhenkan",
    "katakanahiragana",
    "kp_comma",
    "kp_equals",
    "power",
    "sleep",
    "wake",
    "audionext",
    "audioprev",
    "audiostop",
    "audioplay",
    "audiomute",
    "volumeup",
    "volumedown",
    "mediaselect",
    "mail",
    "calculator",
    "computer",
    "ac_home",
    "ac_back",
    "ac_forward",
    "ac_refresh",
    "ac_bookmarks",
    "lang1",
    "lang2",
    "f13",
    "f14",
    "f15",
    "f16",
    "f17",
    "f18",
    "f19",
    "f20",
    "f21",
    "f22",
    "f23",
    "f24",
]
SetActionWatchdog: TypeAlias = Literal["reset", "shutdown", "poweroff", "pause", "debug", "none", "inject-nmi"]
SetNumaNodeHmatLbDataType: TypeAlias = Literal[
    "access-latency", "read-latency", "write-latency", "access-bandwidth", "read-bandwidth", "write-bandwidth"
]
SetNumaNodeHmatLbHierarchy: TypeAlias = Literal["memory", "first-level", "second-level", "third-level"]

class TraceEventGetState(TypedDict):
    name: str
    state: Literal["unavailable", "disabled", "enabled"]

class TransactionActionsAbort(TypedDict):
    type: Literal["abort"]
    data: Empty

class TransactionActionsBlockDirtyBitmapAdd(TypedDict):
    type: Literal["block-dirty-bitmap-add"]
    data: BlockDirtyBitmapAdd

class TransactionActionsBlockDirtyBitmapClear(TypedDict):
    type: Literal["block-dirty-bitmap-clear"]
    data: BlockDirtyBitmapClear

class TransactionActionsBlockDirtyBitmapDisable(TypedDict):
    type: Literal["block-dirty-bitmap-disable"]
    data: BlockDirtyBitmapClear

class TransactionActionsBlockDirtyBitmapEnable(TypedDict):
    type: Literal["block-dirty-bitmap-enable"]
    data: BlockDirtyBitmapClear

class TransactionActionsBlockDirtyBitmapMerge(TypedDict):
    type: Literal["block-dirty-bitmap-merge"]
    data: BlockDirtyBitmapMerge

class TransactionActionsBlockDirtyBitmapRemove(TypedDict):
    type: Literal["block-dirty-bitmap-remove"]
    data: BlockDirtyBitmapClear

class TransactionActionsBlockdevBackup(TypedDict):
    type: Literal["blockdev-backup"]
    data: BlockdevBackup

class TransactionActionsBlockdevSnapshot(TypedDict):
    type: Literal["blockdev-snapshot"]
    data: BlockdevSnapshot

class TransactionActionsBlockdevSnapshotInternalSync(TypedDict):
    type: Literal["blockdev-snapshot-internal-sync"]
    data: BlockdevSnapshotInternalSync

class TransactionActionsBlockdevSnapshotSync(TypedDict):
    type: Literal["blockdev-snapshot-sync"]
    data: BlockdevSnapshotSync

class TransactionActionsDriveBackup(TypedDict):
    type: Literal["drive-backup"]
    data: DriveBackup

TransactionActions: TypeAlias = (
    TransactionActionsAbort
    | TransactionActionsBlockDirtyBitmapAdd
    | TransactionActionsBlockDirtyBitmapClear
    | TransactionActionsBlockDirtyBitmapDisable
    | TransactionActionsBlockDirtyBitmapEnable
    | TransactionActionsBlockDirtyBitmapMerge
    | TransactionActionsBlockDirtyBitmapRemove
    | TransactionActionsBlockdevBackup
    | TransactionActionsBlockdevSnapshot
    | TransactionActionsBlockdevSnapshotInternalSync
    | TransactionActionsBlockdevSnapshotSync
    | TransactionActionsDriveBackup
)
TransactionProperties = TypedDict(
    "TransactionProperties",
    {
        "completion-mode": NotRequired[Literal["individual", "grouped"]],
    },
)
XAccelStats = TypedDict(
    "XAccelStats",
    {
        "human-readable-text": str,
    },
)
XBlockdevAmendOptionsLuks = TypedDict(
    "XBlockdevAmendOptionsLuks",
    {
        "driver": Literal["luks"],
        "state": Literal["active", "inactive"],
        "new-secret": NotRequired[str],
        "old-secret": NotRequired[str],
        "keyslot": NotRequired[int],
        "iter-time": NotRequired[int],
        "secret": NotRequired[str],
    },
)

class XBlockdevAmendOptionsQcow2(TypedDict):
    driver: Literal["qcow2"]
    encrypt: NotRequired[XBlockdevAmendOptionsQcow2Encrypt]

class XBlockdevAmendOptionsOther(TypedDict):
    driver: Literal[
        "blkdebug",
        "blklogwrites",
        "blkreplay",
        "blkverify",
        "bochs",
        "cloop",
        "compress",
        "copy-before-write",
        "copy-on-read",
        "dmg",
        "file",
        "ftp",
        "ftps",
        "host_cdrom",
        "host_device",
        "http",
        "https",
        "io_uring",
        "iscsi",
        "nbd",
        "nfs",
        "null-aio",
        "null-co",
        "nvme",
        "nvme-io_uring",
        "parallels",
        "preallocate",
        "qcow",
        "qed",
        "quorum",
        "raw",
        "rbd",
        "replication",
        "snapshot-access",
        "ssh",
        "throttle",
        "vdi",
        "vhdx",
        "virtio-blk-vfio-pci",
        "virtio-blk-vhost-user",
        "virtio-blk-vhost-vdpa",
        "vmdk",
        "vpc",
        "vvfat",
    ]

XBlockdevAmendOptions: TypeAlias = XBlockdevAmendOptionsLuks | XBlockdevAmendOptionsQcow2 | XBlockdevAmendOptionsOther
XBlockdevAmendOptionsQcow2EncryptLuks = TypedDict(
    "XBlockdevAmendOptionsQcow2EncryptLuks",
    {
        "format": Literal["luks"],
        "state": Literal["active", "inactive"],
        "new-secret": NotRequired[str],
        "old-secret": NotRequired[str],
        "keyslot": NotRequired[int],
        "iter-time": NotRequired[int],
        "secret": NotRequired[str],
    },
)

class XBlockdevAmendOptionsQcow2EncryptQcow(TypedDict):
    format: Literal["qcow"]

XBlockdevAmendOptionsQcow2Encrypt: TypeAlias = (
    XBlockdevAmendOptionsQcow2EncryptLuks | XBlockdevAmendOptionsQcow2EncryptQcow
)

class XDebugBlockDirtyBitmapSha256(TypedDict):
    sha256: str

class XDebugQueryBlockGraph(TypedDict):
    nodes: list[XDebugQueryBlockGraphNodes]
    edges: list[XDebugQueryBlockGraphEdges]

XDebugQueryBlockGraphEdges = TypedDict(
    "XDebugQueryBlockGraphEdges",
    {
        "parent": int,
        "child": int,
        "name": str,
        "perm": list[BlockdevAddBlkdebugTakeChildPerms],
        "shared-perm": list[BlockdevAddBlkdebugTakeChildPerms],
    },
)

class XDebugQueryBlockGraphNodes(TypedDict):
    id: int
    type: Literal["block-backend", "block-job", "block-driver"]
    name: str

class XQueryVirtio(TypedDict):
    path: str
    name: str

class XQueryVirtioQueueElement(TypedDict):
    name: str
    index: int
    descs: list[XQueryVirtioQueueElementDescs]
    avail: XQueryVirtioQueueElementAvail
    used: XQueryVirtioQueueElementUsed

class XQueryVirtioQueueElementAvail(TypedDict):
    flags: int
    idx: int
    ring: int

class XQueryVirtioQueueElementDescs(TypedDict):
    addr: int
    len: int
    flags: list[str]

class XQueryVirtioQueueElementUsed(TypedDict):
    flags: int
    idx: int

XQueryVirtioQueueStatus = TypedDict(
    "XQueryVirtioQueueStatus",
    {
        "name": str,
        "queue-index": int,
        "inuse": int,
        "vring-num": int,
        "vring-num-default": int,
        "vring-align": int,
        "vring-desc": int,
        "vring-avail": int,
        "vring-used": int,
        "last-avail-idx": NotRequired[int],
        "shadow-avail-idx": NotRequired[int],
        "used-idx": int,
        "signalled-used": int,
        "signalled-used-valid": bool,
    },
)
XQueryVirtioStatus = TypedDict(
    "XQueryVirtioStatus",
    {
        "name": str,
        "device-id": int,
        "vhost-started": bool,
        "device-endian": str,
        "guest-features": XQueryVirtioStatusGuestFeatures,
        "host-features": XQueryVirtioStatusGuestFeatures,
        "backend-features": XQueryVirtioStatusGuestFeatures,
        "num-vqs": int,
        "status": XQueryVirtioStatusStatus,
        "isr": int,
        "queue-sel": int,
        "vm-running": bool,
        "broken": bool,
        "disabled": bool,
        "use-started": bool,
        "started": bool,
        "start-on-kick": bool,
        "disable-legacy-check": bool,
        "bus-name": str,
        "use-guest-notifier-mask": bool,
        "vhost-dev": NotRequired[XQueryVirtioStatusVhostDev],
    },
)
XQueryVirtioStatusGuestFeatures = TypedDict(
    "XQueryVirtioStatusGuestFeatures",
    {
        "transports": list[str],
        "dev-features": NotRequired[list[str]],
        "unknown-dev-features": NotRequired[int],
        "unknown-dev-features2": NotRequired[int],
    },
)
XQueryVirtioStatusStatus = TypedDict(
    "XQueryVirtioStatusStatus",
    {
        "statuses": list[str],
        "unknown-statuses": NotRequired[int],
    },
)
XQueryVirtioStatusVhostDev = TypedDict(
    "XQueryVirtioStatusVhostDev",
    {
        "n-mem-sections": int,
        "n-tmp-sections": int,
        "nvqs": int,
        "vq-index": int,
        "features": XQueryVirtioStatusGuestFeatures,
        "acked-features": XQueryVirtioStatusGuestFeatures,
        "protocol-features": XQueryVirtioStatusVhostDevProtocolFeatures,
        "max-queues": int,
        "backend-cap": int,
        "log-enabled": bool,
        "log-size": int,
    },
)
XQueryVirtioStatusVhostDevProtocolFeatures = TypedDict(
    "XQueryVirtioStatusVhostDevProtocolFeatures",
    {
        "protocols": list[str],
        "unknown-protocols": NotRequired[int],
    },
)
XQueryVirtioVhostQueueStatus = TypedDict(
    "XQueryVirtioVhostQueueStatus",
    {
        "name": str,
        "kick": int,
        "call": int,
        "num": int,
        "desc-phys": int,
        "desc-size": int,
        "avail-phys": int,
        "avail-size": int,
        "used-phys": int,
        "used-size": int,
    },
)
XenEventList = TypedDict(
    "XenEventList",
    {
        "port": int,
        "vcpu": int,
        "type": XenEventListType,
        "remote-domain": str,
        "target": int,
        "pending": bool,
        "masked": bool,
    },
)
XenEventListType: TypeAlias = Literal["closed", "unbound", "interdomain", "pirq", "virq", "ipi"]

class Commands:
    def __init__(
        self, client: QmpClient, *, deadline: float = ..., fds: Sequence[int] = ..., oob: bool = ...
    ) -> None: ...
    def __call__(self, *, deadline: float = ..., fds: Sequence[int] = ..., oob: bool = ...) -> Commands: ...
    async def add_fd(self, *, fdset_id: int = ..., opaque: str = ...) -> AddFd: ...
    async def add_client(self, *, protocol: str, fdname: str, skipauth: bool = ..., tls: bool = ...) -> Empty: ...
    async def announce_self(
        self, *, initial: int, max: int, rounds: int, step: int, interfaces: list[str] = ..., id: str = ...
    ) -> Empty: ...
    async def balloon(self, *, value: int) -> Empty: ...
    async def block_commit(
        self,
        *,
        device: str,
        job_id: str = ...,
        base_node: str = ...,
        base: str = ...,
        top_node: str = ...,
        top: str = ...,
        backing_file: str = ...,
        backing_mask_protocol: bool = ...,
        speed: int = ...,
        on_error: Literal["report", "ignore", "enospc", "stop", "auto"] = ...,
        filter_node_name: str = ...,
        auto_finalize: bool = ...,
        auto_dismiss: bool = ...,
    ) -> Empty: ...
    async def block_dirty_bitmap_add(
        self, *, node: str, name: str, granularity: int = ..., persistent: bool = ..., disabled: bool = ...
    ) -> Empty: ...
    async def block_dirty_bitmap_clear(self, *, node: str, name: str) -> Empty: ...
    async def block_dirty_bitmap_disable(self, *, node: str, name: str) -> Empty: ...
    async def block_dirty_bitmap_enable(self, *, node: str, name: str) -> Empty: ...
    async def block_dirty_bitmap_merge(
        self, *, node: str, target: str, bitmaps: list[BlockDirtyBitmapMergeBitmaps]
    ) -> Empty: ...
    async def block_dirty_bitmap_remove(self, *, node: str, name: str) -> Empty: ...
    @overload
    async def block_export_add(
        self,
        *,
        type: Literal["fuse"],
        id: str,
        node_name: str,
        mountpoint: str,
        fixed_iothread: bool = ...,
        iothread: BlockExportAddIothread = ...,
        writable: bool = ...,
        writethrough: bool = ...,
        allow_inactive: bool = ...,
        growable: bool = ...,
        allow_other: Literal["off", "on", "auto"] = ...,
    ) -> Empty: ...
    @overload
    async def block_export_add(
        self,
        *,
        type: Literal["nbd"],
        id: str,
        node_name: str,
        fixed_iothread: bool = ...,
        iothread: BlockExportAddIothread = ...,
        writable: bool = ...,
        writethrough: bool = ...,
        allow_inactive: bool = ...,
        name: str = ...,
        description: str = ...,
        bitmaps: list[BlockDirtyBitmapMergeBitmaps] = ...,
        allocation_depth: bool = ...,
    ) -> Empty: ...
    @overload
    async def block_export_add(
        self,
        *,
        type: Literal["vduse-blk"],
        id: str,
        node_name: str,
        name: str,
        fixed_iothread: bool = ...,
        iothread: BlockExportAddIothread = ...,
        writable: bool = ...,
        writethrough: bool = ...,
        allow_inactive: bool = ...,
        num_queues: int = ...,
        queue_size: int = ...,
        logical_block_size: int = ...,
        serial: str = ...,
    ) -> Empty: ...
    @overload
    async def block_export_add(
        self,
        *,
        type: Literal["vhost-user-blk"],
        id: str,
        node_name: str,
        addr: BlockExportAddVhostUserBlkAddr,
        fixed_iothread: bool = ...,
        iothread: BlockExportAddIothread = ...,
        writable: bool = ...,
        writethrough: bool = ...,
        allow_inactive: bool = ...,
        logical_block_size: int = ...,
        num_queues: int = ...,
    ) -> Empty: ...
    async def block_export_del(self, *, id: str, mode: Literal["safe", "hard"] = ...) -> Empty: ...
    async def block_job_cancel(self, *, device: str, force: bool = ...) -> Empty: ...
    @overload
    async def block_job_change(
        self, *, id: str, type: Literal["mirror"], copy_mode: Literal["background", "write-blocking"]
    ) -> Empty: ...
    @overload
    async def block_job_change(
        self,
        *,
        id: str,
        type: Literal[
            "amend", "backup", "commit", "create", "snapshot-delete", "snapshot-load", "snapshot-save", "stream"
        ],
    ) -> Empty: ...
    # deprecated
    async def block_job_complete(self, *, device: str) -> Empty: ...
    # deprecated
    async def block_job_dismiss(self, *, id: str) -> Empty: ...
    # deprecated
    async def block_job_finalize(self, *, id: str) -> Empty: ...
    # deprecated
    async def block_job_pause(self, *, device: str) -> Empty: ...
    # deprecated
    async def block_job_resume(self, *, device: str) -> Empty: ...
    async def block_job_set_speed(self, *, device: str, speed: int) -> Empty: ...
    async def block_latency_histogram_set(
        self,
        *,
        id: str,
        boundaries: list[int] = ...,
        boundaries_read: list[int] = ...,
        boundaries_write: list[int] = ...,
        boundaries_zap: list[int] = ...,
        boundaries_flush: list[int] = ...,
    ) -> Empty: ...
    async def block_set_write_threshold(self, *, node_name: str, write_threshold: int) -> Empty: ...
    async def block_stream(
        self,
        *,
        device: str,
        job_id: str = ...,
        base: str = ...,
        base_node: str = ...,
        backing_file: str = ...,
        backing_mask_protocol: bool = ...,
        bottom: str = ...,
        speed: int = ...,
        on_error: Literal["report", "ignore", "enospc", "stop", "auto"] = ...,
        filter_node_name: str = ...,
        auto_finalize: bool = ...,
        auto_dismiss: bool = ...,
    ) -> Empty: ...
    async def block_resize(self, *, size: int, device: str = ..., node_name: str = ...) -> Empty: ...
    async def block_set_io_throttle(
        self,
        *,
        bps: int,
        bps_rd: int,
        bps_wr: int,
        iops: int,
        iops_rd: int,
        iops_wr: int,
        device: str = ...,
        id: str = ...,
        bps_max: int = ...,
        bps_rd_max: int = ...,
        bps_wr_max: int = ...,
        iops_max: int = ...,
        iops_rd_max: int = ...,
        iops_wr_max: int = ...,
        bps_max_length: int = ...,
        bps_rd_max_length: int = ...,
        bps_wr_max_length: int = ...,
        iops_max_length: int = ...,
        iops_rd_max_length: int = ...,
        iops_wr_max_length: int = ...,
        iops_size: int = ...,
        group: str = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["blkdebug"],
        image: BlockdevAddBlkdebugImage,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        config: str = ...,
        align: int = ...,
        max_transfer: int = ...,
        opt_write_zero: int = ...,
        max_write_zero: int = ...,
        opt_discard: int = ...,
        max_discard: int = ...,
        inject_error: list[BlockdevAddBlkdebugInjectError] = ...,
        set_state: list[BlockdevAddBlkdebugSetState] = ...,
        take_child_perms: list[BlockdevAddBlkdebugTakeChildPerms] = ...,
        unshare_child_perms: list[BlockdevAddBlkdebugTakeChildPerms] = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["blklogwrites"],
        file: BlockdevAddBlkdebugImage,
        log: BlockdevAddBlkdebugImage,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        log_sector_size: int = ...,
        log_append: bool = ...,
        log_super_update_interval: int = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["blkreplay"],
        image: BlockdevAddBlkdebugImage,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["blkverify"],
        test: BlockdevAddBlkdebugImage,
        raw: BlockdevAddBlkdebugImage,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["bochs"],
        file: BlockdevAddBlkdebugImage,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["cloop"],
        file: BlockdevAddBlkdebugImage,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["compress"],
        file: BlockdevAddBlkdebugImage,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["copy-before-write"],
        file: BlockdevAddBlkdebugImage,
        target: BlockdevAddBlkdebugImage,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        bitmap: BlockDirtyBitmapClear = ...,
        on_cbw_error: Literal["break-guest-write", "break-snapshot"] = ...,
        cbw_timeout: int = ...,
        min_cluster_size: int = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["copy-on-read"],
        file: BlockdevAddBlkdebugImage,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        bottom: str = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["dmg"],
        file: BlockdevAddBlkdebugImage,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["file"],
        filename: str,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        pr_manager: str = ...,
        locking: Literal["auto", "on", "off"] = ...,
        aio: Literal["threads", "native", "io_uring"] = ...,
        aio_max_batch: int = ...,
        drop_cache: bool = ...,
        x_check_cache_dropped: bool = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["ftp"],
        url: str,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        readahead: int = ...,
        timeout: int = ...,
        username: str = ...,
        password_secret: str = ...,
        proxy_username: str = ...,
        proxy_password_secret: str = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["ftps"],
        url: str,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        readahead: int = ...,
        timeout: int = ...,
        username: str = ...,
        password_secret: str = ...,
        proxy_username: str = ...,
        proxy_password_secret: str = ...,
        sslverify: bool = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["host_cdrom"],
        filename: str,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        pr_manager: str = ...,
        locking: Literal["auto", "on", "off"] = ...,
        aio: Literal["threads", "native", "io_uring"] = ...,
        aio_max_batch: int = ...,
        drop_cache: bool = ...,
        x_check_cache_dropped: bool = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["host_device"],
        filename: str,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        pr_manager: str = ...,
        locking: Literal["auto", "on", "off"] = ...,
        aio: Literal["threads", "native", "io_uring"] = ...,
        aio_max_batch: int = ...,
        drop_cache: bool = ...,
        x_check_cache_dropped: bool = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["http"],
        url: str,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        readahead: int = ...,
        timeout: int = ...,
        username: str = ...,
        password_secret: str = ...,
        proxy_username: str = ...,
        proxy_password_secret: str = ...,
        cookie: str = ...,
        cookie_secret: str = ...,
        force_range: bool = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["https"],
        url: str,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        readahead: int = ...,
        timeout: int = ...,
        username: str = ...,
        password_secret: str = ...,
        proxy_username: str = ...,
        proxy_password_secret: str = ...,
        cookie: str = ...,
        cookie_secret: str = ...,
        force_range: bool = ...,
        sslverify: bool = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["io_uring"],
        filename: str,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["iscsi"],
        transport: Literal["tcp", "iser"],
        portal: str,
        target: str,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        lun: int = ...,
        user: str = ...,
        password_secret: str = ...,
        initiator_name: str = ...,
        header_digest: Literal["crc32c", "none", "crc32c-none", "none-crc32c"] = ...,
        timeout: int = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["luks"],
        file: BlockdevAddBlkdebugImage,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        key_secret: str = ...,
        header: BlockdevAddBlkdebugImage = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["nbd"],
        server: BlockExportAddVhostUserBlkAddr,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        export: str = ...,
        tls_creds: str = ...,
        tls_hostname: str = ...,
        x_dirty_bitmap: str = ...,
        reconnect_delay: int = ...,
        open_timeout: int = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["nfs"],
        server: BlockdevAddNfsServer,
        path: str,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        user: int = ...,
        group: int = ...,
        tcp_syn_count: int = ...,
        readahead_size: int = ...,
        page_cache_size: int = ...,
        debug: int = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["null-aio"],
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        size: int = ...,
        latency_ns: int = ...,
        read_zeroes: bool = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["null-co"],
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        size: int = ...,
        latency_ns: int = ...,
        read_zeroes: bool = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["nvme"],
        device: str,
        namespace: int,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["nvme-io_uring"],
        path: str,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["parallels"],
        file: BlockdevAddBlkdebugImage,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["preallocate"],
        file: BlockdevAddBlkdebugImage,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        prealloc_align: int = ...,
        prealloc_size: int = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["qcow"],
        file: BlockdevAddBlkdebugImage,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        backing: BlockdevAddQcow2Backing = ...,
        encrypt: BlockdevAddQcowEncrypt = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["qcow2"],
        file: BlockdevAddBlkdebugImage,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        backing: BlockdevAddQcow2Backing = ...,
        lazy_refcounts: bool = ...,
        pass_discard_request: bool = ...,
        pass_discard_snapshot: bool = ...,
        pass_discard_other: bool = ...,
        discard_no_unref: bool = ...,
        overlap_check: BlockdevAddQcow2OverlapCheck = ...,
        cache_size: int = ...,
        l2_cache_size: int = ...,
        l2_cache_entry_size: int = ...,
        refcount_cache_size: int = ...,
        cache_clean_interval: int = ...,
        encrypt: BlockdevAddQcow2Encrypt = ...,
        data_file: BlockdevAddBlkdebugImage = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["qed"],
        file: BlockdevAddBlkdebugImage,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        backing: BlockdevAddQcow2Backing = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["quorum"],
        children: list[BlockdevAddBlkdebugImage],
        vote_threshold: int,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        blkverify: bool = ...,
        rewrite_corrupted: bool = ...,
        read_pattern: Literal["quorum", "fifo"] = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["raw"],
        file: BlockdevAddBlkdebugImage,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        offset: int = ...,
        size: int = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["rbd"],
        pool: str,
        image: str,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        namespace: str = ...,
        conf: str = ...,
        snapshot: str = ...,
        encrypt: BlockdevAddRbdEncrypt = ...,
        user: str = ...,
        auth_client_required: list[Literal["cephx", "none"]] = ...,
        key_secret: str = ...,
        server: list[BlockdevAddRbdServer] = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["replication"],
        file: BlockdevAddBlkdebugImage,
        mode: Literal["primary", "secondary"],
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        top_id: str = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["snapshot-access"],
        file: BlockdevAddBlkdebugImage,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["ssh"],
        server: BlockdevAddSshServer,
        path: str,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        user: str = ...,
        host_key_check: BlockdevAddSshHostKeyCheck = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["throttle"],
        throttle_group: str,
        file: BlockdevAddBlkdebugImage,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["vdi"],
        file: BlockdevAddBlkdebugImage,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["vhdx"],
        file: BlockdevAddBlkdebugImage,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["virtio-blk-vfio-pci"],
        path: str,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["virtio-blk-vhost-user"],
        path: str,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["virtio-blk-vhost-vdpa"],
        path: str,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["vmdk"],
        file: BlockdevAddBlkdebugImage,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        backing: BlockdevAddQcow2Backing = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["vpc"],
        file: BlockdevAddBlkdebugImage,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
    ) -> Empty: ...
    @overload
    async def blockdev_add(
        self,
        *,
        driver: Literal["vvfat"],
        dir: str,
        node_name: str = ...,
        discard: Literal["ignore", "unmap"] = ...,
        cache: BlockdevAddCache = ...,
        active: bool = ...,
        read_only: bool = ...,
        auto_read_only: bool = ...,
        force_share: bool = ...,
        detect_zeroes: Literal["off", "on", "unmap"] = ...,
        fat_type: int = ...,
        floppy: bool = ...,
        label: str = ...,
        rw: bool = ...,
    ) -> Empty: ...
    async def blockdev_backup(
        self,
        *,
        device: str,
        sync: Literal["top", "full", "none", "incremental", "bitmap"],
        target: str,
        job_id: str = ...,
        speed: int = ...,
        bitmap: str = ...,
        bitmap_mode: Literal["on-success", "never", "always"] = ...,
        compress: bool = ...,
        on_source_error: Literal["report", "ignore", "enospc", "stop", "auto"] = ...,
        on_target_error: Literal["report", "ignore", "enospc", "stop", "auto"] = ...,
        on_cbw_error: Literal["break-guest-write", "break-snapshot"] = ...,
        auto_finalize: bool = ...,
        auto_dismiss: bool = ...,
        filter_node_name: str = ...,
        discard_source: bool = ...,
        x_perf: BlockdevBackupXPerf = ...,
    ) -> Empty: ...
    async def blockdev_change_medium(
        self,
        *,
        filename: str,
        device: str = ...,
        id: str = ...,
        format: str = ...,
        force: bool = ...,
        read_only_mode: Literal["retain", "read-only", "read-write"] = ...,
    ) -> Empty: ...
    async def blockdev_close_tray(self, *, device: str = ..., id: str = ...) -> Empty: ...
    async def blockdev_create(self, *, job_id: str, options: BlockdevCreateOptions) -> Empty: ...
    async def blockdev_del(self, *, node_name: str) -> Empty: ...
    async def blockdev_insert_medium(self, *, id: str, node_name: str) -> Empty: ...
    async def blockdev_mirror(
        self,
        *,
        device: str,
        target: str,
        sync: Literal["top", "full", "none", "incremental", "bitmap"],
        job_id: str = ...,
        replaces: str = ...,
        speed: int = ...,
        granularity: int = ...,
        buf_size: int = ...,
        on_source_error: Literal["report", "ignore", "enospc", "stop", "auto"] = ...,
        on_target_error: Literal["report", "ignore", "enospc", "stop", "auto"] = ...,
        filter_node_name: str = ...,
        copy_mode: Literal["background", "write-blocking"] = ...,
        auto_finalize: bool = ...,
        auto_dismiss: bool = ...,
        target_is_zero: bool = ...,
    ) -> Empty: ...
    async def blockdev_open_tray(self, *, device: str = ..., id: str = ..., force: bool = ...) -> Empty: ...
    async def blockdev_remove_medium(self, *, id: str) -> Empty: ...
    async def blockdev_reopen(self, *, options: list[BlockdevAdd]) -> Empty: ...
    async def blockdev_set_active(self, *, active: bool, node_name: str = ...) -> Empty: ...
    async def blockdev_snapshot(self, *, node: str, overlay: str) -> Empty: ...
    async def blockdev_snapshot_delete_internal_sync(
        self, *, device: str, id: str = ..., name: str = ...
    ) -> BlockdevSnapshotDeleteInternalSync: ...
    async def blockdev_snapshot_internal_sync(self, *, device: str, name: str) -> Empty: ...
    async def blockdev_snapshot_sync(
        self,
        *,
        snapshot_file: str,
        device: str = ...,
        node_name: str = ...,
        snapshot_node_name: str = ...,
        format: str = ...,
        mode: Literal["existing", "absolute-paths"] = ...,
    ) -> Empty: ...
    async def calc_dirty_rate(
        self,
        *,
        calc_time: int,
        calc_time_unit: Literal["second", "millisecond"] = ...,
        sample_pages: int = ...,
        mode: Literal["page-sampling", "dirty-ring", "dirty-bitmap"] = ...,
    ) -> Empty: ...
    async def cancel_vcpu_dirty_limit(self, *, cpu_index: int = ...) -> Empty: ...
    async def change_backing_file(self, *, device: str, image_node_name: str, backing_file: str) -> Empty: ...
    async def change_vnc_password(self, *, password: str) -> Empty: ...
    async def chardev_add(self, *, id: str, backend: ChardevAddArgumentsBackend) -> ChardevAdd: ...
    async def chardev_change(self, *, id: str, backend: ChardevAddArgumentsBackend) -> ChardevAdd: ...
    async def chardev_remove(self, *, id: str) -> Empty: ...
    async def chardev_send_break(self, *, id: str) -> Empty: ...
    async def client_migrate_info(
        self, *, protocol: str, hostname: str, port: int = ..., tls_port: int = ..., cert_subject: str = ...
    ) -> Empty: ...
    async def closefd(self, *, fdname: str) -> Empty: ...
    async def cont(self) -> Empty: ...
    async def cxl_add_dynamic_capacity(
        self,
        *,
        path: str,
        host_id: int,
        selection_policy: CxlAddDynamicCapacitySelectionPolicy,
        region: int,
        extents: list[CxlAddDynamicCapacityExtents],
        tag: str = ...,
    ) -> Empty: ...
    async def cxl_inject_correctable_error(self, *, path: str, type: CxlInjectCorrectableErrorType) -> Empty: ...
    async def cxl_inject_dram_event(
        self,
        *,
        path: str,
        log: Literal["informational", "warning", "failure", "fatal"],
        flags: int,
        dpa: int,
        descriptor: int,
        type: int,
        transaction_type: int,
        sub_type: int,
        maint_op_class: int = ...,
        maint_op_subclass: int = ...,
        ld_id: int = ...,
        head_id: int = ...,
        channel: int = ...,
        rank: int = ...,
        nibble_mask: int = ...,
        bank_group: int = ...,
        bank: int = ...,
        row: int = ...,
        column: int = ...,
        correction_mask: list[int] = ...,
        component_id: str = ...,
        is_comp_id_pldm: bool = ...,
        sub_channel: int = ...,
        cme_ev_flags: int = ...,
        cvme_count: int = ...,
    ) -> Empty: ...
    async def cxl_inject_general_media_event(
        self,
        *,
        path: str,
        log: Literal["informational", "warning", "failure", "fatal"],
        flags: int,
        dpa: int,
        descriptor: int,
        type: int,
        transaction_type: int,
        sub_type: int,
        maint_op_class: int = ...,
        maint_op_subclass: int = ...,
        ld_id: int = ...,
        head_id: int = ...,
        channel: int = ...,
        rank: int = ...,
        device: int = ...,
        component_id: str = ...,
        is_comp_id_pldm: bool = ...,
        cme_ev_flags: int = ...,
        cme_count: int = ...,
    ) -> Empty: ...
    async def cxl_inject_memory_module_event(
        self,
        *,
        path: str,
        log: Literal["informational", "warning", "failure", "fatal"],
        flags: int,
        type: int,
        health_status: int,
        media_status: int,
        additional_status: int,
        life_used: int,
        temperature: int,
        dirty_shutdown_count: int,
        corrected_volatile_error_count: int,
        corrected_persistent_error_count: int,
        sub_type: int,
        maint_op_class: int = ...,
        maint_op_subclass: int = ...,
        ld_id: int = ...,
        head_id: int = ...,
        component_id: str = ...,
        is_comp_id_pldm: bool = ...,
    ) -> Empty: ...
    async def cxl_inject_poison(self, *, path: str, start: int, length: int) -> Empty: ...
    async def cxl_inject_uncorrectable_errors(
        self, *, path: str, errors: list[CxlInjectUncorrectableErrorsErrors]
    ) -> Empty: ...
    async def cxl_release_dynamic_capacity(
        self,
        *,
        path: str,
        host_id: int,
        removal_policy: Literal["tag-based", "prescriptive"],
        region: int,
        extents: list[CxlAddDynamicCapacityExtents],
        forced_removal: bool = ...,
        sanitize_on_release: bool = ...,
        tag: str = ...,
    ) -> Empty: ...
    async def device_list_properties(self, *, typename: str) -> list[DeviceListProperties]: ...
    async def device_sync_config(self, *, id: str) -> Empty: ...
    async def device_add(self, *, driver: str, **properties: Json) -> Empty: ...
    async def device_del(self, *, id: str) -> Empty: ...
    async def display_reload(self, *, type: Literal["vnc"], tls_certs: bool = ...) -> Empty: ...
    async def display_update(
        self, *, type: Literal["vnc"], addresses: list[BlockExportAddVhostUserBlkAddr] = ...
    ) -> Empty: ...
    # deprecated
    async def drive_backup(
        self,
        *,
        device: str,
        sync: Literal["top", "full", "none", "incremental", "bitmap"],
        target: str,
        job_id: str = ...,
        speed: int = ...,
        bitmap: str = ...,
        bitmap_mode: Literal["on-success", "never", "always"] = ...,
        compress: bool = ...,
        on_source_error: Literal["report", "ignore", "enospc", "stop", "auto"] = ...,
        on_target_error: Literal["report", "ignore", "enospc", "stop", "auto"] = ...,
        on_cbw_error: Literal["break-guest-write", "break-snapshot"] = ...,
        auto_finalize: bool = ...,
        auto_dismiss: bool = ...,
        filter_node_name: str = ...,
        discard_source: bool = ...,
        x_perf: BlockdevBackupXPerf = ...,
        format: str = ...,
        mode: Literal["existing", "absolute-paths"] = ...,
    ) -> Empty: ...
    async def drive_mirror(
        self,
        *,
        device: str,
        target: str,
        sync: Literal["top", "full", "none", "incremental", "bitmap"],
        job_id: str = ...,
        format: str = ...,
        node_name: str = ...,
        replaces: str = ...,
        mode: Literal["existing", "absolute-paths"] = ...,
        speed: int = ...,
        granularity: int = ...,
        buf_size: int = ...,
        on_source_error: Literal["report", "ignore", "enospc", "stop", "auto"] = ...,
        on_target_error: Literal["report", "ignore", "enospc", "stop", "auto"] = ...,
        unmap: bool = ...,
        copy_mode: Literal["background", "write-blocking"] = ...,
        auto_finalize: bool = ...,
        auto_dismiss: bool = ...,
    ) -> Empty: ...
    async def dump_guest_memory(
        self,
        *,
        paging: bool,
        protocol: str,
        detach: bool = ...,
        begin: int = ...,
        length: int = ...,
        format: DumpGuestMemoryFormat = ...,
    ) -> Empty: ...
    async def dump_skeys(self, *, filename: str) -> Empty: ...
    async def dumpdtb(self, *, filename: str) -> Empty: ...
    async def eject(self, *, device: str = ..., id: str = ..., force: bool = ...) -> Empty: ...
    @overload
    async def expire_password(self, *, protocol: Literal["vnc"], time: str, display: str = ...) -> Empty: ...
    @overload
    async def expire_password(self, *, protocol: Literal["spice"], time: str) -> Empty: ...
    async def getfd(self, *, fdname: str) -> Empty: ...
    async def human_monitor_command(self, *, command_line: str, cpu_index: int = ...) -> str: ...
    async def inject_ghes_v2_error(self, *, cper: str) -> Empty: ...
    async def inject_nmi(self) -> Empty: ...
    async def input_send_event(
        self, *, events: list[InputSendEventEvents], device: str = ..., head: int = ...
    ) -> Empty: ...
    async def job_cancel(self, *, id: str) -> Empty: ...
    async def job_complete(self, *, id: str) -> Empty: ...
    async def job_dismiss(self, *, id: str) -> Empty: ...
    async def job_finalize(self, *, id: str) -> Empty: ...
    async def job_pause(self, *, id: str) -> Empty: ...
    async def job_resume(self, *, id: str) -> Empty: ...
    async def memsave(self, *, val: int, size: int, filename: str, cpu_index: int = ...) -> Empty: ...
    async def migrate(self, *, uri: str = ..., channels: list[MigrateChannels] = ..., resume: bool = ...) -> Empty: ...
    async def migrate_continue(self, *, state: MigrateContinueState) -> Empty: ...
    async def migrate_incoming(
        self, *, uri: str = ..., channels: list[MigrateChannels] = ..., exit_on_error: bool = ...
    ) -> Empty: ...
    async def migrate_pause(self) -> Empty: ...
    async def migrate_recover(self, *, uri: str) -> Empty: ...
    async def migrate_set_capabilities(self, *, capabilities: list[QueryMigrateCapabilities]) -> Empty: ...
    async def migrate_set_parameters(
        self,
        *,
        announce_initial: int = ...,
        announce_max: int = ...,
        announce_rounds: int = ...,
        announce_step: int = ...,
        throttle_trigger_threshold: int = ...,
        cpu_throttle_initial: int = ...,
        cpu_throttle_increment: int = ...,
        cpu_throttle_tailslow: bool = ...,
        tls_creds: MigrateSetParametersTlsCreds = ...,
        tls_hostname: MigrateSetParametersTlsCreds = ...,
        tls_authz: MigrateSetParametersTlsCreds = ...,
        max_bandwidth: int = ...,
        avail_switchover_bandwidth: int = ...,
        downtime_limit: int = ...,
        x_checkpoint_delay: int = ...,
        multifd_channels: int = ...,
        xbzrle_cache_size: int = ...,
        max_postcopy_bandwidth: int = ...,
        max_cpu_throttle: int = ...,
        multifd_compression: Literal["none", "zlib", "zstd"] = ...,
        multifd_zlib_level: int = ...,
        multifd_qatzip_level: int = ...,
        multifd_zstd_level: int = ...,
        block_bitmap_mapping: list[MigrateSetParametersBlockBitmapMapping] = ...,
        x_vcpu_dirty_limit_period: int = ...,
        vcpu_dirty_limit: int = ...,
        mode: Literal["normal", "cpr-reboot", "cpr-transfer", "cpr-exec"] = ...,
        zero_page_detection: Literal["none", "legacy", "multifd"] = ...,
        direct_io: bool = ...,
        x_rdma_chunk_size: int = ...,
        cpr_exec_command: list[str] = ...,
    ) -> Empty: ...
    async def migrate_start_postcopy(self) -> Empty: ...
    async def migrate_cancel(self) -> Empty: ...
    # deprecated
    async def nbd_server_add(
        self, *, device: str, name: str = ..., description: str = ..., writable: bool = ..., bitmap: str = ...
    ) -> Empty: ...
    # deprecated
    async def nbd_server_remove(self, *, name: str, mode: Literal["safe", "hard"] = ...) -> Empty: ...
    async def nbd_server_start(
        self,
        *,
        addr: NbdServerStartAddr,
        handshake_max_seconds: int = ...,
        tls_creds: str = ...,
        tls_authz: str = ...,
        max_connections: int = ...,
    ) -> Empty: ...
    async def nbd_server_stop(self) -> Empty: ...
    @overload
    async def netdev_add(self, *, id: str, type: Literal["bridge"], br: str = ..., helper: str = ...) -> Empty: ...
    @overload
    async def netdev_add(
        self,
        *,
        id: str,
        type: Literal["dgram"],
        local: BlockExportAddVhostUserBlkAddr = ...,
        remote: BlockExportAddVhostUserBlkAddr = ...,
    ) -> Empty: ...
    @overload
    async def netdev_add(self, *, id: str, type: Literal["hubport"], hubid: int, netdev: str = ...) -> Empty: ...
    @overload
    async def netdev_add(
        self,
        *,
        id: str,
        type: Literal["l2tpv3"],
        src: str,
        dst: str,
        txsession: int,
        srcport: str = ...,
        dstport: str = ...,
        ipv6: bool = ...,
        udp: bool = ...,
        cookie64: bool = ...,
        counter: bool = ...,
        pincounter: bool = ...,
        txcookie: int = ...,
        rxcookie: int = ...,
        rxsession: int = ...,
        offset: int = ...,
    ) -> Empty: ...
    @overload
    async def netdev_add(self, *, id: str, type: Literal["netmap"], ifname: str, devname: str = ...) -> Empty: ...
    @overload
    async def netdev_add(
        self,
        *,
        id: str,
        type: Literal["nic"],
        netdev: str = ...,
        macaddr: str = ...,
        model: str = ...,
        addr: str = ...,
        vectors: int = ...,
    ) -> Empty: ...
    @overload
    async def netdev_add(
        self,
        *,
        id: str,
        type: Literal["passt"],
        path: str = ...,
        quiet: bool = ...,
        vhost_user: bool = ...,
        mtu: int = ...,
        address: str = ...,
        netmask: str = ...,
        mac: str = ...,
        gateway: str = ...,
        interface: str = ...,
        outbound: str = ...,
        outbound_if4: str = ...,
        outbound_if6: str = ...,
        dns: str = ...,
        search: list[NetdevAddPasstSearch] = ...,
        fqdn: str = ...,
        dhcp_dns: bool = ...,
        dhcp_search: bool = ...,
        map_host_loopback: str = ...,
        map_guest_addr: str = ...,
        dns_forward: str = ...,
        dns_host: str = ...,
        tcp: bool = ...,
        udp: bool = ...,
        icmp: bool = ...,
        dhcp: bool = ...,
        ndp: bool = ...,
        dhcpv6: bool = ...,
        ra: bool = ...,
        freebind: bool = ...,
        ipv4: bool = ...,
        ipv6: bool = ...,
        tcp_ports: list[NetdevAddPasstTcpPorts] = ...,
        udp_ports: list[NetdevAddPasstTcpPorts] = ...,
        param: list[NetdevAddPasstParam] = ...,
    ) -> Empty: ...
    @overload
    async def netdev_add(
        self,
        *,
        id: str,
        type: Literal["socket"],
        fd: str = ...,
        listen: str = ...,
        connect: str = ...,
        mcast: str = ...,
        localaddr: str = ...,
        udp: str = ...,
    ) -> Empty: ...
    @overload
    async def netdev_add(
        self,
        *,
        id: str,
        type: Literal["stream"],
        addr: BlockExportAddVhostUserBlkAddr,
        server: bool = ...,
        reconnect_ms: int = ...,
    ) -> Empty: ...
    @overload
    async def netdev_add(
        self,
        *,
        id: str,
        type: Literal["tap"],
        ifname: str = ...,
        fd: str = ...,
        fds: str = ...,
        script: str = ...,
        downscript: str = ...,
        br: str = ...,
        helper: str = ...,
        sndbuf: int = ...,
        vnet_hdr: bool = ...,
        vhost: bool = ...,
        vhostfd: str = ...,
        vhostfds: str = ...,
        vhostforce: bool = ...,
        queues: int = ...,
        poll_us: int = ...,
    ) -> Empty: ...
    @overload
    async def netdev_add(
        self,
        *,
        id: str,
        type: Literal["user"],
        hostname: str = ...,
        restrict: bool = ...,
        ipv4: bool = ...,
        ipv6: bool = ...,
        ip: str = ...,
        net: str = ...,
        host: str = ...,
        tftp: str = ...,
        bootfile: str = ...,
        dhcpstart: str = ...,
        dns: str = ...,
        dnssearch: list[NetdevAddUserDnssearch] = ...,
        domainname: str = ...,
        ipv6_prefix: str = ...,
        ipv6_prefixlen: int = ...,
        ipv6_host: str = ...,
        ipv6_dns: str = ...,
        smb: str = ...,
        smbserver: str = ...,
        hostfwd: list[NetdevAddUserHostfwd] = ...,
        guestfwd: list[NetdevAddUserGuestfwd] = ...,
        tftp_server_name: str = ...,
    ) -> Empty: ...
    @overload
    async def netdev_add(
        self, *, id: str, type: Literal["vde"], sock: str = ..., port: int = ..., group: str = ..., mode: int = ...
    ) -> Empty: ...
    @overload
    async def netdev_add(
        self, *, id: str, type: Literal["vhost-user"], chardev: str, vhostforce: bool = ..., queues: int = ...
    ) -> Empty: ...
    @overload
    async def netdev_add(
        self,
        *,
        id: str,
        type: Literal["vhost-vdpa"],
        vhostdev: str = ...,
        vhostfd: str = ...,
        queues: int = ...,
        x_svq: bool = ...,
    ) -> Empty: ...
    @overload
    async def netdev_add(self, *, id: str, type: Literal["none"]) -> Empty: ...
    async def netdev_del(self, *, id: str) -> Empty: ...
    @overload
    async def object_add(
        self, *, qom_type: Literal["acpi-generic-initiator"], id: str, pci_dev: str, node: int
    ) -> Empty: ...
    @overload
    async def object_add(
        self, *, qom_type: Literal["acpi-generic-port"], id: str, pci_bus: str, node: int
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["authz-list"],
        id: str,
        policy: Literal["deny", "allow"] = ...,
        rules: list[ObjectAddAuthzListRules] = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self, *, qom_type: Literal["authz-listfile"], id: str, filename: str, refresh: bool = ...
    ) -> Empty: ...
    @overload
    async def object_add(self, *, qom_type: Literal["authz-pam"], id: str, service: str) -> Empty: ...
    @overload
    async def object_add(self, *, qom_type: Literal["authz-simple"], id: str, identity: str) -> Empty: ...
    @overload
    async def object_add(self, *, qom_type: Literal["can-host-socketcan"], id: str, if_: str, canbus: str) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["colo-compare"],
        id: str,
        primary_in: str,
        secondary_in: str,
        outdev: str,
        iothread: str,
        notify_dev: str = ...,
        compare_timeout: int = ...,
        expired_scan_cycle: int = ...,
        max_queue_size: int = ...,
        vnet_hdr_support: bool = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["cryptodev-backend"],
        id: str,
        queues: int = ...,
        throttle_bps: int = ...,
        throttle_ops: int = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["cryptodev-backend-builtin"],
        id: str,
        queues: int = ...,
        throttle_bps: int = ...,
        throttle_ops: int = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["cryptodev-backend-lkcf"],
        id: str,
        queues: int = ...,
        throttle_bps: int = ...,
        throttle_ops: int = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["cryptodev-vhost-user"],
        id: str,
        chardev: str,
        queues: int = ...,
        throttle_bps: int = ...,
        throttle_ops: int = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self, *, qom_type: Literal["dbus-vmstate"], id: str, addr: str, id_list: str = ...
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["filter-buffer"],
        id: str,
        netdev: str,
        interval: int,
        queue: Literal["all", "rx", "tx"] = ...,
        status: str = ...,
        position: str = ...,
        insert: Literal["before", "behind"] = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["filter-dump"],
        id: str,
        netdev: str,
        file: str,
        queue: Literal["all", "rx", "tx"] = ...,
        status: str = ...,
        position: str = ...,
        insert: Literal["before", "behind"] = ...,
        maxlen: int = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["filter-mirror"],
        id: str,
        netdev: str,
        outdev: str,
        queue: Literal["all", "rx", "tx"] = ...,
        status: str = ...,
        position: str = ...,
        insert: Literal["before", "behind"] = ...,
        vnet_hdr_support: bool = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["filter-redirector"],
        id: str,
        netdev: str,
        queue: Literal["all", "rx", "tx"] = ...,
        status: str = ...,
        position: str = ...,
        insert: Literal["before", "behind"] = ...,
        indev: str = ...,
        outdev: str = ...,
        vnet_hdr_support: bool = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["filter-replay"],
        id: str,
        netdev: str,
        queue: Literal["all", "rx", "tx"] = ...,
        status: str = ...,
        position: str = ...,
        insert: Literal["before", "behind"] = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["filter-rewriter"],
        id: str,
        netdev: str,
        queue: Literal["all", "rx", "tx"] = ...,
        status: str = ...,
        position: str = ...,
        insert: Literal["before", "behind"] = ...,
        vnet_hdr_support: bool = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["input-barrier"],
        id: str,
        name: str,
        server: str = ...,
        port: str = ...,
        x_origin: str = ...,
        y_origin: str = ...,
        width: str = ...,
        height: str = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["input-linux"],
        id: str,
        evdev: str,
        grab_all: bool = ...,
        repeat: bool = ...,
        grab_toggle: ObjectAddInputLinuxGrabToggle = ...,
    ) -> Empty: ...
    @overload
    async def object_add(self, *, qom_type: Literal["iommufd"], id: str, fd: str = ...) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["iothread"],
        id: str,
        aio_max_batch: int = ...,
        thread_pool_min: int = ...,
        thread_pool_max: int = ...,
        poll_max_ns: int = ...,
        poll_grow: int = ...,
        poll_shrink: int = ...,
        poll_weight: int = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["main-loop"],
        id: str,
        aio_max_batch: int = ...,
        thread_pool_min: int = ...,
        thread_pool_max: int = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["memory-backend-epc"],
        id: str,
        size: int,
        dump: bool = ...,
        host_nodes: list[int] = ...,
        merge: bool = ...,
        policy: Literal["default", "preferred", "bind", "interleave"] = ...,
        prealloc: bool = ...,
        prealloc_threads: int = ...,
        prealloc_context: str = ...,
        share: bool = ...,
        reserve: bool = ...,
        x_use_canonical_path_for_ramblock_id: bool = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["memory-backend-file"],
        id: str,
        size: int,
        mem_path: str,
        dump: bool = ...,
        host_nodes: list[int] = ...,
        merge: bool = ...,
        policy: Literal["default", "preferred", "bind", "interleave"] = ...,
        prealloc: bool = ...,
        prealloc_threads: int = ...,
        prealloc_context: str = ...,
        share: bool = ...,
        reserve: bool = ...,
        x_use_canonical_path_for_ramblock_id: bool = ...,
        align: int = ...,
        offset: int = ...,
        discard_data: bool = ...,
        pmem: bool = ...,
        readonly: bool = ...,
        rom: Literal["auto", "on", "off"] = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["memory-backend-memfd"],
        id: str,
        size: int,
        dump: bool = ...,
        host_nodes: list[int] = ...,
        merge: bool = ...,
        policy: Literal["default", "preferred", "bind", "interleave"] = ...,
        prealloc: bool = ...,
        prealloc_threads: int = ...,
        prealloc_context: str = ...,
        share: bool = ...,
        reserve: bool = ...,
        x_use_canonical_path_for_ramblock_id: bool = ...,
        hugetlb: bool = ...,
        hugetlbsize: int = ...,
        seal: bool = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["memory-backend-ram"],
        id: str,
        size: int,
        dump: bool = ...,
        host_nodes: list[int] = ...,
        merge: bool = ...,
        policy: Literal["default", "preferred", "bind", "interleave"] = ...,
        prealloc: bool = ...,
        prealloc_threads: int = ...,
        prealloc_context: str = ...,
        share: bool = ...,
        reserve: bool = ...,
        x_use_canonical_path_for_ramblock_id: bool = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["memory-backend-shm"],
        id: str,
        size: int,
        dump: bool = ...,
        host_nodes: list[int] = ...,
        merge: bool = ...,
        policy: Literal["default", "preferred", "bind", "interleave"] = ...,
        prealloc: bool = ...,
        prealloc_threads: int = ...,
        prealloc_context: str = ...,
        share: bool = ...,
        reserve: bool = ...,
        x_use_canonical_path_for_ramblock_id: bool = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self, *, qom_type: Literal["monitor-hmp"], id: str, chardev: str, readline: bool = ...
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["monitor-qmp"],
        id: str,
        chardev: str,
        pretty: bool = ...,
        close_action: Literal["none", "delete"] = ...,
    ) -> Empty: ...
    @overload
    async def object_add(self, *, qom_type: Literal["pr-manager-helper"], id: str, path: str) -> Empty: ...
    @overload
    async def object_add(self, *, qom_type: Literal["qtest"], id: str, chardev: str, log: str = ...) -> Empty: ...
    @overload
    async def object_add(self, *, qom_type: Literal["rng-builtin"], id: str, opened: bool = ...) -> Empty: ...
    @overload
    async def object_add(self, *, qom_type: Literal["rng-egd"], id: str, chardev: str, opened: bool = ...) -> Empty: ...
    @overload
    async def object_add(
        self, *, qom_type: Literal["rng-random"], id: str, opened: bool = ..., filename: str = ...
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["secret"],
        id: str,
        format: Literal["raw", "base64"] = ...,
        keyid: str = ...,
        iv: str = ...,
        data: str = ...,
        file: str = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["secret_keyring"],
        id: str,
        serial: int,
        format: Literal["raw", "base64"] = ...,
        keyid: str = ...,
        iv: str = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["sev-guest"],
        id: str,
        reduced_phys_bits: int,
        sev_device: str = ...,
        cbitpos: int = ...,
        kernel_hashes: bool = ...,
        dh_cert_file: str = ...,
        session_file: str = ...,
        policy: int = ...,
        handle: int = ...,
        legacy_vm_type: Literal["auto", "on", "off"] = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["sev-snp-guest"],
        id: str,
        reduced_phys_bits: int,
        sev_device: str = ...,
        cbitpos: int = ...,
        kernel_hashes: bool = ...,
        policy: int = ...,
        guest_visible_workarounds: str = ...,
        id_block: str = ...,
        id_auth: str = ...,
        author_key_enabled: bool = ...,
        host_data: str = ...,
        vcek_disabled: bool = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["tdx-guest"],
        id: str,
        attributes: int = ...,
        sept_ve_disable: bool = ...,
        mrconfigid: str = ...,
        mrowner: str = ...,
        mrownerconfig: str = ...,
        quote_generation_socket: BlockExportAddVhostUserBlkAddr = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["thread-context"],
        id: str,
        cpu_affinity: list[int] = ...,
        node_affinity: list[int] = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["throttle-group"],
        id: str,
        limits: ObjectAddThrottleGroupLimits = ...,
        x_iops_total: int = ...,
        x_iops_total_max: int = ...,
        x_iops_total_max_length: int = ...,
        x_iops_read: int = ...,
        x_iops_read_max: int = ...,
        x_iops_read_max_length: int = ...,
        x_iops_write: int = ...,
        x_iops_write_max: int = ...,
        x_iops_write_max_length: int = ...,
        x_bps_total: int = ...,
        x_bps_total_max: int = ...,
        x_bps_total_max_length: int = ...,
        x_bps_read: int = ...,
        x_bps_read_max: int = ...,
        x_bps_read_max_length: int = ...,
        x_bps_write: int = ...,
        x_bps_write_max: int = ...,
        x_bps_write_max_length: int = ...,
        x_iops_size: int = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["tls-cipher-suites"],
        id: str,
        verify_peer: bool = ...,
        dir: str = ...,
        endpoint: Literal["client", "server"] = ...,
        priority: str = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["tls-creds-anon"],
        id: str,
        verify_peer: bool = ...,
        dir: str = ...,
        endpoint: Literal["client", "server"] = ...,
        priority: str = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["tls-creds-psk"],
        id: str,
        verify_peer: bool = ...,
        dir: str = ...,
        endpoint: Literal["client", "server"] = ...,
        priority: str = ...,
        username: str = ...,
    ) -> Empty: ...
    @overload
    async def object_add(
        self,
        *,
        qom_type: Literal["tls-creds-x509"],
        id: str,
        verify_peer: bool = ...,
        dir: str = ...,
        endpoint: Literal["client", "server"] = ...,
        priority: str = ...,
        sanity_check: bool = ...,
        passwordid: str = ...,
    ) -> Empty: ...
    @overload
    async def object_add(self, *, qom_type: Literal["x-remote-object"], id: str, fd: str, devid: str) -> Empty: ...
    @overload
    async def object_add(
        self, *, qom_type: Literal["x-vfio-user-server"], id: str, socket: BlockExportAddVhostUserBlkAddr, device: str
    ) -> Empty: ...
    @overload
    async def object_add(self, *, qom_type: Literal["can-bus", "pef-guest", "s390-pv-guest"], id: str) -> Empty: ...
    async def object_del(self, *, id: str) -> Empty: ...
    async def pmemsave(self, *, val: int, size: int, filename: str) -> Empty: ...
    async def qmp_capabilities(self, *, enable: list[Literal["oob"]] = ...) -> Empty: ...
    async def qom_get(self, *, path: str, property: str) -> Json: ...
    async def qom_list(self, *, path: str) -> list[DeviceListProperties]: ...
    async def qom_list_get(self, *, paths: list[str]) -> list[QomListGet]: ...
    async def qom_list_properties(self, *, typename: str) -> list[DeviceListProperties]: ...
    async def qom_list_types(self, *, implements: str = ..., abstract: bool = ...) -> list[QomListTypes]: ...
    async def qom_set(self, *, path: str, property: str, value: Json) -> Empty: ...
    async def query_accelerators(self) -> QueryAccelerators: ...
    async def query_acpi_ospm_status(self) -> list[QueryAcpiOspmStatus]: ...
    async def query_audiodevs(self) -> list[QueryAudiodevs]: ...
    async def query_balloon(self) -> QueryBalloon: ...
    async def query_block(self, *, flat: bool = ...) -> list[QueryBlock]: ...
    async def query_block_exports(self) -> list[QueryBlockExports]: ...
    async def query_block_jobs(self) -> list[QueryBlockJobs]: ...
    async def query_blockstats(self, *, query_nodes: bool = ...) -> list[QueryBlockstats]: ...
    async def query_chardev(self) -> list[QueryChardev]: ...
    async def query_chardev_backends(self) -> list[QueryChardevBackends]: ...
    async def query_colo_status(self) -> QueryColoStatus: ...
    async def query_command_line_options(self, *, option: str = ...) -> list[QueryCommandLineOptions]: ...
    async def query_commands(self) -> list[QueryCommands]: ...
    async def query_cpu_definitions(self) -> list[QueryCpuDefinitions]: ...
    async def query_cpu_model_baseline(
        self, *, modela: QueryCpuModelBaselineModel, modelb: QueryCpuModelBaselineModel
    ) -> QueryCpuModelBaseline: ...
    async def query_cpu_model_comparison(
        self, *, modela: QueryCpuModelBaselineModel, modelb: QueryCpuModelBaselineModel
    ) -> QueryCpuModelComparison: ...
    async def query_cpu_model_expansion(
        self, *, type: Literal["static", "full"], model: QueryCpuModelBaselineModel
    ) -> QueryCpuModelExpansion: ...
    async def query_cpus_fast(self) -> list[QueryCpusFast]: ...
    async def query_cryptodev(self) -> list[QueryCryptodev]: ...
    async def query_current_machine(self) -> QueryCurrentMachine: ...
    async def query_dirty_rate(self, *, calc_time_unit: Literal["second", "millisecond"] = ...) -> QueryDirtyRate: ...
    async def query_display_options(self) -> QueryDisplayOptions: ...
    async def query_dump(self) -> QueryDump: ...
    async def query_dump_guest_memory_capability(self) -> QueryDumpGuestMemoryCapability: ...
    async def query_fdsets(self) -> list[QueryFdsets]: ...
    async def query_firmware_log(self, *, max_size: int = ...) -> QueryFirmwareLog: ...
    async def query_gic_capabilities(self) -> list[QueryGicCapabilities]: ...
    async def query_hotpluggable_cpus(self) -> list[QueryHotpluggableCpus]: ...
    async def query_hv_balloon_status_report(self) -> QueryHvBalloonStatusReport: ...
    async def query_iothreads(self) -> list[QueryIothreads]: ...
    async def query_jobs(self) -> list[QueryJobs]: ...
    # deprecated
    async def query_kvm(self) -> QueryKvm: ...
    async def query_machines(self, *, compat_props: bool = ...) -> list[QueryMachines]: ...
    async def query_memdev(self) -> list[QueryMemdev]: ...
    async def query_memory_devices(self) -> list[QueryMemoryDevices]: ...
    async def query_memory_size_summary(self) -> QueryMemorySizeSummary: ...
    async def query_mice(self) -> list[QueryMice]: ...
    async def query_migrate(self) -> QueryMigrate: ...
    async def query_migrate_capabilities(self) -> list[QueryMigrateCapabilities]: ...
    async def query_migrate_parameters(self) -> MigrateSetParameters: ...
    async def query_name(self) -> QueryName: ...
    async def query_named_block_nodes(self, *, flat: bool = ...) -> list[QueryNamedBlockNodes]: ...
    async def query_pci(self) -> list[QueryPci]: ...
    async def query_pr_managers(self) -> list[QueryPrManagers]: ...
    async def query_qmp_schema(self) -> list[QueryQmpSchema]: ...
    async def query_replay(self) -> QueryReplay: ...
    async def query_rocker(self, *, name: str) -> QueryRocker: ...
    async def query_rocker_of_dpa_flows(self, *, name: str, tbl_id: int = ...) -> list[QueryRockerOfDpaFlows]: ...
    async def query_rocker_of_dpa_groups(self, *, name: str, type: int = ...) -> list[QueryRockerOfDpaGroups]: ...
    async def query_rocker_ports(self, *, name: str) -> list[QueryRockerPorts]: ...
    async def query_rx_filter(self, *, name: str = ...) -> list[QueryRxFilter]: ...
    async def query_s390x_cpu_polarization(self) -> QueryS390xCpuPolarization: ...
    async def query_sev(self) -> QuerySev: ...
    async def query_sev_attestation_report(self, *, mnonce: str) -> QuerySevAttestationReport: ...
    async def query_sev_capabilities(self) -> QuerySevCapabilities: ...
    async def query_sev_launch_measure(self) -> QuerySevLaunchMeasure: ...
    async def query_sgx(self) -> QuerySgx: ...
    async def query_sgx_capabilities(self) -> QuerySgx: ...
    async def query_spice(self) -> QuerySpice: ...
    @overload
    async def query_stats(
        self, *, target: Literal["vcpu"], providers: list[QueryStatsArgumentsProviders] = ..., vcpus: list[str] = ...
    ) -> list[QueryStats]: ...
    @overload
    async def query_stats(
        self, *, target: Literal["cryptodev", "vm"], providers: list[QueryStatsArgumentsProviders] = ...
    ) -> list[QueryStats]: ...
    async def query_stats_schemas(self, *, provider: Literal["kvm", "cryptodev"] = ...) -> list[QueryStatsSchemas]: ...
    async def query_status(self) -> QueryStatus: ...
    async def query_target(self) -> QueryTarget: ...
    async def query_tpm(self) -> list[QueryTpm]: ...
    async def query_tpm_models(self) -> list[Literal["tpm-tis", "tpm-crb", "tpm-spapr"]]: ...
    async def query_tpm_types(self) -> list[Literal["passthrough", "emulator"]]: ...
    async def query_uuid(self) -> QueryUuid: ...
    async def query_vcpu_dirty_limit(self) -> list[QueryVcpuDirtyLimit]: ...
    async def query_version(self) -> QueryVersion: ...
    async def query_vm_generation_id(self) -> QueryVmGenerationId: ...
    async def query_vnc(self) -> QueryVnc: ...
    async def query_vnc_servers(self) -> list[QueryVncServers]: ...
    async def query_xen_replication_status(self) -> QueryXenReplicationStatus: ...
    async def query_yank(self) -> list[QueryYank]: ...
    async def quit(self) -> Empty: ...
    async def remove_fd(self, *, fdset_id: int, fd: int = ...) -> Empty: ...
    async def replay_break(self, *, icount: int) -> Empty: ...
    async def replay_delete_break(self) -> Empty: ...
    async def replay_seek(self, *, icount: int) -> Empty: ...
    async def request_ebpf(self, *, id: Literal["rss"]) -> RequestEbpf: ...
    async def ringbuf_read(self, *, device: str, size: int, format: Literal["utf8", "base64"] = ...) -> str: ...
    async def ringbuf_write(self, *, device: str, data: str, format: Literal["utf8", "base64"] = ...) -> Empty: ...
    async def rtc_reset_reinjection(self) -> Empty: ...
    async def screendump(
        self, *, filename: str, device: str = ..., head: int = ..., format: Literal["ppm", "png"] = ...
    ) -> Empty: ...
    async def send_key(self, *, keys: list[SendKeyKeys], hold_time: int = ...) -> Empty: ...
    async def set_action(
        self,
        *,
        reboot: Literal["reset", "shutdown"] = ...,
        shutdown: Literal["poweroff", "pause"] = ...,
        panic: Literal["pause", "shutdown", "exit-failure", "none"] = ...,
        watchdog: SetActionWatchdog = ...,
    ) -> Empty: ...
    async def set_cpu_topology(
        self,
        *,
        core_id: int,
        socket_id: int = ...,
        book_id: int = ...,
        drawer_id: int = ...,
        entitlement: Literal["auto", "low", "medium", "high"] = ...,
        dedicated: bool = ...,
    ) -> Empty: ...
    @overload
    async def set_numa_node(
        self,
        *,
        type: Literal["cpu"],
        node_id: int = ...,
        drawer_id: int = ...,
        book_id: int = ...,
        socket_id: int = ...,
        die_id: int = ...,
        cluster_id: int = ...,
        module_id: int = ...,
        core_id: int = ...,
        thread_id: int = ...,
    ) -> Empty: ...
    @overload
    async def set_numa_node(self, *, type: Literal["dist"], src: int, dst: int, val: int) -> Empty: ...
    @overload
    async def set_numa_node(
        self,
        *,
        type: Literal["hmat-cache"],
        node_id: int,
        size: int,
        level: int,
        associativity: Literal["none", "direct", "complex"],
        policy: Literal["none", "write-back", "write-through"],
        line: int,
    ) -> Empty: ...
    @overload
    async def set_numa_node(
        self,
        *,
        type: Literal["hmat-lb"],
        initiator: int,
        target: int,
        hierarchy: SetNumaNodeHmatLbHierarchy,
        data_type: SetNumaNodeHmatLbDataType,
        latency: int = ...,
        bandwidth: int = ...,
    ) -> Empty: ...
    @overload
    async def set_numa_node(
        self,
        *,
        type: Literal["node"],
        nodeid: int = ...,
        cpus: list[int] = ...,
        mem: int = ...,
        memdev: str = ...,
        initiator: int = ...,
    ) -> Empty: ...
    async def set_vcpu_dirty_limit(self, *, dirty_rate: int, cpu_index: int = ...) -> Empty: ...
    async def set_link(self, *, name: str, up: bool) -> Empty: ...
    @overload
    async def set_password(
        self,
        *,
        protocol: Literal["vnc"],
        password: str,
        connected: Literal["keep", "fail", "disconnect"] = ...,
        display: str = ...,
    ) -> Empty: ...
    @overload
    async def set_password(
        self, *, protocol: Literal["spice"], password: str, connected: Literal["keep", "fail", "disconnect"] = ...
    ) -> Empty: ...
    async def sev_inject_launch_secret(self, *, packet_header: str, secret: str, gpa: int = ...) -> Empty: ...
    async def snapshot_delete(self, *, job_id: str, tag: str, devices: list[str]) -> Empty: ...
    async def snapshot_load(self, *, job_id: str, tag: str, vmstate: str, devices: list[str]) -> Empty: ...
    async def snapshot_save(self, *, job_id: str, tag: str, vmstate: str, devices: list[str]) -> Empty: ...
    async def stop(self) -> Empty: ...
    async def system_powerdown(self) -> Empty: ...
    async def system_reset(self) -> Empty: ...
    async def system_wakeup(self) -> Empty: ...
    async def trace_event_get_state(self, *, name: str) -> list[TraceEventGetState]: ...
    async def trace_event_set_state(self, *, name: str, enable: bool, ignore_unavailable: bool = ...) -> Empty: ...
    async def transaction(
        self, *, actions: list[TransactionActions], properties: TransactionProperties = ...
    ) -> Empty: ...
    async def watchdog_set_action(self, *, action: SetActionWatchdog) -> Empty: ...
    async def x_accel_stats(self) -> XAccelStats: ...
    async def x_blockdev_amend(
        self, *, job_id: str, node_name: str, options: XBlockdevAmendOptions, force: bool = ...
    ) -> Empty: ...
    async def x_blockdev_change(self, *, parent: str, child: str = ..., node: str = ...) -> Empty: ...
    async def x_blockdev_set_iothread(
        self, *, node_name: str, iothread: MigrateSetParametersTlsCreds, force: bool = ...
    ) -> Empty: ...
    async def x_colo_lost_heartbeat(self) -> Empty: ...
    async def x_debug_block_dirty_bitmap_sha256(self, *, node: str, name: str) -> XDebugBlockDirtyBitmapSha256: ...
    async def x_debug_query_block_graph(self) -> XDebugQueryBlockGraph: ...
    async def x_exit_preconfig(self) -> Empty: ...
    async def x_query_interrupt_controllers(self) -> XAccelStats: ...
    async def x_query_irq(self) -> XAccelStats: ...
    async def x_query_jit(self) -> XAccelStats: ...
    async def x_query_numa(self) -> XAccelStats: ...
    async def x_query_ramblock(self) -> XAccelStats: ...
    async def x_query_roms(self) -> XAccelStats: ...
    async def x_query_usb(self) -> XAccelStats: ...
    async def x_query_virtio(self) -> list[XQueryVirtio]: ...
    async def x_query_virtio_queue_element(
        self, *, path: str, queue: int, index: int = ...
    ) -> XQueryVirtioQueueElement: ...
    async def x_query_virtio_queue_status(self, *, path: str, queue: int) -> XQueryVirtioQueueStatus: ...
    async def x_query_virtio_status(self, *, path: str) -> XQueryVirtioStatus: ...
    async def x_query_virtio_vhost_queue_status(self, *, path: str, queue: int) -> XQueryVirtioVhostQueueStatus: ...
    async def xen_colo_do_checkpoint(self) -> Empty: ...
    async def xen_event_inject(self, *, port: int) -> Empty: ...
    async def xen_event_list(self) -> list[XenEventList]: ...
    async def xen_load_devices_state(self, *, filename: str) -> Empty: ...
    async def xen_save_devices_state(self, *, filename: str, live: bool = ...) -> Empty: ...
    async def xen_set_global_dirty_log(self, *, enable: bool) -> Empty: ...
    async def xen_set_replication(self, *, enable: bool, primary: bool, failover: bool = ...) -> Empty: ...
    async def yank(self, *, instances: list[QueryYank]) -> Empty: ...

# SHA-256 of the lines above: 284f9a0858c023b6a0161e4d9ebbe9093deb7fe953437a2860a24d9bf8ab62c5
