"""``rawgenai dashscope emulator``."""

import click

from rawgenai.cli import streams
from rawgenai.cli.command import Command, integer
from rawgenai.errors import RawgenaiError

_EXAMPLES = """\b
Example:
  rawgenai dashscope emulator --port 8900
  export DASHSCOPE_BASE_URL=http://127.0.0.1:8900/api/v1 DASHSCOPE_API_KEY=sk-emulator

\b
Without a socket, in process: export DASHSCOPE_BASE_URL=emulator"""


@click.command(cls=Command, epilog=_EXAMPLES, short_help="Serve a local stand-in for the API on a loopback socket.")
@click.option("--port", type=integer, default=0, metavar="N", help="Port on 127.0.0.1; 0 picks a free one.")
@click.option(
    "--state",
    type=click.Path(),
    metavar="DIR",
    help="Where its tasks and clips live; by default a folder of the user's state.",
)
def emulator(port: int, state: str | None) -> None:
    """Serve a local stand-in for the API until interrupted; prints one envelope with its base_url.

    Nothing is sent to DashScope and nothing is paid. Any key will do.
    """
    from pathlib import Path

    from rawgenai import envelope, files
    from rawgenai.emulator.server import open_server

    try:
        opened = open_server(port, Path(state) if state else None)
    except (OSError, OverflowError) as error:  # it is taken, not ours to take, or no port
        raise RawgenaiError("invalid_usage", f"--port {port} cannot be used: {files.reason(error)}") from error
    with opened as server:
        streams.out(envelope.success(base_url=server.base_url))
        server.serve_forever()
