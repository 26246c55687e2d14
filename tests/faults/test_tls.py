"""TLS and proxies on real sockets: what is trusted, and what a proxy gets to see (design section 6, faults 1K)."""

import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from faulty import (
    CLOSE,
    CREATE,
    CREATED,
    KEY,
    TASK,
    Step,
    closed_port,
    hang,
    header,
    rawgenai,
    reply,
    reset,
    serving,
    settings,
    tunnel,
)
from rawgenai import http
from rawgenai.dashscope import tasks
from rawgenai.dashscope.spec import Spec
from rawgenai.errors import RawgenaiError
from rawgenai.ledger import Ledger

pytestmark = [
    pytest.mark.platform,
    pytest.mark.skipif(not shutil.which("openssl"), reason="the certificate is made with the openssl command"),
]
HOST = "api.example.test"  # a name that only the proxy knows
URL = f"https://{HOST}/api/v1"


class Certificate(NamedTuple):
    """A certificate that vouches for itself, and what a server needs to show it."""

    file: str
    context: ssl.SSLContext


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder = tmp_path_factory.mktemp("tls")
    file, key = str(folder / "certificate.pem"), str(folder / "key.pem")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST},IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", *curve, "-keyout", key, "-out", file, "-days", "30", *names]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    return Certificate(file, context)


def _create(url: str, timeout: float = 10) -> RawgenaiError | None:
    """Create a task in process; the error that came of it, if any."""
    send = http.sender(url, lambda: KEY, timeout)
    try:
        tasks.create(Spec("A kitten"), settings=settings(url), send=send, ledger=Ledger(None), sleep=lambda _: None)
    except RawgenaiError as error:
        return error
    return None


# --- trust --------------------------------------------------------------------------------------------------------


def test_a_certificate_that_nobody_trusts_is_refused_once_and_with_advice(certificate: Certificate) -> None:
    with serving(CREATED, context=certificate.context) as server:
        error = _create(server.url)
    assert error is not None
    assert (error.code, error.outcome) == ("connection_error", None)
    assert "SSL_CERT_FILE" in error.message
    assert (server.connections, server.requests) == (1, [])


def test_ssl_cert_file_is_trusted(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certificate.file)
    with serving(CREATED, context=certificate.context) as server:
        assert _create(server.url) is None
    assert header(server.requests[0], "authorization") == f"Bearer {KEY}"


def test_ssl_cert_dir_is_trusted(certificate: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["openssl", "x509", "-noout", "-hash", "-in", certificate.file]
    name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    shutil.copy(certificate.file, tmp_path / f"{name}.0")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with serving(CREATED, context=certificate.context) as server:
        assert _create(server.url) is None


def test_a_certificate_for_another_name_is_refused_once(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certificate.file)
    with serving(CREATED, context=certificate.context) as server:
        error = _create(server.url.replace("127.0.0.1", "localhost"))
    assert error is not None
    assert (error.code, server.connections, server.requests) == ("connection_error", 1, [])


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_wrong_ssl_cert_file_is_a_config_error(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    error = _create(URL)
    assert error is not None
    assert (error.code, error.status, error.outcome) == ("config_error", 3, None)
    assert "SSL_CERT_FILE" in error.message


@pytest.mark.slow
def test_trust_as_a_process(certificate: Certificate) -> None:
    with serving(CREATED, context=certificate.context) as server:
        refused = rawgenai(server.url, *CREATE)
        trusted = rawgenai(server.url, *CREATE, SSL_CERT_FILE=certificate.file)
    assert (refused.status, refused.error["code"]) == (4, "connection_error")
    assert (trusted.status, trusted.envelope["task_id"]) == (0, TASK)
    assert server.posts() == 1


NO_TLS: dict[str, Step] = {
    "speaks plain HTTP": reply(400),
    "closes": CLOSE,
    "resets": reset,
    "never shakes hands": hang,
}


@pytest.mark.parametrize("name", NO_TLS)
def test_without_a_handshake_nothing_was_sent(name: str) -> None:
    with serving(NO_TLS[name]) as server:
        error = _create(server.url.replace("http:", "https:"), 0.1 if "never" in name else 10)
    assert error is not None
    assert (error.code, error.outcome) == ("timeout" if "never" in name else "connection_error", None)
    assert "nothing was sent" in error.message
    assert server.connections == 4
    assert not any(KEY.encode() in request for request in server.requests)


# --- proxies ------------------------------------------------------------------------------------------------------


@pytest.fixture
def trusted(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    monkeypatch.setenv("SSL_CERT_FILE", certificate.file)
    return certificate


Proxied = Callable[[str], None]


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> Proxied:
    return lambda proxy: monkeypatch.setenv("HTTPS_PROXY", proxy)


def test_https_proxy_carries_a_create_and_sees_nothing_of_it(trusted: Certificate, proxied: Proxied) -> None:
    with serving(CREATED, context=trusted.context) as server, serving(tunnel(server.port)) as proxy:
        proxied(f"http://127.0.0.1:{proxy.port}")
        assert _create(URL) is None
    [connect] = proxy.requests
    assert connect.startswith(f"CONNECT {HOST}:443 HTTP/1.1\r\n".encode())
    assert KEY.encode() not in connect
    assert header(server.requests[0], "authorization") == f"Bearer {KEY}"


def test_https_proxy_as_a_process(certificate: Certificate) -> None:
    with serving(CREATED, context=certificate.context) as server, serving(tunnel(server.port)) as proxy:
        run = rawgenai(URL, *CREATE, HTTPS_PROXY=f"http://127.0.0.1:{proxy.port}", SSL_CERT_FILE=certificate.file)
    assert (run.status, server.posts(), proxy.connections) == (0, 1, 1)


REFUSING: dict[str, Step] = {
    "403": reply(403),
    "407": reply(407, b"", "Proxy-Authenticate: Basic"),
    "502": reply(502, b"<html>"),
    "closes": CLOSE,
    "resets": reset,
    "hangs": hang,
}


@pytest.mark.parametrize("name", REFUSING)
def test_a_proxy_that_refuses_is_proof_that_nothing_was_sent(name: str, trusted: Certificate, proxied: Proxied) -> None:
    with serving(REFUSING[name]) as proxy:
        proxied(f"http://user:pass-word@127.0.0.1:{proxy.port}")
        error = _create(URL, 0.1 if name == "hangs" else 10)
    assert error is not None
    assert (error.code, error.outcome) == ("timeout" if name == "hangs" else "connection_error", None)
    assert "nothing was sent" in error.message
    assert "pass-word" not in error.message
    assert proxy.connections == 4
    assert not any(KEY.encode() in request for request in proxy.requests)


def test_a_proxy_that_is_not_there_is_proof_that_nothing_was_sent(trusted: Certificate, proxied: Proxied) -> None:
    proxied(f"http://127.0.0.1:{closed_port()}")
    error = _create(URL)
    assert error is not None
    assert (error.code, error.outcome) == ("connection_error", None)


def test_a_tunnel_that_breaks_after_the_request_leaves_the_outcome_unknown(
    trusted: Certificate, proxied: Proxied
) -> None:
    with serving(CLOSE, context=trusted.context) as server, serving(tunnel(server.port)) as proxy:
        proxied(f"http://127.0.0.1:{proxy.port}")
        error = _create(URL)
    assert error is not None
    assert (error.code, error.outcome, server.posts()) == ("connection_error", "unknown", 1)


def test_the_proxys_password_goes_to_the_proxy_alone(trusted: Certificate, proxied: Proxied) -> None:
    with serving(CREATED, context=trusted.context) as server, serving(tunnel(server.port)) as proxy:
        proxied(f"http://user:pass-word@127.0.0.1:{proxy.port}")
        assert _create(URL) is None
    assert header(proxy.requests[0], "proxy-authorization") is not None
    assert header(server.requests[0], "proxy-authorization") is None


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_loopback_server_is_never_behind_a_proxy(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(CREATED) as server, serving(reply(502)) as proxy:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
        assert _create(server.url) is None
    assert (server.posts(), proxy.connections) == (1, 0)


def test_no_proxy_is_obeyed(trusted: Certificate, proxied: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", HOST)
    with serving(reply(502)) as proxy:
        proxied(f"http://127.0.0.1:{proxy.port}")
        error = _create(URL)
    assert error is not None
    assert (error.code, proxy.connections) == ("connection_error", 0)


@pytest.mark.parametrize(("variable", "value"), [("HTTPS_PROXY", "::::"), ("NO_PROXY", "localhost,[::1]")])
def test_a_proxy_variable_that_cannot_be_read_is_named(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    error = _create(URL)
    assert error is not None
    assert (error.code, error.status) == ("config_error", 3)
    assert variable in error.message
