"""OSS's language: the form of an upload, which URLs are asked, and what the hosts of clips answer."""

from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_wire import NOW, PHOTO, POLICY, code_of, said

from rawgenai.dashscope import oss, wire
from rawgenai.errors import RawgenaiError
from rawgenai.message import Form, NotSent, Response, Unknown

PUBLIC, LOCAL = "https://dashscope.aliyuncs.com/api/v1", "http://127.0.0.1:8900/api/v1"
RESULT = "https://dashscope-result-bj.oss-cn-beijing.aliyuncs.com/1d/a.mp4?Expires=1&Signature=x%2F"


@pytest.mark.parametrize(
    ("url", "base_url", "allowed"),
    [
        (RESULT, PUBLIC, RESULT),
        (RESULT.replace("https:", "http:"), PUBLIC, RESULT),  # aliyuncs.com has https
        (RESULT.replace("https:", "HTTP:"), PUBLIC, RESULT),
        ("https://cdn.example.com/v", PUBLIC, "https://cdn.example.com/v"),
        ("https://xn--fiq228c.example/v", PUBLIC, "https://xn--fiq228c.example/v"),
        (RESULT, LOCAL, RESULT),
        ("http://127.0.0.1:8900/clips/v", LOCAL, "http://127.0.0.1:8900/clips/v"),
        ("http://[::1]:8900/clips/v", "http://localhost:1/api/v1", "http://[::1]:8900/clips/v"),
        ("http://emulator.localhost/clips/v", "emulator", "http://emulator.localhost/clips/v"),
        # Refused.
        ("http://127.0.0.1:8900/v", PUBLIC, None),
        ("https://localhost/v", PUBLIC, None),
        ("http://emulator.localhost/v", PUBLIC, None),
        ("ftp://127.0.0.1/v", LOCAL, None),
        ("http://169.254.169.254/latest/meta-data", PUBLIC, None),
        ("http://169.254.169.254/latest/meta-data", LOCAL, None),
        ("http://cdn.example.com/v", PUBLIC, None),
        ("http://cdn.example.com/v", LOCAL, None),
        ("http://xn--fiq228c.example/v", PUBLIC, None),
        ("http://aliyuncs.com.example.com/v", PUBLIC, None),
        ("http://notaliyuncs.com/v", PUBLIC, None),
        ("https://user:pass@cdn.example.com/v", PUBLIC, None),
        ("https://@cdn.example.com/v", PUBLIC, None),
        ("https://cdn.example.com\\@evil.example/v", PUBLIC, None),
        ("http://evil.example\\.aliyuncs.com/v", PUBLIC, None),
        ("file:///etc/passwd", PUBLIC, None),
        ("file://localhost/etc/passwd", LOCAL, None),
        ("oss://bucket/v", PUBLIC, None),
        ("//cdn.example.com/v", PUBLIC, None),
        ("/v", PUBLIC, None),
        ("", PUBLIC, None),
        ("https://", PUBLIC, None),
        ("https://[::1/v", PUBLIC, None),
        ("https://cdn%2fexample.com/v", PUBLIC, None),
        ("https://cdn.example.com%00.example/v", PUBLIC, None),
        ("https://cdn_example.com,evil.example/v", PUBLIC, None),
        ("https://[fe80::1%25eth0]/v", PUBLIC, None),
        ("https://cdn.example.com/a b", PUBLIC, None),
        ("https://cdn.example.com/\r\nHost: x", PUBLIC, None),
        (" https://cdn.example.com/v", PUBLIC, None),
    ],
)
def test_only_a_safe_url_is_asked(url: str, base_url: str, allowed: str | None) -> None:
    if allowed is None:
        with pytest.raises(ValueError, match=r"^the server named|IPv6"):
            oss.checked_url(url, base_url)
    else:
        assert oss.checked_url(url, base_url) == allowed


def test_an_upload_goes_to_alibaba_alone() -> None:
    assert oss.checked_url(RESULT, PUBLIC, aliyun=True) == RESULT
    assert oss.checked_url("http://127.0.0.1:1/upload", LOCAL, aliyun=True) == "http://127.0.0.1:1/upload"
    for url in (
        "https://cdn.example.com/v",
        "https://aliyuncs.com.example.com/",
        "https://evil.example\\.aliyuncs.com",
    ):
        with pytest.raises(ValueError, match=r"^the server named|IPv6"):
            oss.checked_url(url, PUBLIC, aliyun=True)


DONE = wire.Task(task_id="t", status="succeeded", video_url=RESULT)


def test_a_succeeded_task_names_its_clip() -> None:
    assert oss.clip_url(DONE, PUBLIC) == RESULT


@pytest.mark.parametrize(
    ("changes", "code", "status"),
    [
        ({"status": "pending"}, "video_not_ready", 5),
        ({"status": "running"}, "video_not_ready", 5),
        ({"status": "failed", "api_code": "DataInspectionFailed"}, "video_failed", 1),  # always (rulings 13 and 20)
        ({"status": "failed"}, "video_failed", 1),
        ({"status": "canceled"}, "video_failed", 1),
        ({"video_url": None}, "no_video", 1),
        ({"video_url": "http://169.254.169.254/v"}, "download_error", 4),
        ({"video_url": "https://["}, "download_error", 4),
    ],
)
def test_a_task_without_a_clip_says_why(changes: dict[str, Any], code: str, status: int) -> None:
    with pytest.raises(RawgenaiError) as caught:
        oss.clip_url(DONE._replace(**changes), PUBLIC)
    assert (caught.value.code, caught.value.status) == (code, status)


@pytest.mark.parametrize(
    ("answer", "event"),
    [
        (Response(302, {"location": "/v"}), "moved"),
        (Response(308, {"location": "/v"}), "moved"),
        (Response(302, {}), "refused"),
        (Response(304, {"location": "/v"}), "refused"),
        (Response(403, {}), "gone"),
        (Response(404, {}), "gone"),
        (Response(400, {}), "refused"),
        (Response(500, {}), "refused"),
    ],
)
def test_what_a_clips_host_says_is_named(answer: Response, event: str) -> None:
    assert oss.clip_event(answer) == event


@pytest.mark.parametrize(
    ("location", "allowed"),
    [
        ("/b.mp4", "https://cdn.example.com/b.mp4"),
        ("https://other.example/v", "https://other.example/v"),
        ("//other.example/v", "https://other.example/v"),
        ("http://cdn.example.com/v", None),
        ("http://127.0.0.1/v", None),
        ("file:///etc/passwd", None),
        ("https://[", None),
    ],
)
def test_a_redirect_is_as_safe_as_what_it_replaces(location: str, allowed: str | None) -> None:
    answer = Response(302, {"location": location})
    if allowed is None:
        assert code_of(oss.redirected, answer, "https://cdn.example.com/a.mp4") == "download_error"
    else:
        assert oss.redirected(answer, "https://cdn.example.com/a.mp4") == allowed


@pytest.mark.parametrize(
    ("answer", "resume"),
    [
        (NotSent("connection_error", "refused"), True),
        (NotSent("connection_error", "certificate", passing=False), False),
        (Unknown("timeout", "late"), True),
        (Response(408, {}), True),
        (Response(429, {}), True),
        (Response(500, {}), True),
        (Response(503, {}), True),
        (Response(400, {}), False),
        (Response(403, {}), False),
        (Response(404, {}), False),
    ],
)
def test_a_download_goes_on_where_that_is_of_use(answer: Response | NotSent | Unknown, resume: bool) -> None:
    assert oss.may_resume(answer) is resume


SIGNED = f"https://x.aliyuncs.com/v?Expires={NOW:.0f}&Signature=x"
BEFORE, AFTER = ({"date": formatdate(NOW + step, usegmt=True)} for step in (-60, 60))
XML = b"<Error><Code>AccessDenied</Code><Message>Request has expired.</Message></Error>"


@pytest.mark.parametrize(
    ("answer", "url", "fault", "code", "api_code"),
    [
        (Response(403, AFTER, XML), SIGNED, None, "url_expired", "AccessDenied"),
        (Response(404, AFTER), SIGNED, None, "url_expired", None),
        (Response(403, BEFORE, XML), SIGNED, None, "download_error", "AccessDenied"),
        (Response(403, {}), SIGNED, None, "url_expired", None),
        (Response(403, {"date": "x"}), SIGNED, None, "url_expired", None),
        (Response(403, BEFORE), "https://x/v", None, "url_expired", None),
        (Response(500, {}), SIGNED, None, "download_error", None),
        (Response(302, {}), SIGNED, None, "download_error", None),
        (Response(200, {}), SIGNED, "it is not an MP4 file", "download_error", None),
        (Unknown("timeout", "late"), SIGNED, None, "download_error", None),
        (NotSent("connection_error", "refused"), SIGNED, None, "download_error", None),
    ],
)
def test_a_download_that_failed_says_why(
    answer: Response | NotSent | Unknown, url: str, fault: str | None, code: str, api_code: str | None
) -> None:
    error = oss.download_failure(answer, url, fault)
    assert (error.code, error.api_code) == (code, api_code)
    assert fault is None or fault in error.message


@settings(max_examples=150)
@given(
    st.text(max_size=30)
    | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,6} \d{1,3}:\d\d:\d\d [A-Z0-9+-]{1,6}")
)
def test_no_date_of_a_clips_host_raises(text: str) -> None:
    error = oss.download_failure(Response(403, {"date": text}), "https://x/v?Expires=1800000000")
    assert error.code in ("url_expired", "download_error")


# --- uploads (reference section 5) -------------------------------------------------------------------------------


def test_a_file_is_uploaded_by_the_form_that_the_page_shows() -> None:
    policy = wire.parse_policy(said({"request_id": "r", "data": POLICY}))
    request = oss.upload_request(policy, PHOTO, "n.jpg")
    assert (request.method, request.url, request.headers) == ("POST", POLICY["upload_host"], {})
    assert isinstance(request.body, Form)
    assert list(request.body.fields.items()) == [
        ("OSSAccessKeyId", "k"),
        ("Signature", "s"),
        ("policy", "p"),
        ("key", "dashscope-instant/xxx/2024-07-18/xxx/n.jpg"),
        ("success_action_status", "200"),
        ("x-oss-forbid-overwrite", "true"),
        ("x-oss-object-acl", "private"),
    ]
    assert (request.body.file, request.body.filename) == (PHOTO, "n.jpg")
    assert oss.oss_url(policy, "n.jpg") == "oss://dashscope-instant/xxx/2024-07-18/xxx/n.jpg"
    assert policy.max_bytes == 100 * 1024 * 1024
