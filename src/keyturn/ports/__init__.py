"""What keyturn asks of the outside: one Protocol a kind, whose docstring is the contract.

The conformance kit in `keyturn.testing` holds every implementation, ours and anyone's, to these words.
"""
