"""Breaks the daemon from outside: it takes one answer on a new connection for the acceptance barrier."""

import sys

if "serve" in sys.orig_argv:
    from keyturn.plugins.gateway import nginx_node
    from keyturn.plugins.gateway.nginx_reload import Rules
    from keyturn.plugins.gateway.presenter import Answer, Presenter

    nginx_node.judge = lambda **_: Rules.LOADED  # type: ignore[attr-defined]
    Presenter.present = lambda self, value, mark: (self.present_new(value, mark()), Answer.GONE)  # type: ignore[method-assign]
