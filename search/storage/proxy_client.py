"""A storage behind `search.py proxy`, as its workers see it: Optuna's gRPC proxy, and what that does not pass on.

A server has connections for about a hundred workers; the proxy shares a few of its own among any number. Optuna's proxy
carries studies and trials. Ours carries three things more, without which a trial could be lost or queued twice: that a
trial is alive, which trials are not, and the lock under which one process decides about a study.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import GrpcStorageProxy
from optuna.storages._grpc.client import GrpcClientCache
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.trial import FrozenTrial

from search.errors import InputError
from search.storage.address import address

# The service beside Optuna's own. Requests are JSON, or the lock's name.
SERVICE = "search.Trials"
BEAT, STALE, HOLD = "Beat", "Stale", "Hold"
HELD, TAKEN = b"held", b"taken"
# A call waits so long for a proxy that is being started again.
CALL_SECONDS = 120
# So soon it is told that none is there, before anything has begun.
_OPEN_SECONDS = 10
_LOCK_POLL_SECONDS = 0.1
# What is the same if it happens twice, so that it is asked again when the proxy dies over it. The others, by which a
# trial begins or ends, may have been carried out: there the worker ends, and the trial is queued again.
_REPEATABLE = {
    "optuna.StorageService": (
        "GetStudyIdFromName",
        "GetStudyNameFromId",
        "GetStudyDirections",
        "GetStudyUserAttributes",
        "GetStudySystemAttributes",
        "GetAllStudies",
        "GetTrialIdFromStudyIdTrialNumber",
        "GetTrial",
        "GetTrials",
        "SetStudyUserAttribute",
        "SetStudySystemAttribute",
        "SetTrialParameter",
        "SetTrialIntermediateValue",
        "SetTrialUserAttribute",
        "SetTrialSystemAttribute",
    ),
    SERVICE: (BEAT, STALE, HOLD),
}
_WAITS = {"waitForReady": True, "timeout": f"{CALL_SECONDS}s"}
_RETRIES = {
    "maxAttempts": 5,
    "initialBackoff": "0.5s",
    "maxBackoff": "5s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
_NAMES = [{"service": service, "method": method} for service, methods in _REPEATABLE.items() for method in methods]
_CHANNEL = {
    "grpc.max_receive_message_length": -1,
    # A proxy whose machine was switched off must not be waited for until TCP gives up.
    "grpc.keepalive_time_ms": 60_000,
    "grpc.keepalive_timeout_ms": 20_000,
    "grpc.service_config": json.dumps(
        {"methodConfig": [{"name": _NAMES, **_WAITS, "retryPolicy": _RETRIES}, {"name": [{}], **_WAITS}]}
    ),
}

OnStale = Callable[[optuna.Study, FrozenTrial], None]


class ProxyStorage(GrpcStorageProxy, BaseHeartbeat):
    """A client of `search.py proxy` at host:port. Raises InputError where something else answers, or nothing.

    interval: seconds from one sign of life of a trial to the next, None: it gives none; grace, on_stale as in
    search.storage.open.open_storage
    """

    def __init__(self, host: str, port: int, interval: int | None, grace: int | None, on_stale: OnStale | None) -> None:
        self._interval, self._grace, self._on_stale = interval, grace, on_stale
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            super().__init__(host=host, port=port)
        self._greet()

    def _setup(self) -> None:
        # As Optuna's, but for the options of the channel.
        import grpc
        from optuna.storages._grpc.auto_generated import api_pb2_grpc

        self._channel = grpc.insecure_channel(address(self._host, self._port), options=list(_CHANNEL.items()))
        make_stub: Any = api_pb2_grpc.StorageServiceStub  # generated, without types
        self._stub = make_stub(self._channel)
        self._cache = GrpcClientCache(self._stub)
        self._beat = self._channel.unary_unary(f"/{SERVICE}/{BEAT}")
        self._stale = self._channel.unary_unary(f"/{SERVICE}/{STALE}")
        self._hold = self._channel.unary_stream(f"/{SERVICE}/{HOLD}")

    def _greet(self) -> None:
        import grpc

        # Whoever trains has met the proxy before: if it is away it is being started again.
        patient = self._grace is not None
        try:
            # Of no study: only whether it is understood.
            request = json.dumps([-1, 1]).encode()
            self._stale(request, timeout=CALL_SECONDS if patient else _OPEN_SECONDS, wait_for_ready=patient)
        except grpc.RpcError as error:
            self.close()
            where = address(self._host, self._port)
            raise InputError(f"cannot use the proxy at {where}: {_reason(error)}") from error

    def record_heartbeat(self, trial_id: int) -> None:
        """See BaseHeartbeat. A sign of life that gets lost is not missed: the next call of the trial tells why."""
        import grpc

        with suppress(grpc.RpcError):
            self._beat(json.dumps(trial_id).encode())

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        found: list[int] = json.loads(self._stale(json.dumps([study_id, self._grace]).encode()))
        return found

    def get_heartbeat_interval(self) -> int | None:
        """In seconds; None: trials run in silence."""
        return self._interval

    def get_heartbeat_stale_trial_callback(self) -> OnStale | None:
        """What is called with every trial that was given up."""
        return self._on_stale

    @contextmanager
    def hold(self, what: str) -> Iterator[None]:
        """Hold a lock of the server's; it goes with the call, so that a holder that is killed holds nothing."""
        call = self._take(what)
        try:
            yield
        finally:
            call.cancel()

    def _take(self, what: str) -> Any:
        while True:
            call = self._hold(what.encode())
            if next(call) == HELD:
                return call
            call.cancel()
            time.sleep(_LOCK_POLL_SECONDS)


def _reason(error: Any) -> str:
    import grpc

    if error.code() == grpc.StatusCode.UNIMPLEMENTED:
        return "what answers is another program; start `search.py proxy` there, or check --storage"
    if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        return "nobody answers; check --storage, and that `search.py proxy` runs there"
    return str(error.details()).partition("\n")[0]
