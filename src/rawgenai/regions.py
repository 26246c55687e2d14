"""THE TABLE of DashScope's regions: one row a region, and the base URLs that follow from it. Pure.

Floor 0, because the settings turn a region into a base URL. Key, host, model and task belong to one region each
(reference 1.3); every base URL is ``https://HOST/api/v1`` (reference 1.1).
"""

from typing import NamedTuple


class Region(NamedTuple):
    """A region: a row of the table."""

    name: str  # what we call it
    id: str  # what the API calls it; a part of the hosts of its workspaces
    host: str | None  # of its shared endpoint; None where only the workspaces have hosts

    def base_url(self, workspace: str | None = None) -> str | None:
        """Its base URL: the workspace's, where one is given, else the shared one; None where there is none."""
        host = f"{workspace}{self._workspaces}" if workspace else self.host
        return host and f"https://{host}/api/v1"

    def has(self, host: str) -> bool:
        """Tell whether a host, in lower case, is its shared one or a workspace's."""
        return host == self.host or host.endswith(self._workspaces)

    @property
    def _workspaces(self) -> str:
        return f".{self.id}.maas.aliyuncs.com"


_ROWS = (
    Region("beijing", "cn-beijing", "dashscope.aliyuncs.com"),
    Region("singapore", "ap-southeast-1", "dashscope-intl.aliyuncs.com"),
    Region("virginia", "us-east-1", "dashscope-us.aliyuncs.com"),
    Region("frankfurt", "eu-central-1", None),
)
REGIONS = {row.name: row for row in _ROWS}
DEFAULT = "beijing"


def find(word: str) -> Region | None:
    """Find a region by its name or the API's id, in any case; None: there is none like that."""
    word = word.strip().lower()
    return next((row for row in _ROWS if word in (row.name, row.id)), None)


def listed() -> str:
    """Name what ``find`` takes."""
    return ", ".join(f"{row.name} ({row.id})" for row in _ROWS)


def of_url(base_url: str) -> str | None:
    """Name the region that an https base URL belongs to; None where its host is no region's, or it is no such URL."""
    from urllib.parse import urlsplit

    try:
        url = urlsplit(base_url)
        official = url.scheme == "https" and url.port in (None, 443)
    except ValueError:
        return None
    return next((row.name for row in _ROWS if official and row.has(url.hostname or "")), None)


def shared_urls() -> dict[str, str]:
    """Return the base URL of each region that has a shared one."""
    return {row.name: url for row in _ROWS if (url := row.base_url()) is not None}
