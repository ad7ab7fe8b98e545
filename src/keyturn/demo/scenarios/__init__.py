"""The scenarios, by name; a new one is a file here and a line below."""

from collections.abc import Callable, Mapping

from keyturn.demo.scenario import Scenario
from keyturn.demo.scenarios.crash import Crash
from keyturn.demo.scenarios.happy import Happy
from keyturn.demo.scenarios.laggard import LaggardForced
from keyturn.demo.scenarios.spike import Spike

SCENARIOS: Mapping[str, Callable[[int], Scenario]] = {
    "happy": lambda _seed: Happy(),
    "spike": lambda _seed: Spike(),
    "laggard": lambda _seed: LaggardForced(),
    "crash": Crash,
}
"""Each makes a scenario from a seed."""
