"""What can be seen from outside: lines, metrics, health."""
