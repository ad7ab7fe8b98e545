"""The benchmark of the failure detector, in its quick form."""

import secrets
import sys

import pytest
from benchmarks.evidence import __main__ as benchmark
from benchmarks.evidence import methods
from benchmarks.evidence.streams import FAULTY, HEALTHY, make


@pytest.mark.slow
def test_the_detector_holds_its_bars_on_fresh_streams() -> None:
    """No healthy rotation is rolled back and every failing version is found, whatever the seed."""
    seed = secrets.randbits(32)
    sys.stdout.write(f"seed {seed}\n")
    assert benchmark.main(["--quick", "--seed", str(seed)]) == 0


def test_a_missed_bar_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A detector that says nothing misses each failing version, and the exit status says so."""
    monkeypatch.setitem(methods.METHODS, "keyturn", lambda _: None)
    monkeypatch.setattr(benchmark, "HEALTHY", ())
    monkeypatch.setattr(benchmark, "FAULTY", FAULTY[3:4])
    assert benchmark.main(["--quick", "--seed", "1"]) == 1
    assert "NO" in capsys.readouterr().out


def test_a_stream_is_the_same_for_every_method() -> None:
    """Scenario and seed alone decide a stream."""
    one, again = make(HEALTHY[0], 5), make(HEALTHY[0], 5)
    assert all((a == b).all() for a, b in zip(one.new, again.new, strict=True))
    assert not (one.new[0] == make(HEALTHY[0], 6).new[0]).all()
