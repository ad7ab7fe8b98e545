"""Usage reports over HTTP: how many a second one core takes, beside the same server only parsing the same bytes."""
