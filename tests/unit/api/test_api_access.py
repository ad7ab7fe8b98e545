"""No call without a token, and each token only for its own."""

from __future__ import annotations

import hashlib
import json
import secrets
import stat
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.unit.api.house import House

from keyturn.app.daemon import open_daemon
from keyturn.app.state import TOKEN_PREFIX, digest
from keyturn.config import load_config
from keyturn.domain.errors import ConfigError
from keyturn.stores.sql import SqlStore

READS = ["/v1/credentials", "/v1/credentials/payments/status", "/v1/credentials/payments/history"]
COMMANDS = [f"/v1/credentials/payments/{what}" for what in ("rotate", "rollback", "force", "pause", "resume")]


def test_only_probes_answer_without_a_token(house: House) -> None:
    """Every other route, whatever its method and however wrong the body, answers 401 with a challenge."""
    with house.daemon():
        for path in ("/livez", "/readyz"):
            assert house.ask("GET", path, token=None).status_code == 200
        asked = [("GET", path) for path in [*READS, "/metrics", "/v1/openapi.json"]]
        asked += [("POST", path) for path in [*COMMANDS, "/v1/usage"]]
        for method, path in asked:
            answer = house.ask(method, path, token=None, body={} if method == "POST" else None)
            assert answer.status_code == 401, path
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert "Authorization: Bearer TOKEN" in answer.json()["detail"]


@pytest.mark.parametrize("presented", ["nonsense", TOKEN_PREFIX + "x" * 43, "", "ü", "ktok_ a b"])
def test_wrong_tokens_are_refused(house: House, presented: str) -> None:
    """A token that was never made opens nothing, whatever its form."""
    with house.daemon():
        headers = {"Authorization": f"Bearer {presented}".encode()}
        answer = house.ask("GET", "/v1/credentials", token=None, headers=headers)  # type: ignore[arg-type]
        assert answer.status_code == 401


def test_token_in_another_scheme_is_refused(house: House) -> None:
    """A right token in the wrong place is no token."""
    with house.daemon():
        for value in (house.token(), f"Basic {house.token()}", f"Token {house.token()}"):
            answer = house.ask("GET", "/v1/credentials", token=None, headers={"Authorization": value})
            assert answer.status_code == 401


def test_each_role_does_its_own_and_no_more(house: House) -> None:
    """Viewers read, sources push, operators do the rest; the answer names the token that would do."""
    with house.daemon() as daemon:
        daemon.tick()
        for path in [*READS, "/metrics", "/v1/openapi.json"]:
            assert house.ask("GET", path, token="viewer").status_code == 200, path
            assert house.ask("GET", path, token="operator").status_code == 200, path
            assert house.ask("GET", path, token="source-pushed").status_code == 403, path
        for path in COMMANDS:
            for name in ("viewer", "source-pushed"):
                assert house.ask("POST", path, token=name, body={}).status_code == 403, path
        for name in ("viewer", "operator"):
            answer = house.push({"watermark": "2026-01-01T00:00:00Z"}, token=name)
            assert answer.status_code == 403
            assert "this needs source" in answer.json()["detail"]
        assert daemon.store.live() == []


def test_tokens_are_files_for_their_owner_and_digests_in_the_store(house: House) -> None:
    """Made at the first start: files of mode 0600 in folders of mode 0700; the store never sees a token."""
    with house.daemon() as daemon:
        names = ["operator", "source-other", "source-pushed", "viewer"]
        folder = house.state / "tokens"
        assert sorted(path.name for path in folder.iterdir()) == names
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for token in daemon.store.tokens():
            assert stat.S_IMODE((folder / token.name).stat().st_mode) == 0o600
            assert token.digest == hashlib.sha256(house.token(token.name).encode()).hexdigest()
    content = b"".join(path.read_bytes() for path in house.state.glob("keyturn.db*"))
    for name in names:
        assert house.token(name).encode() not in content


def test_tokens_outlive_a_restart(house: House) -> None:
    """The same file opens the next process too."""
    with house.daemon():
        before = house.token()
    with house.daemon():
        assert house.token() == before
        assert house.ask("GET", "/v1/credentials").status_code == 200


def test_deleted_token_is_made_anew(house: House) -> None:
    """Renewing a token is: delete its file, start again; the old one opens nothing any more."""
    with house.daemon():
        before = house.token()
        (house.state / "tokens" / "operator").unlink()
    with house.daemon():
        assert house.token() != before
        assert house.ask("GET", "/v1/credentials").status_code == 200
        headers = {"Authorization": f"Bearer {before}"}
        assert house.ask("GET", "/v1/credentials", token=None, headers=headers).status_code == 401


def test_renewed_token_does_not_come_back_from_an_old_file(house: House) -> None:
    """A replica whose file still holds a token that was renewed starts, says so, and leaves the new one as it is; with a
    copy of the new file it is like the others."""
    file = house.state / "tokens" / "source-pushed"
    made = []
    for _ in range(3):
        file.unlink(missing_ok=True)
        with house.daemon():
            made.append(house.token("source-pushed"))
    latest = made[-1]
    for old in made[:-1]:
        file.write_text(old)
        with capture_logs() as logged, house.daemon() as daemon:
            assert digest(latest) in {token.digest for token in daemon.store.tokens()}
        (said,) = [line for line in logged if line["event"] == "access token superseded"]
        assert said["file"] == str(file)
        assert old not in str(said)
    file.write_text(latest)
    with capture_logs() as logged, house.daemon() as daemon:
        assert digest(latest) in {token.digest for token in daemon.store.tokens()}
    assert "access token superseded" not in str(logged)


def test_token_whose_renewal_was_interrupted_is_granted_at_the_next_start(house: House) -> None:
    """Killed between the pin and the grant: the new file is no old one for that."""
    with house.daemon() as daemon:
        before = {token.name: token for token in daemon.store.tokens()}
        (house.state / "tokens" / "operator").unlink()
    with house.daemon() as daemon:
        daemon.store.add_token(before["operator"])
    with house.daemon():
        assert house.ask("GET", "/v1/credentials").status_code == 200


@pytest.mark.parametrize("name", ["tokens/operator", "fingerprint.key"])
def test_secret_file_that_others_may_read_stops_the_start(house: House, name: str) -> None:
    """Someone may have read it: the daemon says so instead of going on."""
    with house.daemon():
        pass
    (house.state / name).chmod(0o644)
    with pytest.raises(ConfigError, match="others may use"), house.daemon():
        pass


def test_lost_fingerprint_key_stops_the_start(house: House) -> None:
    """With a new key no version would be recognised: the file must come back."""
    house.furnish()
    with house.daemon() as daemon:
        daemon.tick()
    (house.state / "fingerprint.key").unlink()
    with pytest.raises(ConfigError, match="restore the file from a backup"), house.daemon():
        pass


def test_lost_fingerprint_key_of_an_empty_store_is_made_anew(house: House) -> None:
    """A process that was killed between making the store and the key has lost nothing."""
    SqlStore.open(f"sqlite:///{house.state / 'keyturn.db'}").close()
    with house.daemon():
        assert len(bytes.fromhex((house.state / "fingerprint.key").read_text())) == 32


def test_fingerprint_key_of_another_store_stops_the_start(house: House) -> None:
    """A replica with a key of its own would take every version for a stranger's: it is told to use the others'."""
    with house.daemon():
        key = (house.state / "fingerprint.key").read_text()
    (house.state / "fingerprint.key").write_text(secrets.token_hex(32))
    with pytest.raises(ConfigError, match="copy the state folder"), house.daemon():
        pass
    (house.state / "fingerprint.key").write_text(key)
    with house.daemon() as daemon:
        assert daemon.unready() is None


def test_source_that_is_not_configured_any_more_may_not_push(house: House) -> None:
    """Its token is still known, and opens nothing."""
    with house.daemon():
        pass
    house.configure(lambda config: config["sources"].pop("other"))
    with house.daemon():
        answer = house.push({"watermark": "2026-01-01T00:00:00Z"}, token="source-other")
        assert answer.status_code == 403
        assert "configure it" in answer.json()["detail"]


def test_credential_that_rotates_cannot_leave_the_configuration(house: House) -> None:
    """Nobody else would take its old key away: the start is refused, and nothing is held afterwards."""
    house.furnish()
    with house.daemon() as daemon:
        daemon.tick()
        daemon.runtime.start("payments", by="test", why="test")
    house.configure(lambda config: config["credentials"].clear())
    with pytest.raises(ConfigError, match=r"payments .* put it back until the rotation has ended"):
        open_daemon(load_config(house.file))
    house.configure(lambda _: None)
    with house.daemon():
        pass


def test_openapi_describes_routes_and_errors(house: House) -> None:
    """The description names every route, its token and its errors, and holds together."""
    with house.daemon():
        description = house.ask("GET", "/v1/openapi.json").json()
    assert {*COMMANDS, *READS, "/v1/usage", "/metrics", "/livez"} <= {
        path.replace("{name}", "payments") for path in description["paths"]
    }
    operation = description["paths"]["/v1/credentials/{name}/rotate"]["post"]
    assert "application/problem+json" in operation["responses"]["default"]["content"]
    assert operation["security"] == [{"HTTPBearer": []}]
    names = set(description["components"]["schemas"])
    for reference in json.dumps(description).split('"#/components/schemas/')[1:]:
        assert reference.split('"', 1)[0] in names


def test_state_is_where_the_configuration_says(house: House, tmp_path: Path) -> None:
    """`state_dir` moves key and tokens away from the store, from the configuration's folder on."""
    house.configure(lambda config: config.update(state_dir="elsewhere/keyturn"))
    house.state = tmp_path / "elsewhere" / "keyturn"
    with house.daemon():
        assert house.ask("GET", "/v1/credentials").status_code == 200
    assert not (tmp_path / "state" / "tokens").exists()
