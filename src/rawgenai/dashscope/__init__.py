"""DashScope's video models from Python: build a ``Spec`` and ``generate`` its clip, or create, wait and download."""

from typing import TYPE_CHECKING, Any

__all__ = [
    "Clip",
    "Film",
    "Look",
    "RawgenaiError",
    "Recovery",
    "Spec",
    "Task",
    "Vace",
    "cancel",
    "create",
    "download",
    "film",
    "generate",
    "recover",
    "status",
    "wait",
    "wait_all",
]

if TYPE_CHECKING:
    from rawgenai.dashscope.films import Film, film
    from rawgenai.dashscope.generation import Clip, generate
    from rawgenai.dashscope.recovery import Recovery, recover
    from rawgenai.dashscope.spec import Spec, Vace
    from rawgenai.dashscope.tasks import cancel, create, download, status, wait, wait_all
    from rawgenai.dashscope.waiting import Look
    from rawgenai.dashscope.wire import Task
    from rawgenai.errors import RawgenaiError
else:
    _ELSEWHERE = {
        "Film": "rawgenai.dashscope.films",
        "film": "rawgenai.dashscope.films",
        "Clip": "rawgenai.dashscope.generation",
        "generate": "rawgenai.dashscope.generation",
        "Recovery": "rawgenai.dashscope.recovery",
        "recover": "rawgenai.dashscope.recovery",
        "Spec": "rawgenai.dashscope.spec",
        "Vace": "rawgenai.dashscope.spec",
        "RawgenaiError": "rawgenai.errors",
    }

    def __getattr__(name: str) -> Any:
        """Import a name when it is first asked for (PEP 562): a refused command needs few of this package's modules."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(_ELSEWHERE.get(name, "rawgenai.dashscope.tasks")), name)
