"""What many credentials cost: an idle daemon, many rotations at once, and a start over many that are under way."""
