"""Offline training; run from the checkout: `python -m training.train CONFIG`."""
