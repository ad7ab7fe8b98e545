"""Following log files: what every usage source that reads a log needs."""

from keyturn.plugins.logs.clients import ByNetwork, Networks
from keyturn.plugins.logs.cursor import TailCursor
from keyturn.plugins.logs.tail import FileCursor, LogTail, Tailed, milliseconds, moment, read_files, write_files

__all__ = [
    "ByNetwork",
    "FileCursor",
    "LogTail",
    "Networks",
    "TailCursor",
    "Tailed",
    "milliseconds",
    "moment",
    "read_files",
    "write_files",
]
