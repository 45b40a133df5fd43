"""``entropick`` and ``python -m entropick``."""

import sys


def main() -> int:
    """Run the command line; Ctrl-C while it is still being imported ends like any other."""
    try:
        from entropick.cli import main as run

        return run()
    except KeyboardInterrupt:
        print("entropick: interrupted before anything began.", file=sys.stderr)  # noqa: T201 - the program itself
        return 130


if __name__ == "__main__":
    sys.exit(main())
