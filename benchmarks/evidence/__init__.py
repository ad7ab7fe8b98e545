"""The failure detector against what others ship, on identical seeded streams."""
