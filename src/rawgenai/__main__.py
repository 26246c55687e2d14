"""``python -m rawgenai``, and the console script: imports as little as can be, so that --version is instant."""

import sys


def main() -> None:
    """Run the command line and leave with its exit status."""
    try:
        from rawgenai.cli import run

        status = run()
    except KeyboardInterrupt:  # it came before run() could answer it
        status = 130
    sys.exit(status)


if __name__ == "__main__":
    main()
