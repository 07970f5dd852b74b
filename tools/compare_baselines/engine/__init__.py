"""The engine of compare_baselines, run in a child process so that the server loads no numpy."""
