"""keyturn rotates credentials with nobody noticing: introduce, overlap, monitor, retire, on evidence."""
