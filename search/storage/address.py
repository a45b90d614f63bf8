"""Check the addresses that servers of this program listen on."""

from __future__ import annotations

import ipaddress
import socket
import sys

from search.errors import InputError


def check_address(host: str, port: int) -> None:
    """Raise InputError if nothing can listen on an address; called before anything is prepared for the server."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except (OSError, UnicodeError) as error:  # UnicodeError: no host can have this name
        raise InputError(listen_error(host, port, error)) from error


def listen_error(host: str, port: int, error: Exception) -> str:
    """Return a message that says why nothing can listen on an address, and what to do."""
    reason = getattr(error, "strerror", None) or error
    return f"cannot listen on {host:.80}, port {port}: {reason}; choose another --host or --port"


def warn_if_reachable(host: str, server: str) -> None:
    """Print a warning if users of other machines can reach a server; `server` is its name in the warning."""
    if not _is_loopback(host):
        print(
            f"search.py: warning: on {host} the {server} has no login: whoever reaches this port can read, change and "
            "delete all studies",
            file=sys.stderr,
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def address(host: str, port: int) -> str:
    """Return a host and a port in the form that URLs use, with an IPv6 address in brackets."""
    return f"{f'[{host}]' if ':' in host else host}:{port}"
