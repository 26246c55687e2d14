"""Ways for the tests of the commands to run one, as a user types it, and to see what comes out."""

import io
import json
import os
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, NamedTuple

from rawgenai.cli import run


class Result(NamedTuple):
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def envelope(self) -> Any:
        """The one envelope that was printed: on stdout after a success, else the last line of stderr."""
        text = self.out if self.status == 0 else self.err.splitlines()[-1]
        assert self.status == 0 or not self.out
        return json.loads(text)

    @property
    def code(self) -> str:
        """The error's code; "" after a success."""
        envelope = self.envelope
        assert envelope["success"] is (self.status == 0)
        return str(envelope["error"]["code"]) if self.status else ""


def invoke(*argv: str, stdin: bytes | None = None) -> Result:
    """Run a command line in this process; ``stdin`` is what a pipe holds, None is /dev/null."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    old_stdin, old_handler = sys.stdin, signal.getsignal(signal.SIGTERM)
    source = open(os.devnull, "rb") if stdin is None else io.BytesIO(stdin)  # noqa: SIM115 - closed below
    sys.stdin = io.TextIOWrapper(source, encoding="utf-8")
    try:
        with redirect_stdout(out), redirect_stderr(err):
            status = run(argv)
    finally:
        sys.stdin.close()
        sys.stdin = old_stdin
        signal.signal(signal.SIGTERM, old_handler)
    return Result(status, *(stream.buffer.getvalue().decode() for stream in (out, err)))


def create(*argv: str, stdin: bytes | None = None) -> Result:
    return invoke("dashscope", "video", "create", *argv, stdin=stdin)
