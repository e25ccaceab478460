"""What happens at the coordinator of a federation."""
