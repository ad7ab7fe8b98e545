"""The demo from start to end: it holds, it leaves nothing behind, and no key value is in sight."""

import base64
import hashlib
import json
import re
import signal
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.demo.whole import files_below, read_report, whole_demo

pytestmark = pytest.mark.slow

WHOLE_RUN = 300.0
BEGUN = 120.0
GONE_WITHIN = 5.0
HERE = Path(__file__).parent


def forms_of(value: str) -> Iterator[tuple[str, bytes]]:
    """The ways in which a value can be written down."""
    data = value.encode()
    yield "plain", data
    yield "the random part", value.split("_")[3].encode()
    yield "URL-escaped", urllib.parse.quote(value, safe="").encode()
    yield "URL-escaped byte by byte", "".join(f"%{byte:02X}" for byte in data).encode()
    yield "JSON-escaped", json.dumps(value)[1:-1].encode()
    yield "JSON-escaped letter by letter", "".join(f"\\u{ord(letter):04x}" for letter in value).encode()
    yield "hexadecimal", data.hex().encode()
    for shift in range(3):
        # The letters that do not depend on what stands before and after.
        encoded = base64.b64encode(b"\0" * shift + data + b"\0" * 3)
        yield f"base64 after {shift} bytes", encoded[4 if shift else 0 : (shift + len(data)) // 3 * 4]
    for name in ("sha1", "sha256"):
        digest = hashlib.new(name, data, usedforsecurity=False).digest()
        yield name, digest
        yield f"{name} in hexadecimal", digest.hex().encode()
        yield f"{name} in base64", base64.b64encode(digest).rstrip(b"=")
        yield f"{name} in base64 for URLs", base64.urlsafe_b64encode(digest).rstrip(b"=")


def values_in(keep: Path) -> set[str]:
    """Every key that lived: a gateway's table keeps the revoked ones too."""
    tables = keep.glob("gateway/*/keys.map")
    return {value for table in tables for value in re.findall(r'"(kt_[^"]+)"', table.read_text())}


def test_happy_on_openbao_holds_and_shows_no_key(tmp_path: Path) -> None:
    """A scheduled rotation goes unnoticed, and no form of any key that lived is in the daemon's folder, the report, the
    output, or the arguments and environment of a process."""
    keep, report_file = tmp_path / "keep", tmp_path / "report.json"
    with whole_demo(tmp_path, "--keep", str(keep), "--report", str(report_file)) as demo:
        code = demo.wait(within=WHOLE_RUN)
        output = demo.output

    assert code == 0, output
    report = read_report(report_file)
    assert report["outcome"] == "completed"
    assert report["requests"] >= 500
    assert (report["refused"], report["errors"]) == (0, 0)
    assert report["refused_by_version"] == {"old": 0, "new": 0}
    assert report["old_proven_dead"] is True
    assert [entry["phase"] for entry in report["phases"]] == [
        "introduce",
        "overlap",
        "monitor",
        "retire",
        "destroy",
        "completed",
    ]
    assert all((keep / name).is_dir() for name in ("daemon", "gateway", "backend", "clients"))
    assert (keep / "daemon" / "notifications.jsonl").stat().st_size > 0

    values = values_in(keep)
    assert len(values) == 2
    places = {str(path.relative_to(tmp_path)): path.read_bytes() for path in files_below(keep / "daemon")}
    places |= {"report": report_file.read_bytes(), "output": output.encode()}
    places |= {f"process {n}": seen for n, seen in enumerate(sorted(demo.arguments_and_environments))}
    found = [
        f"{place}: {name}"
        for place, content in places.items()
        for value in values
        for name, form in forms_of(value)
        if form in content
    ]
    assert found == []
    # The search finds what is there.
    clients_see = b"".join(path.read_bytes() for path in files_below(keep / "gateway"))
    assert any(form in clients_see for value in values for _, form in forms_of(value))


@pytest.mark.parametrize(
    ("scenario", "sabotage", "complaints"),
    [
        ("happy", "poll_for_barrier", ["requests were refused"]),
        (
            "emergency",
            "disable_nothing",
            ["the leaked key was not seen to be refused at gateway-1, gateway-2", "the old key is not proven dead"],
        ),
        ("hands", "mend_silently", ["was never held: target_foreign"]),
    ],
    ids=["poll_for_barrier", "disable_nothing", "mend_silently"],
)
def test_a_broken_product_does_not_hold(scenario: str, sabotage: str, complaints: list[str], tmp_path: Path) -> None:
    """A daemon that skips the acceptance barrier or the disable, or mends in silence what another's hand has done, is found
    out: the demo says so and exits with 1."""
    report_file = tmp_path / "report.json"
    words = ("--scenario", scenario, "--report", str(report_file))
    with whole_demo(tmp_path, *words, sabotage=HERE / sabotage) as demo:
        code = demo.wait(within=WHOLE_RUN)
        output = demo.output

    assert code == 1, output
    said = read_report(report_file)["did_not_hold"]
    assert [complaint for complaint in complaints if not any(complaint in line for line in said)] == [], output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing_behind(number: signal.Signals, tmp_path: Path) -> None:
    """Whatever the demo has started is gone five seconds after it was told to end."""
    with whole_demo(tmp_path, "--scenario", "happy") as demo:
        demo.watch(lambda: "in introduce" in demo.output, within=BEGUN)
        assert len(demo.seen) > 15
        began = time.monotonic()
        demo.process.send_signal(number)
        demo.wait(within=GONE_WITHIN)

        assert demo.process.returncode not in (0, 1), demo.output
        while demo.left():
            assert time.monotonic() - began < GONE_WITHIN, demo.left()
