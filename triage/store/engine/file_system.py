"""Detects network file systems."""

from __future__ import annotations

from pathlib import Path

_MOUNTS = Path("/proc/mounts")
# Includes folders that a virtual machine shares with its host: locks do not work there.
_NETWORK_FILE_SYSTEMS = frozenset(
    "9p afs ceph cifs fuse.glusterfs fuse.sshfs lustre ncpfs nfs nfs4 smb3 smbfs virtiofs".split()
)


def network_file_system(folder: Path) -> str:
    """Return the kind of network file system of a folder; "" for a disk or without /proc/mounts."""
    try:
        mounts = _MOUNTS.read_text("utf-8", "replace")
    except OSError:
        return ""
    kind = file_system(folder.resolve(), mounts)
    return kind if kind in _NETWORK_FILE_SYSTEMS else ""


def file_system(path: Path, mounts: str) -> str:
    """Return the kind of file system of a path, as named in /proc/mounts."""
    found, kind = Path("/"), ""
    for line in mounts.splitlines():
        _, place, this, *_ = [*line.split(), "", "", ""]
        place = place.replace(r"\040", " ")
        if place and path.is_relative_to(place) and len(Path(place).parts) >= len(found.parts):
            found, kind = Path(place), this
    return kind
