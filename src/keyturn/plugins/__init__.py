"""Our own plugins, one folder an ecosystem, found by entry points exactly like anyone's."""
