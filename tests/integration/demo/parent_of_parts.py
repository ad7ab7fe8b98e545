"""A parent that starts parts, says which processes there are, and then waits to be ended."""

import json
import sys
import threading
from pathlib import Path

from keyturn.demo.gateway import start_gateway
from keyturn.demo.processes import Family
from keyturn.demo.waiting import signals_end_the_run

# Deaf to everything but SIGKILL, and with a child of its own that the kernel does not tie to us.
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
child = os.fork()
if child:
    os.write(1, b"%d\\n" % child)
time.sleep(600)
"""


def main(folder: Path, ending: str) -> None:
    with signals_end_the_run(), Family() as family:
        gateway = start_gateway(family, folder, nodes=2)
        # Started by a thread that ends at once: its parts must live on all the same.
        starter = threading.Thread(
            target=lambda: family.start("stubborn", [sys.executable, "-c", STUBBORN], log=folder / "stubborn.log")
        )
        starter.start()
        starter.join()
        workers = [pid for node in gateway.nodes for pid in node.worker_pids()]
        pids = [*(part.pid for part in family.parts), *workers]
        sys.stdout.write(json.dumps(pids) + "\n")
        sys.stdout.flush()
        if ending == "error":
            sys.stdin.readline()
            raise RuntimeError("as a demo that fails")
        threading.Event().wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
