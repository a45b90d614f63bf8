"""Run trials in several processes, and requeue the trials of processes that died."""
