"""Names of the user attributes in which a study and its trials keep what Optuna has no field for."""

from __future__ import annotations

SETTINGS = "settings"
# Of a trial adopted from another study: where it was trained, "study/number".
ORIGIN = "origin"
# Of a trial that runs or ran: by whom.
WORKER = "worker"
# Of one that its user interrupted: that it is run again is not held against it.
INTERRUPTED = "interrupted"
# Of a queued network that is no point of the space: the network itself.
GIVEN = "given"
