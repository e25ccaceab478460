"""What each merchant brings to a federation, and who should pay whom for it."""
