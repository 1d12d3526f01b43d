"""Classes that a user adds, by text or by pictures."""
