"""Alerts: conditions become alerts, alerts become messages."""
