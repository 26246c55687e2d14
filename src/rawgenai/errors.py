"""The one error class, and THE TABLE OF CODES: code -> sentence, exit status.

Rule: every code that a caller can ever see is a row here, and a row says all there is to know about a code.
An exit status tells the caller what to do next; ``STATUSES`` says what each one means.
"""

from typing import NamedTuple


class Code(NamedTuple):
    """What a code means."""

    sentence: str  # said where the raiser has nothing more exact to say; ends without a full stop
    status: int  # exit status, unless the circumstances of one error override it (see RawgenaiError.status)


STATUSES = {
    0: "go on",
    1: "give up, it failed for good",
    2: "mend the command, nothing was sent",
    3: "mend the key, the region or the account",
    4: "try again later, it is temporary",
    5: "wait longer, the task is still running",
    6: "nobody knows whether the task was accepted: do not repeat the command, settle it first",
    130: "interrupted by Ctrl-C",
    141: "the reader of the output went away",
    143: "terminated by SIGTERM, or the terminal was closed",
}

CODES = {
    # The command line (specification, "CLI Errors").
    "missing_api_key": Code("no DashScope API key is set", 3),
    "missing_prompt": Code("no prompt was given", 2),
    "missing_task_id": Code("no task id was given", 2),
    "missing_output": Code("no output file was given", 2),
    "file_not_found": Code("the input file does not exist", 2),
    "image_not_found": Code("the image file does not exist", 2),
    "image_read_error": Code("the image file cannot be read", 2),
    "first_frame_not_found": Code("the first frame's image file does not exist", 2),
    "last_frame_not_found": Code("the last frame's image file does not exist", 2),
    "last_frame_requires_first": Code("--last-frame requires --first-frame", 2),
    "conflicting_input_flags": Code("these inputs cannot be used together", 2),
    "missing_ref": Code("--ref requires at least one reference file", 2),
    "too_many_refs": Code("too many reference files", 2),
    "too_many_ref_videos": Code("too many reference videos", 2),
    "ref_not_found": Code("the reference file does not exist", 2),
    "ref_read_error": Code("the reference file cannot be read", 2),
    "invalid_model": Code("there is no such model for these inputs", 2),
    "invalid_resolution": Code("the model does not offer this resolution", 2),
    "invalid_duration": Code("the model does not offer this duration", 2),
    "invalid_ratio": Code("the model does not offer this aspect ratio", 2),
    "invalid_format": Code("the output file's name does not end in .mp4", 2),
    "incompatible_audio": Code("--audio is only for wan2.6-i2v-flash", 2),
    "incompatible_audio_url": Code("--audio-url is only for models that take a sound file", 2),
    "incompatible_shot_type": Code("--shot-type is only for the wan2.6 models", 2),
    "incompatible_no_audio": Code("--no-audio is only for models whose sound it can switch off", 2),
    "output_write_error": Code("the output file cannot be written", 2),
    # The API (specification, "API Errors").
    "invalid_api_key": Code("the API key is invalid or belongs to another region", 3),
    "invalid_request": Code("the API refused the request's parameters", 1),
    "content_policy": Code("the content violates the safety policy", 1),
    "task_not_found": Code("the task does not exist, or expired (24 hours)", 1),
    "rate_limit": Code("too many requests", 4),
    "server_error": Code("the DashScope server failed", 4),
    # Download (specification, "Download Errors").
    "video_not_ready": Code("the task has not finished yet", 5),
    "video_failed": Code("the task ended without a clip", 1),
    "no_video": Code("the API named no clip for this task", 1),
    "url_expired": Code("the clip's URL has expired (24 hours)", 1),
    "download_error": Code("the clip cannot be downloaded", 4),
    "connection_error": Code("the network connection failed", 4),
    "timeout": Code("the request timed out", 4),
    # Beyond the specification (design, ruling 15).
    "invalid_usage": Code("the command line is wrong", 2),
    "invalid_seed": Code("the seed is not an integer between 0 and 2147483647", 2),
    "invalid_size": Code("the model does not offer this size", 2),
    "invalid_shot_type": Code("the shot type is neither single nor multi", 2),
    "invalid_image": Code("the image is not one that the model accepts", 2),
    "invalid_ref": Code("the reference is not one that the model accepts", 2),
    "invalid_audio": Code("the audio is not one that the model accepts", 2),
    "invalid_prompt": Code("the prompt is not plain UTF-8 text of at most 64 KiB", 2),
    "incompatible_prompt_extend": Code("--prompt-extend is not for this model", 2),
    "prompt_too_long": Code("the prompt is longer than the model reads", 2),
    "access_denied": Code("the account may not use this model", 3),
    "wait_timeout": Code("the task did not finish in time; it goes on", 5),
    "task_not_cancelable": Code("only a pending task can be canceled", 1),
    "over_budget": Code("the task would cost more than allowed", 2),
    "invalid_task_id": Code("a task id is 1 to 128 letters, digits, '-' and '_'", 2),
    "invalid_key": Code("there is no such setting", 2),
    "config_error": Code("the configuration is wrong", 3),
    "missing_extra": Code("an optional part of rawgenai is not installed", 2),
    "internal_error": Code("rawgenai itself failed; please report it", 1),
}


class Objection(NamedTuple):
    """Why something cannot be sent: a code of the table and a sentence with the flag, the value and what is allowed."""

    code: str
    message: str


def flag_of(name: str) -> str:
    """Name the flag of a field; one that may be given several times has the name of one of them."""
    return f"--{name.removesuffix('s').replace('_', '-')}"


class RawgenaiError(Exception):
    """The only error that this package raises on purpose.

    ``code`` is a key of ``CODES``; ``message`` is a sentence for people (the row's own when left out). ``api_code``
    and ``request_id`` are what the API said, ``task_id`` the task that exists. ``outcome="unknown"`` means that the
    task may have been accepted and paid. ``final`` means that the task has ended, or that local I/O failed after
    something was sent: repeating the command will not help.
    """

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        api_code: str | None = None,
        request_id: str | None = None,
        task_id: str | None = None,
        outcome: str | None = None,
        final: bool = False,
    ) -> None:
        self.code = code
        self.message = message or CODES[code].sentence
        self.api_code = api_code
        self.request_id = request_id
        self.task_id = task_id
        self.outcome = outcome
        self.final = final
        super().__init__(code)

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    @property
    def status(self) -> int:
        """The exit status, a key of ``STATUSES`` (design section 4)."""
        if self.outcome == "unknown":
            return 6
        return 1 if self.final else CODES[self.code].status
