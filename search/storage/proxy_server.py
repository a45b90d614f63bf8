"""The command that puts Optuna's gRPC proxy, and what a search needs beside it, in front of a PostgreSQL server."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from search.errors import InputError
from search.storage.address import address, check_address, refused, warn_of_others
from search.storage.open import GRACE_SECONDS, ServerStorage, open_storage
from search.storage.proxy_client import BEAT, HELD, HOLD, SERVICE, STALE, TAKEN
from search.storage.shared_reads import SharingStorage
from search.storage.url import PROXY, is_server, parse_url, shown_url

# Calls at the same time. Many of them wait for one reading; connections of the PostgreSQL server are fewer.
_THREADS, _CONNECTIONS = 64, 20
# A lock occupies a thread and a connection for as long as it is held.
_MAX_LOCKS = 10
# As long as PostgreSQL itself lets a transaction idle here.
_HOLD_SECONDS = 120
_STOP_SECONDS = 5
_OPTIONS = {
    # Two proxies at one address would each answer some of the calls.
    "grpc.so_reuseport": 0,
    "grpc.max_receive_message_length": -1,
    # Workers whose machine was switched off, and with it the locks they held.
    "grpc.keepalive_time_ms": 60_000,
    "grpc.keepalive_timeout_ms": 20_000,
    "grpc.http2.min_recv_ping_interval_without_data_ms": 30_000,
}


class _Trials:
    """What Optuna's proxy does not carry; see search.storage.proxy_client for the other end."""

    def __init__(self, storage: ServerStorage) -> None:
        self._storage = storage
        self._asking = threading.Lock()
        self._locks = threading.Semaphore(_MAX_LOCKS)

    def beat(self, request: bytes, _context: Any) -> bytes:
        """A trial is alive."""
        self._storage.record_heartbeat(json.loads(request))
        return b""

    def stale(self, request: bytes, _context: Any) -> bytes:
        """Which trials of a study were silent for the asker's grace, by the clock of the PostgreSQL server."""
        study_id, grace = json.loads(request)
        with self._asking:
            self._storage.grace_period = grace
            return json.dumps(self._storage._get_stale_trial_ids(study_id)).encode()

    def hold(self, request: bytes, context: Any) -> Iterator[bytes]:
        """Hold a lock until the caller, or its process, goes; or say at once that another does."""
        has_left = threading.Event()
        if not context.add_callback(has_left.set):
            return
        # Whoever waits asks again, for waiting here would keep a thread that the holder's own calls may need.
        if not self._locks.acquire(blocking=False):
            yield TAKEN
            return
        try:
            with self._storage.hold_if_free(request.decode()) as is_ours:
                yield HELD if is_ours else TAKEN
                if is_ours:
                    has_left.wait(_HOLD_SECONDS)
        finally:
            self._locks.release()


def make_server(storage: ServerStorage, host: str, port: int) -> Any:
    """The proxy of a storage, not started yet. Raises InputError where it cannot listen."""
    import grpc
    from optuna.storages._grpc.auto_generated import api_pb2_grpc
    from optuna.storages._grpc.servicer import OptunaStorageProxyService

    server = grpc.server(ThreadPoolExecutor(_THREADS), options=list(_OPTIONS.items()))
    add_service: Any = api_pb2_grpc.add_StorageServiceServicer_to_server  # generated, without types
    add_service(OptunaStorageProxyService(SharingStorage(storage)), server)
    trials = _Trials(storage)
    handlers = {
        BEAT: grpc.unary_unary_rpc_method_handler(trials.beat),
        STALE: grpc.unary_unary_rpc_method_handler(trials.stale),
        HOLD: grpc.unary_stream_rpc_method_handler(trials.hold),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    try:
        server.add_insecure_port(address(host, port))
    except RuntimeError as error:
        raise InputError(refused(host, port, error)) from error
    return server


def serve(url: str, host: str, port: int) -> int:
    """Serve until interrupted."""
    asked = parse_url(url)
    shown = shown_url(asked)
    if asked.drivername == PROXY or not is_server(url):
        raise InputError(f"a proxy stands before a PostgreSQL server, --storage postgresql://..., got {shown:.120}")
    check_address(host, port)
    storage = open_storage(url, GRACE_SECONDS, n_threads=_CONNECTIONS)
    assert isinstance(storage, ServerStorage)
    server = make_server(storage, host, port)
    server.start()
    warn_of_others(host, "proxy")
    print(f"proxy of {shown}: --storage grpc://{address(host, port)} (Ctrl-C ends it)", file=sys.stderr)
    try:
        server.wait_for_termination()
    finally:
        server.stop(_STOP_SECONDS).wait()
    return 0
