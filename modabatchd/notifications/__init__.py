"""Notifications: what the owners of jobs are told, and how it gets there."""
