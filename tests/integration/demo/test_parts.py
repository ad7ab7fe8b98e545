"""The real parts do what the demo and the other integration tests take for granted of them."""

import http.client
import itertools
import json
import secrets
import string
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import hvac
import pytest
from botocore.exceptions import ClientError

from keyturn.demo.client_process import read_json_lines
from keyturn.demo.gateway import KEY_HEADER, Gateway, GatewayNode, KeyState, TableKey
from keyturn.demo.moto import KEYTURN_ACTIONS, READER_ACTIONS, AccessKey, MotoServer, start_moto
from keyturn.demo.openbao import OpenBao, start_agent, start_openbao, write_private
from keyturn.demo.processes import Family
from keyturn.demo.waiting import wait_until

StartGateway = Callable[..., Gateway]
KIDS = (f"kid{number}" for number in itertools.count(1))


def new_key(state: KeyState = "active") -> TableKey:
    kid = next(KIDS)
    random = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(32))
    return TableKey(value=f"kt_test_{kid}_{random}_0a1b2c", kid=kid, state=state)


def logged(node: GatewayNode, **wanted: object) -> dict[str, object]:
    """The one line of the node's access log with these fields, once it is there."""

    def found() -> list[dict[str, object]]:
        return [line for line in read_json_lines(node.access_log) if wanted.items() <= line.items()]

    lines = wait_until(found, within=10, what=f"{node.name} logged {wanted}")
    assert len(lines) == 1
    return lines[0]


def ask_again(held: http.client.HTTPConnection, key: TableKey) -> int:
    held.request("GET", "/", headers={KEY_HEADER: key.value})
    return held.getresponse().status


def hvac_client(bao: OpenBao) -> hvac.Client:
    client = hvac.Client(url=bao.address)
    client.session.trust_env = False
    return client


def test_keyturns_role_writes_and_reads_on_openbao(openbao: OpenBao) -> None:
    """An AppRole login may promote by check-and-set and stage aside, and touches nothing else."""
    openbao.create_kv_mount("roles")
    role = openbao.create_keyturn_role(
        mount="roles", secrets_prefix="apps/", pending_prefix="keyturn-pending/", name="keyturn-roles"
    )
    client = hvac_client(openbao)
    client.auth.approle.login(role_id=role.role_id, secret_id=role.secret_id)
    kv = client.secrets.kv.v2
    kv.create_or_update_secret("keyturn-pending/orders", {"value": "next"}, cas=0, mount_point="roles")
    kv.create_or_update_secret("apps/orders", {"value": "first"}, cas=0, mount_point="roles")
    kv.create_or_update_secret("apps/orders", {"value": "second"}, cas=1, mount_point="roles")
    with pytest.raises(hvac.exceptions.InvalidRequest, match="check-and-set"):
        kv.create_or_update_secret("apps/orders", {"value": "late"}, cas=1, mount_point="roles")
    read = kv.read_secret_version("apps/orders", mount_point="roles", raise_on_deleted_version=True)
    assert read["data"]["data"] == {"value": "second"}
    kv.update_metadata("apps/orders", mount_point="roles", custom_metadata={"keyturn": "owner"})
    kv.destroy_secret_versions("apps/orders", [1], mount_point="roles")
    kv.delete_metadata_and_all_versions("keyturn-pending/orders", mount_point="roles")
    with pytest.raises(hvac.exceptions.Forbidden):
        kv.delete_metadata_and_all_versions("apps/orders", mount_point="roles")
    with pytest.raises(hvac.exceptions.Forbidden):
        kv.create_or_update_secret("others/orders", {"value": "x"}, mount_point="roles")
    client.auth.token.renew_self()


def test_a_reader_reads_its_secret_and_nothing_beside_it(openbao: OpenBao) -> None:
    """What is pending is out of every reader's sight, and the audit log names who read what."""
    openbao.create_kv_mount("readers")
    openbao.write_secret("readers", "apps/orders", {"value": "now"})
    openbao.write_secret("readers", "keyturn-pending/orders", {"value": "next"})
    client = hvac_client(openbao)
    client.token = openbao.create_reader("orders", mount="readers", path="apps/orders")
    kv = client.secrets.kv.v2
    read = kv.read_secret_version("apps/orders", mount_point="readers", raise_on_deleted_version=True)
    assert read["data"]["data"] == {"value": "now"}
    with pytest.raises(hvac.exceptions.Forbidden):
        kv.read_secret_version("keyturn-pending/orders", mount_point="readers", raise_on_deleted_version=True)
    entries = [
        entry
        for entry in read_json_lines(openbao.audit_log)
        if entry["type"] == "response" and entry["request"]["path"] == "readers/data/apps/orders"
    ]
    assert entries[-1]["auth"]["display_name"] == "token-orders"
    assert entries[-1]["response"]["data"]["metadata"]["version"] == 1
    assert "now" not in str(entries)


def test_openbao_comes_back_unsealed_after_a_crash(tmp_path: Path) -> None:
    """Killed and started again, the server serves what was written before, with nobody's help."""
    with Family() as family:
        bao = start_openbao(family, tmp_path / "bao")
        bao.create_kv_mount("kv")
        bao.write_secret("kv", "orders", {"value": "kept"})
        bao.part.kill()
        bao.restart()
        assert bao.read_secret("kv", "orders") == {"value": "kept"}
        assert bao.root_token
        assert bao.root_token not in repr(bao)
        assert not any(bao.root_token in file.read_text(errors="replace") for file in tmp_path.glob("bao/*.*"))


def test_the_agent_renders_a_change(family: Family, openbao: OpenBao, tmp_path: Path) -> None:
    """`bao agent` keeps a private file at the current value."""
    openbao.create_kv_mount("agents")
    openbao.write_secret("agents", "apps/orders", {"value": "first"})
    token = openbao.create_reader("agent", mount="agents", path="apps/orders")
    rendered = tmp_path / "rendered.key"
    part = start_agent(
        family,
        tmp_path,
        bao=openbao,
        name="agent-test",
        token_file=write_private(tmp_path / "token", token),
        mount="agents",
        path="apps/orders",
        field="value",
        destination=rendered,
    )
    assert rendered.read_text() == "first"
    assert rendered.stat().st_mode & 0o777 == 0o600
    openbao.write_secret("agents", "apps/orders", {"value": "second"})
    wait_until(lambda: rendered.read_text() == "second", within=20, what="the agent rendered", part=part)
    part.stop()


def test_moto_serves_the_current_version(moto_server: MotoServer) -> None:
    """A value put as current is what a reader of AWSCURRENT gets."""
    moto_server.create_secret("parts/current", "first")
    client = moto_server.secretsmanager()
    client.put_secret_value(SecretId="parts/current", SecretString="second", VersionStages=["AWSCURRENT"])
    read = client.get_secret_value(SecretId="parts/current", VersionStage="AWSCURRENT")
    assert read["SecretString"] == "second"
    previous = client.get_secret_value(SecretId="parts/current", VersionStage="AWSPREVIOUS")
    assert previous["SecretString"] == "first"


def test_moto_can_hold_everybody_to_their_policies(tmp_path: Path) -> None:
    """With authentication enforced, keyturn's and a reader's minimum rights are enough and no more."""
    with Family() as family:
        moto = start_moto(family, tmp_path)
        launcher = moto.create_user("launcher", actions=("*",))
        moto.enforce_auth(launcher)
        arn = moto.create_secret("apps/orders", "first")
        keyturn = moto.secretsmanager(moto.create_user("keyturn", actions=KEYTURN_ACTIONS))
        reader = moto.secretsmanager(moto.create_user("reader", actions=READER_ACTIONS))
        keyturn.put_secret_value(SecretId=arn, SecretString="next", VersionStages=["keyturn/pending"])
        assert reader.get_secret_value(SecretId=arn, VersionStage="AWSCURRENT")["SecretString"] == "first"
        with pytest.raises(ClientError, match="not authorized"):
            reader.put_secret_value(SecretId=arn, SecretString="mine")
        unknown = AccessKey(access_key_id="AKIAUNKNOWN000000000", secret_access_key="unknown")
        with pytest.raises(ClientError, match="security token"):
            moto.secretsmanager(unknown).describe_secret(SecretId=arn)
        moto.reset()
        assert moto.secretsmanager().list_secrets()["SecretList"] == []


def test_nginx_accepts_an_active_key_and_names_every_other(gateway: StartGateway) -> None:
    """Only an active key passes; each request is logged with its key id, table entry and client."""
    active, disabled, revoked, unknown = new_key(), new_key("disabled"), new_key("revoked"), new_key()
    (node,) = gateway(nodes=1, keys=[active, disabled, revoked]).nodes
    assert node.present(active.value, address="127.0.0.21", probe="nonce-1") == 200
    assert node.present(disabled.value, address="127.0.0.22") == 401
    assert node.present(revoked.value, address="127.0.0.23") == 401
    assert node.present(unknown.value, address="127.0.0.24") == 401
    assert node.present('no"key', address="127.0.0.25") == 401
    assert node.present("", address="127.0.0.26") == 401

    line = logged(node, remote_addr="127.0.0.21")
    moment = datetime.fromisoformat(str(line["time"]))
    assert moment.timestamp() == pytest.approx(line["epoch"], abs=0.0015)
    assert line["kid"] == active.kid
    assert line["matched"] == f"{active.kid}:active"
    assert line["status"] == 200
    assert line["probe"] == "nonce-1"
    assert line["node"] == node.name
    assert logged(node, remote_addr="127.0.0.22")["matched"] == f"{disabled.kid}:disabled"
    assert logged(node, remote_addr="127.0.0.23")["matched"] == f"{revoked.kid}:revoked"
    stranger = logged(node, remote_addr="127.0.0.24")
    assert (stranger["kid"], stranger["matched"], stranger["status"]) == (unknown.kid, "", 401)
    for address in ("127.0.0.25", "127.0.0.26"):
        assert logged(node, remote_addr=address)["kid"] == ""
    written = "".join(path.read_text() for path in (node.access_log, node.error_log))
    assert not any(key.value in written for key in (active, disabled, revoked, unknown))


def test_a_key_that_nginx_cannot_parse_is_not_logged(gateway: StartGateway) -> None:
    """A header too long to accept is refused without being quoted in the error log."""
    (node,) = gateway(nodes=1).nodes
    assert node.present("kt_test_long_" + "q" * 20_000) == 400
    logged(node, status=400)
    assert "qqqq" not in node.access_log.read_text() + node.error_log.read_text()


def test_a_reload_brings_the_changed_table(gateway: StartGateway) -> None:
    """After SIGHUP and the end of the old workers, the new table counts on held connections too."""
    first, second = new_key(), new_key()
    (node,) = gateway(nodes=1, keys=[first]).nodes
    held = http.client.HTTPConnection(node.host, node.port, timeout=5)
    held.request("GET", "/", headers={KEY_HEADER: first.value})
    assert held.getresponse().read()
    node.write_table([TableKey(value=first.value, kid=first.kid, state="disabled"), second])
    assert node.check_config().returncode == 0
    node.reload()
    assert node.present(first.value) == 401
    assert node.present(second.value) == 200
    # The worker that served this connection is gone, and the connection with it.
    with pytest.raises(ConnectionError):
        ask_again(held, first)
    held.close()


def test_nginx_refuses_a_broken_table_and_serves_on(gateway: StartGateway) -> None:
    """`nginx -t` says no to a table it cannot read, and a reload keeps the old one."""
    key = new_key()
    (node,) = gateway(nodes=1, keys=[key]).nodes
    node.key_table.write_text('"torn')
    assert node.check_config().returncode != 0
    assert node.present(key.value) == 200


def test_a_table_of_ten_thousand_keys_works(gateway: StartGateway) -> None:
    """The map's hash has room for as many keys as are promised."""
    keys = [new_key() for _ in range(10_000)]
    (node,) = gateway(nodes=1, keys=keys).nodes
    assert node.present(keys[0].value) == 200
    assert node.present(keys[-1].value) == 200
    assert node.present(new_key().value) == 401


def test_a_node_comes_back_after_a_crash(gateway: StartGateway) -> None:
    """A node killed with its workers can be started again on its own port."""
    key = new_key()
    node, other = gateway(nodes=2, keys=[key]).nodes
    node.part.kill()
    assert node.present(key.value) == 0
    assert other.present(key.value) == 200
    node.restart()
    assert node.present(key.value) == 200
    assert node.master_pid == node.part.pid


def test_log_lines_are_whole_json(gateway: StartGateway) -> None:
    """What a caller puts in its headers cannot break a line of the access log."""
    (node,) = gateway(nodes=1).nodes
    node.present('"},{"kid":"forged', probe='"\\\x7f{')
    line = logged(node, status=401)
    assert line["kid"] == ""
    assert line["probe"] == '"\\\x7f{'
    assert [json.loads(text) for text in node.access_log.read_text().splitlines()] == [line]


def test_the_log_goes_on_after_it_was_rotated(gateway: StartGateway) -> None:
    """Once moved aside, the access log is opened anew and no line is lost."""
    first, second = new_key(), new_key()
    (node,) = gateway(nodes=1, keys=[first, second]).nodes
    assert node.present(first.value) == 200
    logged(node, kid=first.kid)
    aside = node.rotate_log()

    def served_by_reopened() -> bool:
        node.present(second.value)
        return any(line["kid"] == second.kid for line in read_json_lines(node.access_log))

    wait_until(served_by_reopened, within=10, what="the worker wrote to the new log", every=0.1)
    assert first.kid in {line["kid"] for line in read_json_lines(aside)}
