"""Following log files: what every usage source that reads a log needs."""

from keyturn.plugins.logs.tail import FileCursor, LogTail, Tailed, read_files, write_files

__all__ = ["FileCursor", "LogTail", "Tailed", "read_files", "write_files"]
