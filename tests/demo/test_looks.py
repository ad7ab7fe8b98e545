"""The demo's own looks: into the gateways' key tables, and into the journal."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

from keyturn.demo.authority import Authority, table_of
from keyturn.demo.gateway import GatewayNode
from keyturn.demo.journal import Journal
from keyturn.stores.sql import SqlStore

TABLE = """\
# made by hand
"kt_demo_old1_aaaa_bbbb" "old1:revoked";
"kt_demo_new1_cccc_dddd" "new1:active";
"kt_demo_lost_eeee_ffff" "lost:disabled";
"""


def node(folder: Path, name: str, table: str) -> GatewayNode:
    file = folder / f"{name}.map"
    file.write_text(table)
    return cast(GatewayNode, SimpleNamespace(name=name, key_table=file))


def test_a_table_is_read_as_it_stands(tmp_path: Path) -> None:
    """Each key with its state; what is no key's line is passed over."""
    keys = table_of(node(tmp_path, "one", TABLE))
    assert [(key.kid, key.state) for key in keys] == [("old1", "revoked"), ("new1", "active"), ("lost", "disabled")]


def test_orphans_are_neither_current_nor_revoked(tmp_path: Path) -> None:
    """A key that is left active or disabled on any node, and is not the current one, is named with its node."""
    nodes = [node(tmp_path, "one", TABLE), node(tmp_path, "two", '"kt_demo_old1_aaaa_bbbb" "old1:active";\n')]
    authority = Authority(nodes)
    assert authority.orphans(current="new1") == ["one: key lost is disabled", "two: key old1 is active"]
    assert authority.state(nodes[1], "new1") == "absent"


def test_a_key_that_was_never_seen_is_not_proven_dead(tmp_path: Path) -> None:
    """Where nothing could be tried nothing is proven."""
    authority = Authority([node(tmp_path, "one", TABLE)])
    assert authority.alive("other") == ["key other was never seen in a key table"]


def test_the_journal_of_a_real_store_can_be_read(tmp_path: Path) -> None:
    """The look into the daemon's store fits the store's schema, while the daemon has it open."""
    database = tmp_path / "keyturn.db"
    store = SqlStore.open(f"sqlite:///{database}")
    try:
        with Journal(database) as journal:
            assert journal.begun() is False
            assert journal.open() == frozenset()
            assert journal.phase() == ("", True)
    finally:
        store.close()
