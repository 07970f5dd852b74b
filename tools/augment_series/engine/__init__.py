"""The engine of augment_series, run in a child process so that the server loads no numpy."""
