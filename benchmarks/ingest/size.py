"""`python -m benchmarks.ingest.size`: how large the store is with ninety days of history, and how long it takes to read."""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert

from keyturn.ports.records import Told, UsageRow
from keyturn.stores.rules import slot_of
from keyturn.stores.sql import SqlStore
from keyturn.stores.sql.slots import BYTES
from keyturn.stores.sql.sqlite import open_sqlite
from keyturn.stores.sql.tables import slots

DAYS = 90


def main() -> None:
    """Every client used its credential on every day; a day's slots take the same room however many are used."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--credentials", type=int, default=1_000)
    given = parser.parse_args()
    now = datetime.now(UTC).replace(microsecond=0)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "keyturn.db"
        store = SqlStore.open(f"sqlite:///{path}")
        names = [f"team-{number % 37}/service-{number}/api-key" for number in range(given.credentials)]
        each = given.clients // given.credentials
        for credential in names:
            rows = [
                UsageRow(
                    credential=credential,
                    serial=serial,
                    client=f"{credential}-client-{client}",
                    start=now - timedelta(days=2 * serial),
                    length=timedelta(seconds=10),
                    successes=1,
                    failures=0,
                )
                for client in range(each)
                for serial in (1, 2)
            ]
            store.add_usage([Told(source="gateway", rows=rows, watermark=None)], received_at=now)
            while store.roll_up(credential, now):
                pass
        store.close()
        last, _ = slot_of(now)
        chance = random.Random(7)
        database = open_sqlite(path)
        for credential in names:
            with database.write() as connection:
                connection.execute(
                    insert(slots).prefix_with("OR REPLACE"),
                    [
                        {
                            "credential": credential,
                            "client": f"{credential}-client-{client}",
                            "day": last - day,
                            "used": chance.randbytes(BYTES),
                        }
                        for client in range(each)
                        for day in range(DAYS)
                    ],
                )
        database.close()
        store = SqlStore.open(f"sqlite:///{path}")
        began = time.process_time()
        starts = store.use_starts(names[0], f"{names[0]}-client-0", end=now)
        took = time.process_time() - began
        store.close()
        size = sum(one.stat().st_size for one in Path(name).glob("keyturn.db*")) / 2**20
        print(
            f"{given.clients:,} clients on {given.credentials:,} credentials, {DAYS} days: {size:.0f} MiB; "
            f"one client's history of {len(starts):,} uses is read in {took * 1000:.0f} ms"
        )


if __name__ == "__main__":
    main()
