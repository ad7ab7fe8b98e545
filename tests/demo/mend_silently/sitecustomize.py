"""Breaks the daemon from outside: it overwrites what another's hand has put there, and tells nobody."""

import sys

if "serve" in sys.orig_argv:
    from keyturn.domain.observations import ServingKind
    from keyturn.domain.situation import Situation

    def overwrite(self: Situation, target: str) -> bool:
        known = self.serving(target).kind is not ServingKind.UNKNOWN
        return known and not self.serves(target, self.called_for(target))

    Situation.to_reassert = overwrite  # type: ignore[method-assign]
