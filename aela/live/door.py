"""Who may come in: whoever is on this machine, or has the token that the printed link holds."""

import hmac
import secrets
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "localhost", "::1")
COOKIE = "aela"
PORTS = {"http": 80, "https": 443}  # which browsers leave out


@dataclass(frozen=True)
class Door:
    """Where the server listens and whom it answers.

    Attributes:
        address: what people open, such as `https://aela.example`, where a reverse proxy stands
            before the server; None where they come straight to it.
        token: what everybody must bring; None where only this machine can reach the server.
    """

    host: str
    port: int
    address: str | None = None
    token: str | None = None

    @classmethod
    def at(cls, host: str, port: int, address: str | None = None) -> "Door":
        """With a new token, unless only this machine can reach it.

        Raises:
            ValueError: `address` is no address of a page.
        """
        if address is not None:
            address = _as_browsers_say(address)
        alone = host in LOOPBACK and address is None
        return cls(host, port, address, None if alone else secrets.token_urlsafe(24))

    @property
    def link(self) -> str:
        """What to open in a browser."""
        everywhere = self.host in ("0.0.0.0", "::")
        name = socket.gethostname() if everywhere else self.host
        shown = f"[{name}]" if ":" in name else name
        start = self.address or f"http://{shown}:{self.port}"
        return f"{start}/?token={self.token}" if self.token else f"{start}/"

    def opens_to(self, token: str | None) -> bool:
        """Whether a token is the right one, if one is needed."""
        return self.token is None or hmac.compare_digest(
            (token or "").encode(errors="replace"), self.token.encode()
        )

    def is_called(self, host: str) -> bool:
        """Whether a request names this server, by its `Host`.

        Without a token, a name that somebody else pointed at this machine would let their page in.
        """
        if self.token is not None:
            return True
        return _parts(f"//{host}") in [(name, self.port) for name in LOOPBACK]

    def is_own(self, origin: str, host: str) -> bool:
        """Whether the page that opens a socket is the server's own, by `Origin` and `Host`."""
        if self.address is not None and origin == self.address:
            return True
        return self.is_called(host) and bool(host) and origin == f"http://{host}"


def _as_browsers_say(address: str) -> str:
    """The `Origin` of pages that lie there.

    Raises:
        ValueError: it is no address of a page.
    """
    try:
        parts = urlsplit(address)
        name, port = (parts.hostname or "").encode("idna").decode(), parts.port
        if not name or parts.username is not None or parts.path.strip("/"):
            raise ValueError
        usual = PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise ValueError(
            f"{address!r} is no address of a server; write it like https://aela.example."
        ) from None
    shown = f"[{name}]" if ":" in name else name
    return f"{parts.scheme}://{shown}" + ("" if port in (None, usual) else f":{port}")


def _parts(address: str) -> tuple[str | None, int | None]:
    """Name and port of an address; nothing of what is none."""
    try:
        parts = urlsplit(address)
        return parts.hostname, parts.port or PORTS["http"]
    except ValueError:
        return None, None


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        OSError: it cannot; the message says why.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=64)
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (while")[0]
        raise OSError(
            error.errno,
            f"{host}:{port} cannot be listened at ({why}); choose another address or port.",
        ) from None
