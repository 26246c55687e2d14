"""The commands under ``rawgenai dashscope``."""

from rawgenai.cli.command import Group

_EXAMPLES = """\b
Examples:
  rawgenai dashscope video generate "一只猫在花园里玩耍" -o cat.mp4
  rawgenai dashscope video create "一只猫在花园里玩耍"
  rawgenai dashscope video wait TASK_ID -o cat.mp4"""

video = Group(
    "video",
    help="Generate videos with the Wan (通义万相) models.",
    epilog=_EXAMPLES,
    lazy={
        "generate": ("rawgenai.cli.generate:generate", "From prompt to file: create, wait and download."),
        "film": ("rawgenai.cli.films:film", "Make a film, shot after shot."),
        "create": ("rawgenai.cli.create:create", "Create a video generation task."),
        "vace": ("rawgenai.cli.vace:vace", "Make or edit videos by the functions of general editing (通用视频编辑)."),
        "status": ("rawgenai.cli.status:status", "Get the status of a task."),
        "wait": ("rawgenai.cli.wait:wait", "Wait until tasks have ended."),
        "download": ("rawgenai.cli.download:download", "Download the clip of a succeeded task."),
        "cancel": ("rawgenai.cli.cancel:cancel", "Take a pending task back, so that it is not paid."),
        "list": ("rawgenai.cli.listing:list_", "List the tasks that are known, newest first."),
        "recover": ("rawgenai.cli.recover:recover", "Settle what nobody knows, and fetch what was paid."),
        "models": ("rawgenai.cli.models:models", "List the models: what each one takes, where, and its list price."),
    },
)

dashscope = Group(
    "dashscope",
    help="Wan models behind Alibaba's DashScope API.",
    epilog=_EXAMPLES,
    lazy={
        "video": ("rawgenai.cli.dashscope:video", "Generate videos with the Wan (通义万相) models."),
        "check": ("rawgenai.cli.check:check", "Check the key, the region and the connection; costs nothing."),
        "emulator": ("rawgenai.cli.emulator:emulator", "Serve a local stand-in for the API on a loopback socket."),
    },
)
