"""Names this process in leases, and tells whether the process of such a name has ended.

Several containers may have one host name and the same process ids. So a process id says something
only where it was given: under the same boot of the kernel and in the same PID namespace. Without
/proc, as on macOS, no process is known to have ended, and the lease alone decides.
"""

from __future__ import annotations

import os
import secrets
import socket
from hashlib import sha256
from pathlib import Path

_PROC = Path("/proc")


def name_this_process() -> str:
    """Return a new unique name: host, process id, a random part, and where that id is valid."""
    host, pid = socket.gethostname()[:60], os.getpid()
    return f"{host}/{pid}/{secrets.token_hex(4)}/{_read_place()}/{_read_start(pid)}"


def is_gone(owner: str) -> bool:
    """Return whether the owner of a lease is a process that certainly has ended.

    Args:
        owner: as `name_this_process` gives it; of any other name nothing is certain.
    """
    _, pid, _, place, start = [*owner.split("/"), *[""] * 5][:5]
    if not pid.isdigit() or not place or place != _read_place():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):  # of another account, or no process id
        return False
    # The id may have been given to another process. Some systems hide the processes of others.
    return start != "" and _read_start(int(pid)) not in ("", start)


def _read_place() -> str:
    """Return what names the kernel's boot and our namespaces; "" if that is not known."""
    try:
        if (_PROC / "self").readlink().name != str(os.getpid()):
            # This /proc shows the processes of another namespace.
            return ""
        boot = (_PROC / "sys/kernel/random/boot_id").read_text()
        # Start times are counted in a time namespace, which older kernels do not have.
        pids, times = _PROC / "self/ns/pid", _PROC / "self/ns/time"
        place = f"{boot} {pids.readlink()} {times.readlink() if times.is_symlink() else ''}"
    except OSError:
        return ""
    return sha256(place.encode()).hexdigest()[:16]


def _read_start(pid: int) -> str:
    """Return when a process started, in clock ticks since the boot; "" if that is not known."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return ""
    # The name of the program, in brackets, may contain anything. Field 22 follows (proc(5)).
    return stat.rpartition(")")[2].split()[19]
