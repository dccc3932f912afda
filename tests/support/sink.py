"""A mail server in a process of its own that writes down what it takes before it says so.

    python -m tests.support.sink '{"ledger": "/path", "answer_s": 0.01}'

It prints its port and serves until its standard input ends. Each line of the ledger is one message
for which 250 is about to be said: Message-ID, recipient, Date, SHA-256 and when; it is on the disk
first. What it can be told:

    mails        folder in which each message lies then, in a file named by its SHA-256
    largest      bytes of the largest message that it takes
    answer_s     seconds between the ledger and 250
    domains      {domain: {phase: [answer, …]}} said instead of all is well, and used up; phases are
                 rcpt, data and end, and an answer may also be DROP, or for `end` TAKE_AND_DROP
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from contextlib import suppress
from email.parser import BytesHeaderParser
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

DROP, TAKE_AND_DROP = "DROP", "TAKE_AND_DROP"


class Sink:
    def __init__(self, told: dict[str, Any], ledger: BinaryIO) -> None:
        self._mails = told.get("mails")
        self._largest = int(told.get("largest", 2**24))
        self._answer_s = float(told.get("answer_s", 0))
        self._domains: dict[str, dict[str, list[str]]] = told.get("domains", {})
        self._ledger = ledger

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await self._session(reader, writer)
        writer.close()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink\r\n")
        recipient = ""
        while line := await reader.readline():
            verb = line[:4].strip().lower().decode("latin-1")
            answer = "250 fine"
            if verb == "rcpt":
                recipient = line.decode("latin-1").partition("<")[2].partition(">")[0]
                answer = self._told(recipient, "rcpt", answer)
            elif verb == "data":
                answer = self._told(recipient, "data", "354 go on")
            elif verb == "quit":
                answer = "221 bye"
            if answer == DROP:
                return
            writer.write(f"{answer}\r\n".encode())
            await writer.drain()
            if verb == "quit":
                return
            if answer.startswith("354"):
                content = await reader.readuntil(b"\r\n.\r\n")
                too_large = len(content) > self._largest
                usual = "552 5.3.4 too large" if too_large else "250 taken"
                answer = self._told(recipient, "end", usual)
                if answer == DROP:
                    return
                if answer.startswith("250") or answer == TAKE_AND_DROP:
                    self._write_down(content[:-3], recipient)
                    await asyncio.sleep(self._answer_s)
                if answer == TAKE_AND_DROP:
                    return
                writer.write(f"{answer}\r\n".encode())
                await writer.drain()

    def _told(self, recipient: str, phase: str, usual: str) -> str:
        answers = self._domains.get(recipient.rpartition("@")[2], {}).get(phase, [])
        return answers.pop(0) if answers else usual

    def _write_down(self, stuffed: bytes, recipient: str) -> None:
        content = stuffed.replace(b"\r\n..", b"\r\n.")
        headers = BytesHeaderParser().parsebytes(content.partition(b"\r\n\r\n")[0])
        row = {
            "id": headers["Message-ID"],
            "rcpt": recipient,
            "date": headers["Date"],
            "sha256": sha256(content).hexdigest(),
            "at": time.time(),
        }
        if self._mails:
            (Path(self._mails) / row["sha256"]).write_bytes(content)
        self._ledger.write(json.dumps(row).encode() + b"\n")
        self._ledger.flush()
        os.fsync(self._ledger.fileno())


async def _main(told: dict[str, Any]) -> None:
    with Path(told["ledger"]).open("ab") as ledger:
        sink = Sink(told, ledger)
        server = await asyncio.start_server(
            sink.serve, "127.0.0.1", int(told.get("port", 0)), limit=2**26
        )
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        server.close()
        # Sessions that are still open end with this process.
        os._exit(0)


if __name__ == "__main__":
    asyncio.run(_main(json.loads(sys.argv[1])))
