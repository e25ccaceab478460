"""What an attacker gets: audits of what the server sees, and of poisoned updates."""
