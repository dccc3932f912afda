"""Whether the owner of a lease has ended: certain on this kernel and in this PID namespace only."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.senders import IN_A_NAMESPACE, has_namespaces
from triage.app import lease_owner
from triage.app.lease_owner import is_gone, name_this_process

NAME_IT = "from triage.app.lease_owner import name_this_process as it; print(it())"


def run(code: str, *before: str) -> str:
    """Return what a new process prints."""
    command = [*before, sys.executable, "-c", code]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    return done.stdout.strip()


needs_namespaces = pytest.mark.skipif(not has_namespaces(), reason="needs PID namespaces")
needs_proc = pytest.mark.skipif(not Path("/proc/self/ns/pid").exists(), reason="needs /proc")


def changed(owner: str, **parts: str) -> str:
    """Return an owner's name with other parts."""
    names = ("host", "pid", "random", "place", "start")
    return "/".join((dict(zip(names, owner.split("/"), strict=True)) | parts).values())


def test_a_name_fits_its_column_and_is_new_each_time() -> None:
    assert name_this_process() != name_this_process()
    longest = changed(name_this_process(), host="h" * 60, pid="4194304", start="9" * 14)
    assert len(longest) <= 120


def test_this_process_is_alive() -> None:
    assert not is_gone(name_this_process())


@needs_proc
def test_a_process_of_this_machine_that_has_ended_is_gone() -> None:
    assert is_gone(run(NAME_IT))


@needs_proc
def test_a_process_id_that_was_given_to_another_process_is_gone() -> None:
    assert is_gone(changed(name_this_process(), start="1"))


@needs_proc
def test_the_host_name_says_nothing() -> None:
    ended = run(NAME_IT)
    assert is_gone(changed(ended, host="renamed"))
    assert not is_gone(changed(ended, place="0" * 16))


def test_a_process_of_another_boot_may_be_alive() -> None:
    other = changed(name_this_process(), place="0" * 16, pid="4194303")
    assert other.startswith(socket.gethostname()[:60])
    assert not is_gone(other)


@pytest.mark.parametrize(
    "owner",
    [
        "",
        "one",
        "host/4194303/0f0f0f0f",  # as earlier versions wrote it
        "host/4194303/0f0f0f0f//",
        "host/-1/0f0f0f0f/0000/1",
        "host/99999999999999999999999/0f0f0f0f/0000/1",
        "a/b/c/d/e/f/g",
    ],
)
def test_of_any_other_name_nothing_is_certain(owner: str) -> None:
    assert not is_gone(owner)


def test_without_proc_only_the_lease_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ended = run(NAME_IT)
    monkeypatch.setattr(lease_owner, "_PROC", tmp_path)
    assert not is_gone(ended)
    assert not is_gone(changed(name_this_process(), pid="4194303"))


@needs_proc
def test_where_others_are_hidden_a_living_process_is_not_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the mount option hidepid, /proc shows no process of another account."""
    parents = changed(name_this_process(), pid=str(os.getppid()), start="7")
    read = lease_owner._read_start
    hidden = os.getppid()
    monkeypatch.setattr(lease_owner, "_read_start", lambda pid: "" if pid == hidden else read(pid))
    assert not is_gone(parents)


@needs_namespaces
def test_a_process_of_another_namespace_with_this_host_name_and_id_is_never_gone() -> None:
    inside = run(NAME_IT, *IN_A_NAMESPACE)
    assert inside.split("/")[:2] == [socket.gethostname()[:60], "1"]
    assert inside.split("/")[3] not in ("", name_this_process().split("/")[3])
    assert not is_gone(changed(inside, pid="4194303"))
    ask = f"from triage.app.lease_owner import is_gone; print(is_gone({run(NAME_IT)!r}))"
    assert run(ask, *IN_A_NAMESPACE) == "False"


@needs_namespaces
def test_with_the_proc_of_another_namespace_only_the_lease_counts() -> None:
    inside = run(NAME_IT, *IN_A_NAMESPACE[:-1])
    assert inside.split("/")[1] == "1"
    assert inside.split("/")[3] == ""
