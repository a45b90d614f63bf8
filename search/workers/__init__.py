"""Run trials in several processes, and give the trials of dead processes to others."""
