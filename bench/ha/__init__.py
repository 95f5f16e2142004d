"""High availability: a cluster of PostgreSQL under Patroni, and its primary killed under load."""
