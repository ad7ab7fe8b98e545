"""`check` says what would stop a rotation, with the mend, before one is tried."""

import re
from pathlib import Path

import pytest
from tests.integration.vault.mount import Mount, closed_port

from keyturn.demo.openbao import OpenBao, start_openbao
from keyturn.demo.processes import Family
from keyturn.domain.errors import Transient
from keyturn.domain.secret_value import SecretValue

DOCS = Path(__file__).parents[3] / "docs"
TOKEN: dict[str, object] = {"token": "env:TOKEN"}


def check(at: Mount, auth: dict[str, object] | None = None, path: str | None = None, **options: object) -> list[str]:
    """What `check` says with one target configured."""
    backend = at.backend(auth or TOKEN, **options)
    backend.target({"path": path or at.new_path()})
    return list(backend.check())


def test_nothing_to_say_when_all_is_well(mount: Mount) -> None:
    """The demo's own policy for keyturn is enough, for both ways to log in."""
    path = mount.new_path()
    mount.bao.write_secret(mount.name, path, {"value": "x"})
    assert check(mount, path=path) == []
    assert check(mount, mount.approle, path=path) == []


def test_documented_policy_is_enough(mount: Mount) -> None:
    """The policy in the documentation lets keyturn do all it does, marks before and after the first version too."""
    text = re.search(r"```hcl\n(.*?)```", (DOCS / "vault-permissions.md").read_text(), re.DOTALL)
    assert text is not None
    mount.bao.write_policy("documented", text[1].replace("secret/", f"{mount.name}/").replace("payments/", "app/"))
    mount.references["env:DOCUMENTED"] = mount.bao.create_token("documented", policies=("documented", "default"))
    backend = mount.backend({"token": "env:DOCUMENTED"})
    target = backend.target({"path": mount.new_path()})
    assert backend.check() == ()
    target.mark("k1")
    target.stage("new", SecretValue("new"))
    first = target.promote("new", expected=None, token="t1")
    target.keep("old", serving=first)
    target.mark("k2")
    target.promote("old", expected=first, token="t2")
    target.remove("new", served=[first])
    assert target.view().marked == {"k1", "k2"}
    assert target.view().copies == {"old"}


def test_unreachable_server(mount: Mount) -> None:
    """Nobody at the address: one line that names it."""
    address = f"http://127.0.0.1:{closed_port()}"
    (line,) = check(mount, address=address)
    assert address in line


def test_refused_login(mount: Mount) -> None:
    """A wrong secret id is one line, as nothing else can be asked."""
    mount.references["env:WRONG"] = "wrong"
    (line,) = check(mount, {"approle": {"role_id": mount.role.role_id, "secret_id": "env:WRONG"}})
    assert "secret id refused" in line


def test_missing_mount(mount: Mount) -> None:
    """A mount that is not there, or that no policy of ours touches, is one line."""
    (line,) = check(mount, mount="nowhere")
    assert "no mount nowhere/" in line


def test_wrong_engine(mount: Mount) -> None:
    """KV version 1 and other engines are told by name."""
    mount.references["env:ROOT"] = mount.bao.root_token
    mount.send("POST", "sys/mounts/flat1", {"type": "kv", "options": {"version": "1"}})
    root: dict[str, object] = {"token": "env:ROOT"}
    (flat,) = check(mount, root, mount="flat1")
    (other,) = check(mount, root, mount="sys")
    assert "KV version 1" in flat
    assert "another engine" in other
    mount.send("DELETE", "sys/mounts/flat1")


def test_missing_capabilities(mount: Mount) -> None:
    """Each path that the policy forgets is a line, with the capabilities to add."""
    lines = check(mount, path="elsewhere/secret")
    (data,) = (line for line in lines if f"{mount.name}/data/elsewhere/secret" in line)
    assert "lacks create, read, update" in data
    (metadata,) = (line for line in lines if f"{mount.name}/metadata/elsewhere/secret" in line)
    assert "lacks create, patch, read" in metadata
    (destroy,) = (line for line in lines if f"{mount.name}/destroy/elsewhere/secret" in line)
    assert "update" in destroy
    copies = check(mount, prefix="not-allowed")
    assert any("lacks list on" in line and "not-allowed" in line for line in copies)
    assert any("lacks delete, read on" in line and "not-allowed" in line for line in copies)


def test_histories_that_hurt(openbao: OpenBao) -> None:
    """Too few versions, and versions that delete themselves, at the mount or at the path, are lines of their own."""
    mount = Mount(openbao, max_versions=2)
    path = mount.new_path()
    mount.bao.write_secret(mount.name, path, {"value": "x"})
    (few,) = check(mount, path=path)
    assert "keeps 2 versions" in few
    mount.send("POST", f"{mount.name}/metadata/{path}", {"max_versions": 5, "delete_version_after": "1h"})
    (fading,) = check(mount, path=path)
    assert "delete_version_after" in fading
    mount.send("POST", f"{mount.name}/config", {"delete_version_after": "2h"})
    assert any("our copies too" in line for line in check(mount, path=path))


def test_two_credentials_in_one_document(mount: Mount) -> None:
    """Two fields of one secret share its version numbers: each rotation would look like another's hand to the other."""
    path = mount.new_path()
    backend = mount.backend(TOKEN)
    for field in ("one", "two"):
        backend.target({"path": path, "field": field})
    assert any("holds 2 credentials" in line for line in backend.check())


def test_address_in_clear(mount: Mount) -> None:
    """Plain HTTP to anything but this machine is named, whether it answers or not."""
    lines = check(mount, address="http://vault.invalid:8200", timeout="2s")
    assert any("in clear" in line for line in lines)


@pytest.mark.slow
def test_sealed_server(family: Family, tmp_path: Path) -> None:
    """A sealed server is one line, and `Transient` to every call; up again, it is itself."""
    bao = start_openbao(family, tmp_path / "sealed", name="sealed-openbao")
    mount = Mount(bao)
    path = mount.new_path()
    bao.write_secret(mount.name, path, {"value": "x"})
    backend = mount.backend(TOKEN)
    target = backend.target({"path": path})
    target.view()
    bao.call("PUT", "sys/seal")
    (line,) = backend.check()
    assert "sealed" in line
    with pytest.raises(Transient, match="sealed"):
        target.view()
    bao.part.kill()
    with pytest.raises(Transient):
        target.view()
    bao.restart()
    assert target.view().serving == "1"
    bao.part.stop()
