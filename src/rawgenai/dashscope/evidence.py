"""Evidence of a run: every request and what became of it, one log from start to end, and the result.

One file an exchange, each written whole, so that a program killed at any moment leaves only whole ones; first the
request alone, before it leaves, then with its end. The answer to what is paid waits until something else is kept: the
ledger has the task's id first. No key, no signature of an upload and no byte of media is kept.
Whatever goes wrong here is told once and is otherwise nobody's trouble: the clip comes first.
"""

import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from rawgenai import envelope, files, secret
from rawgenai.message import Form, Media, NotSent, Receive, Request, Response, Send, Unknown, parse_json

_ANSWER_HEADERS = (
    "content-type", "content-length", "date", "etag", "retry-after", "x-request-id", "x-oss-request-id",
)  # fmt: skip
_KEY_HEADERS = ("authorization", "proxy-authorization", "cookie")
_TEXT = 10_000  # characters of an answer that is no JSON
_DEPTH = 100  # levels of one that is; what is deeper is a text like any other
_REDACTED = "[redacted]"

# What signs an upload, as fields of its form and of the answer that grants it, and as elements of OSS's refusals.
_SIGNED = re.compile(
    "(x[-_]oss[-_])?(signature|policy|oss_?access_?key_?id|security[-_]token|credential)", re.IGNORECASE
)
_SIGNED_ELEMENT = re.compile(
    r"<(OSSAccessKeyId|SignatureProvided|StringToSign\w*|SecurityToken)>.*?(</\1>|$)", re.IGNORECASE | re.DOTALL
)
_SIGNED_MEMBER = re.compile(
    r'"(signature|policy|oss_access_key_id|OSSAccessKeyId|security_token)"\s*:\s*"[^"]*', re.IGNORECASE
)

Hide = Callable[[str], str]


class Evidence:
    """The evidence of one run, in a folder of its own (0700, files 0600), which need not exist.

    ``NNNN.json`` holds an exchange, ``run.log`` what happened in order, ``result.json`` the envelope. May be used by
    several threads. ``warn`` is told once if something cannot be kept, and nothing is raised for it; where the folder
    itself cannot be had, nothing is kept at all.
    """

    def __init__(
        self, folder: str, *, warn: Callable[[str], None] = lambda _: None, now: Callable[[], float] = time.time
    ) -> None:
        self.folder = os.path.abspath(folder)
        self._warn = warn
        self._now = now
        self._lock = threading.Lock()
        self._told = False
        self._count = 0
        self._ready = False
        self._late: deque[Callable[[], None]] = deque()  # what is still to be kept
        with self._spared():
            files.make_private(folder)
            files.keep_private(folder)
            taken = (re.fullmatch(r"(\d{4,9})\.json", name) for name in os.listdir(folder))
            self._count = max((int(match[1]) for match in taken if match), default=0)  # an earlier run's stay
            self._ready = True

    def recording(self, send: Send) -> Send:
        """Wrap a Send: it does and raises the same, and keeps each exchange."""
        if not self._ready:
            return send

        def recorded(request: Request, receive: Receive | None = None) -> Response:
            self._catch_up()
            with self._lock:
                self._count += 1
                number = self._count
            start, seen = self._now(), dict[str, Any]()

            def keep(outcome: Response | BaseException | None, end: float = start) -> None:
                with self._spared():
                    page = {"at": _stamp(start), **_page(request, outcome, seen, taken=receive is not None)}
                    if outcome is not None:
                        page["seconds"] = round(end - start, 3)
                    self._write(f"{number:04d}.json", page)
                if outcome is not None:
                    self._log(end, f"{number:04d} {request.method} {request.url}: {_fate(outcome)}")

            keep(None)
            try:
                response = send(request, _watched(receive, seen) if receive else None)
            except BaseException as fate:
                keep(fate, self._now())
                raise
            if request.method == "POST" and not isinstance(request.body, Form):
                self._late.append(partial(keep, response, self._now()))
            else:
                keep(response, self._now())
            return response

        return recorded

    def note(self, text: str) -> None:
        """Add a line to the log, with the time."""
        if not self._ready:
            return
        self._catch_up()
        self._log(self._now(), text)

    def _catch_up(self) -> None:
        with suppress(IndexError):  # another thread may take the last one
            while self._late:
                self._late.popleft()()

    def _log(self, moment: float, text: str) -> None:
        with self._spared():
            line = envelope.line(f"{_stamp(moment)} {secret.redact(text)}")
            with open(os.path.join(self.folder, "run.log"), "ab", opener=_private) as log:
                log.write(f"{line}\n".encode())

    def finish(self, result: Mapping[str, Any]) -> None:
        """Keep the envelope that the run ends with, and end the log."""
        if not self._ready:
            return
        self._catch_up()
        with self._spared():
            self._write("result.json", _cleaned(result, secret.redact))
        self.note("end: success" if result.get("success") else "end: failure")

    def _write(self, name: str, page: dict[str, Any]) -> None:
        text = envelope.dumps(page, indent=True)
        files.write_private(os.path.join(self.folder, name), f"{text}\n".encode())

    @contextmanager
    def _spared(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a full disk, a folder taken away, our own mistake: the clip goes on
            with self._lock:
                told, self._told = self._told, True
            if not told:
                self._warn(f"the evidence in {self.folder} is not complete: {files.reason(error)}")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)


def _stamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _watched(receive: Receive, seen: dict[str, Any]) -> Receive:
    """See the head of an answer and count the bytes that somebody else takes."""

    def watched(status: int, headers: Mapping[str, str], chunks: Iterator[bytes]) -> bytes:
        seen.update(status=status, headers=headers, taken=0)

        def counted() -> Iterator[bytes]:
            for chunk in chunks:
                seen["taken"] += len(chunk)
                yield chunk

        return receive(status, headers, counted())

    return watched


# --- an exchange as a page: what may be kept of it ----------------------------------------------------------------


def _page(
    request: Request, outcome: Response | BaseException | None, seen: Mapping[str, Any], *, taken: bool
) -> dict[str, Any]:
    """Write down a request and what became of it; without an outcome, the request alone.

    ``taken`` says that somebody else read the answer, as it arrived; ``seen`` is what was seen of it then.
    """
    hide = _hider(request)
    page: dict[str, Any] = {"request": _request(request, hide)}
    if isinstance(outcome, Response):
        page["answer"] = _answer(outcome, hide, seen, taken=taken)
        return page
    if seen:
        page["answer"] = _answer(Response(seen["status"], seen["headers"]), hide, seen, taken=taken)
    if outcome is not None:
        name = {NotSent: "not_sent", Unknown: "unknown"}.get(type(outcome), "raised")
        code = getattr(outcome, "code", type(outcome).__name__)
        page[name] = {"code": str(code), "message": hide(getattr(outcome, "message", "") or str(outcome))}
    return page


def _fate(outcome: Response | BaseException) -> str:
    if isinstance(outcome, Response):
        return f"HTTP status {outcome.status}"
    name = {NotSent: "not sent", Unknown: "outcome unknown"}.get(type(outcome), "raised")
    return f"{name}, {getattr(outcome, 'code', type(outcome).__name__)}"


def _hider(request: Request) -> Hide:
    """Make what takes every secret out of a text: the key, and what signs this request's form."""
    fields = request.body.fields if isinstance(request.body, Form) else {}
    signed = [value for name, value in fields.items() if _SIGNED.fullmatch(name) and len(value) >= 8]

    def hide(text: str) -> str:
        text = secret.redact(text)
        for value in signed:
            text = text.replace(value, _REDACTED)
        return text

    return hide


def _request(request: Request, hide: Hide) -> dict[str, Any]:
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _KEY_HEADERS}
    page: dict[str, Any] = {"method": request.method, "url": request.url, "headers": headers}
    if request.body is not None:
        page["body"] = request.body
    shown: dict[str, Any] = _cleaned(page, hide)
    return shown


def _answer(response: Response, hide: Hide, seen: Mapping[str, Any], *, taken: bool) -> dict[str, Any]:
    headers = {name: hide(response.headers[name]) for name in _ANSWER_HEADERS if name in response.headers}
    page: dict[str, Any] = {"status": response.status, "headers": headers}
    if taken and 200 <= response.status < 300:  # a clip: whatever is handed on of it, no byte is kept
        page["taken"] = seen.get("taken", 0)
    elif response.body:
        page["body"] = _body(response.body, hide)
    return page


def _body(raw: bytes, hide: Hide) -> Any:
    """Show an answer's body: as JSON where it is, a text cut to a bound, of anything else only how long it is."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        return {"bytes": len(raw)}
    try:
        return _cleaned(parse_json(text), hide)
    except ValueError:
        pass
    text = _SIGNED_ELEMENT.sub(rf"<\1>{_REDACTED}</\1>", hide(text))  # before it is cut, or half a key would stay
    text = _SIGNED_MEMBER.sub(rf'"\1": "{_REDACTED}', text)
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}... ({len(raw)} bytes)"


def _cleaned(value: Any, hide: Hide, depth: int = _DEPTH) -> Any:
    """Copy a JSON value without secrets and without the bytes of media. Raises ValueError where it is too deep."""
    if not depth:
        raise ValueError("it is nested too deeply")
    if isinstance(value, Mapping):
        return {
            hide(str(name)): _REDACTED if _SIGNED.fullmatch(str(name)) else _cleaned(item, hide, depth - 1)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_cleaned(item, hide, depth - 1) for item in value]
    if isinstance(value, Form):
        return {"fields": _cleaned(value.fields, hide), "filename": value.filename, "file": _leaf(value.file, hide)}
    if isinstance(value, Media):
        return _leaf(value, hide)
    return hide(_shortened(value)) if isinstance(value, str) else value


def _leaf(leaf: Media, hide: Hide) -> dict[str, Any]:
    name = "data" if leaf.path.startswith("data:") else os.path.basename(leaf.path)
    return {"file": hide(name), "mime": leaf.mime, "bytes": leaf.size, "digest": leaf.digest or None}


def _shortened(text: str) -> str:
    """Say of a data URI only what it is and how long."""
    head, comma, data = text.partition(",")
    if comma and head[:5].lower() == "data:" and head[-7:].lower() == ";base64":
        return f"{head},({len(data) // 4 * 3 - data.count('=', -2)} bytes)"
    return text
