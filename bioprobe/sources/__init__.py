"""What people hold, and how it is listed: one module a format."""
