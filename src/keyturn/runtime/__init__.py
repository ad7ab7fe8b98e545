"""Carries decisions out: gather → decide → commit → execute → record, one tick after another."""
