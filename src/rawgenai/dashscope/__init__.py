"""DashScope's video models from Python: build a ``Spec``, ``create`` a task, ask its ``status``, ``download`` it."""

from typing import TYPE_CHECKING, Any

__all__ = ["RawgenaiError", "Spec", "Task", "create", "download", "status"]

if TYPE_CHECKING:
    from rawgenai.dashscope.spec import Spec
    from rawgenai.dashscope.tasks import create, download, status
    from rawgenai.dashscope.wire import Task
    from rawgenai.errors import RawgenaiError
else:
    _ELSEWHERE = {"RawgenaiError": "rawgenai.errors", "Spec": "rawgenai.dashscope.spec"}

    def __getattr__(name: str) -> Any:
        """Import a name when it is first asked for (PEP 562): a refused command needs few of this package's modules."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(_ELSEWHERE.get(name, "rawgenai.dashscope.tasks")), name)
