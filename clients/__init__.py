"""What happens on a node: it hosts one or many clients."""
