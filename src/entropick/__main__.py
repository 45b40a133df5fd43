"""``entropick`` and ``python -m entropick``."""

import sys


def main() -> int:
    """Run the command line; Ctrl-C while it is still being imported ends like any other."""
    try:
        from entropick.cli import main as run

        return run()
    except KeyboardInterrupt:
        sys.stderr.write("entropick: interrupted before anything began.\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
