"""``python -m rawgenai``, and the console script: imports as little as can be, so that --version is instant."""

import sys


def main() -> None:
    """Run the command line and leave with its exit status."""
    try:
        from rawgenai.signals import listen

        listen()
        from rawgenai.cli import run

        status = run()
    except BaseException as error:
        from rawgenai.signals import interrupt_in

        interrupt = interrupt_in(error)  # it came before run() could answer it
        if interrupt is None:
            raise
        status = getattr(interrupt, "status", 130)
    sys.exit(status)


if __name__ == "__main__":
    main()
