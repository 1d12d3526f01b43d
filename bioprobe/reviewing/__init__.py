"""Reviewing: what a person looks at next, what the answers change, and when it is enough."""
