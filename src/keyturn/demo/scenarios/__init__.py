"""The scenarios, by name; a new one is a file here and a line below."""

from collections.abc import Callable, Mapping, Sequence

from keyturn.demo.scenario import Scenario
from keyturn.demo.scenarios.crash import Crash
from keyturn.demo.scenarios.emergency import Emergency
from keyturn.demo.scenarios.hands import Hands
from keyturn.demo.scenarios.happy import Happy
from keyturn.demo.scenarios.laggard import LaggardForced
from keyturn.demo.scenarios.spike import SpikeInMonitor, SpikeInRetire, SpikeOfBoth

SCENARIOS: Mapping[str, Callable[[int], Sequence[Scenario]]] = {
    "happy": lambda _seed: (Happy(),),
    "spike": lambda _seed: (SpikeInMonitor(), SpikeInRetire(), SpikeOfBoth()),
    "emergency": lambda _seed: (Emergency(),),
    "hands": lambda _seed: (Hands(),),
    "laggard": lambda _seed: (LaggardForced(),),
    "crash": lambda seed: (Crash(seed),),
}
"""Each makes from a seed the parts of a scenario, usually one."""
