"""A process with a store of its own: holds it open, or commits without end and says what it was told is on disk.

python store_process.py hold|stream URL
"""

import sys

from keyturn.ports.records import Commit
from keyturn.stores.sql import SqlStore
from keyturn.testing.store_samples import NAME, begun, effect, line, message


def main(mode: str, url: str) -> None:
    store = SqlStore.open(url)
    rotation = store.live_of(NAME) or begun(store)
    print("open", flush=True)  # noqa: T201
    if mode == "hold":
        sys.stdin.read()
        store.close()
        return
    while True:
        number = rotation.revision + 1
        rotation = store.commit(
            Commit(
                rotation=rotation,
                intents=[effect(number)],
                messages=[message(f"m{number}")],
                notifiers=["hook"],
                history=[line(rotation, f"commit {number}")],
            )
        )
        print(rotation.revision, flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
