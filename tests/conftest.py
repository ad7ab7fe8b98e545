"""What holds for every test."""

import signal

# A shell that starts a job in the background has it ignore SIGINT, and everything below inherits that: what the tests say
# of SIGINT must not depend on how they were started.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
