"""Real parts and live traffic around the product; nothing in the product imports this package."""
