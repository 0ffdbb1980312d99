"""A SIM card for SIPp, whose own never finds a sequence number stale: SIPp asks it over its twin socket (`-3pcc`)."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from redoubt.aka.isim import Isim, SyncFailure
from redoubt.aka.milenage import Milenage
from redoubt.aka.nonce import AkaNonce, encode_auts
from redoubt.aka.sequence import SequenceArray
from redoubt.secret import Secret

from .serve import OP, K

END = b"\x1b"  # of a command on a twin socket


@contextmanager
def card_at(sqn: int) -> Iterator[int]:
    """The port of a card for which everything up to `sqn` is used; it serves one SIPp."""
    card = Isim(Milenage.with_op(Secret(K), Secret(OP)), SequenceArray.at(sqn))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        thread = threading.Thread(target=_serve, args=(listener, card), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(30)


def _serve(listener: socket.socket, card: Isim) -> None:
    twin, _ = listener.accept()
    buffered = b""
    with twin:
        while data := twin.recv(4096):
            buffered += data
            while END in buffered:
                command, _, buffered = buffered.partition(END)
                twin.sendall(_answer(command.decode(), card).encode() + END)


def _answer(command: str, card: Isim) -> str:
    """What the card says to the challenge in a command, under the Call-ID by which SIPp knows it."""
    asked = dict(re.findall(r"^(\S+): (\S+)", command, re.MULTILINE))
    nonce = AkaNonce.parse(asked["nonce"])
    said = card.authenticate(nonce.rand, nonce.autn)
    verdict = f"auts: {encode_auts(said.auts)}" if isinstance(said, SyncFailure) else f"says: {type(said).__name__}"
    return f"Call-ID: {asked['Call-ID']}\r\n{verdict}\r\n\r\n"
