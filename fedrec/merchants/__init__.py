"""Whether merchants should train together: each one's gain, how sure it is, and what it costs."""
