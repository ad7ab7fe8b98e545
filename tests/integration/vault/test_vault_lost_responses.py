"""A response that is lost on its way: the caller sees `Transient`, and the same call again finds its own work."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from tests.integration.vault.mount import Mount, VaultHarness

from keyturn.domain.errors import Transient
from keyturn.domain.secret_value import SecretValue
from keyturn.ports.backend import Target
from keyturn.testing.secrecy import find_leaks, texts_of_error

VALUES = ("value-of-the-old", "value-of-the-new")


class Lossy(ThreadingHTTPServer):
    """Passes requests on to the real server, and loses one response when told to."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), Relay)
        self.upstream = upstream
        self.lost = 0
        self._method = ""
        self._to_go = 0
        self.session = requests.Session()
        self.session.trust_env = False

    def lose(self, method: str, number: int) -> None:
        """Lose the response to the `number`th request of this method from now on."""
        self._method, self._to_go = method, number

    def loses(self, method: str) -> bool:
        self._to_go -= method == self._method
        if method != self._method or self._to_go != 0:
            return False
        self.lost += 1
        return True

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Relay(BaseHTTPRequestHandler):
    """One request through a `Lossy`."""

    server: Lossy

    def relay(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        passed = ("X-Vault", "Content-Type")
        headers = {name: value for name, value in self.headers.items() if name.startswith(passed)}
        url = f"{self.server.upstream}{self.path}"
        answer = self.server.session.request(self.command, url, data=body, headers=headers, timeout=10)
        if self.server.loses(self.command):
            self.close_connection = True
            return
        self.send_response(answer.status_code)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_POST = do_PATCH = do_LIST = do_DELETE = relay  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def lossy(mount: Mount) -> Iterator[Lossy]:
    with Lossy(mount.bao.address) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "LIST", "DELETE"])
def test_rotation_through_lost_responses(mount: Mount, lossy: Lossy, method: str) -> None:
    """A rotation and its rollback, in which every call loses the response to each of its requests of one method once:
    repeated, each comes to the same world, and no error shows a value."""
    harness = VaultHarness(mount, mount.approle)
    harness.overwrite(VALUES[0])
    backend = mount.backend(mount.approle, address=lossy.address)
    target = backend.target({"path": harness.path})
    shown: list[str] = []

    def stubbornly(call: Callable[[Target], object]) -> object:
        """Lose the response to the first such request, then to the second and so on, until a call gets through."""
        for number in range(1, 9):
            lossy.lose(method, number)
            try:
                return call(target)
            except Transient as failure:
                shown.extend(texts_of_error(failure))
        raise AssertionError("never got through")

    stubbornly(lambda target: target.stage("new", SecretValue(VALUES[1])))
    stubbornly(lambda target: target.keep("old", serving="1"))
    assert stubbornly(lambda target: target.promote("new", expected="1", token="forward")) == "2"
    assert harness.readers_get() == VALUES[1]
    assert stubbornly(lambda target: target.promote("old", expected="2", token="back")) == "3"
    assert harness.readers_get() == VALUES[0]
    stubbornly(lambda target: target.remove("new", served=["2"]))
    stubbornly(lambda target: target.remove("old"))
    stubbornly(lambda target: target.mark("leaked"))
    lossy.lose("nothing", 1)
    view = target.view()
    assert (view.serving, view.copies, view.marked) == ("3", frozenset(), frozenset({"leaked"}))
    assert VALUES[1] not in harness.stored()
    assert lossy.lost >= (0 if method == "LIST" else 1)
    assert find_leaks(VALUES, shown) == []
    backend.close()
