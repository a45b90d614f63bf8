"""Addresses that a command of this program listens on, and who reaches them."""

from __future__ import annotations

import ipaddress
import socket
import sys

from search.errors import InputError


def check_address(host: str, port: int) -> None:
    """Raise InputError where nothing can listen at that address, before anything is made ready for it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except (OSError, UnicodeError) as error:  # the latter of a name that no host can have
        raise InputError(refused(host, port, error)) from error


def refused(host: str, port: int, error: Exception) -> str:
    """Say why an address cannot be listened on, and what to do."""
    reason = getattr(error, "strerror", None) or error
    return f"cannot listen on {host:.80}, port {port}: {reason}; choose another --host or --port"


def warn_of_others(host: str, what: str) -> None:
    """Say so where not only the users of this machine reach `what`."""
    if not _is_loopback(host):
        print(
            f"search.py: warning: on {host} the {what} has no login: whoever reaches this port can read, change and "
            "delete all studies",
            file=sys.stderr,
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def address(host: str, port: int) -> str:
    """Format an address as it stands in a URL."""
    return f"{f'[{host}]' if ':' in host else host}:{port}"
