"""Reconciles desired and actual replicas: load, plan, apply, follow silent workers."""
