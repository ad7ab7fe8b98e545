"""What is Vault's own about a target: documents, histories, deletions, wrong mounts, trouble."""

import re
import socket
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.integration.vault.mount import Mount, VaultHarness, closed_port

from keyturn.demo.openbao import OpenBao
from keyturn.domain.errors import Absent, Conflict, Invalid, Transient
from keyturn.domain.secret_value import SecretValue
from keyturn.ports.backend import Target

TOKEN = {"token": "env:TOKEN"}


@pytest.fixture
def harness(mount: Mount) -> VaultHarness:
    return VaultHarness(mount, TOKEN)


def document(harness: VaultHarness) -> object:
    return harness.mount.send("GET", f"{harness.mount.name}/data/{harness.path}")[1]["data"]["data"]


def delete_current(harness: VaultHarness) -> None:
    """Another's hand: what readers get is deleted, its number stays used."""
    harness.mount.send("DELETE", f"{harness.mount.name}/data/{harness.path}")


class TestDocument:
    """The credential is one field among others."""

    def test_other_fields_stay(self, harness: VaultHarness) -> None:
        """A promote replaces our field alone, whatever types the others have."""
        others = {"user": "app", "port": 5432, "nested": {"a": [1, None]}, "on": True}
        mount = harness.mount
        mount.send("POST", f"{mount.name}/data/{harness.path}", {"data": {**others, "key": "old"}})
        target = mount.backend(TOKEN).target({"path": harness.path, "field": "key"})
        target.keep("old", serving="1")
        target.stage("new", SecretValue("new value"))
        assert target.promote("new", expected="1", token="t1") == "2"
        assert document(harness) == {**others, "key": "new value"}
        assert target.promote("old", expected="2", token="t2") == "3"
        assert document(harness) == {**others, "key": "old"}

    def test_numbers_of_others_are_given_as_before(self, harness: VaultHarness) -> None:
        """A promote writes the other fields as Vault gave them, and Vault gives numbers as floats: readers see no change."""
        place = f"{harness.mount.name}/data/{harness.path}"
        others = '"a": [0.1234567890123456789, 1.10, 1E+2, 1e-7, 12345678901234567, 12345678901234567890123]'
        harness.mount.send_text("POST", place, f'{{"data": {{{others}}}}}')
        given = re.findall(r'"a":\[[^]]*\]', harness.mount.send_text("GET", place))
        target = harness.target()
        target.stage("new", SecretValue("x1"))
        assert target.promote("new", expected=None, token="t") == "2"
        assert re.findall(r'"a":\[[^]]*\]', harness.mount.send_text("GET", place)) == given != []

    def test_document_without_the_field_is_an_empty_target(self, harness: VaultHarness) -> None:
        """Readers of the field get nothing: the first promote expects nothing, adds the field, and repeats."""
        harness.mount.send("POST", f"{harness.mount.name}/data/{harness.path}", {"data": {"user": "app"}})
        target = harness.target()
        assert target.view().serving is None
        with pytest.raises(Absent):
            target.read()
        target.stage("new", SecretValue("x1"))
        for _ in range(2):
            assert target.promote("new", expected=None, token="t") == "2"
        assert document(harness) == {"user": "app", "value": "x1"}

    def test_number_is_refused(self, harness: VaultHarness) -> None:
        """A credential stored as a number is seen as served and refused as a value: audit logs show numbers in clear."""
        harness.mount.send("POST", f"{harness.mount.name}/data/{harness.path}", {"data": {"value": 271828}})
        target = harness.target()
        assert target.view().serving == "1"
        for call in (target.read, lambda: target.keep("kept", serving="1")):
            with pytest.raises(Invalid, match="as a string") as caught:
                call()
            assert "271828" not in str(caught.value)

    def test_two_fields_have_copies_of_their_own(self, harness: VaultHarness) -> None:
        """Copies of one field, and of a path below it, do not show at another."""
        backend = harness.mount.backend(TOKEN)
        targets = [
            backend.target({"path": harness.path}),
            backend.target({"path": harness.path, "field": "other"}),
            backend.target({"path": f"{harness.path}/value"}),
        ]
        for number, target in enumerate(targets):
            target.stage("same", SecretValue(f"value {number}"))
        for number, target in enumerate(targets):
            assert target.view().copies == {"same"}
            assert target.fetch("same").reveal() == f"value {number}"


class TestHistory:
    """Version numbers, eviction, deletion."""

    def test_kept_copy_survives_eviction(self, harness: VaultHarness, openbao: OpenBao) -> None:
        """With `max_versions` 1 the old version is gone from the history at once, and comes back from our copy; so does
        the whole rotation, each promote repeated."""
        small = VaultHarness(Mount(openbao, max_versions=1), TOKEN)
        small.overwrite("old")
        target = small.target()
        target.keep("old", serving="1")
        target.stage("new", SecretValue("new"))
        for _ in range(2):
            assert target.promote("new", expected="1", token="t1") == "2"
        assert small.mount.send("GET", f"{small.mount.name}/data/{small.path}?version=1")[0] == 404
        for _ in range(2):
            assert target.promote("old", expected="2", token="t2") == "3"
        assert small.readers_get() == "old"
        target.remove("new", served=["2"])
        assert small.stored() == {"old", "1"}

    def test_many_writes_of_others_do_not_evict_copies(self, harness: VaultHarness) -> None:
        """The default of ten versions at the target does not bind our copies."""
        target = harness.target()
        harness.overwrite("old")
        target.keep("old", serving="1")
        for number in range(15):
            harness.overwrite(f"by others {number}")
        assert target.fetch("old").reveal() == "old"
        assert target.promote("old", expected="16", token="t") == "17"

    @pytest.mark.parametrize("how", ["delete", "destroy"])
    def test_deleted_version_serves_nothing(self, harness: VaultHarness, how: str) -> None:
        """A deleted or destroyed current version is an empty target whose number is still counted on."""
        harness.overwrite("old")
        target = harness.target()
        target.stage("new", SecretValue("new"))
        if how == "delete":
            delete_current(harness)
        else:
            harness.mount.send("POST", f"{harness.mount.name}/destroy/{harness.path}", {"versions": [1]})
        assert target.view().serving is None
        with pytest.raises(Absent):
            target.read()
        with pytest.raises(Absent):
            target.keep("kept", serving="1")
        with pytest.raises(Conflict):
            target.promote("new", expected="1", token="t")
        for _ in range(2):
            assert target.promote("new", expected=None, token="t") == "2"
        assert harness.readers_get() == "new"

    def test_undeleted_version_is_not_run_over(self, harness: VaultHarness) -> None:
        """Who expected nothing finds that a version was undeleted, though its number did not change."""
        harness.overwrite("old")
        target = harness.target()
        target.stage("new", SecretValue("new"))
        delete_current(harness)
        harness.mount.send("POST", f"{harness.mount.name}/undelete/{harness.path}", {"versions": [1]})
        with pytest.raises(Conflict):
            target.promote("new", expected=None, token="t")
        assert harness.readers_get() == "old"

    def test_destroyed_history_cannot_be_undeleted(self, harness: VaultHarness) -> None:
        """What `remove` destroys is gone for good; ids that are none are left alone."""
        harness.overwrite("old")
        target = harness.target()
        target.stage("new", SecretValue("new"))
        target.promote("new", expected="1", token="t")
        target.remove("new", served=["1", "not a number"])
        harness.mount.send("POST", f"{harness.mount.name}/undelete/{harness.path}", {"versions": [1]})
        assert harness.mount.send("GET", f"{harness.mount.name}/data/{harness.path}?version=1")[0] == 404
        assert harness.readers_get() == "new"

    def test_history_of_a_secret_that_was_made_anew_is_gone(self, harness: VaultHarness) -> None:
        """Where a hand has deleted the secret with its history and it was written again, its numbers from before are not
        waited for; those of a secret that is older than the copy are."""
        harness.overwrite("old")
        target = harness.target()
        target.keep("old", serving="1")
        with pytest.raises(Transient, match="version 7 is not destroyed"):
            target.remove("old", served=["7"])
        harness.mount.send("DELETE", f"{harness.mount.name}/metadata/{harness.path}")
        harness.overwrite("new")
        target.remove("old", served=["7"])
        assert target.view().copies == frozenset()
        assert harness.readers_get() == "new"

    def test_deleted_version_that_was_served_is_destroyed(self, harness: VaultHarness) -> None:
        """A served version that was only deleted could be undeleted: `remove` destroys it, as nobody gets it."""
        harness.overwrite("old")
        target = harness.target()
        delete_current(harness)
        target.remove("old", served=["1"])
        harness.mount.send("POST", f"{harness.mount.name}/undelete/{harness.path}", {"versions": [1]})
        assert harness.readers_get() is None


class TestCopies:
    """Secrets of our own beside the target."""

    def test_copy_deleted_by_others_is_not_listed_and_can_be_made_again(self, harness: VaultHarness) -> None:
        """A copy that cannot be read is no copy, also when its metadata is still there."""
        target = harness.target()
        target.stage("copy", SecretValue("value one"))
        harness.mount.send("DELETE", f"{harness.mount.name}/data/{target.copies_path}/copy-copy")
        assert target.view().copies == frozenset()
        with pytest.raises(Absent):
            target.fetch("copy")
        target.stage("copy", SecretValue("value two"))
        assert target.view().copies == {"copy"}
        assert target.fetch("copy").reveal() == "value two"

    def test_strangers_under_the_prefix_are_none_of_ours(self, harness: VaultHarness) -> None:
        """What others put beside our copies is neither listed nor touched."""
        target = harness.target()
        harness.mount.send("POST", f"{harness.mount.name}/data/{target.copies_path}/notes", {"data": {"a": "b"}})
        assert target.view().copies == frozenset()

    def test_prefix_and_field_name_where_copies_lie(self, harness: VaultHarness) -> None:
        """Copies lie under the configured prefix, where a policy can keep readers out."""
        target = harness.mount.backend(TOKEN, prefix="keyturn/mine").target({"path": harness.path, "field": "key"})
        target.stage("t", SecretValue("value"))
        path = f"{harness.mount.name}/data/keyturn/mine/{harness.path}/key/copy-t"
        assert harness.mount.send("GET", path)[1]["data"]["data"] == {"value": "value"}


class TestMarks:
    """Keys of the secret's custom metadata, beside those of others."""

    @staticmethod
    def metadata(harness: VaultHarness) -> dict[str, str]:
        answer = harness.mount.send("GET", f"{harness.mount.name}/metadata/{harness.path}")[1]
        return dict(answer["data"]["custom_metadata"])

    @staticmethod
    def annotate(harness: VaultHarness, **keys: str) -> None:
        """Another's hand: the secret's custom metadata, whole."""
        path = f"{harness.mount.name}/metadata/{harness.path}"
        assert harness.mount.send("POST", path, {"custom_metadata": keys, "max_versions": 7})[0] == 204

    def test_mark_leaves_what_others_wrote(self, harness: VaultHarness) -> None:
        """A mark is one key with the time in UTC; others' keys and the secret's settings stay, and a mark that is there
        keeps its time."""
        harness.overwrite("old")
        self.annotate(harness, owner="payments", **{"keyturn-note": "x"})
        harness.target().mark("k1")
        harness.mount.clock.advance(60)
        harness.target().mark("k1")
        marked = self.metadata(harness)
        written = f"{harness.mount.clock.now() - timedelta(seconds=60):%Y-%m-%dT%H:%M:%SZ}"
        assert marked == {"owner": "payments", "keyturn-note": "x", "keyturn-compromised.k1": written}
        settings = harness.mount.send("GET", f"{harness.mount.name}/metadata/{harness.path}")[1]["data"]
        assert settings["max_versions"] == 7
        assert harness.target().view().marked == {"k1"}

    def test_mark_made_before_the_first_version_stays(self, harness: VaultHarness) -> None:
        """Where no secret was ever written the mark comes first, and the first promote expects nothing as before."""
        target = harness.target()
        target.mark("k1")
        assert target.view().marked == {"k1"}
        target.stage("new", SecretValue("new"))
        assert target.promote("new", expected=None, token="t") == "1"
        assert target.view().marked == {"k1"}

    @pytest.mark.parametrize("how", ["delete", "destroy"])
    def test_mark_outlives_the_version(self, harness: VaultHarness, how: str) -> None:
        """Deleting or destroying what readers get leaves the mark to be seen."""
        harness.overwrite("old")
        target = harness.target()
        target.mark("k1")
        if how == "delete":
            delete_current(harness)
        else:
            harness.mount.send("POST", f"{harness.mount.name}/destroy/{harness.path}", {"versions": [1]})
        assert (target.view().serving, target.view().marked) == (None, {"k1"})

    def test_full_metadata_is_said_and_left_alone(self, harness: VaultHarness) -> None:
        """With all 64 keys taken the mark is refused with the mend, though the server would take it and then refuse
        whole writes of others; `check` says so before it is needed."""
        harness.overwrite("old")
        self.annotate(harness, **{f"key-{number}": "x" for number in range(63)})
        backend = harness.backend(TOKEN)
        target = backend.target({"path": harness.path})
        assert backend.check() == ()
        target.mark("k1")
        target.mark("k1")
        with pytest.raises(Invalid, match=r"k2 .*64 keys.*remove some"):
            target.mark("k2")
        assert len(self.metadata(harness)) == 64
        (line,) = backend.check()
        assert "64 keys" in line

    def test_id_that_is_too_long_is_invalid(self, harness: VaultHarness) -> None:
        """What the server refuses for its length is refused for good."""
        harness.overwrite("old")
        with pytest.raises(Invalid):
            harness.target().mark("k" * 200)


class TestTrouble:
    """Answers that must not be mistaken for a world without secrets."""

    def test_missing_mount_is_not_an_empty_target(self, harness: VaultHarness) -> None:
        """A mount that is not there is an error at every look, never "readers get nothing"."""
        harness.mount.references["env:ROOT"] = harness.mount.bao.root_token
        target = harness.mount.backend({"token": "env:ROOT"}, mount="nowhere").target({"path": harness.path})
        for call in looks(target):
            with pytest.raises(Invalid, match="nothing is mounted"):
                call()

    def test_version_1_mount_is_never_written_to(self, harness: VaultHarness) -> None:
        """A KV version 1 mount would take our copies for ordinary secrets: nothing is written there."""
        mount = harness.mount
        mount.references["env:ROOT"] = mount.bao.root_token
        mount.send("POST", "sys/mounts/flat", {"type": "kv", "options": {"version": "1"}})
        target = mount.backend({"token": "env:ROOT"}, mount="flat").target({"path": harness.path})
        with pytest.raises(Invalid, match="not KV version 2"):
            target.stage("t", SecretValue("value"))
        assert mount.send("LIST", "flat")[0] == 404
        mount.send("DELETE", "sys/mounts/flat")

    def test_fresh_mount_is_transient_at_worst(self, harness: VaultHarness) -> None:
        """The first calls to a mount that is still being upgraded fail as `Transient`, and then they work."""
        mount = harness.mount
        mount.references["env:ROOT"] = mount.bao.root_token
        mount.send("POST", "sys/mounts/fresh", {"type": "kv", "options": {"version": "2"}})
        target = mount.backend({"token": "env:ROOT"}, mount="fresh").target({"path": "a"})
        for _ in range(100):
            try:
                target.stage("t", SecretValue("value"))
            except Transient:
                continue
            break
        assert target.fetch("t").reveal() == "value"
        mount.send("DELETE", "sys/mounts/fresh")

    def test_silent_server_is_given_up_within_the_timeout(self, harness: VaultHarness) -> None:
        """A server that accepts connections and says nothing costs no more than the timeout, in all."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"http://127.0.0.1:{silent.getsockname()[1]}"
            target = harness.mount.backend(TOKEN, address=address, timeout="500ms").target({"path": "a"})
            began = time.monotonic()
            with pytest.raises(Transient):
                target.view()
            assert time.monotonic() - began < 2

    def test_unreachable_server_names_the_address(self, harness: VaultHarness) -> None:
        """The message says which server, and no more of the request than method and path."""
        address = f"http://127.0.0.1:{closed_port()}"
        target = harness.mount.backend(TOKEN, address=address).target({"path": "a"})
        with pytest.raises(Transient, match=address):
            target.view()


def looks(target: Target) -> list[Callable[[], object]]:
    return [target.view, target.read, lambda: target.fetch("t"), lambda: target.remove("t")]
