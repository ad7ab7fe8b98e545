"""What keyturn decides, and why: pure values and functions on the standard library alone."""
