"""DashScope's video models from Python: build a ``Spec``, ``create`` a task, ask its ``status``, ``download`` it."""

from rawgenai.dashscope.spec import Spec
from rawgenai.dashscope.tasks import create, download, status
from rawgenai.dashscope.wire import Task
from rawgenai.errors import RawgenaiError

__all__ = ["RawgenaiError", "Spec", "Task", "create", "download", "status"]
