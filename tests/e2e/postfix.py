"""A Postfix of the tests' own: everything that it reads and writes lies in a temporary folder.

It listens on one port of loopback, takes mail only over TLS from who logs in, and delivers the
domains `example.org` and, for what comes back, `papers.example.org` into Maildirs. All it can reach
is its own second port, where it is the server of `away.example`, which knows nobody: what is
forwarded there comes back. It is started by root, as every Postfix is, and stops when the tests
end, even if they were killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from pwd import getpwnam
from types import MappingProxyType
from typing import NoReturn

import pytest

from tests.support.mail_servers import CERTIFICATE

USER, PASSWORD = "triage", "correct horse"
PATIENCE_S = 60
MEMORY = Path("/dev/shm")  # noqa: S108 - a new folder is made in it
NOBODY: Mapping[str, str] = MappingProxyType({})
MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
myhostname = mail.example.org
mydestination =
mynetworks =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
alias_maps =
alias_database =
default_transport = error:the tests send nothing to other machines
relay_domains = away.example
relay_recipient_maps = texthash:{folder}/etc/nobody
relay_transport = smtp:[127.0.0.1]:{port_away}

recipient_delimiter = +
virtual_mailbox_domains = example.org papers.example.org
virtual_alias_maps = texthash:{folder}/etc/forwarded
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = texthash:{folder}/etc/mailboxes
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}

smtpd_tls_security_level = encrypt
smtpd_tls_cert_file = {certificate}
smtpd_tls_received_header = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_local_domain = example.org
smtpd_sasl_authenticated_header = yes
cyrus_sasl_config_path = {folder}/etc/sasl
smtpd_relay_restrictions = permit_sasl_authenticated, reject
"""
MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
127.0.0.1:{port_away} inet n - n - - smtpd
 -o myhostname=mx.away.example -o smtpd_tls_security_level=none -o smtpd_sasl_auth_enable=no
 -o smtpd_relay_restrictions=reject_unauth_destination
anvil     unix  -       -       n       -       1       anvil
bounce    unix  -       -       n       -       0       bounce
cleanup   unix  n       -       n       -       0       cleanup
defer     unix  -       -       n       -       0       bounce
error     unix  -       -       n       -       -       error
postlog   unix-dgram n  -       n       -       1       postlogd
proxymap  unix  -       -       n       -       -       proxymap
qmgr      unix  n       -       n       300     1       qmgr
retry     unix  -       -       n       -       -       error
rewrite   unix  -       -       n       -       -       trivial-rewrite
smtp      unix  -       -       n       -       -       smtp
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
trace     unix  -       -       n       -       0       bounce
virtual   unix  -       n       n       -       -       virtual
"""
SASL = """\
pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: {folder}/accounts
mech_list: PLAIN LOGIN
"""
# Its end of the pipe closes once the process of the tests is gone.
KEEPER = 'read -r _; "$0" -c "$1/etc" stop; rm -rf "$1"'


@dataclass(frozen=True)
class Postfix:
    """A running mail server."""

    folder: Path
    port: int

    def delivered(self, address: str) -> list[bytes]:
        """Return the mails in the Maildir of an address, once nothing is on its way any more."""
        deadline = time.monotonic() + PATIENCE_S
        while self._queued():
            if time.monotonic() > deadline:
                pytest.fail(f"Postfix does not deliver:\n{self.log()}", pytrace=False)
            time.sleep(0.02)
        return self.mails(address)

    def mails(self, address: str) -> list[bytes]:
        """Return the unread mails in the Maildir of an address, as it is now."""
        return [path.read_bytes() for path in sorted(self.folder.glob(f"mail/{address}/new/*"))]

    def empty(self) -> None:
        """Remove every delivered mail."""
        for maildir in self.folder.glob("mail/*"):
            shutil.rmtree(maildir)

    def configure(self, *settings: str) -> None:
        """Change settings of `main.cf`, and wait until nothing works by the old ones."""
        etc = self.folder / "etc"
        if settings:
            subprocess.run(["postconf", "-c", etc, "-e", *settings], check=True)
        # Postfix waits until a file that it reads is some seconds old, lest it be half written.
        an_hour_ago = time.time() - 3600
        os.utime(etc / "main.cf", (an_hour_ago, an_hour_ago))
        master = int((self.folder / "queue/pid/master.pid").read_text())
        old = _children(master)
        os.kill(master, signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE_S
        while old & _children(master):
            if time.monotonic() > deadline:
                pytest.fail(f"Postfix takes no settings:\n{self.log()}", pytrace=False)
            time.sleep(0.01)

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def _queued(self) -> bool:
        # In the order that a mail goes through them, so that none can slip past.
        steps = ("incoming", "active", "deferred")
        return any(
            path.is_file() for step in steps for path in (self.folder / "queue" / step).rglob("*")
        )


@contextmanager
def postfix(mailboxes: list[str], forwarded: Mapping[str, str] = NOBODY) -> Iterator[Postfix]:
    """Run a Postfix that knows these addresses; skip or fail the test where there is none.

    Args:
        forwarded: addresses whose mail goes on to another one.
    """
    program, saslpasswd = _program("postfix", "postfix"), _program("saslpasswd2", "sasl2-bin")
    if os.geteuid() != 0:
        _missing("only root can start Postfix", "run the tests as root")
    # Not in pytest's folder, which only root may enter: Postfix drops its rights. In memory where
    # there is such a place: that Postfix waits for its disk shows nothing of ours.
    place = MEMORY if MEMORY.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="triage-postfix-", dir=place))
    keeper = subprocess.Popen(
        ["sh", "-c", KEEPER, program, folder],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # Ctrl-C is for the tests; the server ends after them.
        start_new_session=True,
    )
    try:
        server = Postfix(folder, _free_port())
        _write(server, mailboxes, forwarded, saslpasswd)
        # Its output may be no pipe, for the daemons would keep that open.
        with (folder / "start").open("wb") as output:
            start = [program, "-c", str(folder / "etc"), "start"]
            failed = subprocess.run(start, stdout=output, stderr=output).returncode
        if failed:
            said = (folder / "start").read_text() + server.log()
            pytest.fail(f"Postfix does not start:\n{said}", pytrace=False)
        yield server
    finally:
        keeper.communicate()


def _write(
    server: Postfix, mailboxes: list[str], forwarded: Mapping[str, str], saslpasswd: str
) -> None:
    folder = server.folder
    own, nobody = getpwnam("postfix"), getpwnam("nobody")
    folder.chmod(0o755)
    for name in ("etc", "etc/sasl", "queue", "data", "mail"):
        (folder / name).mkdir(mode=0o755)
    os.chown(folder / "data", own.pw_uid, own.pw_gid)
    os.chown(folder / "mail", nobody.pw_uid, nobody.pw_gid)
    values = {
        "folder": folder,
        "certificate": CERTIFICATE,
        "port": server.port,
        "port_away": _free_port(),
        "uid": nobody.pw_uid,
        "gid": nobody.pw_gid,
    }
    maildirs = "".join(f"{address} {address}/\n" for address in mailboxes)
    for name, content in {
        "main.cf": MAIN.format(**values),
        "master.cf": MASTER.format(**values),
        # Debian looks here, whatever main.cf says.
        "sasl/smtpd.conf": SASL.format(**values),
        "mailboxes": maildirs,
        "forwarded": "".join(f"{here} {there}\n" for here, there in forwarded.items()),
        "nobody": "",
    }.items():
        (folder / "etc" / name).write_text(content, "utf-8")
    accounts = folder / "accounts"
    subprocess.run(
        [saslpasswd, "-p", "-c", "-f", str(accounts), "-u", "example.org", USER],
        input=PASSWORD.encode(),
        check=True,
    )
    os.chown(accounts, own.pw_uid, own.pw_gid)


def _children(master: int) -> set[int]:
    """Return the processes that talk to clients, or count them."""
    found = set()
    for child in Path(f"/proc/{master}/task/{master}/children").read_text().split():
        # One may end between the list and the look.
        with suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{child}/comm").read_text().strip() in {"smtpd", "anvil"}:
                found.add(int(child))
    return found


def _free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def _program(name: str, package: str) -> str:
    # Debian keeps such programs where only root looks for them.
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=path)
    return found or _missing(f"Debian's package {package} is not installed", "run `make servers`")


def _missing(reason: str, remedy: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"{reason}: {remedy}", pytrace=False)
    pytest.skip(f"{reason}: {remedy}")
