"""Train again on fresh seeds and judge what a result is worth: confirmation, noise, reproduction, importance."""
