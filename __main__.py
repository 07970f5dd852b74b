"""`python -P -m optimizing_resources`: the same as the `optimizing-resources` command."""

from .server.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
